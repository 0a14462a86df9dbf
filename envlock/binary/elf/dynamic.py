"""The dynamic section and its string table.

Everything is found as the dynamic linker finds it: by PT_DYNAMIC and addresses in PT_LOAD, never
by section headers, which a stripped file need not have. Mirrors `elf_get_dynamic_info`
(elf/get-dynamic-info.h) and `_dl_setup_hash` (elf/dl-setup_hash.c) of glibc.
"""

from __future__ import annotations

from ...models.errors import ElfError
from .image import PT_DYNAMIC, PT_NOTE, ElfImage

DT_NULL, DT_NEEDED, DT_PLTRELSZ, DT_HASH, DT_STRTAB, DT_SYMTAB = 0, 1, 2, 4, 5, 6
DT_RELA, DT_RELASZ, DT_RELAENT, DT_STRSZ = 7, 8, 9, 10
DT_SONAME, DT_RPATH, DT_SYMBOLIC, DT_REL, DT_RELSZ = 14, 15, 16, 17, 18
DT_PLTREL, DT_TEXTREL, DT_JMPREL, DT_RUNPATH, DT_FLAGS = 20, 22, 23, 29, 30
DT_RELRSZ, DT_RELR = 35, 36
DT_AUXILIARY, DT_FILTER = 0x7FFFFFFD, 0x7FFFFFFF
DT_GNU_HASH, DT_VERSYM, DT_RELACOUNT = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFF9
DT_FLAGS_1, DT_VERDEF, DT_VERNEED = 0x6FFFFFFB, 0x6FFFFFFC, 0x6FFFFFFE
DF_TEXTREL, DF_STATIC_TLS = 4, 0x10
DF_1_NODEFLIB, DF_1_NOOPEN, DF_1_PIE = 0x800, 0x40, 0x08000000

#: What names a library that is loaded too.
LOADING = frozenset((DT_NEEDED, DT_AUXILIARY, DT_FILTER))

MAX_ENTRIES = 1 << 16
#: DT_NEEDED entries beyond this are refused as damage.
MAX_NEEDED = 4096
#: Bytes of the names of one table, which may all be the same long one: `MAX_NEEDED` names as long
#: as a file's can be.
MAX_NAMES = 1 << 20


