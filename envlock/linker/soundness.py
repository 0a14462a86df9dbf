"""Tables that the dynamic linker trusts and acts on: what in them would end the process.

Linkers write none of this; damaged and hostile files have it. Mirrors `elf_get_dynamic_info`
(elf/get-dynamic-info.h), `elf_machine_rela` (dl-machine.h) and `call_init` (elf/dl-init.c), which
check nothing or answer with an assertion.
"""

from __future__ import annotations

import sys

from ..binary.elf.dynamic import (
    DT_FLAGS,
    DT_JMPREL,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_RELA,
    DT_RELACOUNT,
    DT_RELAENT,
    DT_RELASZ,
    DT_RELR,
    DT_STRTAB,
    DT_SYMTAB,
    DT_TEXTREL,
    DT_VERDEF,
    DT_VERNEED,
    DT_VERSYM,
)
from ..binary.elf.file import ElfFile
from ..binary.elf.image import PF_W, PF_X, PT_LOAD
from ..binary.elf.relocation_tables import PIECE
from ..binary.elf.symbols import SHN_UNDEF, STB_WEAK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..binary.elf.image import Segment
    from ..binary.elf.symbols import Symbol

DT_INIT, DT_FINI, DT_INIT_ARRAY, DT_INIT_ARRAYSZ = 12, 13, 25, 27
DT_FINI_ARRAY, DT_FINI_ARRAYSZ = 26, 28
PT_GNU_RELRO = 0x6474E552
DF_TEXTREL = 4
PAGE = 4096
#: Relocations looked at in each table; what is damaged by accident shows in the first ones.
MAX_RELOCATIONS = 1 << 14
#: And constructors; libtensorflow_cc has 4,531.
MAX_CONSTRUCTORS = 1 << 12

#: Machines whose relocations carry addends: the types that glibc knows, R_*_RELATIVE and
#: R_*_IRELATIVE.
_TYPES = {
    62: (frozenset((0, 1, 2, 5, 6, 7, 8, 10, 16, 17, 18, 32, 33, 36, 37)), 8, 37),
    183: (frozenset((0, 257, 1024, 1025, 1026, 1027, 1028, 1029, 1030, 1031, 1032)), 1027, 1032),
}

#: Tables of which ld.so reads the size without asking whether it is there.
_PAIRS = (
    (DT_RELA, DT_RELASZ, "DT_RELA"),
    (DT_JMPREL, DT_PLTRELSZ, "DT_JMPREL"),
    (DT_INIT_ARRAY, DT_INIT_ARRAYSZ, "DT_INIT_ARRAY"),
    (DT_FINI_ARRAY, DT_FINI_ARRAYSZ, "DT_FINI_ARRAY"),
)


def verify(elf: ElfFile) -> None:
    """Raise `ElfError` for a library whose tables dlopen would choke on."""
    dynamic = elf.dynamic
    for tag, name in ((DT_STRTAB, "DT_STRTAB"), (DT_SYMTAB, "DT_SYMTAB")):
        address = dynamic.get(tag)
        if address is None:
            raise elf.damaged(f"its dynamic section has no {name}, which dlopen reads in any case")
        segment = _segment(elf, address)
        if segment is not None and not segment.flags & 7:
            raise elf.damaged(f"what {name} points to is not readable")
    versions = dynamic.get(DT_VERNEED) is not None or dynamic.get(DT_VERDEF) is not None
    if versions != (dynamic.get(DT_VERSYM) is not None):
        has, lacks = "DT_VERNEED or DT_VERDEF", "DT_VERSYM"
        if not versions:
            has, lacks = lacks, has
        raise elf.damaged(f"it has {has}, but no {lacks}")
    for tag, size_tag, name in _PAIRS:
        if (dynamic.get(tag) is None) != (dynamic.get(size_tag) is None):
            raise elf.damaged(f"only one of {name} and its size is there")
    _relro(elf)
    for tag, name in ((DT_INIT, "DT_INIT"), (DT_FINI, "DT_FINI")):
        address = dynamic.get(tag)
        if address:
            _executable(elf, address, name)
    if elf.bits == 64 and elf.byte_order == sys.byteorder and elf.machine_number in _TYPES:
        _relocations(elf)


