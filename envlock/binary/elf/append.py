"""What to append to a shared library so that it carries a note section.

The file keeps all its bytes but three header fields (e_shoff, e_shnum, e_shstrndx). Behind them
come the note, a copy of the section name table with one more name, and a new section header table:

    | original bytes | note | section names | section headers |

Program headers and everything they load stay where and what they are. A file that already ends in
such a tail gets a new tail in its place, so stamping again neither grows the file nor leaves the
old manifest behind; if a tool has moved the note since (strip, objcopy, patchelf), its section
header is pointed at the new one. This module only plans; `envlock.actions.stamp_writing` writes.
"""

from __future__ import annotations

import struct

from ...files.plan import Plan
from ...models.errors import ElfError
from .file import ElfFile
from .image import (
    ET_CORE,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    MAX_SECTIONS,
    PT_DYNAMIC,
    PT_INTERP,
    SHF_ALLOC,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_NULL,
    SHT_STRTAB,
    Section,
)
from .notes import SECTION, SIGNATURE_TYPE, build_note

DT_DEBUG = 21
DF_1_PIE = 0x08000000
SHN_LORESERVE, SHN_XINDEX = 0xFF00, 0xFFFF
NAME = SECTION.encode("ascii") + b"\0"


def require_plugin(elf: ElfFile) -> None:
    """Raise `ElfError` for an ELF file that dlopen does not take for what it is: no ET_DYN, a
    position-independent executable, separate debug information."""
    kinds = {
        ET_REL: "a relocatable object (.o)",
        ET_EXEC: "an executable",
        ET_CORE: "a core dump",
    }
    if elf.type != ET_DYN:
        kind = kinds.get(elf.type, f"of ELF type {elf.type}")
        raise ElfError(f"`{elf.path}` is {kind}, not a shared library")
    if not elf.has_dynamic:
        raise ElfError(f"`{elf.path}` has no dynamic section: it is not a shared library")
    if _debug_only(elf):
        raise ElfError(f"`{elf.path}` holds debug information only, not a shared library's code")
    # Linkers before 2.26 did not set DF_1_PIE; DT_DEBUG is for executables only.
    interpreter = any(segment.type == PT_INTERP for segment in elf.segments)
    if elf.dynamic.flags_1 & DF_1_PIE or (interpreter and elf.dynamic.get(DT_DEBUG) is not None):
        raise ElfError(f"`{elf.path}` is a position-independent executable, not a shared library")


def _debug_only(elf: ElfFile) -> bool:
    """`objcopy --only-keep-debug` leaves the headers and takes the content away."""
    start = next(s.vaddr for s in elf.segments if s.type == PT_DYNAMIC)
    return any(
        s.type == SHT_NOBITS and s.name == ".dynamic" and s.addr == start for s in elf.sections
    )


def plan_append(elf: ElfFile, payload: bytes, signature: bytes | None = None) -> Plan:
    """Plan the stamped form of a shared library; a signature is a second note in the section.

    Raises `ElfError` for anything but a shared library, and for one without section headers
    or section names: the next `strip` would silently drop what no section header names.
    """
    require_plugin(elf)
    hint = "compile the linked-in form into it instead: `envlock note`"
    if not elf.sections:
        raise ElfError(
            f"`{elf.path}` has no section headers, so a stamp would be lost at the next `strip`",
            hint=hint,
        )
    index = elf.section_names_index
    if not 0 < index < len(elf.sections):
        raise ElfError(f"`{elf.path}` has no section name table", hint=hint)
    names = elf.sections[index]
    if names.type != SHT_STRTAB:
        raise elf.damaged(f"its section name table has type {names.type}, not SHT_STRTAB")
    ours = [s for s in elf.sections if s.name == SECTION and not s.flags & SHF_ALLOC]
    note = build_note(payload, elf.order)
    if signature is not None:
        note += build_note(signature, elf.order, SIGNATURE_TYPE)
    return _Planner(elf, names, ours).plan(note)


def body_size(elf: ElfFile) -> int:
    """How much of a library stays in front of any manifest: the `keep` of every plan, in bytes."""
    ours = [s for s in elf.sections if s.name == SECTION and not s.flags & SHF_ALLOC]
    index = elf.section_names_index
    if not 0 < index < len(elf.sections):
        return 0
    return _Planner(elf, elf.sections[index], ours).keep


