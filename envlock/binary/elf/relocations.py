"""The symbols that a library's dynamic relocations name, in the order the dynamic linker works.

Mirrors `_ELF_DYNAMIC_DO_RELOC` (elf/dynamic-link.h) and `elf_dynamic_do_Rel` (elf/do-rel.h) of
glibc: DT_REL, DT_RELA (their leading relative entries skipped), then DT_JMPREL. DT_RELR holds
relative relocations only and names no symbol. Only symbols that a relocation names are ever
looked up; an undefined symbol without one is never missed.
"""

from __future__ import annotations

from .dynamic import DF_STATIC_TLS
from .relocation_tables import all_infos

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .file import Dynamic, ElfFile

#: Bytes of names beyond four times the string table: names of symbols hardly overlap.
SPARE = 16 << 20
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
            for values in all_infos(dynamic)
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
    for values in all_infos(dynamic):
        if len(own) < OWN:
            own.update((info >> split, None) for info in values[:SAMPLE] if info >= limit)
        highest = max(highest, max(values, default=0))
        found.update(dict.fromkeys(info for info in dict.fromkeys(values) if info < limit))
    others = symbols.undefined_from(limit >> split, highest >> split)
    if others:
        found.clear()
        for values in all_infos(dynamic):
            for info in dict.fromkeys(values):
                if info < limit or info >> split in others:
                    found[info] = None
    return list(found), tuple(own)[:OWN]


def symbol_indices(elf: ElfFile) -> list[int]:
    """Indices of the symbols that are hashed or that relocations name.

    A library that exports nothing has a GNU hash table that does not tell how many there are.
    """
    named = {index for index, _ in read_relocations(elf.dynamic).references}
    return sorted(named.union(range(1, len(elf.dynamic.symbols))))
