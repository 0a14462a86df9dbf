"""Calls in a plugin's static constructors, and the constants that are passed to them.

`REGISTER_OP` and `REGISTER_KERNEL_BUILDER` leave straight-line code in the functions of
DT_INIT_ARRAY: load the address of a string, call a builder. Those functions, and what they call in
the file itself, are swept once in file order. Only the instructions that such code consists of are
looked at (`x86_64`, `aarch64`): address of a constant, load from the GOT or through a register,
copy, number, store of a number, call.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from ...models.errors import ElfError
from ..elf.dynamic import DT_JMPREL, DT_PLTRELSZ, DT_RELA, DT_RELACOUNT, DT_RELASZ, DT_RELRSZ
from ..elf.image import PF_X, PT_LOAD
from ..elf.relocation_tables import MAX_RELOCATIONS
from .calls import Value, function_starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import ElfFile
    from .calls import Call, Machine

DT_INIT_ARRAY, DT_INIT_ARRAYSZ = 25, 27
#: Constructors are small; what is behind this many bytes is said not to be known.
MAX_CODE = 2 << 20
MAX_FUNCTION = 1 << 18
MAX_CODE_SEGMENTS = 16
MAX_DEPTH = 3
MAX_FUNCTIONS = 1 << 14
MAX_TEXT = 256

_TEXT = re.compile(rb"[\x20-\x7e]{1,%d}\0" % MAX_TEXT)


class Constructors:
    """The code that runs when a 64-bit little-endian file is loaded.

    Raises `ElfError` for damaged tables.
    """

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.truncated = False
        self._machine = _machine(elf.machine_number)
        self._code = [s for s in elf.segments if s.type == PT_LOAD and s.flags & PF_X]
        if len(self._code) > MAX_CODE_SEGMENTS:
            raise elf.damaged(f"{len(self._code)} segments with code; linkers make one or two")
        self._slots: dict[int, int] | None = None
        self._names: dict[int, str] = {}
        self._starts = function_starts(elf)
        self.known = frozenset(self._starts)

    def functions(self, interesting: re.Pattern[str]) -> list[tuple[int, list[Call]]]:
        """(address, its calls) of the functions that run at load and matter.

        Those call a symbol that matches `interesting`, or are called by one that does, or call
        one: an inline function without an exported name may stand between.
        """
        graph = self._graph()
        direct = {
            address
            for address, targets in graph.items()
            if any(interesting.search(self.name(target)) for target in targets)
        }
        chosen = direct | {a for a, targets in graph.items() if not direct.isdisjoint(targets)}
        return [(a, self._machine.sweep(self, a, self._body(a))) for a in graph if a in chosen]

    def _graph(self) -> dict[int, list[int]]:
        """What the constructors, and the functions that they call, branch to."""
        queue = [(address, 0) for address in self._entries()]
        graph: dict[int, list[int]] = {address: [] for address, _ in queue}
        budget = MAX_CODE
        for address, depth in queue:
            raw = self._body(address)
            budget -= len(raw)
            if budget < 0 or len(graph) > MAX_FUNCTIONS:
                self.truncated = True
                break
            targets = graph[address] = self._machine.targets(self, address, raw)
            if depth < MAX_DEPTH:
                for target in targets:
                    if target in self.known and target not in graph:
                        graph[target] = []
                        queue.append((target, depth + 1))
        return graph

    # --- where the code is -----------------------------------------------------------------------

    def _entries(self) -> list[int]:
        dynamic = self.elf.dynamic
        start, size = dynamic.get(DT_INIT_ARRAY), dynamic.get(DT_INIT_ARRAYSZ)
        if not start or not size:
            return []
        if size // 8 > MAX_FUNCTIONS:
            raise self.elf.damaged(f"{size // 8} constructors are more than {MAX_FUNCTIONS}")
        found = self._relative(start, start + size)
        # DT_RELR keeps addends in place, and so do linkers that were told to.
        at = self.elf.offset_of(start, size, "the constructors")
        if not found or dynamic.get(DT_RELRSZ):
            raw = self.elf.read(at, size - size % 8, "the constructors")
            found += [v for (v,) in self.elf.struct("Q").iter_unpack(raw) if v]
            found = list(dict.fromkeys(found))
        return [address for address in found if self.code(address)]

    def _relative(self, start: int, end: int) -> list[int]:
        """The addends of the relative relocations of a range of addresses."""
        elf, dynamic = self.elf, self.elf.dynamic
        table, size = dynamic.get(DT_RELA), dynamic.get(DT_RELASZ)
        if not table or not size:
            return []
        at = elf.offset_of(table, size, "the relocations")
        if size // 24 > MAX_RELOCATIONS:
            raise elf.damaged(f"{size // 24} relocations are more than {MAX_RELOCATIONS}")
        words = elf.words(at, size // 24 * 3, 8)
        count = min(dynamic.get(DT_RELACOUNT) or 0, size // 24)
        offsets, addends = words[0 : 3 * count : 3], words[2 : 3 * count : 3]
        first, last = bisect_left(offsets, start), bisect_left(offsets, end)
        found = [addends[i] for i in range(first, last)]
        if not found:
            # Linkers sort them by address; one that does not is read whole, symbols included.
            everything = words[0::3].tolist()
            found = [words[3 * i + 2] for i, o in enumerate(everything) if start <= o < end]
        return found

    def code(self, address: int) -> int | None:
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

    def symbol(self, slot: int) -> str:
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
            if count > MAX_RELOCATIONS:
                raise elf.damaged(f"{count} relocations are more than {MAX_RELOCATIONS}")
            words = elf.words(elf.offset_of(address, size, "the relocations"), count * 3, 8)
            skip = min(skip, count)
            places, infos = words[3 * skip :: 3].tolist(), words[3 * skip + 1 :: 3].tolist()
            found.update((p, i >> 32) for p, i in zip(places, infos) if i >> 32)
        return found

    def name(self, target: int) -> str:
        """The symbol that a call to an address ends in, through its PLT entry."""
        if target < 0:
            return self.symbol(-target)  # a call through the GOT, see `targets`
        known = self._names.get(target)
        if known is None:
            known = "" if target in self.known else self._stub(target)
            self._names[target] = known
        return known

    def _stub(self, target: int) -> str:
        offset = self.code(target)
        if offset is None:
            return ""
        slot = self._machine.slot(target, self.elf.data[offset : offset + 20])
        return self.symbol(slot) if slot is not None else ""

    def constant(self, address: int) -> Value | None:
        """The string at an address, None where there is none."""
        try:
            at = self.elf.offset_of(address, 1, "a constant")
        except ElfError:
            return None
        match = _TEXT.match(self.elf.data, at)
        return Value("text", match[0][:-1].decode("ascii"), address) if match else None

    def loaded(self, slot: int) -> Value | None:
        """What a load from the GOT gives: an exported text of this file, or a symbol's address."""
        name = self.symbol(slot)
        if not name or self._slots is None:
            return None
        symbol = self.elf.dynamic.symbols.symbol(self._slots[slot])
        text = self.constant(symbol.value) if symbol.defined and symbol.type == 1 else None
        return text if text is not None else Value("slot", name)

    def data(self, address: int) -> bytes:
        """Sixteen constant bytes, or none."""
        try:
            at = self.elf.offset_of(address, 16, "a constant")
        except ElfError:
            return b""
        return self.elf.data[at : at + 16]


def _machine(number: int) -> Machine:
    """The module that knows an architecture (EM_X86_64 or EM_AARCH64)."""
    if number == 183:
        from . import aarch64

        return aarch64
    from . import x86_64

    return x86_64
