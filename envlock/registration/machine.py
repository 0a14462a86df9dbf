"""Calls in a plugin's static constructors, and the constants that are passed to them.

`REGISTER_OP` and `REGISTER_KERNEL_BUILDER` leave straight-line code in the functions of
DT_INIT_ARRAY: load the address of a string, call a builder. Those functions, and what they call in
the file itself, are swept once in file order. Only the instructions that such code consists of are
looked at: address of a constant (`lea`, `adrp` and `add`), load from the GOT or through a
register, copy, small number, call.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right

from ..elf.dynamic import (
    DT_JMPREL,
    DT_PLTRELSZ,
    DT_RELA,
    DT_RELACOUNT,
    DT_RELASZ,
    DT_RELRSZ,
)
from ..elf.file import PF_X, PT_LOAD
from ..errors import ElfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import ElfFile

PT_GNU_EH_FRAME = 0x6474E550
DT_INIT_ARRAY, DT_INIT_ARRAYSZ = 25, 27
#: Constructors are small; what is behind this many bytes is said not to be known.
MAX_CODE = 2 << 20
MAX_FUNCTION = 1 << 18
MAX_DEPTH = 3
MAX_TEXT = 256
#: No plugin has more constructors, relocations of its GOT or functions.
MAX_TABLE = 1 << 20

_TEXT = re.compile(rb"[\x20-\x7e]{1,%d}\0" % MAX_TEXT)

#: System V AMD64 and AAPCS64: the registers of the first arguments, and those that a call keeps.
_X86_ARGUMENTS = (7, 6, 2, 1, 8, 9)
_X86_KEPT = frozenset((3, 4, 5, 12, 13, 14, 15))
_ARM_KEPT = frozenset(range(19, 30))

_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_.>/]*")
#: Functions that take a std::string which the compiler may have put together inline.
_TAKES_STRING = "12OpDefBuilderC"

_X86 = re.compile(
    rb"(?P<lea>[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(?P<at>[\x00-\xff]{4})"
    rb"|(?P<got>[\x48\x4c]\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(?P<slot>[\x00-\xff]{4})"
    rb"|(?P<whole>[\x48\x49][\xb8-\xbf])(?P<bytes>[\x00-\xff]{8})"
    rb"|(?P<vector>(?:(?:[\x66\xf3]\x0f|\xc5[\x78-\x7b\xf8-\xfb])\x6f|"
    rb"(?:\x0f|\xc5[\x78-\x7b\xf8-\xfb])[\x10\x28])[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])"
    rb"(?P<data>[\x00-\xff]{4})"
    rb"|(?P<store>\x66?[\x40-\x4f]?(?:[\xc6\xc7][\x00-\x07\x40-\x47\x80-\x87]|[\x88\x89][\x00-\xbf])"
    rb"|(?:[\x66\xf3]\x0f|\xc5[\x78-\x7b\xf8-\xfb])\x7f[\x00-\xbf]"
    rb"|(?:\x0f|\xc5[\x78-\x7b\xf8-\xfb])[\x11\x29][\x00-\xbf])"
    rb"|(?P<copy>[\x40-\x4f]?[\x89\x8b][\xc0-\xff])"
    rb"|(?P<load>[\x48-\x4f][\x8b\x8d][\x00-\xbf])"
    rb"|(?P<zero>[\x40-\x4f]?[\x31\x33][\xc0-\xff])"
    rb"|(?P<number>\x41?[\xb8-\xbf])(?=(?P<value>[\x00-\xff]{4}))"
    rb"|(?P<call>[\xe8\xe9])(?=(?P<target>[\x00-\xff]{4}))"
    rb"|(?P<through>\xff\x15)(?=(?P<place>[\x00-\xff]{4}))"
)


_BRANCH = re.compile(rb"[\xe8\xe9]")
_ADDRESS = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d][\x00-\xff]{4}")
_THROUGH = re.compile(rb"\xff\x15[\x00-\xff]{4}")


class Value:
    """What a register holds.

    `kind` is text, number, slot (of the GOT), loaded (through a slot), argument, or address (an
    offset from what the register `name` held).
    """

    __slots__ = ("kind", "name", "number")

    def __init__(self, kind: str, name: str = "", number: int = 0) -> None:
        self.kind = kind
        self.name = name  # the text, or the symbol of the slot
        self.number = number


class Call:
    """One call: the address or symbol called, and the known values of the first arguments."""

    __slots__ = ("arguments", "built", "name", "target")

    def __init__(
        self, target: int, name: str, arguments: tuple[Value | None, ...], built: str | None = None
    ) -> None:
        self.target = target
        self.name = name  # empty: a function of this file without an exported name
        self.arguments = arguments
        self.built = built  # a std::string that was put together out of numbers before the call

    def text(self, number: int) -> str | None:
        """The string constant passed as that argument (0 is `this`)."""
        value = self.arguments[number]
        return value.name if value is not None and value.kind == "text" else None

    def number(self, number: int) -> int | None:
        """The small integer passed as that argument."""
        value = self.arguments[number]
        return value.number if value is not None and value.kind == "number" else None


class Stores:
    """What a function writes into memory: short strings are written as numbers."""

    __slots__ = ("_memory", "_numbers")

    def __init__(self) -> None:
        self._memory: dict[int, dict[int, bytes]] = {}
        self._numbers: set[int] = set()

    def clear(self) -> None:
        """Forget all."""
        self._memory.clear()
        self._numbers.clear()

    def number(self, value: int) -> None:
        """A number that was seen: it may be a length."""
        self._numbers.add(value)

    def write(self, base: int, offset: int, data: bytes) -> None:
        """Bytes written at an offset from a register."""
        if len(data) >= 4:
            self._numbers.add(int.from_bytes(data, "little"))
        self._memory.setdefault(base, {})[offset] = data

    def text(self) -> str | None:
        """The longest name in memory whose length was seen as well."""
        best = ""
        for writes in self._memory.values():
            run, end = b"", None
            for offset in [*sorted(writes), None]:
                if offset is not None and end is not None and offset <= end:
                    data = writes[offset]
                    run = (
                        run[: len(run) - (end - offset)] + data if offset + len(data) > end else run
                    )
                    end = max(end, offset + len(data))
                    continue
                for match in _NAME.finditer(run):
                    name = match[0].decode("ascii")
                    if len(name) in self._numbers and len(name) > len(best):
                        best = name
                if offset is not None:
                    run, end = writes[offset], offset + len(writes[offset])
        return best or None


class Constructors:
    """The code that runs when the file is loaded. Raises `ElfError` for damaged tables."""

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.truncated = False
        self._arm = elf.machine_number == 183
        self._code = [s for s in elf.segments if s.type == PT_LOAD and s.flags & PF_X]
        self._slots: dict[int, int] | None = None
        self._names: dict[int, str] = {}
        self._starts = _function_starts(elf)
        self._known = set(self._starts)

    def functions(self, interesting: re.Pattern[str]) -> list[tuple[int, list[Call]]]:
        """(address, its calls) of the functions that run at load and matter.

        Those call a symbol that matches `interesting`, or are called by one that does, or call
        one: an inline function without an exported name may stand between.
        """
        graph = self._graph()
        direct = {
            address
            for address, targets in graph.items()
            if any(interesting.search(self._name(target)) for target in targets)
        }
        chosen = direct | {a for a, targets in graph.items() if not direct.isdisjoint(targets)}
        sweep = self._sweep_arm if self._arm else self._sweep
        return [(a, sweep(a, self._body(a))) for a in graph if a in chosen]

    def _graph(self) -> dict[int, list[int]]:
        """What the constructors, and the functions that they call, branch to."""
        queue = [(address, 0) for address in self._entries()]
        graph: dict[int, list[int]] = {address: [] for address, _ in queue}
        budget = MAX_CODE
        for address, depth in queue:
            raw = self._body(address)
            budget -= len(raw)
            if budget < 0:
                self.truncated = True
                break
            targets = graph[address] = self._targets(address, raw)
            if depth < MAX_DEPTH:
                for target in targets:
                    if target in self._known and target not in graph:
                        graph[target] = []
                        queue.append((target, depth + 1))
        return graph

    def _targets(self, start: int, raw: bytes) -> list[int]:
        """Where a function's calls and jumps lead, and the PLT-less calls through its GOT."""
        found: dict[int, None] = {}
        if self._arm:
            for number, (word,) in enumerate(struct.iter_unpack("<I", raw[: len(raw) & ~3])):
                if word & 0x7C000000 == 0x14000000:
                    offset = word & 0x3FFFFFF
                    found[start + 4 * (number + offset - ((offset & 0x2000000) << 1))] = None
            return list(found)
        low = self._code[0].vaddr if self._code else 0
        high = max((s.vaddr + s.filesz for s in self._code), default=0)
        for match in _BRANCH.finditer(raw):
            at = match.start() + 1
            target = start + at + 4 + int.from_bytes(raw[at : at + 4], "little", signed=True)
            if low <= target < high:
                found[target] = None
        for match in _ADDRESS.finditer(raw):
            # Ops are registered by a function that is handed over.
            at = match.end()
            target = start + at + int.from_bytes(raw[at - 4 : at], "little", signed=True)
            if target in self._known:
                found[target] = None
        for match in _THROUGH.finditer(raw):
            at = match.end()
            slot = start + at + int.from_bytes(raw[at - 4 : at], "little", signed=True)
            name = self._symbol(slot)
            if name:
                self._names[-slot] = name
                found[-slot] = None
        return list(found)

    # --- where the code is -----------------------------------------------------------------------

    def _entries(self) -> list[int]:
        dynamic = self.elf.dynamic
        start, size = dynamic.get(DT_INIT_ARRAY), dynamic.get(DT_INIT_ARRAYSZ)
        if not start or not size:
            return []
        if size // 8 > MAX_TABLE:
            raise self.elf.damaged(f"{size // 8} constructors are more than {MAX_TABLE}")
        found = self._relative(start, start + size)
        # DT_RELR keeps addends in place, and so do linkers that were told to.
        at = self.elf.offset_of(start, size, "the constructors")
        if not found or dynamic.get(DT_RELRSZ):
            raw = self.elf.read(at, size - size % 8, "the constructors")
            found += [v for (v,) in self.elf.struct("Q").iter_unpack(raw) if v and v not in found]
        return [address for address in found if self._segment(address)]

    def _relative(self, start: int, end: int) -> list[int]:
        """The addends of the relative relocations of a range of addresses."""
        elf, dynamic = self.elf, self.elf.dynamic
        table, size = dynamic.get(DT_RELA), dynamic.get(DT_RELASZ)
        if not table or not size:
            return []
        at = elf.offset_of(table, size, "the relocations")
        words = elf.words(at, size // 24 * 3, 8)
        count = min(dynamic.get(DT_RELACOUNT) or 0, size // 24)
        offsets, addends = words[0 : 3 * count : 3], words[2 : 3 * count : 3]
        found = []
        first, last = bisect_left(offsets, start), bisect_left(offsets, end)
        found = [addends[i] for i in range(first, last)]
        if not found:
            # Linkers sort them by address; one that does not is read whole, symbols included.
            everything = words[0::3].tolist()
            found = [words[3 * i + 2] for i, o in enumerate(everything) if start <= o < end]
        return found

    def _segment(self, address: int) -> int | None:
        """File offset of code at an address, None where there is none."""
        for segment in self._code:
            if segment.vaddr <= address < segment.vaddr + segment.filesz:
                return segment.offset + address - segment.vaddr
        return None

    def _body(self, address: int) -> bytes:
        """The bytes of one function: as far as the next one starts."""
        for segment in self._code:
            end = segment.vaddr + segment.filesz
            if segment.vaddr <= address < end:
                following = bisect_right(self._starts, address)
                if following < len(self._starts):
                    end = min(end, self._starts[following])
                size = min(end - address, MAX_FUNCTION)
                return self.elf.read(segment.offset + address - segment.vaddr, size, "a function")
        return b""

    # --- names -----------------------------------------------------------------------------------

    def _symbol(self, slot: int) -> str:
        """The symbol whose address the GOT holds at `slot`, empty where it is none."""
        if self._slots is None:
            self._slots = self._read_slots()
        index = self._slots.get(slot)
        if index is None:
            return ""
        raw = self.elf.dynamic.symbols.symbol(index).name
        return raw.decode("utf-8", "backslashreplace")

    def _read_slots(self) -> dict[int, int]:
        elf, dynamic = self.elf, self.elf.dynamic
        found: dict[int, int] = {}
        for table, length, skip in (
            (DT_JMPREL, DT_PLTRELSZ, 0),
            (DT_RELA, DT_RELASZ, dynamic.get(DT_RELACOUNT) or 0),
        ):
            address, size = dynamic.get(table), dynamic.get(length)
            if not address or not size:
                continue
            count = size // 24
            if count > MAX_TABLE * 8:
                raise elf.damaged(f"{count} relocations are more than {MAX_TABLE * 8}")
            words = elf.words(elf.offset_of(address, size, "the relocations"), count * 3, 8)
            skip = min(skip, count)
            places, infos = words[3 * skip :: 3].tolist(), words[3 * skip + 1 :: 3].tolist()
            found.update((p, i >> 32) for p, i in zip(places, infos) if i >> 32)
        return found

    def _name(self, target: int) -> str:
        """The symbol that a call to an address ends in, through its PLT entry."""
        known = self._names.get(target)
        if known is None:
            known = "" if target in self._known else self._stub(target)
            self._names[target] = known
        return known

    def _stub(self, target: int) -> str:
        offset = self._segment(target)
        if offset is None:
            return ""
        raw = self.elf.data[offset : offset + 20]
        if self._arm:
            at = 4 if raw[:4] == b"\x5f\x24\x03\xd5" else 0  # bti c
            if len(raw) < at + 8:
                return ""
            page, load = struct.unpack_from("<II", raw, at)
            if page & 0x9F000000 != 0x90000000 or load & 0xFFC00000 != 0xF9400000:
                return ""
            slot = _page(target + at, page) + (load >> 10 & 0xFFF) * 8
            return self._symbol(slot)
        at = 4 if raw[:4] == b"\xf3\x0f\x1e\xfa" else 0  # endbr64
        if raw[at : at + 1] == b"\xf2":  # bnd
            at += 1
        if raw[at : at + 2] != b"\xff\x25" or len(raw) < at + 6:
            return ""
        (displacement,) = struct.unpack_from("<i", raw, at + 2)
        return self._symbol(target + at + 6 + displacement)

    def _constant(self, address: int) -> Value | None:
        """The string at an address; a GOT slot's address is none."""
        try:
            at = self.elf.offset_of(address, 1, "a constant")
        except ElfError:
            return None
        match = _TEXT.match(self.elf.data, at)
        return Value("text", match[0][:-1].decode("ascii")) if match else None

    def _loaded(self, slot: int) -> Value | None:
        name = self._symbol(slot)
        if not name or self._slots is None:
            return None
        symbol = self.elf.dynamic.symbols.symbol(self._slots[slot])
        # An exported array of this very file: its address is its content's.
        text = self._constant(symbol.value) if symbol.defined and symbol.type == 1 else None
        return text if text is not None else Value("slot", name)

    # --- x86-64 ----------------------------------------------------------------------------------

    def _sweep(self, start: int, raw: bytes) -> list[Call]:
        registers: dict[int, Value | None] = {
            register: Value("argument", number=n) for n, register in enumerate(_X86_ARGUMENTS)
        }
        calls: list[Call] = []
        stores = Stores()
        vectors: dict[int, bytes] = {}
        unpack = struct.unpack
        for match in _X86.finditer(raw):
            kind = match.lastgroup
            end = start + match.end()
            code = match[0]
            if kind == "at":
                target = end + unpack("<i", match["at"])[0]
                registers[_field(code)] = self._constant(target)
            elif kind == "slot":
                target = end + unpack("<i", match["slot"])[0]
                registers[_field(code)] = self._loaded(target)
            elif kind == "bytes":
                content = match["bytes"]
                to = (code[1] & 7) | (code[0] & 1) << 3
                registers[to] = Value("number", number=int.from_bytes(content, "little"))
            elif kind == "data":
                content = self._data(end + unpack("<i", match["data"])[0])
                vectors[code[-5] >> 3 & 7] = content
            elif kind == "store":
                _store(raw, match.start(), match.end(), registers, vectors, stores)
            elif kind == "copy":
                rex = code[0] if len(code) == 3 else 0
                field = (code[-1] >> 3 & 7) | (rex & 4) << 1
                plain = (code[-1] & 7) | (rex & 1) << 3
                to, source = (plain, field) if code[-2] == 0x89 else (field, plain)
                registers[to] = registers.get(source) if rex & 8 else None
            elif kind == "load":
                registers[_field(code)] = _through(raw, match.end(), registers)
            elif kind == "zero":
                rex = code[0] if len(code) == 3 else 0
                field, plain = code[-1] >> 3 & 7, code[-1] & 7
                same = field == plain and bool(rex & 4) == bool(rex & 1)
                to = (plain | (rex & 1) << 3) if code[-2] == 0x31 else (field | (rex & 4) << 1)
                registers[to] = Value("number") if same else None
            elif kind == "value":
                to = (code[-1] & 7) | (8 if code[0] == 0x41 else 0)
                amount = unpack("<i", match["value"])[0]
                registers[to] = Value("number", number=amount)
                stores.number(amount)
            else:
                if kind == "target":
                    target = end + 4 + unpack("<i", match["target"])[0]
                    if self._segment(target) is None:
                        continue
                    name = self._name(target)
                    if code == b"\xe9" and not name and target not in self._known:
                        continue
                else:
                    target = 0
                    name = self._symbol(end + 4 + unpack("<i", match["place"])[0])
                    if not name:
                        continue
                built = None
                if _TAKES_STRING in name:
                    built = stores.text()
                    stores.clear()
                arguments = tuple(registers.get(r) for r in _X86_ARGUMENTS)
                calls.append(Call(target, name, arguments, built))
                if code[0] != 0xE9:
                    registers = {r: v for r, v in registers.items() if r in _X86_KEPT}
        return calls

    def _data(self, address: int) -> bytes:
        """Sixteen constant bytes, or none."""
        try:
            at = self.elf.offset_of(address, 16, "a constant")
        except ElfError:
            return b""
        return self.elf.data[at : at + 16]

    # --- aarch64 ---------------------------------------------------------------------------------

    def _sweep_arm(self, start: int, raw: bytes) -> list[Call]:
        registers: dict[int, Value | None] = {n: Value("argument", number=n) for n in range(6)}
        pages: dict[int, int] = {}
        calls: list[Call] = []
        count = len(raw) // 4
        for number, word in enumerate(struct.unpack_from(f"<{count}I", raw)):
            here = start + 4 * number
            to, base = word & 31, word >> 5 & 31
            if word & 0x9F000000 == 0x90000000:  # adrp
                pages[to] = _page(here, word)
                registers[to] = None
            elif word & 0xFFC00000 == 0x91000000:  # add (immediate)
                page = pages.pop(base, None)
                value = None
                if page is not None:
                    if to != base:
                        pages[base] = page
                    value = self._constant(page + (word >> 10 & 0xFFF))
                pages.pop(to, None) if to != base else None
                registers[to] = value
            elif word & 0xFFC00000 == 0xF9400000:  # ldr (immediate)
                page = pages.get(base)
                offset = (word >> 10 & 0xFFF) * 8
                held = registers.get(base)
                if page is not None:
                    registers[to] = self._loaded(page + offset)
                elif held is not None and held.kind == "slot" and not offset:
                    registers[to] = Value("loaded", held.name)
                else:
                    registers[to] = None
                pages.pop(to, None)
            elif word & 0xFFE0FFE0 == 0xAA0003E0:  # mov (register)
                source = word >> 16 & 31
                registers[to] = Value("number") if source == 31 else registers.get(source)
                pages.pop(to, None)
                if source in pages:
                    pages[to] = pages[source]
            elif word & 0x7FE00000 == 0x52800000:  # mov (wide immediate)
                registers[to] = Value("number", number=word >> 5 & 0xFFFF)
                pages.pop(to, None)
            elif word & 0x7C000000 == 0x14000000:  # b, bl
                offset = word & 0x3FFFFFF
                target = here + 4 * (offset - ((offset & 0x2000000) << 1))
                linked = bool(word >> 31)
                if self._segment(target) is None:
                    continue
                name = self._name(target)
                if not linked and not name and target not in self._known:
                    continue
                calls.append(Call(target, name, tuple(registers.get(r) for r in range(6))))
                if linked:
                    registers = {r: v for r, v in registers.items() if r in _ARM_KEPT}
                    pages = {r: v for r, v in pages.items() if r in _ARM_KEPT}
        return calls


def _store(
    raw: bytes,
    start: int,
    end: int,
    registers: dict[int, Value | None],
    vectors: dict[int, bytes],
    stores: Stores,
) -> None:
    """One x86-64 store of a known number: what is written, and where."""
    code = raw[start:end]
    narrow = code[0] == 0x66
    rex = next((byte for byte in code[:2] if 0x40 <= byte <= 0x4F), 0)
    opcode, modrm = code[-2], code[-1]
    base, at = (modrm & 7) | (rex & 1) << 3, end
    if modrm & 7 == 4:
        sib = raw[at] if at < len(raw) else 0
        if sib >> 3 & 7 != 4 or rex & 2:
            return  # an index
        base, at = (sib & 7) | (rex & 1) << 3, at + 1
    mode = modrm >> 6
    if mode == 0 and base & 7 == 5:
        return  # relative to the instruction
    offset = 0
    if mode:
        size = 1 if mode == 1 else 4
        offset = int.from_bytes(raw[at : at + size], "little", signed=True)
        at += size
    known = registers.get(base)
    if known is not None and known.kind == "address":
        base, offset = int(known.name), known.number + offset
    register = (modrm >> 3 & 7) | (rex & 4) << 1
    size = 1 if opcode in (0xC6, 0x88) else 2 if narrow else 8 if rex & 8 else 4
    if opcode in (0xC6, 0xC7):
        data = raw[at : at + min(size, 4)]
        data += (b"\xff" if data[-1:] > b"\x7f" else b"\0") * (size - len(data))
    elif opcode in (0x88, 0x89):
        value = registers.get(register)
        if value is None or value.kind != "number":
            return
        data = (value.number & (1 << 64) - 1).to_bytes(8, "little")[:size]
    else:
        data = vectors.get(register, b"")
    if data:
        stores.write(base, offset, data)


def _through(raw: bytes, end: int, registers: dict[int, Value | None]) -> Value | None:
    """What `mov` or `lea` with a memory operand (its ModRM ends at `end`) puts in a register."""
    rex, opcode, modrm = raw[end - 3 : end]
    base, mode = (modrm & 7) | (rex & 1) << 3, modrm >> 6
    if modrm & 7 in (4, 5) and not (modrm & 7 == 5 and mode):
        return None
    value = registers.get(base)
    if opcode == 0x8B:
        through = value is not None and value.kind == "slot" and not mode
        return Value("loaded", value.name) if through and value is not None else None
    offset = 0
    if mode:
        size = 1 if mode == 1 else 4
        offset = int.from_bytes(raw[end : end + size], "little", signed=True)
    if value is not None and value.kind == "address":
        return Value("address", value.name, value.number + offset)
    return Value("address", str(base), offset)


def _field(code: bytes) -> int:
    """The register that ModRM's reg field names, REX.R added."""
    return (code[2] >> 3 & 7) | (code[0] & 4) << 1


def _page(address: int, word: int) -> int:
    """What `adrp` puts into its register."""
    offset = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
    if offset & 0x100000:
        offset -= 0x200000
    return (address & ~0xFFF) + (offset << 12)


def _function_starts(elf: ElfFile) -> list[int]:
    """Addresses of functions with unwind information, sorted; empty where there is no table."""
    segment = next((s for s in elf.segments if s.type == PT_GNU_EH_FRAME), None)
    if segment is None or segment.filesz < 12:
        return []
    head = elf.read(segment.offset, 12, "the unwind table's header")
    # The one form that linkers write: udata4 count, table of sdata4 relative to the header.
    if head[0] != 1 or head[2] != 0x03 or head[3] != 0x3B or head[1] not in (0x1B, 0x3B):
        return []
    (count,) = struct.unpack_from("<I", head, 8)
    if 12 + 8 * count > segment.filesz:
        raise elf.damaged("the unwind table ends outside its segment")
    table = elf.read(segment.offset + 12, 8 * count, "the unwind table")
    return [segment.vaddr + start for start in struct.unpack(f"<{2 * count}i", table)[::2]]
