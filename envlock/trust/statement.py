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

from ..elf.dynamic import (
    DT_AUXILIARY,
    DT_FILTER,
    DT_GNU_HASH,
    DT_HASH,
    DT_JMPREL,
    DT_NEEDED,
    DT_REL,
    DT_RELA,
    DT_RELR,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERNEED,
    DT_VERSYM,
)
from ..elf.file import PF_X, PT_DYNAMIC, PT_GNU_PROPERTY, PT_LOAD, PT_NOTE, SHF_ALLOC, SHT_NOBITS
from ..errors import ElfError, ManifestError
from ..models.record import ValidationError, decode, encode
from ..models.signature import (
    SIGNATURE_FORMAT,
    Digested,
    LinkNames,
    LinkTables,
    SignedSegment,
    Statement,
)
from .loaded import PT_PHDR, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..elf.file import ElfFile

    _Ranges = list[tuple[int, int]]

INTACT, EDITED, BROKEN = "intact", "edited", "broken"

DT_AUDIT, DT_DEPAUDIT, DT_CONFIG = 0x6FFFFEFC, 0x6FFFFEFB, 0x6FFFFEFA
_NAMES = (DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH)
_OTHER_STRINGS = (DT_AUXILIARY, DT_FILTER, DT_AUDIT, DT_DEPAUDIT, DT_CONFIG)
_PLACES = (
    *(DT_STRTAB, DT_SYMTAB, DT_HASH, DT_GNU_HASH, DT_VERSYM, DT_VERNEED, DT_VERDEF),
    *(DT_RELA, DT_REL, DT_RELR, DT_JMPREL),
)
#: Program headers that patchelf adds, moves or drops; what they lead to is compared instead.
_FREE = (0, PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_PHDR, PT_GNU_PROPERTY)
BLOCK = 1 << 20
MAX_STATEMENT = 1 << 20
#: More pieces than any linker makes; beyond that gaps count as data.
MAX_GAPS = 1024


class Change:
    """One thing that differs: its name, and both values where they can be shown."""

    __slots__ = ("built", "live", "what")

    def __init__(self, what: str, built: str | None = None, live: str | None = None) -> None:
        self.what = what
        self.built = built
        self.live = live


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
    ranges, gaps = _plain(loaded, outside)
    return Statement(
        format=SIGNATURE_FORMAT,
        manifest=hashlib.sha256(manifest).hexdigest(),
        identity=_identity(elf),
        headers=_headers(elf),
        segments=_segments(elf),
        ranges=_digested(loaded, ranges),
        tables=_digested(loaded, _clipped(tables, backed)),
        gaps=_digested(loaded, gaps),
        names=_names(loaded),
        linking=_linking(loaded),
    )


def encode_statement(statement: Statement) -> bytes:
    """Canonical JSON: the bytes that are signed."""
    text = json.dumps(encode(statement, sparse=True), sort_keys=True, separators=(",", ":"))
    return text.encode("ascii")


def decode_statement(raw: bytes, source: str) -> Statement:
    """Read signed bytes; raises `ManifestError` for what is no statement of this form."""
    from ..manifest_io import parse_json

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
    used = loaded.tables + _headers_in_memory(loaded)
    for item in statement.gaps:
        if not _stands(loaded, item) and not _filling(loaded, item, used):
            return _broken(f"the {item.size} bytes between sections at address {item.address:#x}")
    if _same_layout(elf, segments, statement) and all(
        _stands(loaded, item) for item in statement.tables
    ):
        return Outcome(INTACT)
    for item in statement.tables:
        if not _stands(loaded, item) and not _filling(loaded, item, used):
            return _broken(f"what stood at address {item.address:#x}, where a table was moved away")
    now = _linking(loaded)
    for name in LinkTables.record_fields:
        if getattr(now, name) != getattr(statement.linking, name):
            return _broken(_TABLES[name])
    changes = _name_changes(statement.names, _names(loaded))
    return Outcome(EDITED, changes or (Change("tables that the dynamic linker reads"),))


_TABLES = {
    "dynamic": "the dynamic section",
    "symbols": "the dynamic symbols",
    "versions": "the symbol versions",
    "relocations": "the relocations",
    "hashes": "the symbol hash tables",
    "notes": "the loaded notes",
}


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
    """Whether nothing but tables stands in a segment: patchelf made it, and tools trim it."""
    end = segment.address + segment.memory_size
    return not (
        segment.flags & PF_X
        or segment.memory_size > segment.file_size
        or any(r.address < end and segment.address < r.address + r.size for r in statement.ranges)
    )


def _longer(loaded: Loaded, before: SignedSegment, now: SignedSegment) -> bool:
    """patchelf appends to a last writable segment instead of adding one."""
    if (before.flags, before.align) != (now.flags, now.align) or now.file_size < before.memory_size:
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


#: What patchelf and strip write where something stood.
_FILLING = b"\0XZ"


def _filling(loaded: Loaded, item: Digested, used: list[tuple[int, int]]) -> bool:
    """Whether bytes that nothing uses any more hold nothing; a segment cut short has none."""
    backed = [(s.vaddr, s.filesz) for s in loaded.segments]
    left = _clipped(_without([(item.address, item.size)], used), backed)
    return not any(loaded.read(address, size, "filling").strip(_FILLING) for address, size in left)


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


