"""Producer and language of each compilation unit, from the top entry of each unit's DWARF alone.

Follows the DWARF 5 standard, chapter 7 (versions 2 to 5, 32- and 64-bit). Sections are read where
they lie in the mapped file; only compressed ones (`-gz`) are unpacked, up to a limit. What cannot
be read is left out: debug information is a bonus, never a reason to fail.
"""

from __future__ import annotations

import struct

from ..elf.file import ElfFile
from ..elf.image import SHT_NOBITS
from .forms import BLOCKS, ELFCOMPRESS_ZLIB, FIXED, MAX_ATTRIBUTES, OFFSETS, STRX, ULEB, UnitHeader
from .forms import uleb as read_uleb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DW_TAG_COMPILE_UNIT, DW_TAG_SKELETON_UNIT = 0x11, 0x4A
DW_AT_LANGUAGE, DW_AT_PRODUCER, DW_AT_STROFFSETS_BASE = 0x13, 0x25, 0x72
SHF_COMPRESSED = 0x800

MAX_UNITS = 1 << 14
MAX_INFLATED = 64 << 20
#: Abbreviations looked at until a unit's own is found: it is nearly always the first.
MAX_ABBREVIATIONS = 1 << 12
#: The same for all units together.
MAX_LOOKED_AT = 1 << 17
MAX_PRODUCER = 1 << 16

#: Sizes in bytes; flag_present, data16, strx3, addrx3 and ref_sup8 are read here alone.
_FIXED = {
    **{form: struct.calcsize("=" + code) for form, code in FIXED.items()},
    0x19: 0,
    0x1E: 16,
    0x27: 3,
    0x2B: 3,
    0x24: 8,
}


class Producer:
    """One compiler and its flags as the compiler wrote them, and the DW_LANG_* number."""

    __slots__ = ("language", "text")

    def __init__(self, text: str, language: int | None) -> None:
        self.text = text
        self.language = language


class _Unreadable(Exception):
    """Debug information that contradicts itself, or uses a form unknown here."""


class _Table:
    """A section's bytes: a window into the mapped file, or unpacked."""

    __slots__ = ("data", "end", "start")

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data = data
        self.start = start
        self.end = end

    def number(self, at: int, size: int, order: str) -> int:
        if not self.start <= at <= self.end - size:
            raise _Unreadable
        raw = self.data[at : at + size]
        return int.from_bytes(raw, "little" if order == "<" else "big")

    def uleb(self, at: int) -> tuple[int, int]:
        if at < self.start:
            raise _Unreadable
        try:
            return read_uleb(self.data, at, self.end)
        except IndexError:
            raise _Unreadable from None

    def string(self, at: int) -> bytes:
        if not self.start <= at < self.end:
            raise _Unreadable
        stop = self.data.find(b"\0", at, min(self.end, at + MAX_PRODUCER))
        if stop < 0:
            raise _Unreadable
        return self.data[at:stop]


def debug_table(elf: ElfFile, name: str) -> _Table | None:
    """A debug section, None where it is absent, unreadable or unpacks to more than the limit."""
    section = elf.section(name)
    if section is None or section.type == SHT_NOBITS or not section.size:
        return None
    if section.offset + section.size > elf.size:
        return None
    if not section.flags & SHF_COMPRESSED:
        return _Table(elf.data, section.offset, section.offset + section.size)  # type: ignore[arg-type]
    import zlib

    layout = elf.struct("IIQQ" if elf.bits == 64 else "III")
    if section.size < layout.size:
        return None
    kind = layout.unpack_from(elf.data, section.offset)[0]
    if kind != ELFCOMPRESS_ZLIB:
        return None
    start = section.offset + layout.size
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(elf.data[start : section.offset + section.size], MAX_INFLATED)
    except zlib.error:
        return None
    return _Table(data, 0, len(data)) if engine.eof else None


def read_producers(elf: ElfFile) -> list[Producer]:
    """Distinct producers of the units in `.debug_info`, in file order; empty without any."""
    info, abbrev = debug_table(elf, ".debug_info"), debug_table(elf, ".debug_abbrev")
    if info is None or abbrev is None:
        return []
    found: dict[tuple[str, int | None], Producer] = {}
    reader = _Reader(elf, info, abbrev)
    for text, language in reader.units():
        if text is not None:
            found.setdefault((text, language), Producer(text, language))
    return list(found.values())


