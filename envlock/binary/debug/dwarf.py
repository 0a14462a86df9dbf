"""Debugging information entries (DWARF 4 and 5, 32-bit), read in one pass over `.debug_info`.

Only what layout analysis needs: tags, attributes, references, strings. Forms and header layouts
follow the DWARF 5 standard, chapter 7. An abbreviation is compiled once into runs of fixed-size
forms, so that a plugin's megabytes of debug information take about a second.
"""

from __future__ import annotations

import struct

from ...models.errors import ElfError
from ..elf.file import ElfFile
from ..elf.image import ET_REL
from .forms import (
    BLOCKS,
    ELFCOMPRESS_ZLIB,
    FIXED,
    MAX_ATTRIBUTES,
    OFFSETS,
    REFERENCES,
    STRX,
    UnitHeader,
    sleb,
    uleb,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

TAG_ARRAY, TAG_CLASS, TAG_ENUM, TAG_PARAMETER = 0x01, 0x02, 0x04, 0x05
TAG_MEMBER, TAG_POINTER, TAG_REFERENCE = 0x0D, 0x0F, 0x10
TAG_COMPILE_UNIT, TAG_STRUCT, TAG_TYPEDEF, TAG_UNION = 0x11, 0x13, 0x16, 0x17
TAG_INHERITANCE, TAG_INLINED, TAG_SUBRANGE, TAG_BASE_TYPE = 0x1C, 0x1D, 0x21, 0x24
TAG_CONST, TAG_SUBPROGRAM, TAG_VARIABLE = 0x26, 0x2E, 0x34
TAG_VOLATILE, TAG_NAMESPACE, TAG_RVALUE_REFERENCE = 0x35, 0x39, 0x42

AT_SIBLING, AT_NAME, AT_BYTE_SIZE, AT_LOW_PC = 0x01, 0x03, 0x0B, 0x11
AT_PRODUCER, AT_UPPER_BOUND, AT_ABSTRACT_ORIGIN, AT_ARTIFICIAL = 0x25, 0x2F, 0x31, 0x34
AT_COUNT, AT_MEMBER_LOCATION, AT_DECLARATION = 0x37, 0x38, 0x3C
AT_ACCESSIBILITY = 0x32
AT_EXTERNAL, AT_SPECIFICATION, AT_TYPE, AT_VIRTUALITY = 0x3F, 0x47, 0x49, 0x4C
AT_VTABLE_SLOT, AT_RANGES, AT_STR_OFFSETS_BASE = 0x4D, 0x55, 0x72
AT_DATA_BIT_OFFSET, AT_BIT_SIZE, AT_LINKAGE_NAME = 0x6B, 0x0D, 0x6E

#: All offsets have four bytes here.
_FIXED = {**FIXED, **dict.fromkeys(OFFSETS, "I")}
_MAX_SECTION = 1 << 31
#: What tables and strings may add up to beyond a few times their section's size: those of a file
#: made by a compiler hardly overlap.
_SPARE = 16 << 20

if TYPE_CHECKING:
    #: One compiled abbreviation: tag, has children, steps, number of the sibling attribute.
    Abbreviation = tuple[int, bool, list[Any]]
    Attributes = dict[int, Any]
    Die = tuple[int, int, Attributes, int, bool]


class Unit:
    """One compilation unit: offsets in `.debug_info`, version and root attributes."""

    __slots__ = (
        "abbreviations",
        "address_size",
        "end",
        "first",
        "root",
        "start",
        "str_offsets",
        "version",
    )

    def __init__(self, start: int, end: int, first: int, version: int, address_size: int) -> None:
        self.start = start
        self.end = end
        self.first = first
        self.version = version
        self.address_size = address_size
        self.abbreviations: dict[int, Abbreviation] = {}
        self.root: Attributes = {}
        self.str_offsets = 8


class Dwarf:
    """The debug sections of one ELF file. `units` lists its compilation units.

    References in attributes are absolute offsets in `.debug_info`; strings are resolved by
    `text`. Damaged sections raise `ElfError`.
    """

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.order = elf.order
        self._relocations: dict[str, bytes] = {}
        self.info = self._section(".debug_info")
        self.abbrev = self._section(".debug_abbrev")
        self.strings = self._section(".debug_str")
        self.line_strings = self._section(".debug_line_str")
        self.str_offsets = self._section(".debug_str_offsets")
        self._abbreviation_tables: dict[tuple[int, int], dict[int, Abbreviation]] = {}
        self._unpack_u32 = struct.Struct(self.order + "I").unpack_from
        self._texts: dict[int, str] = {}
        self._text_left = 4 * len(self.strings) + _SPARE
        self._abbreviation_left = 4 * len(self.abbrev) + (64 << 10)
        self.units = self._read_units()

    @staticmethod
    def present(elf: ElfFile) -> bool:
        """Whether the file carries `.debug_info` of its own."""
        section = elf.section(".debug_info")
        return section is not None and section.size > 0

    def _damaged(self, what: str) -> ElfError:
        return self.elf.damaged(f"its debug information: {what}")

    def _section(self, name: str) -> bytes:
        section = self.elf.section(name)
        if section is None:
            return b""
        if section.size > _MAX_SECTION:
            raise self._damaged(f"`{name}` claims {section.size} bytes")
        raw = self.elf.section_bytes(section)
        if section.flags & 0x800:  # SHF_COMPRESSED
            raw = self._inflate(raw, name)
        if self.elf.type == ET_REL:
            raw = self._relocate(name, raw)
        return raw

    def _inflate(self, raw: bytes, name: str) -> bytes:
        size = 24 if self.elf.bits == 64 else 12
        if len(raw) < size:
            raise self._damaged(f"`{name}` is too short for its compression header")
        import zlib

        kind = self._number(raw, 0, 4)
        if kind != ELFCOMPRESS_ZLIB:
            raise self._damaged(f"`{name}` is compressed with method {kind}, only zlib is read")
        at = 8 if self.elf.bits == 64 else 4
        width = self.elf.bits // 8
        full = self._number(raw, at, width)
        if full > _MAX_SECTION or full > 1100 * len(raw):
            raise self._damaged(f"`{name}` claims {full} bytes")
        try:
            engine = zlib.decompressobj()
            data = engine.decompress(raw[size:], full)
        except zlib.error:
            raise self._damaged(f"`{name}` cannot be decompressed") from None
        if len(data) != full:
            raise self._damaged(f"`{name}` has {len(data)} bytes; its header says {full}")
        return data

    def _number(self, data: bytes, at: int, size: int) -> int:
        if at + size > len(data):
            raise self._damaged(f"a number at {at:#x} ends outside its section")
        return int.from_bytes(data[at : at + size], self.elf.byte_order)  # type: ignore[arg-type]

    def _relocate(self, name: str, raw: bytes) -> bytes:
        """Apply the absolute relocations against section symbols of an object file."""
        section = self.elf.section(".rela" + name)
        if section is None or self.elf.bits != 64:
            return raw
        table = self.elf.section_bytes(section)
        data = bytearray(raw)
        layout = struct.Struct(self.order + "QIIq")
        pack4, pack8 = struct.Struct(self.order + "I"), struct.Struct(self.order + "Q")
        # R_X86_64_32 and R_X86_64_64; R_AARCH64_ABS32 and R_AARCH64_ABS64.
        words = {62: (10, 1), 183: (258, 257)}.get(self.elf.machine_number, (10, 1))
        for offset, kind, _, addend in layout.iter_unpack(table[: len(table) // 24 * 24]):
            if kind == words[0] and offset + 4 <= len(data):
                pack4.pack_into(data, offset, addend & 0xFFFFFFFF)
            elif kind == words[1] and offset + 8 <= len(data):
                pack8.pack_into(data, offset, addend & 0xFFFFFFFFFFFFFFFF)
        return bytes(data)

    def _read_units(self) -> list[Unit]:
        units = []
        at = 0
        info = self.info

        def number(at: int, size: int) -> int:
            return self._number(info, at, size)

        while at + 11 <= len(info):
            header = UnitHeader(number, at)
            if header.end < 0 or header.wide != 4:
                raise self._damaged("a 64-bit or reserved unit length")
            if header.end < at + 11 or header.end > len(info):
                raise self._damaged(f"the unit at {at:#x} ends outside the section")
            if not 2 <= header.version <= 5:
                raise self._damaged(f"DWARF version {header.version} at {at:#x}")
            if header.kind in (1, 3, 4):
                unit = Unit(at, header.end, header.first, header.version, header.address_size)
                unit.abbreviations = self._abbreviations(header.abbrev, unit)
                units.append(unit)
                for _, _, attributes, _, _ in self.entries(unit):
                    unit.root = attributes
                    break
                base = unit.root.get(AT_STR_OFFSETS_BASE, 8)
                if type(base) is not int:
                    raise self._damaged("the offset of a string table is not a number")
                unit.str_offsets = base
            at = header.end
        return units

    def _abbreviations(self, offset: int, unit: Unit) -> dict[int, Abbreviation]:
        key = (offset, unit.version << 8 | unit.address_size)
        known = self._abbreviation_tables.get(key)
        if known is not None:
            return known
        table: dict[int, Abbreviation] = {}
        data = self.abbrev
        try:
            code, at = uleb(data, offset)
            while code:
                tag, at = uleb(data, at)
                children = data[at] != 0
                at += 1
                pairs = []
                while True:
                    attribute, at = uleb(data, at)
                    form, at = uleb(data, at)
                    constant = 0
                    if form == 0x21:  # implicit_const
                        constant, at = sleb(data, at)
                    if not attribute and not form:
                        break
                    pairs.append((attribute, form, constant))
                    if len(pairs) > MAX_ATTRIBUTES:
                        raise self._damaged(f"an entry of more than {MAX_ATTRIBUTES} attributes")
                table[code] = (tag, children, self._compile(pairs, unit))
                code, at = uleb(data, at)
        except IndexError:
            raise self._damaged("an abbreviation table has no end") from None
        self._abbreviation_left -= at - offset
        if self._abbreviation_left < 0:
            raise self._damaged("abbreviation tables overlap each other")
        self._abbreviation_tables[key] = table
        return table

    def _compile(self, pairs: list[tuple[int, int, int]], unit: Unit) -> list[Any]:
        """Steps of one abbreviation: a struct over fixed forms, then one variable form."""
        steps: list[Any] = []
        run: list[tuple[int, int]] = []
        codes = ""

        def flush() -> None:
            nonlocal run, codes
            if run:
                plain = tuple(a for a, form in run if form not in REFERENCES)
                refs = tuple((a, i) for i, (a, form) in enumerate(run) if form in REFERENCES)
                layout = struct.Struct(self.order + codes)
                names = tuple(a for a, _ in run)
                strx = tuple(a for a, form in run if form in STRX)
                lines = tuple(a for a, form in run if form == 0x1F)
                steps.append((0, layout.unpack_from, layout.size, names, refs, strx, lines, plain))
            run, codes = [], ""

        for attribute, form, constant in pairs:
            code = _FIXED.get(form)
            if form == 0x01:
                code = "Q" if unit.address_size == 8 else "I"
            elif form == 0x10:  # ref_addr
                code = "I" if unit.version > 2 else ("Q" if unit.address_size == 8 else "I")
            if code is not None:
                run.append((attribute, form))
                codes += code
                continue
            if form in (0x19, 0x21):  # flag_present, implicit_const: no bytes at all
                steps_value = True if form == 0x19 else constant
                flush()
                steps.append((1, attribute, steps_value))
                continue
            flush()
            steps.append((2, attribute, form))
        flush()
        return steps

    def entries(
        self, unit: Unit, skip: Callable[[int, Attributes], bool] | None = None
    ) -> Iterator[Die]:
        """(offset, tag, attributes, depth, has children) of every entry, in file order.

        `skip(tag, attributes)` true: the entry's children are passed over.
        """
        info = self.info
        at, end, base = unit.first, unit.end, unit.start
        table = unit.abbreviations
        depth = 0
        hidden = -1  # depth below which entries are skipped without a sibling attribute
        try:
            while at < end:
                offset = at
                code = info[at]
                at += 1
                if code & 0x80:
                    code, at = uleb(info, at - 1)
                if code == 0:
                    depth -= 1
                    if depth <= 0:
                        return
                    if hidden >= depth:
                        hidden = -1
                    continue
                tag, children, steps = table[code]
                attributes: Attributes = {}
                for step in steps:
                    kind = step[0]
                    if kind == 0:
                        values = step[1](info, at)
                        at += step[2]
                        attributes.update(zip(step[3], values))
                        for attribute, index in step[4]:
                            attributes[attribute] = base + values[index]
                        for attribute in step[5]:
                            attributes[attribute] = ("x", attributes[attribute])
                        for attribute in step[6]:
                            attributes[attribute] = ("l", attributes[attribute])
                    elif kind == 1:
                        attributes[step[1]] = step[2]
                    else:
                        attributes[step[1]], at = self._variable(step[2], at, unit)
                if hidden < 0:
                    yield offset, tag, attributes, depth, children
                if children:
                    if hidden < 0 and skip is not None and skip(tag, attributes):
                        sibling = attributes.get(AT_SIBLING)
                        if isinstance(sibling, int) and offset < sibling <= end:
                            at = sibling
                            continue
                        hidden = depth
                    depth += 1
                elif depth == 0:
                    return
        except (IndexError, struct.error, KeyError):
            raise self._damaged(f"an entry of the unit at {base:#x} cannot be read") from None

    def _variable(self, form: int, at: int, unit: Unit) -> tuple[Any, int]:
        info = self.info
        if form == 0x18 or form == 0x09:  # exprloc, block
            size, at = uleb(info, at)
            return info[at : at + size], at + size
        if form == 0x0F or form in (0x1B, 0x22, 0x23):  # udata, addrx, loclistx, rnglistx
            return uleb(info, at)
        if form == 0x0D:  # sdata
            return sleb(info, at)
        if form == 0x08:  # string
            end = info.find(b"\0", at)
            if end < 0:
                raise self._damaged(f"the string at {at:#x} has no end")
            return info[at:end], end + 1
        if form in BLOCKS:
            width = BLOCKS[form]
            size = int.from_bytes(info[at : at + width], self.elf.byte_order)  # type: ignore[arg-type]
            return info[at + width : at + width + size], at + width + size
        if form == 0x15:  # ref_udata
            value, at = uleb(info, at)
            return unit.start + value, at
        if form == 0x1A:  # strx
            value, at = uleb(info, at)
            return ("x", value), at
        if form == 0x1E:  # data16
            return info[at : at + 16], at + 16
        if form in (0x27, 0x2B):  # strx3, addrx3
            value = int.from_bytes(info[at : at + 3], self.elf.byte_order)  # type: ignore[arg-type]
            return (("x", value) if form == 0x27 else value), at + 3
        if form == 0x16:  # indirect
            actual, at = uleb(info, at)
            code = _FIXED.get(actual)
            if code is None:
                if actual == 0x16:
                    raise self._damaged("an indirect form names itself")
                return self._variable(actual, at, unit)
            layout = struct.Struct(self.order + code)
            (value,) = layout.unpack_from(info, at)
            return (unit.start + value if actual in REFERENCES else value), at + layout.size
        raise self._damaged(f"unknown form {form:#x}")

    def text(self, value: object, unit: Unit) -> str:
        """The string behind a string attribute's raw value."""
        if type(value) is int:
            known = self._texts.get(value)
            if known is None:
                known = self._texts[value] = self._string(self.strings, value)
                self._text_left -= len(known)
                if self._text_left < 0:
                    raise self._damaged("names overlap each other")
            return known
        if type(value) is bytes:
            return value.decode("utf-8", "replace")
        if type(value) is tuple:
            kind, number = value
            if kind == "l":
                return self._string(self.line_strings, number)
            at = unit.str_offsets + 4 * number
            if at + 4 > len(self.str_offsets):
                raise self._damaged("a string index lies outside its table")
            return self._string(self.strings, self._unpack_u32(self.str_offsets, at)[0])
        return ""

    def _string(self, table: bytes, offset: int) -> str:
        end = table.find(b"\0", offset)
        if end < 0:
            raise self._damaged(f"the string at {offset:#x} lies outside its section")
        return table[offset:end].decode("utf-8", "replace")


def constant(value: object) -> int | None:
    """An attribute of class constant, also where it stands in a DW_OP_constu/plus_uconst block."""
    if type(value) is int:
        return value
    if type(value) is bytes and len(value) >= 1:
        try:
            if value[0] in (0x10, 0x23):  # constu, plus_uconst
                return uleb(value, 1)[0]
            if value[0] == 0x11:
                return sleb(value, 1)[0]
            if value[0] in (0x08, 0x09):
                return value[1]
            if value[0] in (0x0A, 0x0B):
                return int.from_bytes(value[1:3], "little")
            if 0x30 <= value[0] <= 0x4F:
                return value[0] - 0x30
        except IndexError:
            return None
    return None