def _relro(elf: ElfFile) -> None:
    """`_dl_protect_relro` makes whole pages read-only, whatever is in them."""
    for segment in elf.segments:
        if segment.type != PT_GNU_RELRO:
            continue
        start, end = segment.vaddr & -PAGE, segment.vaddr + segment.memsz & -PAGE
        if start == end:
            continue
        home = _segment(elf, segment.vaddr)
        if home is None or end - 1 not in _pages(home):
            raise elf.damaged(
                f"PT_GNU_RELRO ({segment.memsz} bytes at {segment.vaddr:#x}) leaves its segment"
            )


def names_itself(elf: ElfFile, symbol: Symbol) -> None:
    """Raise `ElfError` for a reference that can bind to nothing but its own, undefined symbol."""
    if symbol.section == SHN_UNDEF and symbol.binding != STB_WEAK:
        name = symbol.name.decode("utf-8", "backslashreplace")
        raise elf.damaged(
            f"a relocation names symbol {symbol.index} (`{name:.100}`), which is undefined but "
            "local or hidden"
        )


def _segment(elf: ElfFile, address: int) -> Segment | None:
    # They are mapped in order, the last one over those before.
    for segment in reversed(elf.segments):
        if segment.type == PT_LOAD and address in _pages(segment):
            return segment
    return None


def _pages(segment: Segment) -> range:
    """The addresses of a segment: the kernel maps whole pages."""
    end = segment.vaddr + max(segment.memsz, segment.filesz)
    return range(segment.vaddr & -PAGE, end + PAGE - 1 & -PAGE)


def _executable(elf: ElfFile, address: int, what: str) -> None:
    segment = _segment(elf, address)
    if segment is None or not segment.flags & PF_X:
        raise elf.damaged(f"{what} is {address:#x}, where there is no code")


def _relocations(elf: ElfFile) -> None:
    dynamic = elf.dynamic
    known, relative, indirect = _TYPES[elf.machine_number]
    tables = []
    if dynamic.get(DT_RELA) is not None:
        entry = dynamic.get(DT_RELAENT)
        if entry != 24:
            raise elf.damaged(f"DT_RELAENT is {entry}, not 24: ld.so ends the process")
        tables.append((DT_RELA, DT_RELASZ, dynamic.get(DT_RELACOUNT) or 0))
    if dynamic.get(DT_JMPREL) is not None:
        kind = dynamic.get(DT_PLTREL)
        if kind != DT_RELA:
            raise elf.damaged(
                f"DT_PLTREL is {kind}, not DT_RELA ({DT_RELA}): ld.so ends the process"
            )
        if not dynamic.get(DT_PLTRELSZ):
            raise elf.damaged("it has DT_JMPREL, but DT_PLTRELSZ is 0: no call would be bound")
        tables.append((DT_JMPREL, DT_PLTRELSZ, 0))
    writable = _writable(elf)
    constructors: dict[int, int] = {}
    first = dynamic.get(DT_INIT_ARRAY) or 0
    last = first + (dynamic.get(DT_INIT_ARRAYSZ) or 0) if first else 0
    segment = _segment(elf, first)
    whole = segment is not None and last - 1 in _pages(segment)
    if last > first and not whole:
        raise elf.damaged(
            f"its constructors ({last - first} bytes at {first:#x}) are not all there"
        )
    slots = range(first, min(last, first + 8 * MAX_CONSTRUCTORS), 8)
    for tag, size_tag, leading in tables:
        address, size = dynamic.get(tag) or 0, dynamic.get(size_tag) or 0
        count = size // 24
        if not address or not count:
            continue
        start = elf.offset_of(address, count * 24, "a relocation table")
        leading = min(leading, count)
        if leading:
            _leading(elf, start, leading, relative, writable)
        _entries(elf, start, leading, count, known, indirect, writable)
        _constructors(elf, start, count, leading, relative, slots, constructors)
    slots = range(first, last - 7, 8) if first else range(0)
    if len(constructors) < len(slots) and dynamic.get(DT_RELR) is None:
        _relocated(elf, [slot for slot in slots if slot not in constructors], tables)
    for place, function in constructors.items():
        _executable(elf, function, f"the constructor at {place:#x}")