class _Reader:
    def __init__(self, elf: ElfFile, info: _Table, abbrev: _Table) -> None:
        self.elf = elf
        self.order = elf.order
        self.info = info
        self.abbrev = abbrev
        self.tables: dict[str, _Table | None] = {}
        self.left = MAX_LOOKED_AT
        self.abbreviations: dict[tuple[int, int], tuple[int, list[tuple[int, int, int]]]] = {}

    def table(self, name: str) -> _Table:
        if name not in self.tables:
            self.tables[name] = debug_table(self.elf, name)
        known = self.tables[name]
        if known is None:
            raise _Unreadable
        return known

    def units(self) -> Iterator[tuple[str | None, int | None]]:
        at = self.info.start
        for _ in range(MAX_UNITS):
            try:
                header = UnitHeader(self._number, at)
            except _Unreadable:
                return
            if header.end < at + 11 or header.end > self.info.end:
                return
            try:
                yield self._unit(header)
            except _Unreadable:
                yield None, None
            at = header.end

    def _number(self, at: int, size: int) -> int:
        return self.info.number(at, size, self.order)

    def _unit(self, header: UnitHeader) -> tuple[str | None, int | None]:
        if not 2 <= header.version <= 5 or header.kind not in (1, 3, 4, 5):
            return None, None
        code, at = self.info.uleb(header.first)
        tag, attributes = self._abbreviation(header.abbrev, code)
        if tag not in (DW_TAG_COMPILE_UNIT, DW_TAG_SKELETON_UNIT):
            return None, None
        return self._top(at, attributes, header.wide, header.address_size, header.version)

    def _top(
        self,
        at: int,
        attributes: list[tuple[int, int, int]],
        wide: int,
        address: int,
        version: int,
    ) -> tuple[str | None, int | None]:
        producer: tuple[int, int] | None = None
        language = None
        base = 8 if wide == 4 else 16
        for attribute, form, constant in attributes:
            while form == 0x16:  # indirect
                form, at = self.info.uleb(at)
            if attribute == DW_AT_PRODUCER:
                producer = (form, at)
            elif attribute == DW_AT_LANGUAGE:
                language = self._constant(form, at, constant)
            elif attribute == DW_AT_STROFFSETS_BASE:
                base = self.info.number(at, wide, self.order)
            at = self._skip(form, at, wide, address, version)
        if producer is None:
            return None, language
        return self._string(*producer, wide, base).decode("utf-8", "replace"), language

    def _abbreviation(self, offset: int, code: int) -> tuple[int, list[tuple[int, int, int]]]:
        known = self.abbreviations.get((offset, code))
        if known is not None:
            return known
        data = self.abbrev
        at = data.start + offset
        for _ in range(MAX_ABBREVIATIONS):
            here, at = data.uleb(at)
            self.left -= 1
            if not here or self.left < 0:
                break
            tag, at = data.uleb(at)
            at += 1
            attributes = []
            for _ in range(MAX_ATTRIBUTES):
                name, at = data.uleb(at)
                form, at = data.uleb(at)
                constant = 0
                if form == 0x21:  # implicit_const: its value stands here (SLEB, small positive)
                    constant, at = data.uleb(at)
                if not name and not form:
                    break
                attributes.append((name, form, constant))
            else:
                raise _Unreadable
            if here == code:
                self.abbreviations[offset, code] = (tag, attributes)
                return tag, attributes
        raise _Unreadable

    def _constant(self, form: int, at: int, constant: int) -> int | None:
        if form == 0x21:
            return constant
        if form == 0x0F:
            return self.info.uleb(at)[0]
        size = _FIXED.get(form, 0)
        return self.info.number(at, size, self.order) if size in (1, 2, 4, 8) else None

    def _skip(self, form: int, at: int, wide: int, address: int, version: int) -> int:
        info = self.info
        size = _FIXED.get(form)
        if size is None:
            if form == 0x21:
                size = 0
            elif form in OFFSETS:
                size = wide
            elif form == 0x01:
                size = address
            elif form == 0x10:  # ref_addr
                size = address if version == 2 else wide
            elif form in ULEB or form == 0x0D:
                return info.uleb(at)[1]
            elif form == 0x08:
                return at + len(info.string(at)) + 1
            elif form in (0x09, 0x18):  # block, exprloc
                size, at = info.uleb(at)
            elif form in BLOCKS:
                width = BLOCKS[form]
                size = info.number(at, width, self.order)
                at += width
            else:
                raise _Unreadable
        if at + size > info.end:
            raise _Unreadable
        return at + size

    def _string(self, form: int, at: int, wide: int, base: int) -> bytes:
        info, order = self.info, self.order
        if form == 0x08:
            return info.string(at)
        if form in (0x0E, 0x1F):
            table = self.table(".debug_str" if form == 0x0E else ".debug_line_str")
            return table.string(table.start + info.number(at, wide, order))
        if form in STRX:
            index = info.uleb(at)[0] if form == 0x1A else info.number(at, _FIXED[form], order)
            offsets, table = self.table(".debug_str_offsets"), self.table(".debug_str")
            place = offsets.start + base + index * wide
            return table.string(table.start + offsets.number(place, wide, order))
        raise _Unreadable
