"""The dynamic symbol table: entries by index, lookup by GNU or classic hash.

Lookup mirrors `do_lookup_x` and `check_match` (elf/dl-lookup.c): hash table first, then name,
then version. It touches a handful of pages, so its cost does not grow with the library.
"""

from __future__ import annotations

import struct
import sys
from functools import cached_property

from ...models.errors import ElfError
from .dynamic import DT_GNU_HASH, DT_HASH, DT_SYMTAB, DT_VERSYM, DynamicSection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .image import ElfImage

STB_LOCAL, STB_WEAK, STB_GNU_UNIQUE = 0, 2, 10
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_FILE, STT_COMMON, STT_TLS = 0, 1, 2, 4, 5, 6
STT_GNU_IFUNC = 10
SHN_UNDEF, SHN_ABS = 0, 0xFFF1
MAX_CHAIN = 1 << 20
#: Entries of a chain that every lookup may look at; the longest of TensorFlow's libraries has 16,
#: and 400,000 symbols in the 32,771 buckets of old linkers give some 40.
SHORT_CHAIN = 64
#: Entries behind these that may be looked at in one table for one plugin: half a second.
MAX_STEPS = 1 << 21
#: They are granted in portions of so many.
PORTION = 1 << 8
#: Twenty times the largest library of TensorFlow.
MAX_SYMBOLS = 1 << 23
#: Bytes of one name; the longest of TensorFlow have 20 KB.
MAX_NAME = 1 << 16
#: Symbols held in memory at once.
PIECE = 1 << 13
#: st_info types that `check_match` accepts as a definition.
DEFINABLE = frozenset((STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC))


class Symbol:
    """One entry of the dynamic symbol table."""

    __slots__ = ("binding", "index", "name", "other", "section", "size", "type", "value")

    def __init__(self, index: int, name: bytes, fields: tuple[int, ...], bits: int) -> None:
        """`fields` are those of an `Elf64_Sym` or `Elf32_Sym`."""
        self.index = index
        self.name = name
        if bits == 64:
            _, info, self.other, self.section, self.value, self.size = fields
        else:
            _, self.value, self.size, info, self.other, self.section = fields
        self.binding = info >> 4
        self.type = info & 15

    @property
    def defined(self) -> bool:
        """Whether this library defines it."""
        return self.section != SHN_UNDEF

    @property
    def weak(self) -> bool:
        """STB_WEAK: a reference that may stay unresolved."""
        return self.binding == STB_WEAK

    @property
    def visibility(self) -> int:
        """STV_* (0 default, 2 hidden)."""
        return self.other & 3


