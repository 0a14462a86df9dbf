"""The code digest: no tool that leaves code alone changes it, every change of code or data does."""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile, digest
from envlock.binary.elf.digest import code_digest, covered
from envlock.models.errors import ElfError
from tests.support.elves import ANSWER, BARE_SOURCE, C_SOURCE, call, compile_library, run

LAYOUTS = {
    "GNU ld": ("gcc",),
    "GNU ld, one segment": ("gcc", "-Wl,-z,noseparate-code"),
    "GNU ld, bind now": ("gcc", "-Wl,-z,now"),
    "GNU ld, both hashes": ("gcc", "-Wl,--hash-style=both"),
    "GNU ld, no RELRO": ("gcc", "-Wl,-z,norelro"),
    "gold": ("gcc", "-fuse-ld=gold"),
    "lld": ("clang", "-fuse-ld=lld"),
    "lld, separate code": ("clang", "-fuse-ld=lld", "-Wl,-z,separate-code"),
    "lld, no rosegment": ("clang", "-fuse-ld=lld", "-Wl,--no-rosegment"),
    "mold": ("gcc", "-B/usr/libexec/mold"),
}
LONG = "$ORIGIN/" + "long/" * 200
PATCHED = [
    ["patchelf", "--set-rpath", "$ORIGIN", "FILE"],
    ["patchelf", "--set-rpath", LONG, "FILE"],
    ["patchelf", "--add-needed", "libm.so.6", "FILE"],
    ["patchelf", "--set-soname", "libother-0123456789abcdef.so.7", "FILE"],
    ["patchelf", "--replace-needed", "libc.so.6", "libc-0123456789abcdef.so.6", "FILE"],
]
TOOLS = {
    "strip": [["strip", "FILE"]],
    "strip --strip-debug": [["strip", "--strip-debug", "FILE"]],
    "strip --strip-unneeded": [["strip", "--strip-unneeded", "FILE"]],
    "objcopy --strip-all": [["objcopy", "--strip-all", "FILE"]],
    "objcopy --remove-section": [["objcopy", "--remove-section=.comment", "FILE"]],
    "eu-strip": [["eu-strip", "FILE"]],
    "eu-strip --strip-debug": [["eu-strip", "--strip-debug", "FILE"]],
    "eu-strip --strip-sections": [["eu-strip", "--strip-sections", "FILE"]],
    "llvm-strip": [["llvm-strip", "FILE"]],
    "llvm-strip --strip-debug": [["llvm-strip", "--strip-debug", "FILE"]],
    "llvm-strip --strip-sections": [["llvm-strip", "--strip-sections", "FILE"]],
    "patchelf --set-rpath": PATCHED[:1],
    "patchelf --set-rpath, longer": PATCHED[1:2],
    "patchelf --remove-rpath": [["patchelf", "--remove-rpath", "FILE"]],
    "patchelf --add-needed": PATCHED[2:3],
    "patchelf --set-soname": PATCHED[3:4],
    "patchelf --replace-needed": PATCHED[4:5],
    "patchelf, five times": PATCHED,
    "patchelf, then strip": [*PATCHED, ["strip", "FILE"]],
    "strip, then patchelf": [["strip", "FILE"], *PATCHED],
    "chrpath --replace": [["chrpath", "-r", "/x", "FILE"]],
    "chrpath --delete": [["chrpath", "-d", "FILE"]],
}


def value(library: Path) -> str:
    with ElfFile.open(library) as elf:
        found = code_digest(elf)
    assert found is not None
    assert (found.algorithm, found.covers) == ("sha256", "code/1")
    return found.value


def make(folder: Path, layout: str, source: str = C_SOURCE) -> Path:
    compiler, *flags = LAYOUTS[layout]
    return compile_library(
        folder / "plugin.so", "-g1", "-Wl,-rpath,/some/long/folder/of/a/build", *flags,
        source=source, compiler=(compiler,),
    )  # fmt: skip


def need(layout: str, tool: Callable[[str], str]) -> None:
    tool(LAYOUTS[layout][0])
    for part, program in (("gold", "ld.gold"), ("lld", "ld.lld"), ("mold", "mold")):
        if layout.startswith(part):
            tool(program)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_tool_changes_it(layout: str, tmp_path: Path, tool: Callable[[str], str]) -> None:
    need(layout, tool)
    library = make(tmp_path, layout)
    before = value(library)
    write_stamp(library, None, b"{}")
    assert value(library) == before
    other = {}
    for name, commands in TOOLS.items():
        worked = tmp_path / "worked.so"
        shutil.copy(library, worked)
        for command in commands:
            run(tool(command[0]), *[worked if part == "FILE" else part for part in command[1:]])
        if value(worked) != before:
            other[name] = value(worked)
    assert other == {}


