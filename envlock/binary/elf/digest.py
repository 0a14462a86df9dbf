"""A digest of a library's code that strip, patchelf and wheel repair leave alone.

It identifies a build, also one without a build-id; it is not a signature. The covering rule `code/1`
goes by program headers and dynamic tags alone, because section headers may be gone, and leaves out
what those tools rewrite: the headers, notes, dynamic section, dynamic symbols, strings, versions
and hash tables. docs/reference/manifest.md describes it for other implementations.
"""

from __future__ import annotations

import mmap
import struct

from ...models.manifest import CodeDigest
from .dynamic import (
    DT_JMPREL,
    DT_PLTRELSZ,
    DT_REL,
    DT_RELA,
    DT_RELASZ,
    DT_RELR,
    DT_RELRSZ,
    DT_RELSZ,
)
from .file import ElfFile
from .image import PF_W, PT_LOAD, PT_TLS, Segment

RULE = "code/1"
#: Ranges up to this many bytes in all are hashed whole, larger ones by evenly spaced blocks.
WHOLE = 16 << 20
BLOCK = 64 << 10

PT_GNU_RELRO = 0x6474E552
DT_PLTGOT, DT_INIT_ARRAY, DT_FINI_ARRAY = 3, 25, 26

_TABLES = (
    (DT_RELA, DT_RELASZ),
    (DT_REL, DT_RELSZ),
    (DT_RELR, DT_RELRSZ),
    (DT_JMPREL, DT_PLTRELSZ),
)


class Range:
    """Bytes of the file that are covered, and the number that stands for them in the digest."""

    __slots__ = ("label", "offset", "size")

    def __init__(self, label: int, offset: int, size: int) -> None:
        self.label = label
        self.offset = offset
        self.size = size


def covered(elf: ElfFile) -> list[Range]:
    """The ranges of rule `code/1`, in the order in which they are hashed.

    Relocation tables first, then what segments load behind them. Raises `ElfError` when tags or
    headers point outside of the file, or there is no dynamic section.
    """
    tables = _tables(elf)
    ranges = list(tables)
    for segment in elf.segments:
        if segment.type != PT_LOAD or not segment.filesz:
            continue
        elf.read(segment.offset + segment.filesz, 0, "a loaded segment")
        if segment.vaddr + segment.filesz > 1 << 64:
            raise elf.damaged(f"a segment at {segment.vaddr:#x} leaves the address space")
        start = _writable(elf, segment) if segment.flags & PF_W else _constant(segment, tables)
        if start < segment.filesz:
            ranges.append(
                Range(segment.vaddr + start, segment.offset + start, segment.filesz - start)
            )
    return ranges if len(ranges) > len(tables) else []


def _tables(elf: ElfFile) -> list[Range]:
    found = []
    for tag, size_tag in _TABLES:
        address, size = elf.dynamic.get(tag), elf.dynamic.get(size_tag)
        if address is not None and size:
            offset = elf.offset_of(address, size, "a relocation table")
            found.append(Range(tag, offset, size))
    return found


def _constant(segment: Segment, tables: list[Range]) -> int:
    """Where code or constants start in a read-only segment.

    Linkers put relocation tables last among what the dynamic linker reads, and no tool moves
    them; symbols, strings and notes in front of them do move, and leave filling behind.
    """
    ends = [
        table.offset + table.size - segment.offset
        for table in tables
        if segment.offset <= table.offset < segment.offset + segment.filesz
    ]
    if ends:
        return max(ends)
    # The ELF header without a relocation behind it: nothing tells where code would start.
    return segment.filesz if segment.offset == 0 else 0


def _writable(elf: ElfFile, segment: Segment) -> int:
    """Where initialised data starts: behind RELRO, which holds the dynamic section.

    patchelf adds writable segments for the tables that it moves. An original one is told by what
    the linker put there: RELRO, TLS, the GOT, constructors, or zeroed data at its end.
    """
    inside = range(segment.vaddr, segment.vaddr + max(segment.memsz, segment.filesz))
    relro = [s for s in elf.segments if s.type == PT_GNU_RELRO]
    if not relro:
        return segment.filesz  # the dynamic section is somewhere in between
    anchors = [s.vaddr for s in elf.segments if s.type in (PT_GNU_RELRO, PT_TLS)]
    for tag in (DT_PLTGOT, DT_INIT_ARRAY, DT_FINI_ARRAY):
        value = elf.dynamic.get(tag)
        if value is not None:
            anchors.append(value)
    if segment.memsz == segment.filesz and not any(anchor in inside for anchor in anchors):
        return segment.filesz
    return max([0] + [s.vaddr + s.memsz - segment.vaddr for s in relro if s.vaddr in inside])


def code_digest(elf: ElfFile) -> CodeDigest | None:
    """SHA-256 by rule `code/1`; None when the rule finds nothing to cover.

    Reads at most `WHOLE` bytes and holds a few MiB of them in memory. Raises `ElfError`.
    """
    import hashlib

    ranges = covered(elf)
    if not ranges:
        return None
    total = sum(-(-item.size // BLOCK) for item in ranges)
    step = max(1, -(-total * BLOCK // WHOLE))
    digest = hashlib.sha256()
    index = 0
    with memoryview(elf.data) as view:
        for item in ranges:
            digest.update(struct.pack("<QQ", item.label, item.size))
            for start in range(0, item.size, BLOCK):
                if index % step == 0:
                    at = item.offset + start
                    with view[at : at + min(BLOCK, item.size - start)] as block:
                        digest.update(block)
                    # Pages that were read count as this process's memory until let go, and a
                    # sampled block can bring in megabytes of neighbours.
                    if step > 1 or index % 64 == 63:
                        elf.data.madvise(mmap.MADV_DONTNEED)
                index += 1
    return CodeDigest(algorithm="sha256", value=digest.hexdigest(), covers=RULE)
