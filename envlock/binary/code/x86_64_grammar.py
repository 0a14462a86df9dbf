"""The grammar of x86-64 instructions (Intel SDM, volume 2, chapter 2 and appendix A) as one regular
expression: prefixes, opcode, ModRM with SIB and displacement, immediate.

A match is one instruction. The groups `plain`, `byte` and `long` (ModRM with no, a one-byte and a
whole immediate behind it), `branch`, `constant`, `accumulator` and `other` begin at the opcode of
an instruction that somebody may follow; none of them matches where nothing is followed.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def one_of(*opcodes: int | Iterable[int]) -> bytes:
    """A regular expression for one byte out of some."""
    numbers: set[int] = set()
    for one in opcodes:
        numbers.update((one,) if isinstance(one, int) else one)
    parts, first = [], -1
    for number in range(257):
        if number in numbers and first < 0:
            first = number
        elif number not in numbers and first >= 0:
            parts.append(b"\\x%02x-\\x%02x" % (first, number - 1))
            first = -1
    return b"[" + b"".join(parts) + b"]"


def modrm(mode: int, *wanted: int) -> bytes:
    """A regular expression for ModRM bytes with some mode and rm fields."""
    return one_of(mode << 6 | register << 3 | rm for register in range(8) for rm in wanted)


_ALU = [row << 3 for row in range(8)]
_FIRST_TWO = b"(?=" + one_of(mode << 6 | n for mode in range(4) for n in range(16)) + b")"
# Two-byte opcodes (0F xx; the same with VEX and EVEX): with ModRM and a byte, without ModRM, and
# prefetches and operations that do nothing.
_BYTE_0F = {*range(0x70, 0x74), 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6}
_ALONE_0F = {
    *range(5, 10),
    0x0B,
    0x0E,
    *range(0x30, 0x38),
    0x77,
    0xA0,
    0xA1,
    0xA2,
    0xA8,
    0xA9,
    0xAA,
}
_IDLE_0F = {0x0D, *range(0x18, 0x20)}
_M_0F = {*range(256)} - _BYTE_0F - _ALONE_0F - _IDLE_0F - {0x38, 0x3A, *range(0x80, 0x90)}
_M_0F -= {*range(0xC8, 0xD0)}
_M_VECTOR = one_of({*range(256)} - _BYTE_0F - {0x77})
_VEX = {n: one_of(high << 5 | n for high in range(8)) for n in (1, 2, 3)}
_EVEX = {n: one_of(high << 3 | n for high in range(32)) for n in (1, 2, 3, 5, 6)}
INSTRUCTION = re.compile(
    b"".join(
        (
            rb"(?:[\xf2\xf3\xf0\x2e\x36\x3e\x26\x64\x65\x67]|(?P<narrow>\x66)){0,14}",
            rb"(?:(?P<wide>[\x48-\x4f])|[\x40-\x47])?(?:(?:",
            # With ModRM; behind it no immediate, one byte, or one of the operand's size.
            b"(?P<plain>",
            one_of((row + n for row in _ALU for n in range(4)), 0x63, range(0x84, 0x90)),
            rb"|[\xd0-\xd3\xd8-\xdf\xfe-\xff]|\x0f"
            + one_of(_M_0F)
            + rb"|[\xf6\xf7](?!"
            + _FIRST_TWO[3:],
            rb"|\x0f\x38.|\xc5." + _M_VECTOR + rb"|\xc4(?:" + _VEX[1] + b"." + _M_VECTOR,
            b"|" + _VEX[2] + rb"..)|\x62(?:" + _EVEX[1] + b".." + _M_VECTOR,
            b"|"
            + one_of(n for m in (2, 5, 6) for n in (high << 3 | m for high in range(32)))
            + b"...))",
            rb"|(?P<byte>[\x80\x83\xc0\xc1\x6b\xc6]|\xf6"
            + _FIRST_TWO
            + rb"|\x0f"
            + one_of(_BYTE_0F),
            rb"|\x0f\x3a.|\xc5."
            + one_of(_BYTE_0F)
            + rb"|\xc4(?:"
            + _VEX[1]
            + b"."
            + one_of(_BYTE_0F),
            b"|" + _VEX[3] + rb"..)|\x62(?:" + _EVEX[1] + b".." + one_of(_BYTE_0F),
            b"|" + _EVEX[3] + b"...))",
            rb"|(?P<long>[\x81\xc7\x69]|\xf7"
            + _FIRST_TWO
            + rb")|\x0f"
            + one_of(_IDLE_0F)
            + b")(?:",
            one_of(range(0xC0, 0x100)) + b"|" + modrm(1, 0, 1, 2, 3, 5, 6, 7) + b".|",
            modrm(0, 0, 1, 2, 3, 6, 7) + b"|" + modrm(0, 5) + b"....|",
            modrm(2, 0, 1, 2, 3, 5, 6, 7) + b"....|" + modrm(1, 4) + b"..|",
            modrm(2, 4) + b".....|" + modrm(0, 4) + b"(?:" + one_of(h << 3 | 5 for h in range(32)),
            b"....|.))(?(byte).|(?(long)(?(narrow)(?(wide)....|..)|....)))",
            # Without ModRM.
            rb"|(?P<branch>[\xe8\xe9]....|\xeb.)",
            rb"|(?P<constant>[\xb8-\xbf](?(wide)........|(?(narrow)..|....)))",
            b"|(?P<accumulator>" + one_of(row + 4 for row in _ALU[:7]) + b".|",
            one_of(row + 5 for row in _ALU[:7]) + b"(?(narrow)(?(wide)....|..)|....))",
            rb"|(?P<other>[\xb0-\xb7].|[\x58-\x5f\xa4-\xa7\xaa-\xaf\x91-\x99]|\x0f[\xc8-\xcf\xa2\x31])",
            # Nothing that is followed.
            rb"|[\x50-\x57\x90\x9b-\x9f\xc3\xc9\xcb\xcc\xf1\xf4\xf5\xf8-\xfd\x6c-\x6f\xec-\xef]",
            rb"|[\x70-\x7f\xe0-\xe7\x6a\xa8\xcd\x3c].|\x0f[\x80-\x8f]....",
            rb"|[\xa9\x3d\x68](?(narrow)(?(wide)....|..)|....)|\x0f" + one_of(_ALONE_0F),
            rb"|\xc5.\x77|\xc4" + _VEX[1] + rb".\x77|[\xc2\xca]..|\xc8...|[\xa0-\xa3]........)",
        )
    ),
    re.S,
)
