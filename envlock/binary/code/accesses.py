"""Access paths in machine code: what a stripped plugin reads through pointers.

A register that was loaded from `[p + a]` and is then used as `[r + b]` gives the window (a, b).
That is what an inlined accessor leaves behind: `ctx->num_inputs()` is (16, 184). Beside each
window stands what the same function says about p: the named functions it is passed to, the one it
came from. Each function is followed once in file order, by itself.
"""

from __future__ import annotations

import re

from . import steps as s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .call_targets import Names
    from .steps import Reader

    #: (name of a function, number of the argument that the pointer is; -1: its result)
    Witness = tuple[str, int]
    #: A pointer and what was added to it.
    Place = tuple["Pointer", int]

#: `operator new(unsigned long)`.
NEW = "_Znwm"
#: What `std::make_shared` writes at 8, both counts at once, and where it puts the object.
_COUNTS = 0x1_0000_0001
SHARED_AT = 16
_CONSTRUCTOR = re.compile(r"C[12]E")
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
    """What the machine code of a plugin shows, as far as its functions were followed.

    `windows`: (a, b) -> the sets of witnesses of p, one for each different occurrence; `widths`:
    how many bytes are accessed there.
    """

    def __init__(self) -> None:
        self.windows: dict[tuple[int, int], set[frozenset[Witness]]] = {}
        self.widths: dict[tuple[int, int], set[int]] = {}
        #: The windows at whose second place a pointer was loaded, or called through: the slot of a
        #: virtual table, where a is 0.
        self.pointers: set[tuple[int, int]] = set()
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

    def follow(self, raw: bytes, start: int, names: Names, reader: Reader) -> None:
        """Add what one function shows, whose code begins at address `start`."""
        _Sweep(self, names, reader, start).run(raw, start)


