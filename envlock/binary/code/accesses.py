"""Access paths in x86-64 machine code: what a stripped plugin reads through pointers.

Functions are found through `.eh_frame_hdr`; each is swept once in file order. A register that was
loaded from `[p + a]` and is then used as `[r + b]` gives the window (a, b). That is what an
inlined accessor leaves behind: `ctx->num_inputs()` is (16, 184). Beside each window stands what
the same function says about p: the named functions it is passed to, the one it came from.
"""

from __future__ import annotations

import re

from ...models.errors import DependencyMissing, ElfError
from ..elf.dynamic import DT_JMPREL, DT_PLTRELSZ, DT_RELA, DT_RELASZ
from ..elf.file import ElfFile
from ..elf.image import PF_X, PT_LOAD
from ..elf.relocations import SPARE, symbol_indices
from .calls import function_starts
from .x86_64 import slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    #: (name of a function, number of the argument that the pointer is; -1: its result)
    Witness = tuple[str, int]

#: Files with more code than this are not swept: it takes seconds for each 2 MB. The largest
#: published plugins have 7 MB.
MAX_CODE = 16 << 20
MAX_FUNCTION = 1 << 20
#: Share of functions that store their first argument at once: half with -O0, none with -O1.
SPILLING = 0.25

_MEMORY = re.compile(r"\[(r\w+)(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_WIDTHS = {"byte": 1, "word": 2, "dword": 4, "qword": 8}
_REGISTERS = {
    "rax": ("rax", "eax", "ax", "al", "ah"),
    "rbx": ("rbx", "ebx", "bx", "bl", "bh"),
    "rcx": ("rcx", "ecx", "cx", "cl", "ch"),
    "rdx": ("rdx", "edx", "dx", "dl", "dh"),
    "rsi": ("rsi", "esi", "si", "sil"),
    "rdi": ("rdi", "edi", "di", "dil"),
    "rbp": ("rbp", "ebp", "bp", "bpl"),
    "rsp": ("rsp", "esp", "sp", "spl"),
    **{f"r{n}": (f"r{n}", f"r{n}d", f"r{n}w", f"r{n}b") for n in range(8, 16)},
}
_FULL = {part: full for full, parts in _REGISTERS.items() for part in parts}
_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_CLOBBERED = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")
_NEW = "_Znwm"
#: What `std::make_shared` writes at 8, both counts at once, and where it puts the object.
_COUNTS = 0x1_0000_0001
SHARED_AT = 16
_CONSTRUCTOR = re.compile(r"C[12]E")
#: Registers of less than 64 bits; what is read through one is no pointer.
_NARROW = re.compile(
    r"\b(e(?:[abcd]x|[sd]i|bp)|r(?:8|9|1[0-5])[dwb]|[abcd][lx]|[sd]il?|bpl?)\b(?!\])"
)
#: Instructions whose first operand is only written.
_WRITES = ("mov", "lea", "set", "pop", "cvt")
_READ_ONLY = frozenset(("cmp", "test", "push", "bt", "ucomiss", "ucomisd", "nop", "comiss"))
_NO_WITNESS: frozenset[Witness] = frozenset()


class Pointer:
    """A pointer value in one function: where it was loaded from, and who saw it."""

    __slots__ = ("allocated", "narrowed", "offset", "parent", "shared", "witnesses")

    def __init__(self, parent: Pointer | None, offset: int) -> None:
        self.parent = parent
        self.offset = offset
        self.narrowed = False  # half of it was used, so it is a number
        self.allocated = 0  # bytes that it got from `operator new`
        self.shared = False  # for a shared pointer's counters and object
        self.witnesses: set[Witness] = set()


class Code:
    """What the machine code of a plugin shows.

    `windows`: (a, b) -> the sets of witnesses of p, one for each different occurrence; `widths`:
    how many bytes are accessed there.
    """

    def __init__(self) -> None:
        self.windows: dict[tuple[int, int], set[frozenset[Witness]]] = {}
        self.widths: dict[tuple[int, int], set[int]] = {}
        #: (constructor or virtual table, bytes): objects that the plugin makes room for itself.
        self.allocated: set[tuple[str, int]] = set()
        #: Windows of 8 bytes of which only a part was used further: numbers, not pointers.
        self.numbers: set[tuple[int, int]] = set()
        #: Named function -> offsets from its first argument that it reads, writes or points to,
        #: and its windows that start there.
        self.own: dict[str, set[int]] = {}
        self.own_windows: dict[str, set[tuple[int, int]]] = {}
        #: (offset, width in bytes) read or written directly -> the sets of witnesses of the
        #: pointer, where it has some.
        self.direct: dict[tuple[int, int], set[frozenset[Witness]]] = {}
        self.functions = 0
        self.spilling = 0  # functions that begin by storing their first argument on the stack
        self.truncated = False

    @property
    def unoptimised(self) -> bool:
        """Whether most of it looks compiled with `-O0`: pointers go through the stack there, where
        a sweep loses them."""
        return self.spilling > SPILLING * self.functions


def read(elf: ElfFile) -> Code:
    """Sweep the file's code.

    Raises `DependencyMissing` where the disassembler is not installed.
    """
    try:
        from capstone import CS_ARCH_X86, CS_MODE_64, Cs
    except ImportError:
        raise missing() from None
    engine = Cs(CS_ARCH_X86, CS_MODE_64)
    engine.skipdata = True
    code = Code()
    names = Names(elf)
    for start, raw in _pieces(elf, code):
        code.functions += 1
        code.spilling += _spills(raw)
        _Sweep(code, names, start).run(engine.disasm_lite(raw, start))
    return code


def missing() -> DependencyMissing:
    """The error where there is no disassembler."""
    return DependencyMissing(
        "reading machine code needs the package `capstone`",
        hint="python -m pip install capstone",
    )


def _spills(raw: bytes) -> bool:
    """Whether a function sets up a frame (push %rbp; mov %rsp,%rbp) and stores %rdi in it."""
    head = raw[:64]
    frame = head.find(b"\x55\x48\x89\xe5", 0, 8)  # behind an endbr64
    return frame >= 0 and head.find(b"\x48\x89\x7d", frame) >= 0


class Names:
    """Names of call targets: functions the file exports and stubs that jump through its GOT."""

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.functions: dict[int, str] = {}
        self.slots: dict[int, str] = {}
        dynamic = elf.dynamic
        names = {}
        left = 4 * dynamic.string_table[1] + SPARE
        for index in symbol_indices(elf):
            symbol = dynamic.symbols.symbol(index)
            names[index] = symbol.name.decode("utf-8", "replace")
            left -= len(symbol.name)
            if left < 0:
                raise elf.damaged("the names of its symbols overlap each other")
            if symbol.defined and symbol.type == 2:
                self.functions[symbol.value] = names[index]
        for table, length in ((DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)):
            address, size = dynamic.get(table), dynamic.get(length)
            if not address or not size:
                continue
            raw = elf.read(
                elf.offset_of(address, size, "the relocations"), size - size % 24, "relocations"
            )
            for place, info, _ in elf.struct("QQq").iter_unpack(raw):
                if info >> 32 and info & 0xFFFFFFFF in (6, 7):  # GLOB_DAT, JUMP_SLOT
                    self.slots[place] = names.get(info >> 32, "")
        self._stubs: dict[int, str] = {}

    def of(self, target: int) -> str:
        """The name of what a call to an address ends in, empty for unnamed functions."""
        known = self.functions.get(target)
        if known is not None:
            return known
        if target not in self._stubs:
            self._stubs[target] = self._stub(target)
        return self._stubs[target]

    def _stub(self, target: int) -> str:
        try:
            offset = self.elf.offset_of(target, 16, "a stub")
        except ElfError:
            return ""
        place = slot(target, self.elf.data[offset : offset + 16])
        return self.slots.get(place, "") if place is not None else ""


def _pieces(elf: ElfFile, code: Code) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) of each function."""
    executable = [s for s in elf.segments if s.type == PT_LOAD and s.flags & PF_X]
    if sum(segment.filesz for segment in executable) > MAX_CODE:
        code.truncated = True
        return
    starts = function_starts(elf)
    for segment in executable:
        end = segment.vaddr + segment.filesz
        inside = [s for s in starts if segment.vaddr <= s < end]
        for start, following in zip(inside, [*inside[1:], end]):
            size = min(following - start, MAX_FUNCTION)
            at = segment.offset + start - segment.vaddr
            yield start, elf.read(at, size, "a function")


class _Sweep:
    """One function: registers and stack slots that hold known pointers."""

    def __init__(self, code: Code, names: Names, start: int) -> None:
        self.code = code
        self.names = names
        # register or stack slot -> (pointer, what was added to it)
        self.state: dict[str, tuple[Pointer, int]] = {}
        self.stack: dict[tuple[str, int], tuple[Pointer, int]] = {}
        self.made: list[tuple[str, Pointer, int]] = []  # by a constructor, at an offset
        self.constants: dict[str, int] = {}
        self.tables: dict[str, str] = {}  # register -> the virtual table that it points into
        self.seen: list[tuple[Pointer, int, int, int]] = []
        self.values: list[Pointer] = []  # what was loaded through a loaded pointer
        self.touched: list[tuple[Pointer, int, int]] = []
        self.frame = False
        own = names.functions.get(start)
        self.first: Pointer | None = None
        self.offsets: set[int] = code.own.setdefault(own, set()) if own else set()
        self.own_windows = code.own_windows.setdefault(own, set()) if own else set()
        for number, register in enumerate(_ARGUMENTS):
            pointer = Pointer(None, 0)
            if own:
                pointer.witnesses.add((own, number))
            self.state[register] = (pointer, 0)
            if number == 0 and own:
                self.first = pointer

    def run(self, instructions: Iterator[tuple[int, int, str, str]]) -> None:
        for address, size, mnemonic, operands in instructions:
            if mnemonic == "call" or mnemonic == "jmp":
                self._branch(mnemonic, address, size, operands)
            elif mnemonic[0] != "j":
                self._step(mnemonic, operands, address + size)
        for name, pointer, added in self.made:
            # Alone in its room, or behind the counters of a shared pointer.
            if added == (SHARED_AT if pointer.shared else 0):
                self.code.allocated.add((name, pointer.allocated - added))
        windows = self.code.windows
        for value in self.values:
            parent = value.parent
            if value.narrowed and parent is not None and parent.parent is not None:
                self.code.numbers.add((parent.offset, value.offset))
        for pointer, a, b, width in self.seen:
            parent = pointer.parent
            self.code.widths.setdefault((a, b), set()).add(width)
            witnesses = frozenset(parent.witnesses) if parent is not None else _NO_WITNESS
            windows.setdefault((a, b), set()).add(witnesses)
            if parent is self.first and parent is not None:
                self.own_windows.add((a, b))
        for pointer, offset, width in self.touched:
            if pointer.witnesses:
                seen = self.code.direct.setdefault((offset, width), set())
                seen.add(frozenset(pointer.witnesses))

    def _touch(self, known: tuple[Pointer, int], offset: int, operands: str) -> None:
        pointer, added = known
        if pointer is self.first:
            self.offsets.add(added + offset)
        at = operands.find(" ptr [")
        size = _WIDTHS.get(operands[:at].rsplit(" ", 1)[-1], 16) if at >= 0 else 8
        self.touched.append((pointer, added + offset, size))
        if pointer.parent is not None:
            self.seen.append((pointer, pointer.offset, added + offset, size))

    def _branch(self, mnemonic: str, address: int, size: int, operands: str) -> None:
        name = ""
        if operands.startswith("0x"):
            name = self.names.of(int(operands, 16))
        elif "[" in operands:
            match = _MEMORY.search(operands)
            if match is not None:
                offset = int(match[3], 0) * (-1 if match[2] == "-" else 1) if match[3] else 0
                if match[1] == "rip":
                    name = self.names.slots.get(address + size + offset, "")
                elif match[1] in self.state:
                    self._touch(self.state[match[1]], offset, operands)
        if name:
            for number, register in enumerate(_ARGUMENTS):
                known = self.state.get(register)
                if known is None:
                    continue
                if known[1] == 0:
                    known[0].witnesses.add((name, number))
                if number == 0 and known[0].allocated and _CONSTRUCTOR.search(name):
                    self.made.append((name, *known))
        if mnemonic == "call":
            for register in _CLOBBERED:
                self.state.pop(register, None)
            result = Pointer(None, 0)
            if name:
                result.witnesses.add((name, -1))
            if name == _NEW and "rdi" in self.constants:
                result.allocated = self.constants["rdi"]
            self.constants.clear()
            self.state["rax"] = (result, 0)

    def _step(self, mnemonic: str, operands: str, following: int) -> None:
        state = self.state
        target = operands.split(",", 1)[0]
        full = _FULL.get(target)
        if self.values:
            self._narrow(mnemonic, operands)
        value: tuple[Pointer, int] | None = None
        table = ""
        memory = _MEMORY.search(operands) if "[" in operands else None
        if memory is not None:
            base = memory[1]
            offset = int(memory[3], 0) if memory[3] else 0
            if memory[2] == "-":
                offset = -offset
            if base == "rsp" or (base == "rbp" and self.frame):
                value = self._stack(mnemonic, operands, full, (base, offset))
            elif base == "rip":
                if mnemonic == "mov" and full == target:
                    table = self.names.slots.get(following + offset, "")
            else:
                known = state.get(base)
                if known is None:
                    known = state[base] = (Pointer(None, 0), 0)
                if mnemonic == "lea":
                    value = (known[0], known[1] + offset)
                    if known[0] is self.first:
                        self.offsets.add(value[1])
                else:
                    self._touch(known, offset, operands)
                    if known[0].allocated and mnemonic == "mov":
                        self._construct(known[0], known[1] + offset, operands)
                    if mnemonic == "mov" and full == target:
                        value = (Pointer(known[0], known[1] + offset), 0)
                        if known[0].parent is not None:
                            self.values.append(value[0])
        elif mnemonic == "mov" and full is not None:
            source = operands.rsplit(", ", 1)[-1]
            if source == "rsp" and full == "rbp":
                self.frame = True
            value = state.get(source) if full == target else None
        elif mnemonic in ("add", "sub") and full in state:
            amount = operands.rsplit(", ", 1)[-1]
            if amount[:1].isdigit():
                known = state[full]
                number = int(amount, 0)
                value = (known[0], known[1] + (number if mnemonic == "add" else -number))
                if known[0] is self.first:
                    self.offsets.add(value[1])
        if full is not None and mnemonic not in _READ_ONLY:
            self.constants.pop(full, None)
            if mnemonic != "add":
                self.tables.pop(full, None)
            if table.startswith("_ZTV"):
                self.tables[full] = table
            if mnemonic.startswith("mov") and operands[len(target) + 2 :][:1].isdigit():
                self.constants[full] = int(operands[len(target) + 2 :], 0)
            if value is not None:
                state[full] = value
            else:
                state.pop(full, None)

    def _construct(self, pointer: Pointer, offset: int, operands: str) -> None:
        """Note what becomes of allocated room, by what is written at its beginning."""
        source = operands.rsplit(", ", 1)[-1]
        if offset == 0 and source in self.tables:
            self.made.append((self.tables[source], pointer, 0))
        elif offset == 8 and self.constants.get(source) == _COUNTS:
            pointer.shared = True

    def _narrow(self, mnemonic: str, operands: str) -> None:
        """Note values of which an instruction reads a part only."""
        found = _NARROW.search(operands)
        if found is None:
            return
        left, _, right = operands.partition(", ")
        if mnemonic == "xor" and left == right:
            return
        while found is not None:
            if found.start() or not mnemonic.startswith(_WRITES):
                known = self.state.get(_FULL.get(found[1], ""))
                if known is not None:
                    known[0].narrowed = True
            found = _NARROW.search(operands, found.end())

    def _stack(
        self, mnemonic: str, operands: str, full: str | None, slot: tuple[str, int]
    ) -> tuple[Pointer, int] | None:
        if mnemonic != "mov":
            return None
        if full is not None and not operands.startswith(("byte", "word", "dword", "qword")):
            return self.stack.get(slot)
        source = operands.rsplit(", ", 1)[-1]
        if source in self.state:
            self.stack[slot] = self.state[source]
        else:
            self.stack.pop(slot, None)
        return None
