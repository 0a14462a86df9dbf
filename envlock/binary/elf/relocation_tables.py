"""The relocation tables of the dynamic section, in the order the dynamic linker works.

DT_REL and DT_RELA without their leading relative entries, then DT_JMPREL. DT_RELR holds relative
relocations only and names no symbol.
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
    DynamicSection,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DT_RELCOUNT = 0x6FFFFFFA
#: More relocations than any library has; a larger number is a lie.
MAX_RELOCATIONS = 1 << 23
#: Relocations held in memory at once.
PIECE = 1 << 14


def last_symbol(dynamic: DynamicSection) -> int:
    """The highest index of a symbol that a relocation names; 0 where none does."""
    split = 32 if dynamic.elf.bits == 64 else 8
    return max((max(values, default=0) >> split for values in all_infos(dynamic)), default=0)


def all_infos(dynamic: DynamicSection) -> Iterator[list[int]]:
    """The r_info values of all tables in order, in pieces."""
    for start, size, is_rel, relative in _ranges(dynamic):
        yield from _infos(dynamic, start, size, is_rel, relative)


def _ranges(dynamic: DynamicSection) -> list[tuple[int, int, bool, int]]:
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
    dynamic: DynamicSection, address: int, size: int, is_rel: bool, relative: int
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
