"""What a signature says about a plugin, and whether that is still true of a file.

A statement lists, by virtual address, every byte that the plugin loads: code and data (`ranges`),
what the dynamic linker reads (`tables`), and bytes that belong to no section (`gaps`). Stripping
changes none of them. patchelf moves tables and leaves filling behind, so what tables say is digested
a second time (`linking`, `names`), wherever they stand.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct

from ...binary.elf.image import (
    PF_W,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_PROPERTY,
    PT_LOAD,
    PT_NOTE,
    SHF_ALLOC,
    SHT_NOBITS,
)
from ...models.errors import ElfError, ManifestError
from ...models.record import ValidationError, decode, encode
from ...models.signature import SIGNATURE_FORMAT, Digested, LinkTables, SignedSegment, Statement
from .linking import TABLES, Change, link_names, link_tables, name_changes
from .loaded import PT_PHDR, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...binary.elf.file import ElfFile

    _Ranges = list[tuple[int, int]]

INTACT, EDITED, BROKEN = "intact", "edited", "broken"

#: Program headers that patchelf adds, moves or drops; what they lead to is compared instead.
_FREE = (0, PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_PHDR, PT_GNU_PROPERTY)
#: What patchelf and strip write where something stood.
_FILLING = b"\0XZ"
BLOCK = 1 << 20
MAX_STATEMENT = 1 << 20
#: More pieces than any linker makes; beyond that gaps count as data.
MAX_GAPS = 1024


class Outcome:
    """INTACT: nothing that is loaded differs; EDITED: as patchelf edits; BROKEN: anything else."""

    __slots__ = ("changes", "kind")

    def __init__(self, kind: str, changes: tuple[Change, ...] = ()) -> None:
        self.kind = kind
        self.changes = changes


def build_statement(elf: ElfFile, manifest: bytes) -> Statement:
    """The statement about a shared library and its manifest's JSON; raises `ElfError`."""
    loaded = Loaded(elf)
    tables = loaded.tables
    backed = [(s.vaddr, s.filesz) for s in loaded.segments if s.filesz]
    outside = _without(backed, tables + _headers_in_memory(loaded))
    ranges, gaps, made = _plain(loaded, outside)
    return Statement(
        format=SIGNATURE_FORMAT,
        manifest=hashlib.sha256(manifest).hexdigest(),
        identity=_identity(elf),
        headers=_headers(elf),
        segments=_segments(elf),
        ranges=_digested(loaded, ranges),
        tables=_digested(loaded, _clipped(tables, backed)),
        gaps=_digested(loaded, gaps),
        table_segments=made,
        names=link_names(loaded),
        linking=link_tables(loaded),
    )


def encode_statement(statement: Statement) -> bytes:
    """Canonical JSON: the bytes that are signed."""
    text = json.dumps(encode(statement, sparse=True), sort_keys=True, separators=(",", ":"))
    return text.encode("ascii")


def decode_statement(raw: bytes, source: str) -> Statement:
    """Read signed bytes; raises `ManifestError` for what is not a statement of this form."""
    from ..manifest import parse_json

    if len(raw) > MAX_STATEMENT:
        raise ManifestError(f"`{source}`: the signed statement has {len(raw)} bytes")
    try:
        return decode(Statement, parse_json(raw, source))
    except ValidationError as error:
        raise ManifestError(f"`{source}`: the signed statement is not valid: {error}") from None


def compare(elf: ElfFile, statement: Statement, manifest: bytes) -> Outcome:
    """Whether a statement is true of a file and the manifest that was read from it."""
    if hashlib.sha256(manifest).hexdigest() != statement.manifest:
        return _broken("the manifest")
    try:
        return _compare(elf, statement)
    except ElfError as error:
        return _broken(error.message)


def _compare(elf: ElfFile, statement: Statement) -> Outcome:
    if _identity(elf) != statement.identity:
        return _broken("the ELF header")
    loaded = Loaded(elf)
    segments = _segments(elf)
    problem = _compare_segments(loaded, segments, statement)
    if problem:
        return _broken(problem)
    for item in statement.ranges:
        if _digest(loaded, item) != item.sha256:
            end = item.address + item.size
            return _broken(f"code or data between addresses {item.address:#x} and {end:#x}")
    headers = _headers_in_memory(loaded)
    used = loaded.tables + headers
    for item in statement.gaps:
        if not _stands(loaded, item) and not _filling(loaded, item, used):
            return _broken(f"the {item.size} bytes between sections at address {item.address:#x}")
    for address, size in _left(loaded, _unspoken_of(loaded, statement), headers):
        content = loaded.read(address, size, "the headers")
        if content.strip(_FILLING) and not _old_headers(elf, content, statement):
            return _broken(f"{size} bytes at address {address:#x}, where the headers were")
    if (
        _same_layout(elf, segments, statement)
        and all(_stands(loaded, item) for item in statement.tables)
        and all(_stands(loaded, item) or _zero(loaded, item) for item in statement.gaps)
    ):
        return Outcome(INTACT)
    for item in statement.tables:
        if not _stands(loaded, item) and not _filling(loaded, item, used):
            return _broken(f"what stood at address {item.address:#x}, where a table was moved away")
    now = link_tables(loaded)
    for name in LinkTables.record_fields:
        if getattr(now, name) != getattr(statement.linking, name):
            return _broken(TABLES[name])
    changes = name_changes(statement.names, link_names(loaded))
    return Outcome(EDITED, changes or (Change("tables that the dynamic linker reads"),))