CHANGES = {
    "an instruction": ("result ^ 5", "result ^ 6"),
    "a constant": ("{3.25, 2.5}", "{3.25, 2.75}"),
    "a string": ('"beta"', '"zeta"'),
    "initialised data": ("5, 8, 13}", "5, 8, 14}"),
    "the order of pointers": ('{"alpha", "beta",', '{"beta", "alpha",'),
    "what a pointer leads to": ('{"alpha", "beta",', '{"alpha", "beta" + 1,'),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_code_or_data_changes_it(what: str, tmp_path: Path) -> None:
    old, new = CHANGES[what]
    assert old in C_SOURCE
    one = make(tmp_path, "GNU ld")
    before, sizes = value(one), one.stat().st_size
    two = make(tmp_path, "GNU ld", C_SOURCE.replace(old, new))
    assert value(two) != before
    assert two.stat().st_size == sizes, "the change is meant to move nothing"


@pytest.mark.parametrize("section", [".text", ".rodata", ".data", ".eh_frame", ".rela.dyn"])
def test_one_changed_bit_changes_it(section: str, plugin: Path) -> None:
    before = value(plugin)
    with ElfFile.open(plugin) as elf:
        found = elf.section(section)
        assert found is not None
        at = found.offset + found.size // 2
    content = bytearray(plugin.read_bytes())
    content[at] ^= 1
    plugin.write_bytes(content)
    assert value(plugin) != before


def test_the_same_source_gives_the_same_value(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert value(make(tmp_path / "one", "GNU ld")) == value(make(tmp_path / "two", "GNU ld"))


def independent(content: bytes, ranges: list[tuple[int, int, int]], step: int) -> str:
    """docs/reference/manifest.md, read once more: label and size of each range, then its blocks."""
    state, number = hashlib.sha256(), 0
    for label, offset, size in ranges:
        state.update(label.to_bytes(8, "little") + size.to_bytes(8, "little"))
        for start in range(0, size, 65536):
            if number % step == 0:
                state.update(content[offset + start : offset + min(start + 65536, size)])
            number += 1
    return state.hexdigest()


def test_the_value_is_what_the_documentation_describes(plugin: Path) -> None:
    """The ranges by readelf's account of the file."""
    dynamic = {
        line.split()[1].strip("()"): line.split()[2]
        for line in run("readelf", "-dW", plugin).splitlines()
        if line.startswith(" 0x")
    }
    loads, relro = [], None
    for line in run("readelf", "-lW", plugin).splitlines():
        words = line.split()
        if words and words[0] in ("LOAD", "GNU_RELRO"):
            numbers = [int(word, 16) for word in words[1:6]]
            if words[0] == "LOAD":
                loads.append((*numbers, "".join(words[6:-1])))
            else:
                relro = (numbers[1], numbers[4])
    assert relro is not None
    assert len(loads) == 4
    rela, size = int(dynamic["RELA"], 16), int(dynamic["RELASZ"])
    jmprel, jmpsize = int(dynamic["JMPREL"], 16), int(dynamic["PLTRELSZ"])
    # The first segment is metadata alone and ends with the relocations, as GNU ld makes it.
    assert max(rela + size, jmprel + jmpsize) == loads[0][3]
    ranges = [(7, rela, size), (23, jmprel, jmpsize)]
    for offset, address, _, filesz, _, flags in loads[1:]:
        if "W" in flags:
            skip = sum(relro) - address
            ranges.append((address + skip, offset + skip, filesz - skip))
        else:
            ranges.append((address, offset, filesz))
    assert independent(plugin.read_bytes(), ranges, 1) == value(plugin)


def test_large_libraries_are_sampled_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "const char filling[1 << 22] = {1, 2, 3};\n" + C_SOURCE
    library = make(tmp_path, "GNU ld", source)
    with ElfFile.open(library) as elf:
        ranges = [(r.label, r.offset, r.size) for r in covered(elf)]
    whole = value(library)
    assert whole == independent(library.read_bytes(), ranges, 1)
    monkeypatch.setattr(digest, "WHOLE", 1 << 20)
    blocks = sum(-(-size // 65536) for _, _, size in ranges)
    step = -(-blocks // 16)
    assert step > 4
    assert value(library) == independent(library.read_bytes(), ranges, step) != whole


def test_nothing_to_cover_is_no_digest(tmp_path: Path) -> None:
    """One writable and executable segment: the dynamic section may be anywhere in it."""
    library = compile_library(
        tmp_path / "plugin.so", "-nostdlib", "-Wl,-N", "-Wl,-z,norelro", source=BARE_SOURCE
    )
    with ElfFile.open(library) as elf:
        assert code_digest(elf) is None
    assert call(library) == ANSWER


@pytest.mark.parametrize("field", ["offset", "size"])
def test_a_segment_that_lies_is_an_error(field: str, plugin: Path) -> None:
    content = bytearray(plugin.read_bytes())
    (phoff,) = struct.unpack_from("<Q", content, 32)
    at = next(
        phoff + 56 * i for i in range(20)
        if struct.unpack_from("<II", content, phoff + 56 * i) == (1, 5)
    )  # fmt: skip
    struct.pack_into("<Q", content, at + (8 if field == "offset" else 32), 1 << 40)
    plugin.write_bytes(content)
    with ElfFile.open(plugin) as elf, pytest.raises(ElfError, match="a loaded segment"):
        code_digest(elf)


def test_the_file_can_be_closed_afterwards(plugin: Path) -> None:
    elf = ElfFile.open(plugin)
    code_digest(elf)
    elf.close()
