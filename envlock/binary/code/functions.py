"""The functions of a file, what they are called, and which of them call what.

Who calls what is found by scanning bytes: only functions that turn out to matter are decoded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property

from ..elf.image import PF_X, PT_LOAD
from ..names.templates import components
from . import x86_64_steps
from .accesses import Code
from .call_targets import Names
from .calls import function_starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from ..elf.file import ElfFile
    from ..elf.image import Segment
    from .steps import Reader

#: Bytes of code that are scanned, and that are followed; the largest published plugins have 8 MB.
MAX_CODE, MAX_FOLLOWED = 256 << 20, 16 << 20
MAX_FUNCTION = 1 << 20
#: Bytes that are scanned at once, and calls of named functions that are kept.
_PIECE, _MAX_CALLS = 1 << 18, 1 << 20
#: Functions whose beginnings are looked at to tell how a file was compiled, and the share of them
#: that store their first argument at once: half with -O0, none with -O1.
_SAMPLE, SPILLING = 2000, 0.25
#: The machines whose code is read.
READERS: dict[str, Reader] = {"x86_64": x86_64_steps}


class Functions:
    """A file's functions, and the machine code of those that were followed so far.

    `covers` are the addresses of the functions that `code` tells of.
    """

    def __init__(self, elf: ElfFile) -> None:
        self.elf: ElfFile | None = elf
        self.limit = MAX_FOLLOWED
        self.code = Code()
        self.covers: set[int] = set()
        self.machine = elf.machine
        self.names = Names(elf, self.reader)
        self.starts = function_starts(elf)
        executable = [s for s in elf.segments if s.type == PT_LOAD and s.flags & PF_X]
        too_long = sum(segment.filesz for segment in executable) > MAX_CODE
        self._executable: list[Segment] = [] if too_long else executable
        #: Whether there was too much code to read all that was asked for.
        self.truncated = too_long
        self._followed = 0
        self._mentions: frozenset[str] = frozenset()
        self._calls: tuple[list[int], list[int]] | None = None

    @property
    def reader(self) -> Reader:
        """What reads this machine's code."""
        return READERS[self.machine]

    @cached_property
    def unoptimised(self) -> bool:
        """Whether most of it looks compiled with `-O0`: pointers go through the stack there, where
        they are lost."""
        sample = self.starts[:: max(1, len(self.starts) // _SAMPLE)]
        spilling = sum(self.reader.spills(self._bytes(start, 64)) for start in sample)
        return spilling > SPILLING * len(sample)

    def follow(self, functions: Iterable[int]) -> None:
        """Add what some functions show to `code`, given by their addresses."""
        for start in functions:
            if start in self.covers or self.truncated:
                continue
            self.covers.add(start)
            raw = self._bytes(start, MAX_FUNCTION)
            if self.reader.is_table(raw):
                continue
            self._followed += len(raw)
            self.truncated = self._followed > MAX_FOLLOWED
            self.code.follow(raw, start, self.names, self.reader)

    def follow_all(self) -> None:
        """Add what every function shows."""
        self.follow(self.starts)

    def follow_mentions(self, components: Collection[str]) -> None:
        """Add what those functions show whose name, or the name of a function that they call, has
        one of these components: no other one can have a witness with it. `9Allocator` is one."""
        wanted = frozenset(components) - self._mentions
        self._mentions |= wanted
        if wanted:
            self.follow_users(self._mentioning(wanted))

    def follow_users(self, wanted: Callable[[str], bool]) -> None:
        """Add what the functions show that bear a wanted name, or call one that does."""
        self.follow(sorted(self.callers(wanted) | self.named(wanted)))

    def _mentioning(self, wanted: frozenset[str]) -> Callable[[str], bool]:
        def mentions(name: str) -> bool:
            return not wanted.isdisjoint(components(name))

        return mentions

    def named(self, wanted: Callable[[str], bool]) -> set[int]:
        """The functions that bear a wanted name."""
        known = self.names.functions
        return {start for start in self.starts if start in known and wanted(known[start])}

    def callers(self, wanted: Callable[[str], bool]) -> set[int]:
        """The functions that call a function whose name is wanted, or end in a jump to one."""
        places, targets = self._named_calls()
        name = self.names.of
        chosen = {t for t in set(targets) if wanted(self.names.slots[-t] if t < 0 else name(t))}
        return self._around(place for place, t in zip(places, targets) if t in chosen)

    def readers(self, slots: Collection[int]) -> set[int]:
        """The functions that load what stands in some slots of the GOT."""
        if not slots:
            return set()
        found: list[int] = []
        for address, raw in self._pieces():
            found += (p for p, slot in self.reader.slot_loads(raw, address) if slot in slots)
        return self._around(found)

    def through(self, offsets: Collection[int]) -> list[int]:
        """The functions that may call or load through a pointer at one of these offsets, in order."""
        if not offsets:
            return []
        found: list[int] = []
        for address, raw in self._pieces():
            found += self.reader.pointers_at(raw, address, offsets)
        return sorted(self._around(found))

    def _named_calls(self) -> tuple[list[int], list[int]]:
        """Places of calls and jumps to named functions, and their targets: addresses, or negative
        ones of GOT slots."""
        if self._calls is None:
            self._calls = places, targets = [], []
            pieces = list(self._pieces())
            known = set(self.names.functions)
            slots = {-slot for slot, name in self.names.slots.items() if name}
            for address, raw in pieces:
                for stub, slot in self.reader.stubs(raw, address):
                    if -slot in slots:
                        known.add(stub)
            for address, raw in pieces:
                for found in (
                    self.reader.calls(raw, address, known),
                    self.reader.slot_calls(raw, address, slots),
                ):
                    places += found[0]
                    targets += found[1]
                if len(places) > _MAX_CALLS:
                    self.truncated = True
                    break
        return self._calls

    def _around(self, places: Iterable[int]) -> set[int]:
        """The functions that some addresses lie in."""
        starts = self.starts
        return {starts[at - 1] for at in {bisect_right(starts, place) for place in places} if at}

    def _pieces(self) -> Iterable[tuple[int, bytes]]:
        """(address, bytes) of all executable code, in pieces that overlap by some bytes."""
        for segment in self._executable:
            for at in range(0, segment.filesz, _PIECE):
                size = min(_PIECE + 16, segment.filesz - at)
                yield segment.vaddr + at, self._read(segment.offset + at, size)

    def _bytes(self, start: int, most: int) -> bytes:
        """A function's code, to where the next one begins."""
        starts = self.starts
        for segment in self._executable:
            end = segment.vaddr + segment.filesz
            if segment.vaddr <= start < end:
                following = bisect_left(starts, start + 1)
                if following < len(starts):
                    end = min(end, starts[following])
                at = segment.offset + start - segment.vaddr
                return self._read(at, min(end - start, most))
        return b""

    def _read(self, offset: int, size: int) -> bytes:
        assert self.elf is not None
        return self.elf.read(offset, size, "a function's code")

    def __getstate__(self) -> dict[str, Any]:
        """All that the file shows: what comes back covers every function, and needs no file."""
        _ = self.unoptimised
        self.follow_all()
        return {**self.__dict__, "elf": None, "_executable": [], "_calls": ([], [])}