def _relocated(elf: ElfFile, slots: list[int], tables: list[tuple[int, int, int]]) -> None:
    """Constructors whose relocation stands elsewhere, or names a symbol; without any, ld.so calls
    what stands in the file."""
    left = set(slots)
    for tag, size_tag, leading in tables:
        address, size = elf.dynamic.get(tag) or 0, elf.dynamic.get(size_tag) or 0
        count = size // 24
        if not address or not count:
            continue
        start = elf.offset_of(address, count * 24, "a relocation table")
        with elf.words(start, count * 3, 8)[0::3] as places:  # it outlives no error
            # Linkers sort the relative ones by place: the constructors' stand beside each other.
            low = _first_from(places, slots[0], min(leading, count))
            left.difference_update(places[low : low + len(slots)].tolist())
            for piece in range(0, count if left else 0, PIECE):
                left.difference_update(places[piece : piece + PIECE].tolist())
                elf.forget()
    if left:
        raise elf.damaged(f"nothing relocates the constructor at {min(left):#x}")


def _leading(elf: ElfFile, start: int, count: int, relative: int, writable: list[range]) -> None:
    """The relative relocations: the first thousands and the last."""
    words = elf.words(start, 3 * count, 8)
    some = min(count, MAX_RELOCATIONS)
    for info in {*words[1 : 3 * some : 3].tolist(), words[3 * count - 2]}:
        if info & 0xFFFFFFFF != relative:
            raise elf.damaged(
                f"DT_RELACOUNT is {count}, but one of these relocations is of type "
                f"{info & 0xFFFFFFFF}: ld.so ends the process"
            )
    places = words[0 : 3 * some : 3].tolist()
    _place(elf, min(places), max(places), writable)
    _place(elf, words[3 * count - 3], words[3 * count - 3], writable)


def _entries(
    elf: ElfFile,
    start: int,
    leading: int,
    count: int,
    known: frozenset[int],
    indirect: int,
    writable: list[range],
) -> None:
    """The others: types that ld.so knows, places that it can write to."""
    count = min(count - leading, MAX_RELOCATIONS)
    if count <= 0:
        return
    raw = elf.read(start + 24 * leading, 24 * count, "a relocation table")
    words = memoryview(raw).cast("Q")
    places = words[0::3].tolist()
    types = {info & 0xFFFFFFFF for info in dict.fromkeys(words[1::3].tolist())}
    for kind in types - known:
        raise elf.damaged(f"the dynamic linker does not know relocation type {kind}")
    _place(elf, min(places), max(places), writable)
    if indirect in types:
        for number in range(count):
            if words[3 * number + 1] & 0xFFFFFFFF == indirect:
                _executable(elf, words[3 * number + 2], "an indirect function's resolver")


def _place(elf: ElfFile, lowest: int, highest: int, writable: list[range]) -> None:
    for place in (lowest, highest):
        if not any(place in pages and place + 7 in pages for pages in writable):
            raise elf.damaged(f"a relocation writes to {place:#x}, where nothing can be written")


def _writable(elf: ElfFile) -> list[range]:
    """Address ranges that ld.so can write to; with DT_TEXTREL it makes everything writable."""
    dynamic = elf.dynamic
    every = dynamic.get(DT_TEXTREL) is not None or (dynamic.get(DT_FLAGS) or 0) & DF_TEXTREL
    return [
        _pages(segment)
        for segment in elf.segments
        if segment.type == PT_LOAD and (every or segment.flags & PF_W)
    ]


def _constructors(
    elf: ElfFile,
    start: int,
    count: int,
    leading: int,
    relative: int,
    slots: range,
    found: dict[int, int],
) -> None:
    """The addends of relative relocations of the constructors' slots."""
    if not slots:
        return
    words = elf.words(start, count * 3, 8)
    low = _first_from(words[0 : 3 * leading : 3], slots.start, leading)
    for number in range(low, min(count, low + len(slots))):
        place, info, addend = words[3 * number : 3 * number + 3]
        if place in slots and info == relative:
            found[place] = addend


def _first_from(places: memoryview, place: int, count: int) -> int:
    """Where the first of `count` sorted places is that is not below one (`bisect.bisect_left`,
    whose module would be the gate's only use of it)."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if places[middle] < place:
            low = middle + 1
        else:
            high = middle
    return low
