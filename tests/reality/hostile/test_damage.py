"""Every length and every overwritten field: an answer or a documented error, nothing else."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.checking import Checker
from envlock.actions.showing import show
from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.binary.elf.append import plan_append
from envlock.binary.elf.image import PT_LOAD
from envlock.models.errors import ElfError, EnvlockError, InputError
from envlock.models.report import Report
from tests.support.elves import compile_library, run


def everything(path: Path, checker: Checker) -> Report:
    """All that envlock reads of a plugin; raises nothing but its own one-line errors."""
    for action in (show, plan):
        error = refusal(action, path)
        assert error is None or ("\n" not in error.message and str(path) in error.message)
    return checker.check(str(path))


def refusal(action: Callable[[Path], object], path: Path) -> InputError | None:
    """The documented error of an action, None when it works."""
    try:
        action(path)
    except InputError as error:
        return error
    return None


def plan(path: Path) -> None:
    """What stamping would write, without writing it."""
    with ElfFile.open(path) as elf:
        plan_append(elf, b"{}")


def test_the_plugin_itself_is_fine(small: Path, checker: Checker) -> None:
    report = everything(small, checker)
    assert report.plugin.stamp == "appended"
    assert report.verdict is not None


def test_cut_off_at_any_byte(small: Path, checker: Checker) -> None:
    content = small.read_bytes()
    assert len(content) < 20_000, "small enough for every length"
    answers = {"error": 0, "incompatible": 0}
    for length in range(len(content)):
        small.write_bytes(content[:length])
        report = everything(small, checker)
        # A part is never taken for a plugin that works: the dynamic linker would die of it.
        answers[report.verdict or "error"] += 1
        if report.verdict is None:
            assert report.plugin.error
            assert "\n" not in report.plugin.error
    assert answers["error"] > 1000


def test_cut_off_where_dlopen_reads_zeros(tmp_path: Path, checker: Checker) -> None:
    """Without section headers nothing but the last page's missing bytes tells."""
    source = "int big[100] = {1}; int *p = &big[7]; int f(void) { return *p; }"
    path = compile_library(tmp_path / "cut.so", "-nostdlib", source=source)
    with ElfFile.open(path) as elf:
        end = max(s.offset + s.filesz for s in elf.segments if s.type == PT_LOAD)
    content = bytearray(path.read_bytes()[: end - 16])
    content[40:48], content[60:64] = bytes(8), bytes(4)  # e_shoff, e_shnum, e_shstrndx
    path.write_bytes(content)
    report = checker.check(str(path))
    assert report.verdict == "unsafe"
    assert "the last 16 bytes of the file are missing" in [f.message for f in report.findings]


def test_stamping_a_part_writes_nothing(small: Path) -> None:
    content = small.read_bytes()
    for length in range(0, len(content), 97):
        small.write_bytes(content[:length])
        with pytest.raises(EnvlockError):
            write_stamp(small, None, b"{}")
        assert small.read_bytes() == content[:length]
    assert [path.name for path in small.parent.iterdir()] == ["small.so"]