def _plain(loaded: Loaded, outside: list[tuple[int, int]]) -> tuple[_Ranges, _Ranges]:
    """What stands outside of tables: code and data, and gaps, bytes of no section but not zero.

    Strip and objcopy write gaps as zero. In a segment that patchelf has made for tables, tools
    write into gaps or cut them off, so there they are neither.
    """
    sections = [
        (s.addr, s.size)
        for s in loaded.elf.sections
        if s.flags & SHF_ALLOC and s.type != SHT_NOBITS and s.size
    ]
    if not sections:
        return outside, []
    free = _without(outside, sections)
    used = _without(outside, free)
    gaps = []
    for segment in loaded.segments:
        whole = [(segment.vaddr, segment.filesz)]
        inside = _clipped(free, whole)
        if not (segment.flags & PF_X or segment.memsz > segment.filesz or _clipped(used, whole)):
            outside = _without(outside, inside)
            continue
        gaps += [(at, size) for at, size in inside if any(loaded.read(at, size, "a gap"))]
    if len(gaps) > MAX_GAPS:
        gaps = []
    return _without(outside, gaps), gaps


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


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _names(loaded: Loaded) -> LinkNames:
    dynamic = loaded.dynamic
    values = [
        None if v is None else _text(v) for v in (dynamic.soname, dynamic.rpath, dynamic.runpath)
    ]
    return LinkNames(
        soname=values[0],
        needed=tuple(_text(name) for name in dynamic.needed),
        rpath=values[1],
        runpath=values[2],
        version_files=tuple(_text(need.file) for need in loaded.needs),
    )


def _name_changes(before: LinkNames, now: LinkNames) -> tuple[Change, ...]:
    changes = []
    for field, tag in (
        ("runpath", "DT_RUNPATH"),
        ("rpath", "DT_RPATH"),
        ("needed", "DT_NEEDED"),
        ("soname", "DT_SONAME"),
        ("version_files", "DT_VERNEED files"),
    ):
        old, new = getattr(before, field), getattr(now, field)
        if old != new:
            changes.append(Change(tag, _shown(old), _shown(new)))
    return tuple(changes)


def _shown(value: str | tuple[str, ...] | None) -> str:
    if value is None:
        return "none"
    names = (value,) if isinstance(value, str) else value
    return (
        ", ".join(n.encode("latin-1").decode("utf-8", "backslashreplace") for n in names) or "none"
    )


class _Digest:
    """SHA-256 of labelled, length-prefixed items, so that no two lists give the same bytes."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add(self, label: int, *parts: bytes) -> None:
        self._state.update(struct.pack("<QI", label, len(parts)))
        for part in parts:
            self._state.update(struct.pack("<Q", len(part)))
            self._state.update(part)

    def hexdigest(self) -> str:
        return self._state.hexdigest()


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(struct.pack("<Q", value) for value in values)


def _linking(loaded: Loaded) -> LinkTables:
    versions, relocations, hashes, notes = _Digest(), _Digest(), _Digest(), _Digest()
    versions.add(DT_VERSYM, loaded.symbol_versions)
    for need in loaded.needs:
        versions.add(DT_VERNEED, _numbers(need.fields))
        for name, fields in need.versions:
            versions.add(DT_VERNEED, name, _numbers(fields))
    for fields, names in loaded.definitions:
        versions.add(DT_VERDEF, _numbers(fields), *names)
    for tag, content in loaded.relocations:
        relocations.add(tag, content)
    for tag, content in loaded.hashes:
        hashes.add(tag, content)
    for kind, content in loaded.notes:
        notes.add(kind, content)
    return LinkTables(
        dynamic=_dynamic(loaded),
        symbols=_symbols(loaded),
        versions=versions.hexdigest(),
        relocations=relocations.hexdigest(),
        hashes=hashes.hexdigest(),
        notes=notes.hexdigest(),
    )


def _dynamic(loaded: Loaded) -> str:
    """Tags in rising order, those of one tag in theirs: patchelf puts new ones in front."""
    digest = _Digest()
    for tag, value in sorted(loaded.dynamic.entries, key=lambda entry: entry[0]):
        if tag in _NAMES or tag == DT_STRSZ:
            continue
        if tag in _PLACES:
            digest.add(tag)
        elif tag in _OTHER_STRINGS:
            digest.add(tag, loaded.dynamic.string(value, f"the string of tag {tag:#x}"))
        else:
            digest.add(tag, _numbers((value,)))
    return digest.hexdigest()


def _symbols(loaded: Loaded) -> str:
    """Name, info, other, value, size of each symbol, and whether it is defined."""
    elf = loaded.elf
    wide = elf.bits == 64
    layout = elf.struct("IBBHQQ" if wide else "IIIBBH")
    start, size = loaded.dynamic.string_table
    end = start + size
    find, data = elf.data.find, elf.data
    pack = struct.Struct("<BBHQQ").pack
    digest = hashlib.sha256()
    for index, fields in enumerate(layout.iter_unpack(loaded.symbols)):
        if wide:
            name, info, other, section, value, length = fields
        else:
            name, value, length, info, other, section = fields
        at = start + name
        stop = find(b"\0", at, end) if at < end else -1
        if stop < 0:
            raise elf.damaged(f"symbol {index}'s name is not in the dynamic string table")
        # Section numbers change when a tool adds sections; only the reserved ones mean something.
        if 0 < section < 0xFF00:
            section = 1
        digest.update(data[at:stop] + b"\0" + pack(info, other, section, value, length))
    return digest.hexdigest()
