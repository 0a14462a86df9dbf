"""The plugin as bytes that can be damaged at named places (64-bit, little-endian)."""

from __future__ import annotations

import struct

PHDR, SHDR, DYN, SYM, RELA = 56, 64, 16, 24, 24
#: Offset and layout of each field.
HEADER = {
    "type": (16, "H"),
    "machine": (18, "H"),
    "version": (20, "I"),
    "entry": (24, "Q"),
    "phoff": (32, "Q"),
    "shoff": (40, "Q"),
    "flags": (48, "I"),
    "ehsize": (52, "H"),
    "phentsize": (54, "H"),
    "phnum": (56, "H"),
    "shentsize": (58, "H"),
    "shnum": (60, "H"),
    "shstrndx": (62, "H"),
}
SEGMENT = {
    "type": (0, "I"),
    "flags": (4, "I"),
    "offset": (8, "Q"),
    "vaddr": (16, "Q"),
    "filesz": (32, "Q"),
    "memsz": (40, "Q"),
    "align": (48, "Q"),
}
SYMBOL = {
    "name": (0, "I"),
    "info": (4, "B"),
    "other": (5, "B"),
    "section": (6, "H"),
    "value": (8, "Q"),
    "size": (16, "Q"),
}
RELOCATION = {"place": (0, "Q"), "type": (8, "I"), "symbol": (12, "I"), "addend": (16, "q")}
TAGS = {
    "NULL": 0,
    "NEEDED": 1,
    "PLTRELSZ": 2,
    "PLTGOT": 3,
    "HASH": 4,
    "STRTAB": 5,
    "SYMTAB": 6,
    "RELA": 7,
    "RELASZ": 8,
    "RELAENT": 9,
    "STRSZ": 10,
    "SYMENT": 11,
    "INIT": 12,
    "FINI": 13,
    "SONAME": 14,
    "PLTREL": 20,
    "JMPREL": 23,
    "INIT_ARRAY": 25,
    "FINI_ARRAY": 26,
    "INIT_ARRAYSZ": 27,
    "RUNPATH": 29,
    "GNU_HASH": 0x6FFFFEF5,
    "VERSYM": 0x6FFFFFF0,
    "RELACOUNT": 0x6FFFFFF9,
    "FLAGS_1": 0x6FFFFFFB,
    "VERDEF": 0x6FFFFFFC,
    "VERDEFNUM": 0x6FFFFFFD,
    "VERNEED": 0x6FFFFFFE,
    "VERNEEDNUM": 0x6FFFFFFF,
    "UNKNOWN": 0x6FFFF123,
}


class Patient:
    """A copy of the plugin; places are looked up in the file as it was."""

    def __init__(self, content: bytes) -> None:
        self.whole = content
        self.data = bytearray(content)

    def get(self, at: int, layout: str) -> int:
        """A number of the undamaged file."""
        return int(struct.unpack_from("<" + layout, self.whole, at)[0])

    def put(self, at: int, layout: str, value: int) -> None:
        """Overwrite a number."""
        struct.pack_into("<" + layout, self.data, at, value)

    def header(self, field: str, value: int) -> None:
        """A field of the ELF header."""
        at, layout = HEADER[field]
        self.put(at, layout, value)

    def segment_at(self, kind: int, number: int = 0) -> int:
        """The offset of a program header: the so-manieth of its type."""
        start, count = self.get(32, "Q"), self.get(56, "H")
        found = [start + i * PHDR for i in range(count) if self.get(start + i * PHDR, "I") == kind]
        return found[number]

    def segment(self, kind: int, field: str, value: int, number: int = 0) -> None:
        """A field of a program header."""
        offset, layout = SEGMENT[field]
        self.put(self.segment_at(kind, number) + offset, layout, value)

    def dynamic_at(self, tag: str, number: int = 0) -> int:
        """The offset of a dynamic entry."""
        start = self.get(self.segment_at(2) + 8, "Q")
        size = self.get(self.segment_at(2) + 32, "Q")
        found = [at for at in range(start, start + size, DYN) if self.get(at, "Q") == TAGS[tag]]
        return found[number]

    def dynamic(self, tag: str, value: int, number: int = 0) -> None:
        """The value of a dynamic entry."""
        self.put(self.dynamic_at(tag, number) + 8, "Q", value)

    def retag(self, tag: str, to: str, value: int | None = None) -> None:
        """Another tag for an entry."""
        at = self.dynamic_at(tag)
        self.put(at, "Q", TAGS[to])
        if value is not None:
            self.put(at + 8, "Q", value)

    def address(self, tag: str) -> int:
        """The address that a dynamic entry holds."""
        return self.get(self.dynamic_at(tag) + 8, "Q")

    def place(self, tag: str) -> int:
        """The file offset of what a dynamic entry points to."""
        address = self.address(tag)
        for number in range(4):
            at = self.segment_at(1, number)
            offset, vaddr, size = (self.get(at + o, "Q") for o in (8, 16, 32))
            if vaddr <= address < vaddr + size:
                return offset + address - vaddr
        raise LookupError(tag)

    def name_of(self, index: int) -> bytes:
        """A symbol's name."""
        at = self.place("STRTAB") + self.get(self.place("SYMTAB") + SYM * index, "I")
        return self.whole[at : self.whole.index(b"\0", at)]

    def symbol_index(self, name: str) -> int:
        """The index of a symbol."""
        count = self.get(self.place("HASH") + 4, "I")
        return next(i for i in range(count) if self.name_of(i) == name.encode())

    def symbol(self, name: str, field: str, value: int) -> None:
        """A field of a symbol."""
        offset, layout = SYMBOL[field]
        self.put(self.place("SYMTAB") + SYM * self.symbol_index(name) + offset, layout, value)

    def relocation(self, table: str, number: int, field: str, value: int) -> None:
        """A field of a relocation of RELA or JMPREL."""
        offset, layout = RELOCATION[field]
        self.put(self.place(table) + RELA * number + offset, layout, value)

    def replace(self, old: bytes, new: bytes) -> None:
        """The first occurrence of some bytes, by as many others."""
        assert len(old) == len(new)
        at = self.data.index(old)
        self.data[at : at + len(new)] = new

    def section(self, name: str) -> tuple[int, int, int]:
        """(offset of the header, offset of the content, size) of a section."""
        start, count, names = self.get(40, "Q"), self.get(60, "H"), self.get(62, "H")
        table = self.get(start + names * SHDR + 24, "Q")
        for at in range(start, start + count * SHDR, SHDR):
            here = table + self.get(at, "I")
            if self.whole[here : self.whole.index(b"\0", here)] == name.encode():
                return at, self.get(at + 24, "Q"), self.get(at + 32, "Q")
        raise LookupError(name)

    def cut(self, length: int) -> None:
        """Nothing from there on."""
        del self.data[length:]