VALUES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40,
          (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip


def fields(content: bytes) -> list[tuple[int, int]]:
    """(offset, size) of every number in the header, the program and section headers, the dynamic
    section and the notes."""
    phoff, shoff = struct.unpack_from("<QQ", content, 32)
    phnum, shnum = (struct.unpack_from("<H", content, at)[0] for at in (56, 60))
    found = [(4, 1), (5, 1), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (48, 4)]
    found += [(at, 2) for at in range(52, 64, 2)]
    for entry in range(phoff, phoff + 56 * phnum, 56):
        found += [(entry, 4), (entry + 4, 4)] + [(entry + at, 8) for at in range(8, 56, 8)]
        kind, offset, size = (struct.unpack_from(f, content, entry + at)[0]
                              for f, at in (("<I", 0), ("<Q", 8), ("<Q", 32)))  # fmt: skip
        if kind == 2:
            found += [(at, 8) for at in range(offset, offset + size, 8)]
        if kind == 4:
            found += [(at, 4) for at in range(offset, offset + size, 4)]
    for entry in range(shoff, shoff + 64 * shnum, 64):
        found += [(entry, 4), (entry + 4, 4), (entry + 40, 4), (entry + 44, 4)]
        found += [(entry + at, 8) for at in (8, 16, 24, 32, 48, 56)]
    note = content.rindex(b"envlock\0") - 12
    return found + [(note, 4), (note + 4, 4), (note + 8, 4)]


def test_any_number_may_lie(small: Path, checker: Checker) -> None:
    content = small.read_bytes()
    places = fields(content)
    assert len(places) > 300
    for offset, size in places:
        for value in VALUES:
            worked = bytearray(content)
            worked[offset : offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(
                size, "little"
            )
            small.write_bytes(worked)
            everything(small, checker)
            assert small.read_bytes() == worked


@pytest.mark.parametrize("seed", range(4))
def test_random_damage(seed: int, small: Path, checker: Checker) -> None:
    content = small.read_bytes()
    chance = random.Random(seed)
    for _ in range(1500):
        worked = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            at = chance.randrange(len(worked))
            worked[at : at + chance.choice((1, 2, 4, 8))] = chance.randbytes(4)
        small.write_bytes(worked)
        everything(small, checker)


def patched(path: Path, offset: int, layout: str, value: int) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + layout, content, offset, value)
    path.write_bytes(content)


LIES = {
    "e_phoff": (32, "Q", 1 << 50, "the program header table"),
    "e_phentsize": (54, "H", 57, "program headers are 57 bytes, not 56"),
    "e_phnum": (56, "H", 60_000, "60000 program headers are more than 4096"),
    "e_shoff": (40, "Q", 1 << 50, "the section header table"),
    "e_shentsize": (58, "H", 40, "section headers are 40 bytes, not 64"),
    "e_shnum": (60, "H", 60_000, "the section header table"),
    "EI_CLASS": (4, "B", 3, "EI_CLASS is 3, neither 32-bit nor 64-bit"),
    "EI_DATA": (5, "B", 0, "EI_DATA is 0, neither little- nor big-endian"),
}


@pytest.mark.parametrize("field", LIES)
def test_what_is_said_of_a_lying_header(field: str, small: Path) -> None:
    offset, layout, value, words = LIES[field]
    patched(small, offset, layout, value)
    with pytest.raises(ElfError) as caught:
        show(small)
    assert caught.value.message.startswith(f"`{small}` is damaged: ")
    assert words in caught.value.message


def test_no_dynamic_section(small: Path) -> None:
    content = small.read_bytes()
    (phoff,) = struct.unpack_from("<Q", content, 32)
    entry = next(
        at for at in range(phoff, phoff + 56 * 20, 56)
        if struct.unpack_from("<I", content, at)[0] == 2
    )  # fmt: skip
    patched(small, entry, "I", 0)
    with pytest.raises(ElfError, match="has no dynamic section"):
        show(small)
    with pytest.raises(ElfError, match="has no dynamic section: it is not a shared library"):
        write_stamp(small, None, b"{}")


def test_a_section_claiming_a_million_brothers(small: Path) -> None:
    """e_shnum 0 moves the count into the first section header, which may say anything."""
    patched(small, 60, "H", 0)
    (shoff,) = struct.unpack_from("<Q", small.read_bytes(), 40)
    patched(small, shoff + 32, "Q", (1 << 20) + 1)
    with pytest.raises(ElfError, match="1048577 sections are more than 1048576"):
        show(small)


def test_reading_leaves_times_alone(small: Path, checker: Checker) -> None:
    before = small.stat()
    everything(small, checker)
    after = small.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_ino) == (
        before.st_mtime_ns, before.st_ctime_ns, before.st_ino,
    )  # fmt: skip
    assert "small.so" in run("ls", small.parent)