class DynamicSection:
    """The dynamic section of an open `ElfImage`; strings are raw bytes until shown to people."""

    def __init__(self, elf: ElfImage) -> None:
        self.elf = elf
        self._first: dict[int, int] = {}
        self._all: list[tuple[int, int]] = []
        self._loads: list[tuple[int, bytes]] | None = None
        for tag, value in self._entries():
            self._all.append((tag, value))
            # glibc keeps the last entry of a tag; DT_NEEDED and its kind are walked instead.
            self._first[tag] = value
        self._strtab = 0
        self._strsz = 0
        if DT_STRTAB in self._first:
            address = self._first[DT_STRTAB]
            self._strtab = elf.offset_of(address, 0, "the dynamic string table")
            # The dynamic linker does not look at DT_STRSZ.
            most = min(elf.loaded_behind(address), elf.size - self._strtab)
            stated = self._first.get(DT_STRSZ, 0)
            self._strsz = stated if 0 < stated <= most else most

    def _entries(self) -> list[tuple[int, int]]:
        elf = self.elf
        segment = next((s for s in elf.segments if s.type == PT_DYNAMIC), None)
        if segment is None:
            raise ElfError(f"`{elf.path}` has no dynamic section: it is not a shared library")
        layout = elf.struct("QQ" if elf.bits == 64 else "II")
        # The dynamic linker goes by its address, and to DT_NULL.
        place = elf.offset_of(segment.vaddr, layout.size, "the dynamic section")
        most = min(elf.loaded_behind(segment.vaddr), elf.size - place, MAX_ENTRIES * layout.size)
        size = min(segment.filesz, most)
        raw = elf.read(place, size - size % layout.size, "the dynamic section")
        found = []
        for tag, value in layout.iter_unpack(raw):
            if tag == DT_NULL:
                break
            found.append((tag, value))
        return found

    def get(self, tag: int) -> int | None:
        """The value of a tag, None where it is absent."""
        return self._first.get(tag)

    def values(self, tag: int) -> list[int]:
        """All values of a repeated tag, in order."""
        return [value for t, value in self._all if t == tag]

    @property
    def entries(self) -> list[tuple[int, int]]:
        """All (tag, value) pairs in order, without the terminator."""
        return self._all

    def string(self, offset: int, what: str) -> bytes:
        """A string of the dynamic string table."""
        if DT_STRTAB not in self._first:
            raise self.elf.damaged(f"its dynamic section has no DT_STRTAB, so {what} is unknown")
        if not 0 <= offset < self._strsz:
            raise self.elf.damaged(f"{what} lies outside the dynamic string table")
        data, start = self.elf.data, self._strtab + offset
        end = data.find(b"\0", start, min(self._strtab + self._strsz, start + MAX_NAMES + 1))
        if end < 0:
            if self._strsz - offset > MAX_NAMES:
                raise self.elf.damaged(f"{what} has more than {MAX_NAMES} bytes")
            raise self.elf.damaged(f"{what} at offset {start} is not a terminated string")
        return data[start:end]

    def too_long(self, what: str) -> ElfError:
        """The error for names that have more than `MAX_NAMES` bytes together."""
        return self.elf.damaged(f"the names of its {what} have more than {MAX_NAMES} bytes in all")

    @property
    def string_table(self) -> tuple[int, int]:
        """File offset and size of the dynamic string table."""
        return self._strtab, self._strsz

    @property
    def needed(self) -> tuple[bytes, ...]:
        """DT_NEEDED names in order."""
        return tuple([name for tag, name in self.loads if tag == DT_NEEDED])

    @property
    def loads(self) -> list[tuple[int, bytes]]:
        """(tag, name) of the libraries that DT_NEEDED, DT_AUXILIARY and DT_FILTER name, in order."""
        if self._loads is None:
            # The number first: each of them could be a long string.
            found = [entry for entry in self._all if entry[0] in LOADING]
            if len(found) > MAX_NEEDED:
                raise self.elf.damaged(f"{len(found)} needed libraries are more than {MAX_NEEDED}")
            named, left = [], MAX_NAMES
            for tag, value in found:
                name = self.string(value, "a DT_NEEDED name")
                left -= len(name)
                if left < 0:
                    raise self.too_long("needed libraries")
                named.append((tag, name))
            self._loads = named
        return self._loads

    def _optional_string(self, tag: int, what: str) -> bytes | None:
        value = self.get(tag)
        return None if value is None else self.string(value, what)

    @property
    def soname(self) -> bytes | None:
        """DT_SONAME."""
        return self._optional_string(DT_SONAME, "DT_SONAME")

    @property
    def rpath(self) -> bytes | None:
        """DT_RPATH as it stands; the dynamic linker ignores it beside a DT_RUNPATH."""
        return self._optional_string(DT_RPATH, "DT_RPATH")

    @property
    def runpath(self) -> bytes | None:
        """DT_RUNPATH as it stands."""
        return self._optional_string(DT_RUNPATH, "DT_RUNPATH")

    @property
    def flags(self) -> int:
        """DT_FLAGS (DF_*)."""
        return self.get(DT_FLAGS) or 0

    @property
    def flags_1(self) -> int:
        """DT_FLAGS_1 (DF_1_*)."""
        return self.get(DT_FLAGS_1) or 0


def build_id(elf: ElfImage) -> str | None:
    """The GNU build-id as hex, from PT_NOTE; None where there is none."""
    for segment in elf.segments:
        if segment.type == PT_NOTE:
            # Build-id notes are tiny; one that claims megabytes is none.
            raw = elf.data[segment.offset : segment.offset + min(segment.filesz, 1 << 16)]
            at = 0
            layout = elf.struct("III")
            while at + 12 <= len(raw):
                namesz, descsz, kind = layout.unpack_from(raw, at)
                step = 8 if segment.align == 8 else 4
                desc = at + 12 + namesz
                desc += -desc % step
                if desc + descsz > len(raw):
                    break
                if kind == 3 and raw[at + 12 : at + 12 + namesz] == b"GNU\0":
                    return raw[desc : desc + descsz].hex()
                at = desc + descsz
                at += -at % step
    return None
