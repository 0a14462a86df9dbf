"""Every byte that a signed plugin loads, flipped: refused, or of a kind that is known not to matter.

Two questions are asked of each flip. Under a plain demand for trust, is the file refused? And where
a policy lets edits of names pass, is what passes then really what was signed: does the dynamic
linker make the same library of it?
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envlock.binary.elf import ElfFile
from envlock.binary.elf.image import PT_LOAD
from envlock.models.errors import EnvlockError
from envlock.models.signature import Statement
from envlock.plugin.signature.statement import (
    BROKEN,
    EDITED,
    INTACT,
    Outcome,
    build_statement,
    compare,
)
from tests.support.elves import BARE_SOURCE, compile_library
from tests.unit.binary.test_digest import make, need
from tests.unit.plugin.signature.conftest import MANIFEST, Signer

#: Fields of the ELF header that no loader reads, by offset and size (64-bit): e_shoff, e_shentsize,
#: e_shnum, e_shstrndx. They move with the section headers, which stripping moves.
SECTION_FIELDS = ((40, 8), (58, 6))
GNU_STACK, GNU_RELRO = 0x6474E551, 0x6474E552


class Flipped:
    """A library in memory, of which single bytes can be changed and judged."""

    def __init__(self, library: Path) -> None:
        content = library.read_bytes()
        self.data = mmap.mmap(-1, len(content))
        self.data[:] = content
        with ElfFile.open(library) as elf:
            self.statement: Statement = build_statement(elf, MANIFEST)
            self.status = elf.status
            self.loads = [s for s in elf.segments if s.type == PT_LOAD]
            self.headers = (elf.phoff, elf.phentsize, [s.type for s in elf.segments])
            self.alive = {s.name: (s.offset, s.size) for s in elf.sections if s.flags & 2}

    def outcome(self, at: int, mask: int) -> Outcome | None:
        """The judgement with one byte changed; None where the file cannot be read at all."""
        self.data[at] ^= mask
        try:
            return compare(ElfFile("flipped.so", self.data, self.status), self.statement, MANIFEST)
        except EnvlockError:
            return None
        finally:
            self.data[at] ^= mask

    def bytes(self) -> Iterator[int]:
        for segment in self.loads:
            yield from range(segment.offset, segment.offset + segment.filesz)

    def section(self, at: int) -> str:
        for name, (start, size) in self.alive.items():
            if start <= at < start + size:
                return name
        return "ELF header" if at < 64 else "headers and padding"

    def harmless(self, at: int) -> bool:
        """Section fields of the ELF header, and p_offset where nothing is mapped by it."""
        if any(start <= at < start + size for start, size in SECTION_FIELDS):
            return True
        start, entry, kinds = self.headers
        index, field = divmod(at - start, entry)
        return (
            0 <= index < len(kinds) and 8 <= field < 16 and kinds[index] in (GNU_STACK, GNU_RELRO)
        )


@pytest.mark.parametrize("layout", ["GNU ld, one segment", "lld"])
def test_every_changed_byte_is_refused(
    layout: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    need(layout, tool)
    flipped = Flipped(make(tmp_path, layout))
    passed, refused = [], 0
    for number, at in enumerate(flipped.bytes()):
        found = flipped.outcome(at, 1 << number % 8)
        if found is not None and found.kind == INTACT:
            passed.append(at)
        else:
            refused += 1
    assert [at for at in passed if not flipped.harmless(at)] == []
    assert refused > 2500


def answers(path: Path) -> str:
    """What the library computes, in a process of its own that really loads it."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            library = ctypes.CDLL(str(path))
            text = repr([library.answer(which) for which in (1, 2, 3, 1)])
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(into, text.encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as stream:
        text = stream.read().decode()
    _, status = os.waitpid(child, 0)
    return text if status == 0 else f"status {status}"


@pytest.mark.slow
def test_what_passes_as_an_edit_is_the_same_library(tmp_path: Path) -> None:
    """Names that differ are shown and left to the policy; nothing else that passes may matter."""
    library = make(tmp_path, "GNU ld")
    flipped = Flipped(library)
    content = library.read_bytes()
    variant = tmp_path / "variant.so"
    right = answers(library)
    assert right.startswith("[42,")
    places: Counter[str] = Counter()
    other = {}
    for number, at in enumerate(flipped.bytes()):
        mask = 1 << number % 8
        found = flipped.outcome(at, mask)
        if found is None or found.kind == BROKEN or any(c.built for c in found.changes):
            continue
        changed = bytearray(content)
        changed[at] ^= mask
        variant.unlink(missing_ok=True)  # a new file: the old one may still be mapped
        variant.write_bytes(changed)
        places[flipped.section(at)] += 1
        if answers(variant) != right:
            other[at] = (flipped.section(at), answers(variant))
    assert other == {}
    # The kinds that docs/explanation/trust.md names: headers' fields that no loader reads, strings
    # that nothing names, section numbers of symbols, spare entries of the dynamic section.
    assert set(places) <= {"ELF header", "headers and padding", ".dynstr", ".dynsym", ".dynamic"}


def test_32_bit_and_big_endian_files_are_covered_as_well(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    for compiler in ("aarch64-linux-gnu-gcc", "mips-linux-gnu-gcc"):
        library = compile_library(
            tmp_path / f"{compiler}.so", "-nostdlib", "-Wl,-z,relro", source=BARE_SOURCE,
            compiler=(tool(compiler),),
        )  # fmt: skip
        flipped = Flipped(library)
        kinds: Counter[str] = Counter()
        for name in (".text", ".data", ".dynsym", ".dynstr", ".dynamic", ".hash", ".gnu.hash"):
            if name in flipped.alive:
                start, size = flipped.alive[name]
                for at in range(start, start + size):
                    found = flipped.outcome(at, 1)
                    kinds[INTACT if found is not None and found.kind == INTACT else "refused"] += 1
        assert kinds[INTACT] == 0
        assert kinds["refused"] > 200


def test_zeroed_data_cannot_be_filled(tmp_path: Path) -> None:
    """A longer last segment, as patchelf makes it, must leave zeroed data zero."""
    library = make(tmp_path, "GNU ld")
    with ElfFile.open(library) as elf:
        statement = build_statement(elf, MANIFEST)
        index, last = [(i, s) for i, s in enumerate(elf.segments) if s.type == PT_LOAD][-1]
        phoff = elf.phoff
    assert last.memsz > last.filesz
    for filler, kind in ((b"\0", EDITED), (b"A", BROKEN)):
        # The segment's bytes move to the end of the file, with its zeroed part written out.
        content = bytearray(library.read_bytes())
        content += b"\0" * ((last.vaddr - len(content)) % 4096)
        start = len(content)
        content += content[last.offset : last.offset + last.filesz]
        content += filler * (last.memsz - last.filesz)
        header = phoff + 56 * index
        content[header + 8 : header + 16] = start.to_bytes(8, "little")
        content[header + 32 : header + 40] = last.memsz.to_bytes(8, "little")
        for number, segment_type in enumerate(_types(content, phoff)):
            # What lies in the segment has moved along in the file.
            at = phoff + 56 * number
            address = int.from_bytes(content[at + 16 : at + 24], "little")
            if segment_type != PT_LOAD and last.vaddr <= address < last.vaddr + last.filesz:
                moved = start + address - last.vaddr
                content[at + 8 : at + 16] = moved.to_bytes(8, "little")
        variant = tmp_path / "variant.so"
        variant.write_bytes(content)
        with ElfFile.open(variant) as elf:
            assert compare(elf, statement, MANIFEST).kind == kind


def _types(content: bytearray, phoff: int) -> list[int]:
    count = int.from_bytes(content[56:58], "little")
    return [
        int.from_bytes(content[phoff + 56 * i : phoff + 56 * i + 4], "little") for i in range(count)
    ]


def image(content: bytes) -> list[tuple[int, int, int, bytes]] | None:
    """What the loader maps, read independently: address, size and flags of each segment, its bytes.

    Fields that no loader reads are zero in it; None where headers lead out of the file.
    """
    try:
        (phoff,) = struct.unpack_from("<Q", content, 32)
        size, count = struct.unpack_from("<HH", content, 54)
        rows = [struct.unpack_from("<IIQQQQQQ", content, phoff + i * size) for i in range(count)]
    except struct.error:
        return None
    masked = bytearray(content)
    for start, length in SECTION_FIELDS:
        masked[start : start + length] = bytes(length)
    for index in range(count):
        masked[phoff + index * size + 8 : phoff + index * size + 16] = bytes(8)
    return [
        (row[3], row[6], row[1], bytes(masked[row[2] : row[2] + row[5]]))
        for row in rows
        if row[0] == PT_LOAD
    ]


class Fuzzed:
    """A signed library, and where in it a change could do something."""

    def __init__(self, library: Path) -> None:
        self.content = library.read_bytes()
        self.image = image(self.content)
        self.path = library.with_name("fuzzed.so")
        with ElfFile.open(library) as elf:
            self.areas = [(0, 64), (elf.phoff, elf.phnum * elf.phentsize)] + [
                (s.offset, s.size) for s in elf.sections if s.name in INTERESTING
            ]


INTERESTING = {
    *(".dynamic", ".dynsym", ".dynstr", ".gnu.hash", ".gnu.version", ".gnu.version_r"),
    *(".rela.dyn", ".note.gnu.build-id", ".note.envlock", ".text"),
}
WORDS = st.sampled_from((0, 1, 2, 8, 0xFF, 0xFFFF, 0x7FFFFFFF, 1 << 32, 1 << 63, (1 << 64) - 1))
CHANGES = st.lists(
    st.tuples(st.integers(0, 11), st.floats(0, 1), st.sampled_from((1, 2, 4, 8)), WORDS),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Fuzzed:
    return Fuzzed(signer.sign(make(tmp_path_factory.mktemp("fuzzed"), "GNU ld")))


@pytest.mark.slow
@given(changes=CHANGES)
@settings(max_examples=400, deadline=None)
def test_whatever_is_trusted_maps_the_same_memory(
    changes: list[tuple[int, float, int, int]], fuzzed: Fuzzed, signer: Signer
) -> None:
    content = bytearray(fuzzed.content)
    for area, share, size, word in changes:
        start, length = fuzzed.areas[area % len(fuzzed.areas)]
        at = start + min(int(share * length), length - 1) // size * size
        content[at : at + size] = (word & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    fuzzed.path.write_bytes(content[: len(fuzzed.content)])
    try:
        rule = signer.rule(fuzzed.path)
    except EnvlockError:
        return
    assert rule != "trusted" or image(bytes(content)) == fuzzed.image
