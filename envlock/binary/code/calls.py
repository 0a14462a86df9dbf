"""Functions and calls found in machine code, and what is known about the calls' arguments."""

from __future__ import annotations

import re
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..elf import ElfFile

    class Image(Protocol):
        """A mapped file, as the sweeps of machine code ask about it."""

        known: frozenset[int]

        def code(self, address: int) -> int | None: ...
        def name(self, target: int) -> str: ...
        def symbol(self, slot: int) -> str: ...
        def constant(self, address: int) -> Value | None: ...
        def loaded(self, slot: int) -> Value | None: ...
        def data(self, address: int) -> bytes: ...

    class Machine(Protocol):
        """One architecture's sweeps, as modules."""

        def targets(self, image: Image, start: int, raw: bytes) -> list[int]: ...
        def sweep(self, image: Image, start: int, raw: bytes) -> list[Call]: ...
        def slot(self, target: int, raw: bytes) -> int | None: ...


PT_GNU_EH_FRAME = 0x6474E550
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_.>/]*")
#: Functions that take a std::string which the compiler may have put together inline.
TAKES_STRING = "12OpDefBuilderC"


def unwind_table(elf: ElfFile) -> list[tuple[int, int]]:
    """(address of a function, address of its unwind entry), sorted; empty where there is no table.

    Raises `ElfError`.
    """
    segment = next((s for s in elf.segments if s.type == PT_GNU_EH_FRAME), None)
    if segment is None or segment.filesz < 12:
        return []
    head = elf.read(segment.offset, 12, "the unwind table's header")
    # The one form that linkers write: udata4 count, table of sdata4 relative to the header.
    if head[0] != 1 or head[2] != 0x03 or head[3] != 0x3B or head[1] not in (0x1B, 0x3B):
        return []
    count = int.from_bytes(head[8:], "little")
    if 12 + 8 * count > segment.filesz:
        raise elf.damaged("the unwind table ends outside its segment")
    table = elf.read(segment.offset + 12, 8 * count, "the unwind table")
    base = segment.vaddr
    return sorted((base + start, base + entry) for start, entry in struct.iter_unpack("<ii", table))


def function_starts(elf: ElfFile) -> list[int]:
    """Addresses of functions with unwind information, sorted. Raises `ElfError`."""
    return list(dict.fromkeys(start for start, _ in unwind_table(elf)))


class Value:
    """What a register holds.

    `kind` is text (at the address `number`), number, slot (of the GOT), loaded (through a slot),
    argument, page (an address in the file, not yet whole), or address (an offset from what the
    register `name` held).
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
