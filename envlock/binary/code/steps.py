"""What an instruction does, as far as pointers are followed: the same words for every machine.

A reader of one machine's code (`x86_64_steps`) turns each instruction into steps, tuples whose
first element says which they are. Registers are numbers of that machine; addresses, offsets and
widths are in bytes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Protocol

    Step = tuple[int, ...]

    class Reader(Protocol):
        """One machine: its registers by their tasks in the calling convention, and its reader.

        `arguments` are in order; `clobbered` does not survive a call; the code uses `frame` as a
        second stack pointer once it was set from `stack`.
        """

        @property
        def ARGUMENTS(self) -> Sequence[int]: ...
        @property
        def CLOBBERED(self) -> Sequence[int]: ...
        @property
        def RESULT(self) -> int: ...
        @property
        def STACK(self) -> int: ...
        @property
        def FRAME(self) -> int: ...

        # The scans take code and its address, and give places, addresses in it.
        def stub_slot(self, target: int, raw: bytes) -> int | None:
            """The slot of the GOT that an entry of the PLT jumps through."""

        def stubs(self, raw: bytes, address: int) -> list[tuple[int, int]]:
            """(address, slot of the GOT) of each entry of the PLT."""

        def calls(
            self, raw: bytes, address: int, targets: Collection[int]
        ) -> tuple[list[int], list[int]]:
            """Places of calls and jumps to some addresses, and to which."""

        def slot_calls(
            self, raw: bytes, address: int, slots: Collection[int]
        ) -> tuple[list[int], list[int]]:
            """Places of calls and jumps through slots of the GOT, given and told as negative."""

        def slot_loads(self, raw: bytes, address: int) -> list[tuple[int, int]]:
            """(place, address) of each load of a pointer from a fixed address."""

        def pointers_at(self, raw: bytes, address: int, offsets: Collection[int]) -> list[int]:
            """Places that may call or load what stands at one of these offsets from a register."""

        def steps(self, raw: bytes, start: int) -> list[Step]:
            """The steps of a function's code, which begins at address `start`, in file order."""

        def is_table(self, raw: bytes) -> bool:
            """Whether code that has an unwind entry is a PLT and not a function."""

        def spills(self, raw: bytes) -> bool:
            """Whether a function stores its first argument on the stack at once, as -O0 does."""


#: (LOAD, register, base, offset): the pointer at an address is put in a register.
LOAD = 0
#: (STORE, base, offset, width, register, value): a register of a pointer's size (else -1), or a
#: constant where the register is -2, is written.
STORE = 1
#: (ACCESS, base, offset, width): memory is read or written in another way.
ACCESS = 2
#: (ADDRESS, register, base, offset): an address is put in a register.
ADDRESS = 3
#: (ADD, register, amount): to a register itself.
ADD = 4
#: (COPY, register, source): all of another register.
COPY = 5
#: (CONSTANT, register, value).
CONSTANT = 6
#: (WRITE, register): a value that is not followed.
WRITE = 7
#: (SLOT, register, address): what stands at an address of the file, in the GOT perhaps.
SLOT = 8
#: (PART, register): less than a pointer's size of it is used, so it is a number.
PART = 9
#: (CALL, target) and (JUMP, target): by address. (CALL_SLOT, address) and (JUMP_SLOT, address):
#: to where a slot of the GOT points. (CALL_THROUGH, base, offset) and (JUMP_THROUGH, base,
#: offset): to where memory points. (CALL_OTHER,): through a register.
CALL, JUMP, CALL_SLOT, JUMP_SLOT, CALL_THROUGH, JUMP_THROUGH, CALL_OTHER = range(10, 17)
