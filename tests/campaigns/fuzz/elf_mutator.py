"""Structure-aware damage to ELF files: one number of one record, mostly to a value that is near.

The file is taken apart independently of envlock, as far as its own numbers lead; what a mutation
changes is a field of a header, a dynamic entry, a symbol, a relocation, a version record, a hash
table, a note or a debug section. Offsets stay plausible: addresses are exchanged for other
addresses of the same file, sizes for sizes, names for names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

BOUNDARY = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    0x18,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFF0,
    0xFFFFFFFF,
    1 << 32,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 24,
    (1 << 64) - 8,
    (1 << 64) - 1,
)
TAGS = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
    27,
    28,
    29,
    30,
    32,
    33,
    34,
    35,
    36,
    37,
    0x6FFFFEF5,
    0x6FFFFFF0,
    0x6FFFFFF9,
    0x6FFFFFFA,
    0x6FFFFFFB,
    0x6FFFFFFC,
    0x6FFFFFFD,
    0x6FFFFFFE,
    0x6FFFFFFF,
    0x7FFFFFFD,
    0x7FFFFFFF,
)
SEGMENTS = (0, 1, 2, 3, 4, 6, 7, 0x6474E550, 0x6474E551, 0x6474E552, 0x6474E553)
SECTIONS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 0x6FFFFFF6, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF)
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
MOST = 512  # records of one table that are looked at


class Table:
    """Records of one layout: the offset of the first, their number, the sizes of their fields."""

    def __init__(self, name: str, offset: int, count: int, sizes: str) -> None:
        self.name = name
        self.offset = offset
        self.count = count
        self.sizes = list(map(int, sizes))
        self.record = sum(self.sizes)

    def place(self, record: int, field: int) -> tuple[int, int]:
        """(offset in the file, bytes) of a field."""
        return self.offset + record * self.record + sum(self.sizes[:field]), self.sizes[field]


class Anatomy:
    """Where the records of an ELF file stand, as far as its own numbers lead."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.wide = data[4] == 2
        self.order = ">" if data[5] == 2 else "<"
        self.tables: list[Table] = []
        self.values: list[int] = []  # addresses, offsets and sizes that mean something
        self.loads: list[tuple[int, int, int]] = []
        self.dynamic: dict[int, int] = {}
        self._headers()

    def number(self, at: int, size: int) -> int:
        return int(struct.unpack_from(self.order + _CODES[size], self.data, at)[0])

    def add(self, name: str, offset: int, count: int, sizes: str) -> Table | None:
        table = Table(name, offset, count, sizes)
        if offset < 0 or count <= 0 or offset >= len(self.data):
            return None
        table.count = min(count, MOST, (len(self.data) - offset) // table.record)
        if table.count <= 0:
            return None
        self.tables.append(table)
        return table

    def _headers(self) -> None:
        wide = self.wide
        self.add(
            "header", 0, 1, "1" * 16 + ("2244" + "888" if wide else "2244" + "444") + "4222222"
        )
        if len(self.data) < (64 if wide else 52):
            return
        word = 8 if wide else 4
        phoff, shoff = self.number(28 + 4 * wide, word), self.number(32 + 8 * wide, word)
        phnum, shnum = self.number(44 + 12 * wide, 2), self.number(48 + 12 * wide, 2)
        phdr = "44888888" if wide else "44444444"
        segments = self.add("segments", phoff, phnum, phdr)
        sections = self.add("sections", shoff, shnum, "4488884488" if wide else "4" * 10)
        if segments is not None:
            self._segments(segments)
        if sections is not None:
            self._sections(sections)
        if self.dynamic:
            self._dynamic()

    def rows(self, table: Table) -> Iterator[tuple[int, ...]]:
        """The records of a table, as numbers."""
        layout = struct.Struct(self.order + "".join(_CODES[size] for size in table.sizes))
        end = table.offset + table.count * table.record
        return layout.iter_unpack(self.data[table.offset : end])

    def _segments(self, table: Table) -> None:
        for kind, *rest in self.rows(table):
            if self.wide:
                _, offset, vaddr, _, filesz, memsz, _ = rest
            else:
                offset, vaddr, _, filesz, memsz, _, _ = rest
            self.values += [offset, vaddr, filesz, memsz, offset + filesz, vaddr + filesz]
            if kind == 1:
                self.loads.append((vaddr, offset, filesz))
            elif kind == 2:
                word = "8" if self.wide else "4"
                entries = self.add("dynamic", offset, filesz // (2 * int(word)), word * 2)
                if entries is None:
                    continue
                for entry, (tag, value) in enumerate(self.rows(entries)):
                    if tag == 0:
                        entries.count = entry + 1
                        break
                    self.dynamic[tag] = value
                    self.values.append(value)
            elif kind == 4:
                self.add("note", offset, filesz // 4, "4")
            elif kind == 0x6474E550:
                self.add("unwind", offset, filesz // 4, "4")

    def _sections(self, table: Table) -> None:
        for _, kind, flags, addr, offset, size, *_ in self.rows(table):
            self.values += [addr, offset, size, offset + size]
            if kind == 7 and not flags & 2:
                self.add("note", offset, size // 4, "4")
            elif kind == 1 and not addr:
                self.add("debug", offset, size, "1")

    def offset(self, tag: int) -> int:
        """The file offset of what a dynamic entry points to, -1 where it leads nowhere."""
        address = self.dynamic.get(tag)
        for vaddr, offset, filesz in self.loads:
            if address is not None and vaddr <= address < vaddr + filesz:
                return offset + address - vaddr
        return -1

    def _dynamic(self) -> None:
        wide = self.wide
        strings = self.offset(5)
        self.add("strings", strings, self.dynamic.get(10, 0), "1")
        symbols = self.offset(6)
        record = "411288" if wide else "444112"
        if 0 <= symbols < strings:
            count = (strings - symbols) // (24 if wide else 16)
            self.add("symbols", symbols, count, record)
            self.add("versym", self.offset(0x6FFFFFF0), count, "2")
        for start, size in ((7, 8), (23, 2)):
            sizes = "8448" if wide and self.order == "<" else "888" if wide else "444"
            record_size = sum(map(int, sizes))
            self.add("rela", self.offset(start), self.dynamic.get(size, 0) // record_size, sizes)
        self.add(
            "rel",
            self.offset(17),
            self.dynamic.get(18, 0) // (16 if wide else 8),
            "88" if wide else "44",
        )
        hashes = self.offset(0x6FFFFEF5)
        if 0 <= hashes <= len(self.data) - 16:
            buckets, _, words, _ = (self.number(hashes + 4 * i, 4) for i in range(4))
            self.add("gnu-hash", hashes, 1, "4444")
            word = 8 if wide else 4
            self.add("filter", hashes + 16, words, str(word))
            self.add("buckets", hashes + 16 + word * words, min(buckets + 64, MOST), "4")
        classic = self.offset(4)
        if 0 <= classic <= len(self.data) - 8:
            total = self.number(classic, 4) + self.number(classic + 4, 4)
            self.add("hash", classic, 2 + min(total, MOST), "4")
        self.add("verneed", self.offset(0x6FFFFFFE), 16, "22444")
        self.add("verdef", self.offset(0x6FFFFFFC), 16, "2222444")
        self.add("constructors", self.offset(25), self.dynamic.get(27, 0) // 8, "8")


def mutate(data: bytes, chance: Random) -> bytes:
    """The file with one to four changes."""
    if len(data) < 20 or data[:4] != b"\x7fELF" or chance.random() < 0.02:
        return blunt(data, chance)
    work = bytearray(data)
    try:
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
            _change(work, Anatomy(bytes(work)), chance)
    except (struct.error, IndexError, ValueError):
        return blunt(bytes(work), chance)
    return bytes(work)


def _change(work: bytearray, anatomy: Anatomy, chance: Random) -> None:
    table = chance.choice(anatomy.tables)
    record = chance.randrange(table.count)
    field = chance.randrange(len(table.sizes))
    at, size = table.place(record, field)
    how = chance.random()
    if how < 0.07 and table.count > 1:
        other = chance.randrange(table.count)
        first, second = (table.offset + r * table.record for r in (record, other))
        one, two = (bytes(work[place : place + table.record]) for place in (first, second))
        work[first : first + table.record], work[second : second + table.record] = two, one
    elif how < 0.12 and table.count > 1:
        source, _ = table.place(chance.randrange(table.count), field)
        work[at : at + size] = work[source : source + size]
    elif how < 0.15:
        cut = chance.choice([*anatomy.values, chance.randrange(len(work))])
        if 0 < cut < len(work):
            del work[cut:]
    elif how < 0.17:
        work += bytes(chance.choice((1, 8, 64, 4096)))
    else:
        old = anatomy.number(at, size)
        value = _value(table, field, old, anatomy, chance)
        order = "little" if anatomy.order == "<" else "big"
        work[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, order)


def _value(table: Table, field: int, old: int, anatomy: Anatomy, chance: Random) -> int:
    if field == 0 and chance.random() < 0.6:
        if table.name == "dynamic":
            return chance.choice(TAGS)
        if table.name == "segments":
            return chance.choice(SEGMENTS)
    if table.name == "sections" and field == 1 and chance.random() < 0.6:
        return chance.choice(SECTIONS)
    how = chance.random()
    if how < 0.25:
        return chance.choice(BOUNDARY)
    if how < 0.5:
        return old + chance.choice((-24, -16, -8, -4, -2, -1, 1, 2, 4, 8, 16, 24))
    if how < 0.65 and anatomy.values:
        return chance.choice(anatomy.values) + chance.choice((-1, 0, 0, 0, 1))
    if how < 0.75:
        return len(anatomy.data) + chance.choice((-24, -8, -1, 0, 1, 8))
    if how < 0.85:
        return old ^ (1 << chance.randrange(64))
    return chance.getrandbits(chance.choice((4, 8, 16, 32, 64)))


def blunt(data: bytes, chance: Random) -> bytes:
    """Any bytes: some overwritten, removed, repeated or added."""
    work = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(work) + 1)
        count = chance.choice((1, 1, 1, 2, 4, 8, 32))
        how = chance.random()
        if how < 0.5:
            work[at : at + count] = chance.randbytes(min(count, 8))
        elif how < 0.65:
            del work[at : at + count]
        elif how < 0.8:
            work[at:at] = work[at : at + count] * chance.choice((1, 2, 16))
        elif how < 0.9:
            work[at:at] = chance.randbytes(count)
        else:
            work[at : at + 1] = bytes([chance.choice((0, 0x7F, 0x80, 0xFF))])
    return bytes(work)
