"""x86-64 code scanned for certain instructions, undecoded.

A place that only looks like one does no harm: it makes one more function worth decoding.
"""

from __future__ import annotations

import re
import struct
from itertools import accumulate, compress

from .x86_64 import slot
from .x86_64_grammar import modrm, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def calls(raw: bytes, address: int, targets: Collection[int]) -> tuple[list[int], list[int]]:
    """Places of calls and jumps (E8, E9) to some addresses, and to which; `address` is of `raw`."""
    places: list[int] = []
    found: list[int] = []
    for opcode in (b"\xe8", b"\xe9"):
        parts = raw.split(opcode)
        # Where each displacement begins; all of it by iterators that run in C.
        ends = list(accumulate(map(len, parts[:-1]), _behind, initial=0))[1:]
        while ends and ends[-1] + 4 > len(raw):
            ends.pop()
        displacements = struct.unpack(f"<{len(ends)}i", b"".join([raw[n : n + 4] for n in ends]))
        base = address + 4
        reached = [base + n + by for n, by in zip(ends, displacements)]
        hits = [target in targets for target in reached]
        places += [address + n for n in compress(ends, hits)]
        found += compress(reached, hits)
    return places, found


def _behind(end: int, length: int) -> int:
    return end + length + 1


def slot_calls(raw: bytes, address: int, slots: Collection[int]) -> tuple[list[int], list[int]]:
    """Places of calls and jumps through the GOT (FF 15, FF 25), and the negative address of each
    slot, where that is one of `slots`."""
    places, found = [], []
    for match in re.finditer(rb"\xff[\x15\x25](?=....)", raw, re.S):
        at = match.end()
        place = address + at + 4 + int.from_bytes(raw[at : at + 4], "little", signed=True)
        if -place in slots:
            places.append(address + at)
            found.append(-place)
    return places, found


def stubs(raw: bytes, address: int) -> list[tuple[int, int]]:
    """(address, slot of the GOT) of each entry of the PLT."""
    found = []
    at = raw.find(b"\xff\x25")
    while 0 <= at <= len(raw) - 6:
        place = address + at + 6 + int.from_bytes(raw[at + 2 : at + 6], "little", signed=True)
        begin = at - 1 if raw[at - 1 : at] == b"\xf2" else at  # bnd
        if raw[max(begin - 4, 0) : begin] == b"\xf3\x0f\x1e\xfa":  # endbr64
            begin -= 4
        found.append((address + begin, place))
        at = raw.find(b"\xff\x25", at + 2)
    return found


# Each pattern begins with a literal byte, which the search looks for much faster than for a set.
_SLOT_LOAD = re.compile(rb"\x8b(?<=[\x48\x4c]\x8b)[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](?=....)", re.S)


def slot_loads(raw: bytes, address: int) -> list[tuple[int, int]]:
    """(place, address) of each load of a pointer from a fixed address (REX.W 8B, rip-relative)."""
    found = []
    for match in _SLOT_LOAD.finditer(raw):
        at = match.end()
        place = address + at + 4 + int.from_bytes(raw[at : at + 4], "little", signed=True)
        found.append((address + at, place))
    return found


def pointers_at(raw: bytes, address: int, offsets: Collection[int]) -> list[int]:
    """Places that may call, jump to or load what stands at one of these offsets from a register."""
    found: list[int] = []
    for mode, displacements in (
        (1, [struct.pack("<b", offset) for offset in offsets if offset < 128]),
        (2, [struct.pack("<i", offset) for offset in offsets if offset >= 128]),
    ):
        if not displacements:
            continue
        last = b"(?:" + b"|".join(map(re.escape, displacements)) + b")"
        any_register = modrm(mode, 0, 1, 2, 3, 5, 6, 7) + b"|" + modrm(mode, 4) + rb"\x24"
        to = [mode << 6 | operation << 3 | rm for operation in (2, 4) for rm in range(8)]
        branches = one_of(byte for byte in to if byte & 7 != 4)
        branches += b"|" + one_of(byte for byte in to if byte & 7 == 4) + rb"\x24"
        for form in (
            rb"\x8b(?<=[\x48-\x4f]\x8b)(?:" + any_register + b")",
            rb"\xff(?:" + branches + b")",
        ):
            found += (address + match.start() for match in re.finditer(form + last, raw))
    return found


def is_table(raw: bytes) -> bool:
    """Whether code that has an unwind entry is no function but a PLT: it begins with an entry that
    pushes from the GOT, or with one that jumps through it."""
    return raw[:2] == b"\xff\x35" or slot(0, raw[:16]) is not None


def spills(raw: bytes) -> bool:
    """Whether a function sets up a frame (push %rbp; mov %rsp,%rbp) and stores %rdi in it."""
    head = raw[:64]
    frame = head.find(b"\x55\x48\x89\xe5", 0, 8)  # behind an endbr64
    return frame >= 0 and head.find(b"\x48\x89\x7d", frame) >= 0