def _broken(what: str) -> Outcome:
    return Outcome(BROKEN, (Change(what),))


def _compare_segments(
    loaded: Loaded, segments: tuple[SignedSegment, ...], statement: Statement
) -> str | None:
    """What about the segments is neither as signed nor as patchelf leaves it."""
    signed = {s.address: s for s in statement.segments if s.type == PT_LOAD}
    for segment in segments:
        if segment.type != PT_LOAD:
            continue
        before = signed.pop(segment.address, None)
        if before == segment:
            continue
        if segment.flags & PF_X:
            return f"the executable segment at address {segment.address:#x}"
        if before is None or _only_tables(before, statement):
            continue
        if not _longer(loaded, before, segment):
            return f"the segment at address {segment.address:#x}"
    for address, before in sorted(signed.items()):
        if not _only_tables(before, statement):
            return f"the segment at address {address:#x}, which is gone"
    if _fixed(segments) != _fixed(statement.segments):
        return "the program headers"
    return None


def _only_tables(segment: SignedSegment, statement: Statement) -> bool:
    """Whether a segment was made for tables by patchelf: other tools trim it."""
    return segment.address in statement.table_segments


def _unspoken_of(loaded: Loaded, statement: Statement) -> _Ranges:
    """Bytes of signed segments that no digest covers: the places of the headers in memory."""
    whole = [
        (s.address, s.file_size)
        for s in statement.segments
        if s.type == PT_LOAD and s.file_size and not _only_tables(s, statement)
    ]
    covered = (*statement.ranges, *statement.tables, *statement.gaps)
    return _without(whole, [(item.address, item.size) for item in covered])


def _longer(loaded: Loaded, before: SignedSegment, now: SignedSegment) -> bool:
    """patchelf appends to a last writable segment instead of adding one."""
    same = (before.flags, before.align) == (now.flags, now.align) and now.flags & PF_W
    if not same or now.file_size != now.memory_size or now.file_size < before.memory_size:
        return False
    start, size = before.address + before.file_size, before.memory_size - before.file_size
    return not size or not any(loaded.read(start, size, "zeroed data"))


def _same_layout(elf: ElfFile, segments: tuple[SignedSegment, ...], statement: Statement) -> bool:
    """Whether the headers are as signed, but for the sizes of segments that hold only tables."""
    if segments == statement.segments:
        return _headers(elf) == statement.headers
    return len(segments) == len(statement.segments) and all(
        now == before
        or (
            before.type == PT_LOAD
            and _only_tables(before, statement)
            and (now.type, now.flags, now.address, now.align)
            == (before.type, before.flags, before.address, before.align)
        )
        for now, before in zip(segments, statement.segments)
    )


def _stands(loaded: Loaded, item: Digested) -> bool:
    """Whether bytes are what they were when signed."""
    try:
        return _digest(loaded, item) == item.sha256
    except ElfError:
        return False


def _zero(loaded: Loaded, item: Digested) -> bool:
    return not any(loaded.read(item.address, item.size, "a gap"))


def _filling(loaded: Loaded, item: Digested, used: _Ranges) -> bool:
    """Whether bytes that nothing uses any more hold nothing; a segment cut short has none."""
    return not any(
        loaded.read(address, size, "filling").strip(_FILLING)
        for address, size in _left(loaded, [(item.address, item.size)], used)
    )


def _left(loaded: Loaded, ranges: _Ranges, used: _Ranges) -> _Ranges:
    """What of some ranges is loaded and not used."""
    return _clipped(_without(ranges, used), [(s.vaddr, s.filesz) for s in loaded.segments])


def _old_headers(elf: ElfFile, content: bytes, statement: Statement) -> bool:
    """Whether bytes are the signed program headers: patchelf may write longer ones elsewhere."""
    wide = elf.bits == 64
    layout = elf.struct("IIQQQQQQ" if wide else "IIIIIIII")
    if len(content) != layout.size * len(statement.segments):
        return False
    for row, segment in zip(layout.iter_unpack(content), statement.segments):
        if wide:
            kind, flags, _, address, _, file_size, memory_size, align = row
        else:
            kind, _, address, _, file_size, memory_size, flags, align = row
        if segment != SignedSegment(
            type=kind,
            flags=flags,
            address=address,
            file_size=file_size,
            memory_size=memory_size,
            align=align,
        ):
            return False
    return True


def _fixed(segments: Iterable[SignedSegment]) -> list[tuple[int, ...]]:
    return sorted(
        (s.type, s.flags, s.address, s.file_size, s.memory_size, s.align)
        for s in segments
        if s.type not in _FREE
    )


