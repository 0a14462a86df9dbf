"""Symbol lookup: does anything in this scope define that name, in that version?

Mirrors `do_lookup_x` and `check_match` (elf/dl-lookup.c). The Bloom filter of each GNU hash table
answers for most libraries with one word, so a lookup costs the same in a library of ten symbols
and in one of half a million.
"""

from __future__ import annotations

from ..binary.elf.relocations import COPY, PLT
from ..binary.elf.symbols import (
    DEFINABLE,
    SHN_ABS,
    SHN_UNDEF,
    STB_GNU_UNIQUE,
    STB_LOCAL,
    STT_TLS,
    gnu_hash,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..binary.elf.symbols import Symbol
    from .library import Library, Version

_LOCAL_VISIBILITY = (1, 2)  # STV_INTERNAL, STV_HIDDEN
#: Remembered answers of one scope, so that memory stays flat over many plugins.
MOST_KNOWN = 1 << 16


class LookupScope:
    """An ordered list of libraries that a reference is looked up in; duplicates are dropped."""

    __slots__ = ("_executable", "_known", "_tables")

    def __init__(self, libraries: Iterable[Library], executable: Library | None = None) -> None:
        self._executable = executable
        self._known: dict[tuple[object, ...], bool] = {}
        self._tables: list[tuple[Library, Sequence[int] | None, int, int]] = []
        for library in dict.fromkeys(libraries):
            bloom = library.bloom
            if bloom is not None:
                self._tables.append((library, *bloom))
            elif library.symbols.has_hash:
                self._tables.append((library, None, 0, 0))

    @property
    def libraries(self) -> tuple[Library, ...]:
        """The libraries in lookup order."""
        return tuple(table[0] for table in self._tables)

    def defines(self, name: bytes, version: Version | None, binding_class: int) -> bool:
        """Whether `find` finds something; remembered, for the plugins that share this scope."""
        if version is None:
            key: tuple[object, ...] = (name, binding_class)
        else:
            key = (name, binding_class, version.name, version.hidden)
        answer = self._known.get(key)
        if answer is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            answer = self._known[key] = self.find(name, version, binding_class) is not None
        return answer

    def find(
        self, name: bytes, version: Version | None = None, binding_class: int = 0
    ) -> tuple[Library, Symbol] | None:
        """The first definition that a reference binds to; None when nothing defines it."""
        hashed = gnu_hash(name)
        place, bit = hashed >> 6, hashed & 63
        for library, words, mask, shift in self._tables:
            if words is not None:
                word = words[place & mask]
                if not word >> bit & 1 or not word >> (hashed >> shift & 63) & 1:
                    continue
            elif library.symbols.gnu is not None and not library.symbols.candidates(name, hashed):
                continue
            if binding_class & COPY and library is self._executable:
                continue
            symbol = definition(library, name, hashed, version, binding_class)
            if (
                symbol is not None
                and symbol.binding != STB_LOCAL
                and symbol.binding <= STB_GNU_UNIQUE
                and symbol.visibility not in _LOCAL_VISIBILITY
            ):
                return library, symbol
        return None


def definition(
    library: Library, name: bytes, hashed: int, version: Version | None, binding_class: int
) -> Symbol | None:
    """The library's definition that matches (`check_match` over one hash chain)."""
    table, versions = library.symbols, library.versions
    fallback: Symbol | None = None
    fallbacks = 0
    gnu = table.gnu is not None
    for symbol in table.chain(name, hashed) if gnu else table.candidates(name):
        if (
            (symbol.value == 0 and symbol.section != SHN_ABS and symbol.type != STT_TLS)
            or (binding_class & PLT and symbol.section == SHN_UNDEF)
            or symbol.type not in DEFINABLE
        ):
            continue
        raw = table.version_index(symbol.index) if versions else None
        if raw is None:
            return symbol
        index = raw & 0x7FFF
        if version is not None:
            known = versions.get(index)
            found = known.name if known is not None else b""
            if found == version.name:
                return symbol
            if not version.hidden and not found and not raw & 0x8000:
                fallbacks += 1
                fallback = fallback or symbol
        elif index < 3:
            return symbol
        elif not raw & 0x8000:
            fallbacks += 1
            fallback = fallback or symbol
    return fallback if fallbacks == 1 else None
