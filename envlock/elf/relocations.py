"""The symbols that a library's dynamic relocations name, in the order the dynamic linker works.

Mirrors `_ELF_DYNAMIC_DO_RELOC` (elf/dynamic-link.h) and `elf_dynamic_do_Rel` (elf/do-rel.h) of
glibc: DT_REL, DT_RELA (their leading relative entries skipped), then DT_JMPREL. DT_RELR holds
relative relocations only and names no symbol. Only symbols that a relocation names are ever
looked up; an undefined symbol without one is never missed.
"""

from __future__ import annotations

import sys

from .dynamic import (
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

DT_RELCOUNT = 0x6FFFFFFA
#: More relocations than any library has; a larger number is a lie.
MAX_RELOCATIONS = 1 << 26

#: What a reference may bind to (`elf_machine_type_class`).
ANY, PLT, COPY = 0, 1, 2

# Relocation types by machine (elf.h): bound like a call or TLS variable (an undefined symbol with
# an address does not define them), copied, needing static TLS, naming no symbol to look up.
_CALLS = {62: (7, 16, 17, 18, 36), 183: (1026, 1028, 1029, 1030, 1031), 3: (7, 14, 35, 36, 37, 41)}
_COPIES = {62: 5, 183: 1024, 3: 5}
_STATIC_TLS = {62: (18,), 183: (1030,), 3: (14, 37)}
_NO_LOOKUP = {62: (0, 8, 37, 38), 183: (0, 1027, 1032), 3: (0, 8, 42)}


class Reference:
    """One symbol that relocations name: its index and ANY, PLT or COPY."""

    __slots__ = ("binding_class", "index")

    def __init__(self, index: int, binding_class: int) -> None:
        self.index = index
        self.binding_class = binding_class


class Relocations:
    """What dlopen looks up for one library.

    `references` holds each (symbol, class) pair once, in the order of first use; `static_tls` the
    indices of symbols that static TLS relocations name (0: the library's own TLS block).
    """

    __slots__ = ("references", "static_tls")

    def __init__(self, references: list[tuple[int, int]], static_tls: frozenset[int]) -> None:
        self.references = references
        self.static_tls = static_tls


def read_relocations(dynamic: Dynamic) -> Relocations:
    """Collect the references of DT_REL, DT_RELA and DT_JMPREL.

    Raises `ElfError` where a table lies outside the file.
    """
    elf = dynamic.elf
    machine = elf.machine_number
    plt_is_rel = dynamic.get(DT_PLTREL) == DT_REL
    infos: dict[int, None] = {}
    for table, size_tag, count_tag, is_rel in (
        (DT_REL, DT_RELSZ, DT_RELCOUNT, True),
        (DT_RELA, DT_RELASZ, DT_RELACOUNT, False),
    ):
        start, size = dynamic.get(table) or 0, dynamic.get(size_tag) or 0
        plt_start, plt_size = 0, 0
        if dynamic.get(DT_PLTREL) is not None and plt_is_rel == is_rel:
            plt_start, plt_size = dynamic.get(DT_JMPREL) or 0, dynamic.get(DT_PLTRELSZ) or 0
        if start and size:
            _collect(dynamic, start, size, is_rel, dynamic.get(count_tag) or 0, infos)
        if plt_start and plt_size and not (start <= plt_start < start + size):
            _collect(dynamic, plt_start, plt_size, is_rel, 0, infos)
    split, mask = (32, 0xFFFFFFFF) if elf.bits == 64 else (8, 0xFF)
    calls = frozenset(_CALLS.get(machine, ()))
    copy = _COPIES.get(machine, -1)
    silent = frozenset(_NO_LOOKUP.get(machine, (0,)))
    tls_types = frozenset(_STATIC_TLS.get(machine, ()))
    found: dict[tuple[int, int], None] = {}
    static_tls = set()
    for info in infos:
        kind = info & mask
        index = info >> split
        if kind in tls_types:
            static_tls.add(index)
        if index and kind not in silent:
            found[index, PLT if kind in calls else COPY if kind == copy else ANY] = None
    return Relocations(list(found), frozenset(static_tls))


def _collect(
    dynamic: Dynamic, address: int, size: int, is_rel: bool, relative: int, infos: dict[int, None]
) -> None:
    """Add the r_info values of one table, each once, in order."""
    elf = dynamic.elf
    word = elf.bits // 8
    entry = word * (2 if is_rel else 3)
    count = size // entry
    if count > MAX_RELOCATIONS:
        raise elf.damaged(f"{count} relocations are more than {MAX_RELOCATIONS}")
    relative = min(relative, count)
    start = elf.offset_of(address, count * entry, "a relocation table") + relative * entry
    count -= relative
    if elf.byte_order == sys.byteorder:
        # A strided view: no Python object per relocation until the distinct ones remain.
        with memoryview(elf.data) as whole, whole[start : start + count * entry] as part:
            words = part.cast("Q" if word == 8 else "I")
            infos.update(dict.fromkeys(words[1 :: 2 if is_rel else 3].tolist()))
            words.release()
        return
    raw = elf.read(start, count * entry, "a relocation table")
    layout = elf.struct(("Q" if word == 8 else "I") * (2 if is_rel else 3))
    infos.update(dict.fromkeys(fields[1] for fields in layout.iter_unpack(raw)))
