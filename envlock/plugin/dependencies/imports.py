"""What a plugin's dynamic symbols and type information say about the classes it uses.

Three kinds of evidence survive every strip: inline functions that the plugin carries as weak
symbols of its own, imported constructors and destructors (their caller provides the storage, so
it knows the size), and typeinfo objects that name a base class (whose virtual table the plugin
continues).
"""

from __future__ import annotations

from ...binary.elf.dynamic import DT_RELA, DT_RELASZ
from ...binary.elf.relocations import SPARE, symbol_indices
from ...binary.elf.symbols import STB_LOCAL
from ...binary.names.templates import plain_class, special_member
from .usage import BASE_OF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...atlas.format import Atlas
    from ...binary.elf import ElfFile
    from .usage import Usage

_ABSOLUTE = {62: (1, 8), 183: (257, 1027)}  # R_*_64 or ABS64, R_*_RELATIVE
MAX_RELOCATIONS = 1 << 22
MAX_SLOTS = 512


class Symbols:
    """The names that matter: defined functions, imports, and (class, base) pairs by mangled name."""

    def __init__(self, elf: ElfFile) -> None:
        self.defined: set[str] = set()
        self.imported: set[str] = set()
        self.tables: dict[str, int] = {}  # virtual tables in the plugin: class -> slots
        dynamic = elf.dynamic
        table = dynamic.symbols
        self._names: dict[int, str] = {}
        # Names of symbols hardly overlap, save in a file that wants to cost memory.
        left = 4 * dynamic.string_table[1] + SPARE
        for index in symbol_indices(elf):
            symbol = table.symbol(index)
            if symbol.binding == STB_LOCAL or not symbol.name:
                continue
            name = symbol.name.decode("utf-8", "replace")
            left -= len(name)
            if left < 0:
                raise elf.damaged("the names of its symbols overlap each other")
            self._names[index] = name
            if symbol.defined:
                self.defined.add(name)
                if name.startswith("_ZTV"):
                    cls = plain_class(name[4:])
                    if cls:
                        self.tables[cls] = symbol.size // (elf.bits // 8) - 2
            else:
                self.imported.add(name)
        pointers = _pointers(elf)
        self.inheritance = sorted(_inheritance(elf, pointers, self._names))
        #: Virtual tables as (slot, mangled name of the function in it).
        self.virtual_tables = _virtual_tables(elf, pointers, self._names)


def _pointers(elf: ElfFile) -> dict[int, tuple[int, int]]:
    """Address of a relocated word -> (symbol index, addend), of the absolute relocations."""
    kinds = _ABSOLUTE.get(elf.machine_number)
    dynamic = elf.dynamic
    address, size = dynamic.get(DT_RELA), dynamic.get(DT_RELASZ)
    if kinds is None or elf.bits != 64 or not address or not size:
        return {}
    if size // 24 > MAX_RELOCATIONS:
        raise elf.damaged(f"{size // 24} relocations are more than {MAX_RELOCATIONS}")
    raw = elf.read(
        elf.offset_of(address, size, "the relocations"), size - size % 24, "the relocations"
    )
    return {
        place: (info >> 32, addend)
        for place, info, addend in elf.struct("QQq").iter_unpack(raw)
        if info & 0xFFFFFFFF in kinds
    }


def _inheritance(
    elf: ElfFile, pointers: dict[int, tuple[int, int]], names: dict[int, str]
) -> set[tuple[str, str]]:
    """(class, base) of the type information objects in the file, by plain class names."""
    found = set()
    for place, (index, _) in pointers.items():
        kind = names.get(index, "")
        if "class_type_info" not in kind:
            continue
        several = "__vmi_class" in kind
        if not several and "__si_class" not in kind:
            continue
        own = _type_name(elf, pointers.get(place + 8), names, "_ZTS")
        for at in range(24, 24 + 16 * 8, 16) if several else (16,):
            pointer = pointers.get(place + at)
            if pointer is None:
                break
            base = _type_name(elf, pointer, names, "_ZTI")
            if not base and not pointer[0]:
                base = _type_name(elf, pointers.get(pointer[1] + 8), names, "_ZTS")
            if own is not None and base:
                found.add((own, base))
    return found


def _virtual_tables(
    elf: ElfFile, pointers: dict[int, tuple[int, int]], names: dict[int, str]
) -> list[list[tuple[int, str]]]:
    """Each table in the file: a pointer to type information, then pointers to functions.

    Only entries that a symbol names are listed.
    """
    word = elf.bits // 8
    information = {
        place for place, (index, _) in pointers.items() if "class_type_info" in names.get(index, "")
    }
    found = []
    for place, (index, addend) in pointers.items():
        if not names.get(index, "").startswith("_ZTI") and addend not in information:
            continue
        entries: list[tuple[int, str]] = []
        for slot in range(MAX_SLOTS):
            at = pointers.get(place + word * (slot + 1))
            if at is None:
                break
            name = names.get(at[0], "")
            if name.startswith("_ZTI") or "class_type_info" in name:
                entries = []
                break
            if name.startswith("_ZN"):
                entries.append((slot, name))
        if entries:
            found.append(entries)
    return found


def _type_name(
    elf: ElfFile, pointer: tuple[int, int] | None, names: dict[int, str], prefix: str
) -> str:
    if pointer is None:
        return ""
    index, addend = pointer
    if index:
        name = names.get(index, "")
        return plain_class(name[4:]) or name[4:] if name.startswith(prefix) else ""
    if prefix != "_ZTS":
        return ""
    offset = elf.offset_of(addend, 1, "a type name")
    text = elf.string(offset, offset + 4096, "a type name").decode("ascii", "replace")
    return plain_class(text.lstrip("*")) or text


def collect(symbols: Symbols, atlas: Atlas, abi: int, usage: Usage) -> None:
    """Add the facts that the symbols show."""
    for name in sorted(symbols.defined):
        known = atlas.facts(name, abi)
        if known is not None:
            for fact in known:
                usage.add(fact, name)
    for name in sorted(symbols.imported):
        special = special_member(name)
        if special is not None and atlas.shape(special[0], abi) is not None:
            usage.add(("s", special[0], ""), name)
    for own, base in symbols.inheritance:
        if atlas.shape(own, abi) is None and atlas.shape(base, abi) is not None:
            usage.add(("s", base, ""), BASE_OF + own)
            if atlas.slots(base, abi):
                usage.add(("t", base, ""), BASE_OF + own)
