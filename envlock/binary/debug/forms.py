"""What both readers of debug information share: numbers, forms of attributes, headers of units.

The DWARF 5 standard, chapter 7.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Attributes of one entry; compilers write thirty.
MAX_ATTRIBUTES = 256
ELFCOMPRESS_ZLIB = 1

#: Forms of a fixed size that does not depend on the unit: how `struct` calls them.
FIXED = {
    0x05: "H",  # data2
    0x06: "I",  # data4
    0x07: "Q",  # data8
    0x0B: "B",  # data1
    0x0C: "B",  # flag
    0x11: "B",  # ref1
    0x12: "H",  # ref2
    0x13: "I",  # ref4
    0x14: "Q",  # ref8
    0x1C: "I",  # ref_sup4
    0x20: "Q",  # ref_sig8
    0x25: "B",  # strx1
    0x26: "H",  # strx2
    0x28: "I",  # strx4
    0x29: "B",  # addrx1
    0x2A: "H",  # addrx2
    0x2C: "I",  # addrx4
}
#: strp, sec_offset, line_strp, strp_sup, GNU_ref_alt, GNU_strp_alt: as wide as the unit's offsets.
OFFSETS = frozenset((0x0E, 0x17, 0x1F, 0x1D, 0x1F20, 0x1F21))
REFERENCES = frozenset((0x11, 0x12, 0x13, 0x14, 0x15))
STRX = frozenset((0x1A, 0x25, 0x26, 0x27, 0x28))
#: udata, ref_udata, strx, addrx, loclistx, rnglistx.
ULEB = frozenset((0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23))
#: block1, block2, block4: the size of their length.
BLOCKS = {0x0A: 1, 0x03: 2, 0x04: 4}


def uleb(data: bytes, at: int, end: int = 1 << 63) -> tuple[int, int]:
    """An unsigned LEB128 number and the place behind it; raises `IndexError` at the end."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 70:
            break
    raise IndexError("LEB128 too long")


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """A signed one."""
    value, end = uleb(data, at)
    return (value - (1 << 7 * (end - at)) if data[end - 1] & 0x40 else value), end


class UnitHeader:
    """The header of a unit: where the unit ends, how wide its offsets are, DWARF version, DW_UT_*
    (1 before version 5), bytes of an address, place of its abbreviations, place of its first entry.
    """

    __slots__ = ("abbrev", "address_size", "end", "first", "kind", "version", "wide")

    def __init__(self, number: Callable[[int, int], int], at: int) -> None:
        """`number(at, size)` reads one; what it raises comes through."""
        self.wide = 4
        length = number(at, 4)
        at += 4
        if length == 0xFFFFFFFF:
            self.wide, length = 8, number(at, 8)
            at += 8
        self.end = at + length if length < 0xFFFFFFF0 or self.wide == 8 else -1
        self.kind = 1
        self.version = number(at, 2)
        at += 2
        if self.version >= 5:
            self.kind, self.address_size = number(at, 1), number(at + 1, 1)
            self.abbrev = number(at + 2, self.wide)
            # Skeleton and split units carry an 8-byte id, type units an id and an offset.
            more = {2: 8 + self.wide, 6: 8 + self.wide, 4: 8, 5: 8}.get(self.kind, 0)
            self.first = at + 2 + self.wide + more
        else:
            self.abbrev = number(at, self.wide)
            self.address_size = number(at + self.wide, 1)
            self.first = at + self.wide + 1
