"""A shared library as the dynamic linker maps it, and the tables that it finds there.

Everything goes by virtual address, as in a loaded process. Where a file could show the dynamic
linker (glibc 2.36, `_dl_map_object_from_fd` in elf/dl-load.c) something else than what a reader
of the file sees, it is refused: overlapping segments, a second PT_DYNAMIC, a PT_DYNAMIC whose
file offset and address disagree, tables that leave their segment, chains that do not end.
"""

from __future__ import annotations

import sys

from ...binary.elf.dynamic import (
    DT_GNU_HASH,
    DT_HASH,
    DT_JMPREL,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_REL,
    DT_RELA,
    DT_RELASZ,
    DT_RELR,
    DT_RELRSZ,
    DT_RELSZ,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERNEED,
    DT_VERSYM,
    MAX_NAMES,
)
from ...binary.elf.file import ElfFile
from ...binary.elf.image import (
    PT_DYNAMIC,
    PT_GNU_PROPERTY,
    PT_GNU_STACK,
    PT_LOAD,
    PT_NOTE,
    PT_TLS,
    Segment,
)
from ...models.errors import ElfError

PT_PHDR = 6
PT_GNU_EH_FRAME, PT_GNU_RELRO = 0x6474E550, 0x6474E552
_ONCE = (PT_DYNAMIC, PT_TLS, PT_PHDR, PT_GNU_EH_FRAME, PT_GNU_STACK, PT_GNU_RELRO, PT_GNU_PROPERTY)
_MAPPED = (PT_DYNAMIC, PT_TLS, PT_PHDR, PT_GNU_EH_FRAME, PT_NOTE, PT_GNU_PROPERTY)

RELOCATIONS = (
    (DT_RELA, DT_RELASZ),
    (DT_REL, DT_RELSZ),
    (DT_RELR, DT_RELRSZ),
    (DT_JMPREL, DT_PLTRELSZ),
)
#: Machines whose pages always have 4 KiB: i386, s390x, x86-64.
_SMALL_PAGES = (3, 22, 62)
_MIPS = 8
MAX_CHAIN = 1 << 15
MAX_SYMBOLS = 1 << 23


class Need:
    """One Elf64_Verneed as it stands: the file's name, and every Elf64_Vernaux behind it."""

    __slots__ = ("fields", "file", "versions")

    def __init__(self, file: bytes, fields: tuple[int, ...]) -> None:
        self.file = file
        self.fields = fields
        self.versions: list[tuple[bytes, tuple[int, ...]]] = []