class _Planner:
    def __init__(self, elf: ElfFile, names: Section, ours: list[Section]) -> None:
        self.elf = elf
        self.names = names
        self.ours = ours
        self.header = elf.struct("IIQQQQIIQQ" if elf.bits == 64 else "IIIIIIIIII")
        self.word = elf.bits // 8

    @property
    def keep(self) -> int:
        """Where the tail starts, old or new."""
        start = self._tail_start()
        return self.elf.size if start is None else start

    def _tail_start(self) -> int | None:
        """Where an earlier tail starts, if the file still ends in exactly one."""
        elf = self.elf
        if len(self.ours) != 1:
            return None
        note, names = self.ours[0], self.names
        note_end = note.offset + note.size
        names_end = names.offset + names.size
        table_end = elf.shoff + len(elf.sections) * self.header.size
        if (
            note.offset % 4 == 0
            and names.offset == note_end
            and elf.shoff == _align(names_end, self.word)
            and table_end == elf.size
            and note.offset >= self._used_end()
        ):
            return note.offset
        return None

    def _used_end(self) -> int:
        """The end of everything that program headers and other sections refer to."""
        elf = self.elf
        skip = {self.names.index, self.ours[0].index}
        ends = [elf.header_size, elf.phoff + elf.phnum * elf.phentsize if elf.phnum else 0]
        ends += [segment.offset + segment.filesz for segment in elf.segments]
        ends += [
            section.offset + section.size
            for section in elf.sections
            if section.index not in skip and section.type not in (SHT_NULL, SHT_NOBITS)
        ]
        return max(ends)

    def plan(self, note: bytes) -> Plan:
        elf = self.elf
        keep = self.keep
        padding = -keep % 4
        name_offset, added = self._name()
        names_size = self.names.size + len(added)
        note_at = keep + padding
        names_at = note_at + len(note)
        table_at = _align(names_at + names_size, self.word)
        try:
            table, names_index = self._table(note_at, len(note), names_at, names_size, name_offset)
            patches = self._header_patches(table_at, len(table) // self.header.size, names_index)
        except struct.error:
            raise ElfError(
                f"`{elf.path}` is too large to append to: its {elf.bits}-bit headers "
                f"cannot name offset {table_at}"
            ) from None
        pieces: list[bytes | tuple[int, int]] = [
            b"\0" * padding + note,
            (self.names.offset, self.names.size),
            added + b"\0" * (table_at - names_at - names_size) + table,
        ]
        return Plan(keep, patches, pieces)

    def _name(self) -> tuple[int, bytes]:
        """Where the section's name will stand in the name table, and what to add to the table."""
        elf, names = self.elf, self.names
        for section in elf.sections:
            if section.name == SECTION:
                return section.name_offset, b""
        last = (
            elf.read(names.offset + names.size - 1, 1, "the section name table")
            if names.size
            else b"\0"
        )
        added = NAME if last == b"\0" else b"\0" + NAME
        return names.size + len(added) - len(NAME), added

    def _table(
        self, note_at: int, note_size: int, names_at: int, names_size: int, name_offset: int
    ) -> tuple[bytes, int]:
        """The new section header table and the index of the name table in it."""
        rows = [
            [s.name_offset, s.type, s.flags, s.addr, s.offset]
            + [s.size, s.link, s.info, s.align, s.entsize]
            for s in self.elf.sections
        ]
        names_index = self.names.index
        if self.names.flags & SHF_ALLOC:
            # A name table that is loaded, as no linker writes it, stays; ours is one more.
            names_index = len(rows)
            rows.append([self.names.name_offset, SHT_STRTAB, 0, 0, 0, 0, 0, 0, 1, 0])
        rows[names_index][4:6] = [names_at, names_size]
        row = [name_offset, SHT_NOTE, 0, 0, note_at, note_size, 0, 0, 4, 0]
        if self.ours:
            rows[self.ours[0].index] = row
            for other in self.ours[1:]:
                rows[other.index] = [0] * 10
        else:
            rows.append(row)
        if len(rows) > MAX_SECTIONS:
            raise ElfError(f"`{self.elf.path}` has more than {MAX_SECTIONS} sections")
        # gABI, "Special Sections": what does not fit the header stands in the first entry.
        rows[0][5] = len(rows) if len(rows) >= SHN_LORESERVE else 0
        rows[0][6] = names_index if names_index >= SHN_LORESERVE else 0
        return b"".join(self.header.pack(*row) for row in rows), names_index

    def _header_patches(self, table_at: int, count: int, names: int) -> list[tuple[int, bytes]]:
        elf = self.elf
        wide = elf.bits == 64
        return [
            (40 if wide else 32, elf.struct("Q" if wide else "I").pack(table_at)),
            (60 if wide else 48, elf.struct("H").pack(count if count < SHN_LORESERVE else 0)),
            (
                62 if wide else 50,
                elf.struct("H").pack(names if names < SHN_LORESERVE else SHN_XINDEX),
            ),
        ]


def _align(value: int, step: int) -> int:
    return value + -value % step