def _segments(elf: ElfFile) -> tuple[SignedSegment, ...]:
    return tuple(
        SignedSegment(
            type=s.type,
            flags=s.flags,
            address=s.vaddr,
            file_size=s.filesz,
            memory_size=s.memsz,
            align=s.align,
        )
        for s in elf.segments
    )


def _identity(elf: ElfFile) -> str:
    fixed = struct.pack(
        "<HHIQIH", elf.type, elf.machine_number, elf.version, elf.entry, elf.flags, elf.ehsize
    )
    return hashlib.sha256(elf.data[:16] + fixed).hexdigest()


def _headers(elf: ElfFile) -> str:
    """The ELF header and the program headers, as they stand, but for what moves with the file.

    Left out are the places of sections, which no loader reads, and of the segments' bytes in the
    file: those are read by address.
    """
    wide = elf.bits == 64
    header = bytearray(elf.read(0, elf.header_size, "the ELF header"))
    for start, size in ((40, 8) if wide else (32, 4), (58, 6) if wide else (46, 6)):
        header[start : start + size] = bytes(size)
    table = bytearray(elf.read(elf.phoff, elf.phnum * elf.phentsize, "the program headers"))
    place, size = (8, 8) if wide else (4, 4)
    for start in range(place, len(table), elf.phentsize):
        table[start : start + size] = bytes(size)
    return hashlib.sha256(header + table).hexdigest()


def _headers_in_memory(loaded: Loaded) -> list[tuple[int, int]]:
    elf = loaded.elf
    found = []
    for offset, size in ((0, elf.header_size), (elf.phoff, elf.phnum * elf.phentsize)):
        for segment in loaded.segments:
            start = max(offset, segment.offset)
            end = min(offset + size, segment.offset + segment.filesz)
            if start < end:
                found.append((segment.vaddr + start - segment.offset, end - start))
    return found


def _plain(loaded: Loaded, outside: _Ranges) -> tuple[_Ranges, _Ranges, tuple[int, ...]]:
    """What stands outside of tables: code and data; gaps, which are of no section and hold nothing;
    and the addresses of segments that patchelf has made for tables.

    Strip and objcopy write gaps as zero, patchelf puts headers there. In segments made for tables,
    tools write into what is left between them, or cut it off, so it is not covered.
    """
    sections = [
        (s.addr, s.size)
        for s in loaded.elf.sections
        if s.flags & SHF_ALLOC and s.type != SHT_NOBITS and s.size
    ]
    if not sections:
        return outside, [], ()
    free = _without(outside, sections)
    used = _without(outside, free)
    gaps, made = [], []
    for segment in loaded.segments:
        whole = [(segment.vaddr, segment.filesz)]
        inside = _clipped(free, whole)
        if (
            segment.flags & PF_X
            or segment.memsz > segment.filesz
            or segment.offset < loaded.elf.header_size  # the linker's own
            or _clipped(used, whole)
        ):
            gaps += [
                (at, size)
                for at, size in inside
                if not loaded.read(at, size, "a gap").strip(_FILLING)
            ]
        else:
            made.append(segment.vaddr)
            outside = _without(outside, inside)
    if len(gaps) > MAX_GAPS:
        gaps = []
    return _without(outside, gaps), gaps, tuple(made)


def _without(
    whole: Iterable[tuple[int, int]], holes: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Ranges (address, size) without others, sorted."""
    cut = sorted((start, start + size) for start, size in holes)
    left = []
    for start, size in sorted(whole):
        at, end = start, start + size
        for hole, stop in cut:
            if stop <= at:
                continue
            if hole >= end:
                break
            if hole > at:
                left.append((at, hole - at))
            at = max(at, stop)
        if at < end:
            left.append((at, end - at))
    return left


def _clipped(ranges: list[tuple[int, int]], limits: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found = []
    for start, size in ranges:
        for low, length in limits:
            first, last = max(start, low), min(start + size, low + length)
            if first < last:
                found.append((first, last - first))
    return found


def _digested(loaded: Loaded, ranges: list[tuple[int, int]]) -> tuple[Digested, ...]:
    found = []
    for address, size in ranges:
        item = Digested(address=address, size=size, sha256="")
        found.append(item.replace(sha256=_digest(loaded, item)))
    return tuple(found)


def _digest(loaded: Loaded, item: Digested) -> str:
    """SHA-256 of loaded bytes, without holding more than a block of them in memory."""
    if item.size < 0 or item.address < 0:
        raise loaded.unlike("a signed range makes no sense")
    offset = loaded.place(item.address, item.size, "signed code or data")
    digest = hashlib.sha256()
    data = loaded.elf.data
    with memoryview(data) as view:
        for start in range(offset, offset + item.size, BLOCK):
            with view[start : min(start + BLOCK, offset + item.size)] as block:
                digest.update(block)
            if start - offset >= 8 * BLOCK:
                # Pages that were read count as this process's memory until let go.
                data.madvise(mmap.MADV_DONTNEED)
    return digest.hexdigest()
