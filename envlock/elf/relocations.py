"""The symbols that a library's dynamic relocations name, in the order the dynamic linker works.

Mirrors `_ELF_DYNAMIC_DO_RELOC` (elf/dynamic-link.h) and `elf_dynamic_do_Rel` (elf/do-rel.h) of
glibc: DT_REL, DT_RELA (their leading relative entries skipped), then DT_JMPREL. DT_RELR holds
relative relocations only and names no symbol. Only symbols that a relocation names are ever
looked up; an undefined symbol without one is never missed.
"""

from __future__ import annotations

import sys

from .dynamic import (
    DF_STATIC_TLS,
    DT_JMPREL,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_REL,
    DT_RELA,
    DT_RELACOUNT,
    DT_RELASZ,
    DT_RELSZ,
    Dynamic,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DT_RELCOUNT = 0x6FFFFFFA
#: More relocations than any library has; a larger number is a lie.
MAX_RELOCATIONS = 1 << 23
#: Relocations held in memory at once.
PIECE = 1 << 14

#: Symbols of the library itself that are kept, and relocations of a piece that they are taken from.
OWN, SAMPLE = 16, 512

#: What a reference may bind to (`elf_machine_type_class`).
ANY, PLT, COPY = 0, 1, 2

# Relocation types by machine (elf.h): bound like a call or TLS variable (an undefined symbol with
# an address does not define them), copied, needing static TLS, naming no symbol to look up.
_CALLS = {62: (7, 16, 17, 18, 36), 183: (1026, 1028, 1029, 1030, 1031), 3: (7, 14, 35, 36, 37, 41)}
_COPIES = {62: 5, 183: 1024, 3: 5}
_STATIC_TLS = {62: (18,), 183: (1030,), 3: (14, 37)}
_NO_LOOKUP = {62: (0, 8, 37, 38), 183: (0, 1027, 1032), 3: (0, 8, 42)}


class Relocations:
    """What dlopen looks up for one library.

    `references` holds each (symbol index, ANY, PLT or COPY) pair once, in the order of first use,
    without those that the library defines for itself (`own` has a few of these); `static_tls` the
    indices of symbols that static TLS relocations name (0: the library's own TLS block).
    """

    __slots__ = ("own", "references", "static_tls")

    def __init__(
        self,
        references: list[tuple[int, int]],
        static_tls: frozenset[int],
        own: tuple[int, ...] = (),
    ) -> None:
        self.references = references
        self.static_tls = static_tls
        self.own = own


def read_relocations(dynamic: Dynamic) -> Relocations:
    """Collect the references of DT_REL, DT_RELA and DT_JMPREL.

    Raises `ElfError` where a table lies outside the file.
    """
    elf = dynamic.elf
    machine = elf.machine_number
    split, mask = (32, 0xFFFFFFFF) if elf.bits == 64 else (8, 0xFF)
    calls = frozenset(_CALLS.get(machine, ()))
    copy = _COPIES.get(machine, -1)
    silent = frozenset(_NO_LOOKUP.get(machine, (0,)))
    found: dict[tuple[int, int], None] = {}
    undefined, own = _undefined(dynamic, split)
    for info in undefined:
        kind, index = info & mask, info >> split
        if index and kind not in silent:
            found[index, PLT if kind in calls else COPY if kind == copy else ANY] = None
    static_tls: frozenset[int] = frozenset()
    # Linkers for x86 set the flag; GNU ld for aarch64 does not.
    if dynamic.flags & DF_STATIC_TLS or machine not in (3, 62):
        kinds = frozenset(_STATIC_TLS.get(machine, ()))
        static_tls = frozenset(
            info >> split
            for values in _all_infos(dynamic)
            for info in set(values)
            if info & mask in kinds
        )
    return Relocations(list(found), static_tls, own)


def _undefined(dynamic: Dynamic, split: int) -> tuple[list[int], tuple[int, ...]]:
    """The r_info values, each once, whose symbol a lookup does not find in this very library; and
    the indices of a few symbols that it should find.

    In a library with a GNU hash table every symbol in front of the first hashed one is undefined
    or local, and linkers write no undefined one behind it.
    """
    symbols = dynamic.symbols
    limit = symbols.first_hashed << split
    found: dict[int, None] = {}
    highest = 0
    own: dict[int, None] = {}
    for values in _all_infos(dynamic):
        if len(own) < OWN:
            own.update((info >> split, None) for info in values[:SAMPLE] if info >= limit)
        highest = max(highest, max(values, default=0))
        found.update(dict.fromkeys(info for info in dict.fromkeys(values) if info < limit))
    others = symbols.undefined_from(limit >> split, highest >> split)
    if others:
        found.clear()
        for values in _all_infos(dynamic):
            for info in dict.fromkeys(values):
                if info < limit or info >> split in others:
                    found[info] = None
    return list(found), tuple(own)[:OWN]


def last_symbol(dynamic: Dynamic) -> int:
    """The highest index of a symbol that a relocation names; 0 where none does."""
    split = 32 if dynamic.elf.bits == 64 else 8
    return max((max(values, default=0) >> split for values in _all_infos(dynamic)), default=0)


def _all_infos(dynamic: Dynamic) -> Iterator[list[int]]:
    """The r_info values of all tables in order, in pieces."""
    for start, size, is_rel, relative in _ranges(dynamic):
        yield from _infos(dynamic, start, size, is_rel, relative)


def _ranges(dynamic: Dynamic) -> list[tuple[int, int, bool, int]]:
    """(address, size, without addends, leading relative entries) of each table, in order."""
    ranges = []
    plt = dynamic.get(DT_PLTREL)
    for table, size_tag, count_tag, is_rel in (
        (DT_REL, DT_RELSZ, DT_RELCOUNT, True),
        (DT_RELA, DT_RELASZ, DT_RELACOUNT, False),
    ):
        start, size = dynamic.get(table) or 0, dynamic.get(size_tag) or 0
        if start and size:
            ranges.append((start, size, is_rel, dynamic.get(count_tag) or 0))
        if plt is not None and (plt == DT_REL) == is_rel:
            plt_start, plt_size = dynamic.get(DT_JMPREL) or 0, dynamic.get(DT_PLTRELSZ) or 0
            if plt_start and plt_size and not start <= plt_start < start + size:
                ranges.append((plt_start, plt_size, is_rel, 0))
    return ranges


def _infos(
    dynamic: Dynamic, address: int, size: int, is_rel: bool, relative: int
) -> Iterator[list[int]]:
    """The r_info values of one table, in order, behind its relative entries, in pieces."""
    elf = dynamic.elf
    word = elf.bits // 8
    entry = word * (2 if is_rel else 3)
    count = size // entry
    if count > MAX_RELOCATIONS:
        raise elf.damaged(f"{count} relocations are more than {MAX_RELOCATIONS}")
    relative = min(relative, count)
    start = elf.offset_of(address, count * entry, "a relocation table") + relative * entry
    count -= relative
    for piece in range(start, start + count * entry, PIECE * entry):
        end = min(piece + PIECE * entry, start + count * entry)
        raw = elf.read(piece, end - piece, "a relocation table")
        if elf.byte_order == sys.byteorder:
            # A strided view: no Python work per relocation.
            words = memoryview(raw).cast("Q" if word == 8 else "I")
            yield words[1 :: 2 if is_rel else 3].tolist()
        else:
            layout = elf.struct(("Q" if word == 8 else "I") * (2 if is_rel else 3))
            yield [fields[1] for fields in layout.iter_unpack(raw)]
        if piece > start:
            elf.forget()