class _Sweep:
    """One function: registers and stack slots that hold known pointers."""

    def __init__(self, code: Code, names: Names, reader: Reader, start: int) -> None:
        self.code = code
        self.names = names
        self.reader = reader
        self.state: dict[int, Place] = {}
        self.stack: dict[tuple[int, int], Place] = {}
        self.made: list[tuple[str, Pointer, int]] = []  # by a constructor, at an offset
        self.constants: dict[int, int] = {}
        self.tables: dict[int, str] = {}  # register -> the virtual table that it points into
        self.seen: list[tuple[Pointer, int, int, int]] = []
        self.values: list[Pointer] = []  # what was loaded through a loaded pointer
        self.touched: list[tuple[Pointer, int, int]] = []
        self.frame = -1
        own = names.functions.get(start)
        self.first: Pointer | None = None
        self.offsets: set[int] = code.own.setdefault(own, set()) if own else set()
        self.own_windows = code.own_windows.setdefault(own, set()) if own else set()
        for number, register in enumerate(reader.ARGUMENTS):
            pointer = Pointer(None, 0)
            if own:
                pointer.witnesses.add((own, number))
            self.state[register] = (pointer, 0)
            if number == 0 and own:
                self.first = pointer

    def run(self, raw: bytes, start: int) -> None:
        """Follow the function."""
        self._follow(raw, start)
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

    def _follow(self, raw: bytes, start: int) -> None:
        state, constants, stack = self.state, self.constants, self.reader.STACK
        for step in self.reader.steps(raw, start):
            kind = step[0]
            if kind == s.PART:
                if self.values and step[1] in state:
                    state[step[1]][0].narrowed = True
                continue
            if kind >= s.CALL:
                self._branch(kind, step)
                continue
            register = step[1]
            value: Place | None = None
            if kind == s.LOAD:
                base, offset = step[2], step[3]
                if base in (stack, self.frame):
                    value = self.stack.get((base, offset))
                else:
                    pointer, added = self._pointer_at(base, offset)
                    value = (Pointer(pointer, added), 0)
                    if pointer.parent is not None:
                        self.values.append(value[0])
            elif kind == s.STORE:
                self._store(*step[1:])
                continue
            elif kind == s.ACCESS:
                if register not in (stack, self.frame):
                    self._at(register, step[2], step[3])
                elif step[3] < 8 and (register, step[2]) in self.stack:
                    self.stack[register, step[2]][0].narrowed = True
                continue
            elif kind == s.COPY:
                value = state.get(step[2])
                if register == self.reader.FRAME and step[2] == stack:
                    self.frame = register
            elif kind == s.ADDRESS:
                if step[2] not in (stack, self.frame):
                    value = self._added(self._known(step[2]), step[3])
            elif kind == s.ADD and register in state:
                value = self._added(state[register], step[2])
            constants.pop(register, None)
            if kind == s.CONSTANT:
                constants[register] = step[2]
            elif kind != s.ADD and self.tables:
                self.tables.pop(register, None)
            if kind == s.SLOT:
                table = self.names.slots.get(step[2], "")
                if table.startswith("_ZTV"):
                    self.tables[register] = table
            if value is not None:
                state[register] = value
            else:
                state.pop(register, None)

    def _known(self, base: int) -> Place:
        known = self.state.get(base)
        if known is None:
            known = self.state[base] = (Pointer(None, 0), 0)
        return known

    def _added(self, known: Place, amount: int) -> Place:
        place = known[0], known[1] + amount
        if known[0] is self.first:
            self.offsets.add(place[1])
        return place

    def _at(self, base: int, offset: int, width: int) -> Place:
        """Note an access; the pointer that it goes by, and the offset from it."""
        pointer, added = place = self._added(self._known(base), offset)
        self.touched.append((pointer, added, width))
        if pointer.parent is not None:
            self.seen.append((pointer, pointer.offset, added, width))
        return place

    def _pointer_at(self, base: int, offset: int) -> Place:
        """Note that a pointer is loaded or called through."""
        pointer, added = place = self._at(base, offset, 8)
        if added == offset and pointer.parent is not None:
            self.code.pointers.add((pointer.offset, added))
        return place

    def _store(self, base: int, offset: int, width: int, source: int, constant: int) -> None:
        if base in (self.reader.STACK, self.frame):
            if source in self.state:
                self.stack[base, offset] = self.state[source]
            else:
                self.stack.pop((base, offset), None)
            return
        pointer, added = self._at(base, offset, width)
        if not pointer.allocated:
            return
        # What becomes of allocated room shows by what is written at its beginning.
        if added == 0 and source in self.tables:
            self.made.append((self.tables[source], pointer, 0))
        elif added == 8 and self.constants.get(source, constant) == _COUNTS:
            pointer.shared = True

    def _branch(self, kind: int, step: tuple[int, ...]) -> None:
        name = ""
        if kind in (s.CALL, s.JUMP):
            name = self.names.of(step[1])
        elif kind in (s.CALL_SLOT, s.JUMP_SLOT):
            name = self.names.slots.get(step[1], "")
        elif kind != s.CALL_OTHER and step[1] in self.state:
            self._pointer_at(step[1], step[2])
        if name:
            for number, register in enumerate(self.reader.ARGUMENTS):
                known = self.state.get(register)
                if known is None:
                    continue
                if known[1] == 0:
                    known[0].witnesses.add((name, number))
                if number == 0 and known[0].allocated and _CONSTRUCTOR.search(name):
                    self.made.append((name, *known))
        if kind in (s.CALL, s.CALL_SLOT, s.CALL_THROUGH, s.CALL_OTHER):
            for register in self.reader.CLOBBERED:
                self.state.pop(register, None)
            result = Pointer(None, 0)
            if name:
                result.witnesses.add((name, -1))
            if name == NEW and self.reader.ARGUMENTS[0] in self.constants:
                result.allocated = self.constants[self.reader.ARGUMENTS[0]]
            self.constants.clear()
            self.state[self.reader.RESULT] = (result, 0)
