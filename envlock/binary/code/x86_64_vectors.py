"""What the vector extensions' instructions access and write (Intel SDM, appendix A, maps 1 to 3)."""

from __future__ import annotations

#: Opcodes of map 1 whose prefix tells a vector (none, 66) from one element (F3, F2).
_ELEMENTS = frozenset((0x10, 0x11, 0x51, 0x52, 0x53, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0xC2))
_WIDTHS_38 = {
    **dict(zip(range(0x20, 0x26), (8, 4, 2, 8, 4, 8))),
    **dict(zip(range(0x30, 0x36), (8, 4, 2, 8, 4, 8))),
    0x18: 4,
    0x19: 8,
    0x58: 4,
    0x59: 8,
    0x78: 1,
    0x79: 2,
}
_WIDTHS_3A = {0x0A: 4, 0x0B: 8, 0x14: 1, 0x15: 2, 0x17: 4, 0x20: 1, 0x21: 4}


def memory_width(table: int, opcode: int, prefix: int, own: int) -> int:
    """Bytes of memory that an instruction of opcode map `table` accesses, at most 16.

    `prefix` as VEX encodes it: 0 none, 1 for 66, 2 for F3, 3 for F2; `own` is the width of a
    general register in it.
    """
    if table == 2:
        if opcode >= 0xF0:
            return own
        if opcode >= 0x96 and opcode & 15 in (9, 11, 13, 15):  # multiply and add one element
            return own
        return _WIDTHS_38.get(opcode, 16)
    if table == 3:
        if 0x6A <= opcode <= 0x7F and opcode & 10 == 10:  # FMA4 with one element
            return 8 if opcode & 1 else 4
        return own if opcode in (0x16, 0x22, 0xF0) else _WIDTHS_3A.get(opcode, 16)
    if opcode in _ELEMENTS:
        return (16, 16, 4, 8)[prefix]
    if opcode in (0x12, 0x13, 0x16, 0x17):
        return 16 if prefix == 2 else 8
    if opcode in (0x2E, 0x2F):
        return 8 if prefix else 4
    if opcode in (0x2C, 0x2D, 0x5A):
        return (8, 16, 4, 8)[prefix]
    if opcode in (0x6E, 0x7E):
        return 8 if prefix == 2 else own
    if opcode == 0x2A:
        return own if prefix > 1 else 8
    if opcode == 0xC4:
        return 2
    if opcode == 0xAE:  # the control register
        return 4
    if opcode == 0xD6 or (opcode == 0xE6 and prefix == 2):
        return 8
    return 16 if prefix or opcode < 0x60 or opcode == 0xC6 else 8


def reads_register(table: int, opcode: int, prefix: int) -> bool:
    """Whether its rm operand is a general register that it reads."""
    if table == 1:
        return opcode == 0x6E or (opcode == 0x2A and prefix > 1)
    return table == 3 and opcode == 0x22


def writes_rm(table: int, opcode: int, prefix: int) -> bool:
    """Whether its rm operand is a general register that it writes."""
    if table == 1:
        return opcode == 0x7E and prefix != 2
    return table == 3 and 0x14 <= opcode <= 0x17


def writes_register(table: int, opcode: int, prefix: int) -> bool:
    """Whether the operand that ModRM's reg field names is a general register that it writes."""
    if table == 1:
        return opcode in (0x50, 0xC5, 0xD7) or (opcode in (0x2C, 0x2D) and prefix > 1)
    return opcode in (0xF0, 0xF1, 0xF6) if table == 2 else opcode == 0xF0