#: The digits of base 33, and each byte as two of them: `byte == 33 * high + low`.
_DIGITS = b"0123456789abcdefghijklmnopqrstuvw"
_HIGH = bytes(_DIGITS[byte // 33] for byte in range(256))
_LOW = bytes(_DIGITS[byte % 33] for byte in range(256))
#: 5381 in base 33, what the hash begins with.
_START = b"4v2"
#: Digits that Python turns into a number under every limit that it can be given (`sys.int_info`).
_LONGEST = 600


def gnu_hash(name: bytes) -> int:
    """The hash of DT_GNU_HASH (`_dl_new_hash`): h = 33 * h + byte, from 5381 on, modulo 2^32.

    The bytes are digits of base 33, only that they can be larger. So Python reads two numbers of
    that base, the upper digits and the lower ones, instead of doing a step a byte.
    """
    if len(name) > _LONGEST:
        value = 5381
        for byte in name:
            value = (value * 33 + byte) & 0xFFFFFFFF
        return value
    low = int(_START + name.translate(_LOW), 33)
    return (int(name.translate(_HIGH) or b"0", 33) * 33 + low) & 0xFFFFFFFF


def sysv_hash(name: bytes) -> int:
    """The hash of DT_HASH and of version names (`_dl_elf_hash`)."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


_plugins = 0


def begin_plugin() -> None:
    """Another plugin is looked at: all tables have their `MAX_STEPS` again."""
    global _plugins
    _plugins += 1


class _Words:
    """32-bit words of a file in the other byte order than the processor's."""

    def __init__(self, elf: ElfImage, start: int) -> None:
        self._elf = elf
        self._start = start
        self._word = elf.struct("I")

    def __getitem__(self, index: int) -> int:
        word: int = self._word.unpack_from(self._elf.data, self._start + 4 * index)[0]
        return word


class SymbolTable:
    """The dynamic symbols of one library."""

    def __init__(self, dynamic: DynamicSection) -> None:
        self.dynamic = dynamic
        self.elf = elf = dynamic.elf
        self._layout = elf.struct("IBBHQQ" if elf.bits == 64 else "IIIBBH")
        self._entry = self._layout.size
        table = dynamic.get(DT_SYMTAB)
        self._symtab = 0 if table is None else elf.offset_of(table, 0, "the symbol table")
        versym = dynamic.get(DT_VERSYM)
        self._versym = None if versym is None else elf.offset_of(versym, 0, "the version table")
        start, size = dynamic.string_table
        self._strings = (start, min(start + size, elf.size))
        self._strings_size = size
        self._bits = elf.bits
        self._word = elf.struct("I")
        self._half = elf.struct("H")
        #: DT_GNU_HASH: buckets, first hashed symbol, filter words, shift; offsets of both tables.
        #: None for a library with a classic hash table only.
        self.gnu: tuple[int, int, int, int, int, int] | None = None
        self._classic: tuple[int, int, int, int] | None = None
        self._setup_hash()
        self._count: int | None = None
        self._steps = 0
        self._steps_for = 0

    def _setup_hash(self) -> None:
        elf = self.elf
        address = self.dynamic.get(DT_GNU_HASH)
        if address is not None:
            at = elf.offset_of(address, 16, "the GNU hash table")
            nbuckets, symoffset, words, shift = elf.unpack(
                elf.struct("IIII"), at, "the GNU hash table"
            )
            word_size = elf.bits // 8
            bloom = at + 16
            buckets = bloom + words * word_size
            chains = buckets + nbuckets * 4
            if words == 0 or words & (words - 1) or shift > 63 or chains > elf.size:
                raise elf.damaged(
                    f"the GNU hash table's sizes make no sense ({nbuckets} buckets, {words} words "
                    f"of filter, shift {shift})"
                )
            self.gnu = (nbuckets, symoffset, words, shift, bloom, buckets)
            return
        address = self.dynamic.get(DT_HASH)
        if address is not None:
            # Alpha and s390x have 64-bit words here; glibc's Elf_Symndx.
            if elf.bits == 64 and elf.machine_number in (22, 0x9026):
                layout, size = elf.struct("QQ"), 8
            else:
                layout, size = elf.struct("II"), 4
            at = elf.offset_of(address, 2 * size, "the hash table")
            nbuckets, nchains = elf.unpack(layout, at, "the hash table")
            if at + (2 + nbuckets + nchains) * size > elf.size:
                raise elf.damaged("the hash table ends outside the file")
            self._classic = (nbuckets, nchains, at + 2 * size, size)

    @property
    def has_hash(self) -> bool:
        """Whether the dynamic linker can look up anything in this library."""
        return self.gnu is not None or self._classic is not None

    def __len__(self) -> int:
        """The number of symbols: DT_HASH's chain count, or the end of the last GNU chain.

        Raises `ElfError` for more than fit into the file.
        """
        if self._count is None:
            count = self._count_symbols()
            if self._symtab + count * self._entry > self.elf.size:
                raise self.elf.damaged(f"{count} symbols do not fit into the {self.elf.size} bytes")
            self._count = count
        return self._count

    def _count_symbols(self) -> int:
        elf = self.elf
        if self.gnu is None:
            return self._classic[1] if self._classic else self._count_by_section()
        nbuckets, symoffset, _, _, _, buckets = self.gnu
        raw = elf.read(buckets, 4 * nbuckets, "the GNU hash buckets")
        view = memoryview(raw)
        last = 0
        if nbuckets:
            last = max(elf.struct(f"{nbuckets}I").unpack(view))
        if last < symoffset:
            return max(symoffset, self._count_unhashed())
        chain = buckets + 4 * nbuckets
        for _ in range(MAX_CHAIN):
            (value,) = elf.unpack(self._word, chain + 4 * (last - symoffset), "a GNU hash chain")
            last += 1
            if value & 1:
                return last
        raise elf.damaged("a GNU hash chain has no end")

    def _count_unhashed(self) -> int:
        """Of a library that exports nothing GNU ld's hash table says that there is one symbol."""
        from .relocation_tables import last_symbol

        counted = self._classic[1] if self._classic else self._count_by_section()
        return max(counted, last_symbol(self.dynamic) + 1)

    def _count_by_section(self) -> int:
        section = self.elf.section(".dynsym")
        return section.size // self._entry if section is not None else 0

    def symbol(self, index: int) -> Symbol:
        """The symbol at an index; raises `ElfError` when it lies outside the file."""
        data = self.elf.data
        try:
            fields = self._layout.unpack_from(data, self._symtab + index * self._entry)
        except struct.error:
            raise self._outside(index) from None
        start, limit = self._strings
        at = start + fields[0]
        end = data.find(b"\0", at, min(limit, at + MAX_NAME)) if at < limit else -1
        if end < 0:
            raise self.elf.damaged(f"symbol {index}'s name is not in the dynamic string table")
        return Symbol(index, data[at:end], fields, self._bits)

    @property
    def first_hashed(self) -> int:
        """Where the GNU hash table's symbols start: those before are undefined or local."""
        return self.gnu[1] if self.gnu is not None else 0

    def undefined_from(self, first: int, last: int) -> frozenset[int]:
        """The undefined symbols among the entries first..last; none in what linkers write."""
        if last < first:
            return frozenset()
        elf = self.elf
        if last - first > MAX_SYMBOLS:
            raise elf.damaged(f"relocations name symbol {last}, beyond the limit of {MAX_SYMBOLS}")
        found: set[int] = set()
        at = 6 if elf.bits == 64 else 14
        for piece in range(first, last + 1, PIECE):
            size = min(PIECE, last + 1 - piece) * self._entry
            raw = elf.read(self._symtab + piece * self._entry, size, "the symbol table")
            # Zero is zero in either byte order, so the processor's own reads it fastest.
            view = memoryview(raw).cast("H")[at // 2 :: self._entry // 2].tolist()
            if SHN_UNDEF in view:
                found.update(i + piece for i, section in enumerate(view) if section == SHN_UNDEF)
            if piece > first:
                elf.forget()
        return frozenset(found)

    def version_index(self, index: int) -> int | None:
        """The raw DT_VERSYM entry (bit 15: hidden), None when the library has no versions."""
        if self._versym is None:
            return None
        try:
            value: int = self._half.unpack_from(self.elf.data, self._versym + 2 * index)[0]
        except struct.error:
            raise self.elf.damaged(f"symbol {index}'s version lies outside the file") from None
        return value

    def candidates(self, name: bytes, hashed: int | None = None) -> list[Symbol]:
        """All symbols of that name in the hash table, in chain order, defined or not."""
        if self.gnu is not None:
            return self._gnu_candidates(name, gnu_hash(name) if hashed is None else hashed)
        if self._classic is not None:
            return self._classic_candidates(name)
        return []

    def _gnu_candidates(self, name: bytes, hashed: int) -> list[Symbol]:
        assert self.gnu is not None
        _, _, words, shift, bloom, _ = self.gnu
        elf = self.elf
        data, order = elf.data, elf.byte_order
        bits, size = elf.bits, elf.bits // 8
        at = bloom + (hashed // bits & words - 1) * size
        word = int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]
        if not (word >> (hashed % bits)) & (word >> ((hashed >> shift) % bits)) & 1:
            return []
        return self.chain(name, hashed)

    def chain(self, name: bytes, hashed: int) -> list[Symbol]:
        """`candidates` behind the filter: the symbols of that name in the GNU hash chain."""
        assert self.gnu is not None
        nbuckets, symoffset = self.gnu[:2]
        found: list[Symbol] = []
        if not nbuckets:
            return found
        words, ended = self._words, name + b"\0"
        try:
            index = words[hashed % nbuckets]
            if index == 0:
                return found
            if index < symoffset:
                raise self.elf.damaged("a GNU hash bucket points below the hashed symbols")
            behind = nbuckets - symoffset
            first, more = index, SHORT_CHAIN
            while True:
                for place in range(index, index + more):
                    value = words[behind + place]
                    # The lowest bit only marks the end of the chain.
                    if value ^ hashed < 2:
                        symbol = self._if_named(place, ended)
                        if symbol is not None:
                            found.append(symbol)
                    if value & 1:
                        return found
                index += more
                if index - first > MAX_CHAIN:
                    raise self.elf.damaged("a GNU hash chain has no end")
                more = self._portion(name)
        except (struct.error, IndexError):
            raise self.elf.damaged("a GNU hash chain leaves the file") from None

    @cached_property
    def _words(self) -> memoryview | _Words:
        """The buckets and chains of the GNU hash table, as far as the file goes."""
        assert self.gnu is not None
        elf, start = self.elf, self.gnu[5]
        if elf.byte_order == sys.byteorder:
            return elf.words(start, (elf.size - start) // 4, 4)
        return _Words(elf, start)

    def _portion(self, name: bytes) -> int:
        """How many more entries of a long chain a lookup may look at."""
        if self._steps_for != _plugins:
            self._steps_for, self._steps = _plugins, 0
        # A long name takes long to compare.
        self._steps += PORTION * (1 + len(name) // 256)
        if self._steps > MAX_STEPS:
            raise self.elf.damaged(
                f"its hash chains have more than {SHORT_CHAIN} entries, and more than {MAX_STEPS} "
                "steps in them do not find what a plugin needs"
            )
        return PORTION

    def _classic_candidates(self, name: bytes) -> list[Symbol]:
        assert self._classic is not None
        nbuckets, nchains, start, size = self._classic
        if not nbuckets:
            return []
        ended = name + b"\0"
        word = self.elf.struct("Q" if size == 8 else "I")
        at = start + size * (sysv_hash(name) % nbuckets)
        (index,) = self.elf.unpack(word, at, "a hash bucket")
        found: list[Symbol] = []
        walked, more = 0, SHORT_CHAIN
        while walked <= nchains:
            for _ in range(more):
                if index == 0:
                    return found
                if index >= nchains:
                    raise self.elf.damaged("a hash chain leaves the symbol table")
                try:
                    symbol = self._if_named(index, ended)
                except struct.error:
                    raise self._outside(index) from None
                if symbol is not None:
                    found.append(symbol)
                at = start + size * (nbuckets + index)
                (index,) = self.elf.unpack(word, at, "a hash chain")
            walked += more
            more = self._portion(name)
        raise self.elf.damaged("a hash chain loops")

    def _if_named(self, index: int, ended: bytes) -> Symbol | None:
        """The symbol at an index if it has that name, which ends with its NUL; a name that differs
        is not copied. Raises `struct.error` where the symbol lies outside the file.
        """
        data = self.elf.data
        fields = self._layout.unpack_from(data, self._symtab + index * self._entry)
        end = fields[0] + len(ended)
        if end > self._strings_size:
            return None
        start = self._strings[0]
        if data[start + fields[0] : start + end] != ended:
            return None
        return Symbol(index, ended[:-1], fields, self._bits)

    def _outside(self, index: int) -> ElfError:
        return self.elf.damaged(f"symbol {index} lies outside the {self.elf.size} bytes")