class Loaded:
    """The loaded form of an open `ElfFile`; raises `ElfError` for what could be seen two ways."""

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.segments = [s for s in elf.segments if s.type == PT_LOAD]
        self._places: list[tuple[int, int]] = []
        self._names_left = MAX_NAMES
        self._require_one_view()
        self.dynamic = elf.dynamic
        self._require_terminated()
        self.symbol_size = 24 if elf.bits == 64 else 16
        self.relocations = self._read_relocations()
        self.hashes = self._read_hashes()
        self.symbol_count = self._count_symbols()
        self.symbols = self._table(DT_SYMTAB, self.symbol_count * self.symbol_size, "symbols")
        versions = 2 * self.symbol_count if self.dynamic.get(DT_VERSYM) is not None else 0
        self.symbol_versions = self._table(DT_VERSYM, versions, "symbol versions")
        self._table(DT_STRTAB, self.dynamic.get(DT_STRSZ) or 0, "the dynamic string table")
        self.needs = self._read_needs()
        self.definitions = self._read_definitions()
        self.notes = self._read_notes()

    def unlike(self, what: str) -> ElfError:
        """The error for a file that the dynamic linker could see in another way."""
        return ElfError(f"`{self.elf.path}` cannot be signed or verified: {what}")

    def place(self, address: int, size: int, what: str) -> int:
        """The file offset of loaded bytes."""
        return self.elf.offset_of(address, size, what)

    def read(self, address: int, size: int, what: str) -> bytes:
        """Loaded bytes that stand in the file."""
        return self.elf.read(self.place(address, size, what), size, what)

    def string(self, offset: int, what: str) -> bytes:
        """A string of the dynamic string table; entries may share a long one, so all are counted."""
        text = self.dynamic.string(offset, what)
        self._names_left -= len(text)
        if self._names_left < 0:
            raise self.dynamic.too_long("versions and libraries")
        return text

    @property
    def tables(self) -> list[tuple[int, int]]:
        """(address, size) of what the dynamic linker reads, sorted and merged."""
        merged: list[tuple[int, int]] = []
        for start, size in sorted(self._places):
            if merged and start <= sum(merged[-1]):
                before, old = merged[-1]
                merged[-1] = (before, max(old, start + size - before))
            elif size:
                merged.append((start, size))
        return merged

    def _require_one_view(self) -> None:
        elf = self.elf
        limit = 1 << elf.bits
        end = 0
        for segment in self.segments:
            page = self._page(segment)
            last = segment.vaddr + max(segment.memsz, segment.filesz)
            if segment.filesz > segment.memsz or last + page > limit:
                raise self.unlike("a segment's sizes make no sense")
            if segment.offset + segment.filesz > elf.size:
                raise elf.damaged("a loaded segment ends outside the file")
            start = segment.vaddr - segment.vaddr % page
            if start < end:
                raise self.unlike("its loaded segments overlap or are not in order")
            end = last + -last % page
        if not self.segments:
            raise self.unlike("it loads nothing")
        for kind in _ONCE:
            if sum(segment.type == kind for segment in elf.segments) > 1:
                raise self.unlike(f"it has two program headers of type {kind:#x}")
        for segment in elf.segments:
            if segment.type not in _MAPPED or not segment.filesz:
                continue
            what = f"program header of type {segment.type:#x}"
            if self.place(segment.vaddr, segment.filesz, what) != segment.offset:
                raise self.unlike(f"a {what} has an address and a file offset that disagree")
            if segment.type == PT_PHDR and segment.offset != elf.phoff:
                raise self.unlike("PT_PHDR does not lead to the program headers")

    def _page(self, segment: Segment) -> int:
        """The largest page that a kernel could map the segment with."""
        if self.elf.machine_number in _SMALL_PAGES:
            return 4096
        return max(4096, min(segment.align & -segment.align, 1 << 16))

    def _require_terminated(self) -> None:
        elf = self.elf
        segment = next(s for s in elf.segments if s.type == PT_DYNAMIC)
        entry = elf.bits // 4
        if (len(self.dynamic.entries) + 1) * entry > segment.filesz:
            raise self.unlike("its dynamic section has no end")
        self._places.append((segment.vaddr, segment.filesz))

    def _table(self, tag: int, size: int, what: str) -> bytes:
        """A table that a tag leads to, and a note of where it is."""
        address = self.dynamic.get(tag)
        if address is None or not size:
            return b""
        content = self.read(address, size, what)
        self._places.append((address, size))
        return content

    def _read_relocations(self) -> list[tuple[int, bytes]]:
        return [
            (tag, self._table(tag, self.dynamic.get(size) or 0, "a relocation table"))
            for tag, size in RELOCATIONS
            if self.dynamic.get(tag) is not None
        ]

    def _read_hashes(self) -> list[tuple[int, bytes]]:
        found = []
        elf, dynamic = self.elf, self.dynamic
        gnu = dynamic.symbols.gnu
        if gnu is not None:
            buckets, first, words, _, _, _ = gnu
            chains = max(0, len(dynamic.symbols) - first)
            size = 16 + words * (elf.bits // 8) + 4 * (buckets + chains)
            found.append((DT_GNU_HASH, self._table(DT_GNU_HASH, size, "the GNU hash table")))
        address = dynamic.get(DT_HASH)
        if address is not None:
            # Alpha and s390x have 64-bit words here.
            word = 8 if elf.bits == 64 and elf.machine_number in (22, 0x9026) else 4
            layout = elf.struct("QQ" if word == 8 else "II")
            head = self.read(address, 2 * word, "the hash table")
            size = (2 + sum(layout.unpack(head))) * word
            found.append((DT_HASH, self._table(DT_HASH, size, "the hash table")))
        return found

    def _count_symbols(self) -> int:
        """One more than the last symbol that a lookup or a relocation can reach."""
        if self.dynamic.get(DT_SYMTAB) is None:
            return 0
        count = len(self.dynamic.symbols) if self.hashes else 0
        for tag, content in self.relocations:
            if tag == DT_JMPREL:
                bare = self.dynamic.get(DT_PLTREL) == DT_REL
            elif tag == DT_RELR:
                continue
            else:
                bare = tag == DT_REL
            count = max(count, self._last_symbol(content, 2 if bare else 3) + 1)
        if count > MAX_SYMBOLS:
            raise self.unlike(f"a relocation names symbol {count - 1}")
        return count

    def _last_symbol(self, content: bytes, columns: int) -> int:
        elf = self.elf
        word = elf.bits // 8
        usable = len(content) - len(content) % (word * columns)
        if not usable or (elf.machine_number == _MIPS and word == 8):
            return -1
        shift = 32 if word == 8 else 8
        if elf.byte_order == sys.byteorder:
            words = memoryview(content)[:usable].cast("Q" if word == 8 else "I")
            return int(max(words[1::columns].tolist()) >> shift)
        layout = elf.struct(("Q" if word == 8 else "I") * columns)
        return int(max(row[1] for row in layout.iter_unpack(content[:usable])) >> shift)

    def _read_needs(self) -> list[Need]:
        """DT_VERNEED as the dynamic linker walks it: by the links, not by DT_VERNEEDNUM."""
        address = self.dynamic.get(DT_VERNEED)
        header, aux = self.elf.struct("HHIII"), self.elf.struct("IHHII")
        found: list[Need] = []
        total = 0
        while address is not None:
            version, count, file, first, following = header.unpack(
                self._record(address, 16, "a version need")
            )
            need = Need(self.string(file, "a version need's file"), (version, count))
            place = address + first
            while True:
                total += 1
                if total > MAX_CHAIN:
                    raise self.unlike("its needed versions have no end")
                hashed, flags, index, name, step = aux.unpack(
                    self._record(place, 16, "a needed version")
                )
                text = self.string(name, "a needed version's name")
                need.versions.append((text, (hashed, flags, index)))
                if not step:
                    break
                place += step
            found.append(need)
            address = address + following if following else None
        return found

    def _read_definitions(self) -> list[tuple[tuple[int, ...], list[bytes]]]:
        """DT_VERDEF: the fields and names of each definition."""
        address = self.dynamic.get(DT_VERDEF)
        header, aux = self.elf.struct("HHHHIII"), self.elf.struct("II")
        found: list[tuple[tuple[int, ...], list[bytes]]] = []
        total = 0
        while address is not None:
            version, flags, index, count, hashed, first, following = header.unpack(
                self._record(address, 20, "a version definition")
            )
            names = []
            place = address + first
            while True:
                total += 1
                if total > MAX_CHAIN:
                    raise self.unlike("its version definitions have no end")
                name, step = aux.unpack(self._record(place, 8, "a version's name"))
                names.append(self.string(name, "a version's name"))
                if not step:
                    break
                place += step
            found.append(((version, flags, index, count, hashed), names))
            address = address + following if following else None
        return found

    def _record(self, address: int, size: int, what: str) -> bytes:
        content = self.read(address, size, what)
        self._places.append((address, size))
        return content

    def _read_notes(self) -> list[tuple[int, bytes]]:
        """Each note of PT_NOTE and PT_GNU_PROPERTY once, whole; what is not a note as it stands."""
        found = set()
        for segment in self.elf.segments:
            if segment.type not in (PT_NOTE, PT_GNU_PROPERTY) or not segment.filesz:
                continue
            self._places.append((segment.vaddr, segment.filesz))
            raw = self.read(segment.vaddr, segment.filesz, "a note segment")
            step = 8 if segment.align == 8 else 4
            layout = self.elf.struct("III")
            at = 0
            while at < len(raw):
                end = len(raw)
                if at + 12 <= len(raw):
                    name, desc, _ = layout.unpack_from(raw, at)
                    start = at + 12 + name
                    start += -start % step
                    if start + desc <= len(raw):
                        end = start + desc
                found.add((segment.type, raw[at:end]))
                at = end + -end % step
        return sorted(found)
