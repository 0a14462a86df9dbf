"""x86-64 code as steps (Intel SDM, volume 2, chapter 2 and the opcode maps of appendix A).

One regular expression tells where each instruction ends and passes over those that nothing is
followed through; what an operand is, is only worked out for the others. Bytes that are no
instruction are passed over one by one.
"""

from __future__ import annotations

from . import x86_64_vectors as vectors
from .steps import (
    ACCESS,
    ADD,
    ADDRESS,
    CALL,
    CALL_OTHER,
    CALL_SLOT,
    CALL_THROUGH,
    CONSTANT,
    COPY,
    JUMP,
    JUMP_SLOT,
    JUMP_THROUGH,
    LOAD,
    PART,
    SLOT,
    STORE,
    WRITE,
)
from .x86_64 import slot as stub_slot
from .x86_64_grammar import INSTRUCTION
from .x86_64_scan import calls, is_table, pointers_at, slot_calls, slot_loads, spills, stubs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

    from .steps import Step

__all__ = (
    "ARGUMENTS",
    "CLOBBERED",
    "FRAME",
    "RESULT",
    "STACK",
    "calls",
    "is_table",
    "pointers_at",
    "slot_calls",
    "slot_loads",
    "spills",
    "steps",
    "stub_slot",
    "stubs",
)

# System V AMD64 ABI, figure 3.4; registers by their numbers in instructions.
ARGUMENTS = (7, 6, 2, 1, 8, 9)
CLOBBERED = (0, 1, 2, 6, 7, 8, 9, 10, 11)
RESULT, STACK, FRAME = 0, 4, 5
_CX, _DX, _BX = 1, 2, 3


def steps(raw: bytes, start: int) -> list[Step]:
    """What a function's instructions do, in file order; `start` is the address of `raw`."""
    reader = _Reader(raw, start)
    for match in INSTRUCTION.finditer(raw):
        group = match.lastgroup
        if group in _FOLLOWED:
            at = match.start(group)
            _FOLLOWED[group](reader, at, match)
    return reader.found


# What an operand of ModRM's rm field is.
_REGISTER, _MEMORY, _RELATIVE, _INDEXED = range(4)


class _Reader:
    """One function; what is known of the instruction at hand, and the steps so far.

    `rm` says what ModRM's rm field names: `base` is a register, or the base of memory at `offset`,
    or `offset` is an address (relative to the instruction pointer). `width` in bytes.
    """

    def __init__(self, raw: bytes, start: int) -> None:
        self.raw = raw
        self.start = start
        self.found: list[Step] = []
        self.rex = 0
        self.width = 4
        self.register = self.rm = self.base = self.offset = 0

    def prefixes(self, at: int, match: re.Match[bytes]) -> None:
        """Read what stands before the opcode at `at`."""
        begin = match.start()
        self.rex = 0
        self.width = 4
        if at > begin:
            last = self.raw[at - 1]
            if last >> 4 == 4:
                self.rex = last  # its upper bits say that there is one
            if self.rex & 8:
                self.width = 8
            elif match.start(1) >= 0:
                self.width = 2

    def operands(self, at: int, match: re.Match[bytes]) -> None:
        """Read ModRM at `at`, with SIB and displacement."""
        raw, rex = self.raw, self.rex
        modrm = raw[at]
        self.register = modrm >> 3 & 7 | (rex & 4) << 1
        mode, rm = modrm >> 6, modrm & 7
        if mode == 3:
            self.rm, self.base = _REGISTER, rm | (rex & 1) << 3
            return
        at += 1
        if rm == 4:
            sib = raw[at]
            at += 1
            rm = sib & 7
            if sib >> 3 & 7 != 4 or rex & 2 or (rm == 5 and not mode):
                self.rm = _INDEXED
                return
        elif rm == 5 and not mode:
            displacement = int.from_bytes(raw[at : at + 4], "little", signed=True)
            self.rm, self.offset = _RELATIVE, self.start + match.end() + displacement
            return
        if raw[match.start()] in (0x64, 0x65):  # of a thread's own block
            self.rm = _INDEXED
            return
        self.rm, self.base = _MEMORY, rm | (rex & 1) << 3
        if not mode:
            self.offset = 0
        elif mode == 1:
            displacement = raw[at]
            self.offset = displacement - ((displacement & 0x80) << 1)
        else:
            self.offset = int.from_bytes(raw[at : at + 4], "little", signed=True)

    def part(self, register: int, width: int) -> None:
        """A register is used with that width."""
        if width == 1 and not self.rex and register >= 4:
            register -= 4  # AH to BH
        if width < 8:
            self.found.append((PART, register))

    def full(self, register: int, width: int) -> int:
        """The register that an operand is part of."""
        return register - 4 if width == 1 and not self.rex and register >= 4 else register

    def touch(self, width: int) -> None:
        """The rm operand, where it is memory, is read or written."""
        if self.rm == _MEMORY:
            self.found.append((ACCESS, self.base, self.offset, width))

    def use(self, width: int) -> None:
        """The rm operand is read."""
        if self.rm == _REGISTER:
            self.part(self.base, width)
        else:
            self.touch(width)

    def change(self, width: int) -> None:
        """The rm operand is read and written."""
        self.use(width)
        if self.rm == _REGISTER:
            self.found.append((WRITE, self.full(self.base, width)))

    def set(self, width: int) -> None:
        """The rm operand is written."""
        if self.rm == _REGISTER:
            self.found.append((WRITE, self.full(self.base, width)))
        else:
            self.touch(width)


def _plain(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """An opcode of one byte with ModRM, or of more."""
    raw = reader.raw
    opcode = raw[at]
    if opcode == 0x0F:
        _two(reader, at, match)
        return
    if opcode in (0xC4, 0xC5, 0x62):
        _vector(reader, at, match)
        return
    reader.prefixes(at, match)
    reader.operands(at + 1, match)
    found = reader.found
    wide = reader.width
    width = wide if opcode & 1 else 1
    if opcode == 0x8B:
        _load(reader, wide)
    elif opcode in (0x88, 0x89):
        _store(reader, width)
    elif opcode == 0x8D:
        if reader.rm == _MEMORY and wide == 8:
            found.append((ADDRESS, reader.register, reader.base, reader.offset))
        else:
            found.append((WRITE, reader.register))
    elif opcode < 0x40:
        _arithmetic(reader, opcode, width)
    elif opcode in (0x84, 0x85):  # test
        reader.part(reader.register, width)
        reader.use(width)
    elif opcode == 0xFF:
        _indirect(reader, wide)
    elif opcode == 0x63:
        reader.use(4)
        found.append((WRITE, reader.register))
    elif opcode == 0x8A:
        reader.use(1)
        found.append((WRITE, reader.full(reader.register, 1)))
    elif opcode in (0x86, 0x87):  # xchg
        reader.part(reader.register, width)
        reader.change(width)
        found.append((WRITE, reader.full(reader.register, width)))
    elif opcode in (0xF6, 0xF7):
        if reader.register & 7 < 4:  # not, neg
            reader.change(width)
        else:  # multiplications and divisions
            reader.use(width)
            reader.part(RESULT, width)
            found += ((WRITE, RESULT), (WRITE, _DX))
    elif opcode == 0xFE or 0xD0 <= opcode <= 0xD3:
        if opcode in (0xD2, 0xD3):
            found.append((PART, _CX))
        reader.change(width)
    elif 0xD8 <= opcode <= 0xDF:
        if reader.rm == _MEMORY:
            reader.touch(_x87(opcode, reader.register & 7))
        elif raw[at : at + 2] == b"\xdf\xe0":  # fnstsw %ax
            found.append((WRITE, RESULT))
    elif opcode == 0x8F:
        reader.set(8)
    elif opcode == 0x8C:  # mov from a segment register
        reader.set(2)
    elif opcode == 0x8E:
        reader.use(2)


def _load(reader: _Reader, width: int) -> None:
    """mov register, rm."""
    found, to = reader.found, reader.register
    if reader.rm == _REGISTER:
        if width == 8:
            found.append((COPY, to, reader.base))
            return
        reader.part(reader.base, width)
    elif width == 8 and reader.rm == _MEMORY:
        found.append((LOAD, to, reader.base, reader.offset))
        return
    elif width == 8 and reader.rm == _RELATIVE:
        found.append((SLOT, to, reader.offset))
        return
    else:
        reader.touch(width)
    found.append((WRITE, to))


def _store(reader: _Reader, width: int) -> None:
    """mov rm, register."""
    found, source = reader.found, reader.register
    reader.part(source, width)
    if reader.rm == _MEMORY:
        whole = source if width == 8 else -1
        found.append((STORE, reader.base, reader.offset, width, whole, 0))
    elif reader.rm == _REGISTER:
        to = reader.full(reader.base, width)
        found.append((COPY, to, source) if width == 8 else (WRITE, to))


def _arithmetic(reader: _Reader, opcode: int, width: int) -> None:
    """add, or, adc, sbb, and, sub, xor, cmp between a register and rm."""
    same = reader.rm == _REGISTER and reader.base == reader.register
    if not (same and opcode >> 3 == 6):  # xor of a register with itself reads nothing
        reader.part(reader.register, width)
        reader.use(width)
    if opcode >> 3 == 7:
        return
    if opcode & 2:
        reader.found.append((WRITE, reader.full(reader.register, width)))
    elif reader.rm == _REGISTER:
        reader.found.append((WRITE, reader.full(reader.base, width)))


def _indirect(reader: _Reader, width: int) -> None:
    """Opcode FF: inc, dec, call, jmp, push."""
    found, operation = reader.found, reader.register & 7
    if operation < 2:
        reader.change(width)
    elif operation in (2, 4):
        call = operation == 2
        if reader.rm == _MEMORY:
            kind = CALL_THROUGH if call else JUMP_THROUGH
            found.append((kind, reader.base, reader.offset))
        elif reader.rm == _RELATIVE:
            found.append((CALL_SLOT if call else JUMP_SLOT, reader.offset))
        elif call:
            found.append((CALL_OTHER,))
    elif operation == 6:
        reader.touch(8)


def _x87(opcode: int, operation: int) -> int:
    """Bytes of memory that an x87 instruction accesses; 16 for more than 8."""
    if opcode in (0xD9, 0xDD) and operation >= 4:  # the environment, the state, control words
        return 2 if operation & 1 else 16
    if opcode in (0xDB, 0xDF) and operation >= 4:
        return 8 if opcode == 0xDF and operation & 1 else 16
    return {0xDC: 8, 0xDD: 8, 0xDE: 2, 0xDF: 2}.get(opcode, 4)


def _with_immediate(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """An opcode with ModRM and an immediate."""
    raw = reader.raw
    opcode = raw[at]
    if opcode == 0x0F:
        _two(reader, at, match)
        return
    if opcode in (0xC4, 0xC5, 0x62):
        _vector(reader, at, match)
        return
    reader.prefixes(at, match)
    reader.operands(at + 1, match)
    found, operation = reader.found, reader.register & 7
    width = reader.width if opcode & 1 else 1
    end = match.end()
    size = 1 if opcode not in (0x81, 0xC7, 0x69, 0xF7) else 2 if reader.width == 2 else 4
    value = int.from_bytes(raw[end - size : end], "little", signed=True)
    if opcode in (0x80, 0x81, 0x83):
        if operation == 7:
            reader.use(width)
        elif operation in (0, 5) and reader.rm == _REGISTER:
            reader.part(reader.base, width)
            to = reader.full(reader.base, width)
            found.append((ADD, to, value if operation == 0 else -value))
        else:
            reader.change(width)
    elif opcode in (0xC6, 0xC7):
        if reader.rm == _REGISTER:
            found.append((CONSTANT, reader.full(reader.base, width), value))
        elif reader.rm == _MEMORY:
            found.append((STORE, reader.base, reader.offset, width, -2, value))
    elif opcode in (0xF6, 0xF7):  # test
        reader.use(width)
    elif opcode in (0x69, 0x6B):  # imul
        reader.use(reader.width)
        found.append((WRITE, reader.register))
    else:  # shifts
        reader.change(width)


def _two(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """Opcodes that begin with 0F."""
    raw = reader.raw
    reader.prefixes(at, match)
    opcode = raw[at + 1]
    if opcode in (0x38, 0x3A):
        reader.operands(at + 3, match)
        _media(reader, 2 if opcode == 0x38 else 3, raw[at + 2], _mandatory(raw, match.start(), at))
        return
    reader.operands(at + 2, match)
    found, width = reader.found, reader.width
    if 0x40 <= opcode <= 0x4F or opcode == 0xAF:  # cmov, imul
        reader.part(reader.register, width)
        reader.use(width)
        found.append((WRITE, reader.register))
    elif opcode in (0xB6, 0xB7, 0xBE, 0xBF):  # movzx, movsx
        reader.use(2 if opcode & 1 else 1)
        found.append((WRITE, reader.register))
    elif 0x90 <= opcode <= 0x9F:  # set
        reader.set(1)
    elif opcode in (0xB8, 0xBC, 0xBD):  # popcnt, bit scans
        reader.use(width)
        found.append((WRITE, reader.register))
    elif opcode in (0xA3, 0xBA) and (opcode == 0xA3 or reader.register & 7 == 4):  # bt
        reader.use(width)
    elif opcode in (0xA4, 0xA5, 0xAB, 0xAC, 0xAD, 0xB3, 0xBA, 0xBB):  # shifts, bts, btr, btc
        reader.change(width)
    elif opcode in (0xB0, 0xB1, 0xC0, 0xC1):  # cmpxchg, xadd
        width = width if opcode & 1 else 1
        reader.part(reader.register, width)
        reader.change(width)
        found.append((WRITE, RESULT if opcode < 0xC0 else reader.full(reader.register, width)))
    elif opcode == 0xC3:  # movnti
        reader.set(width)
    elif opcode == 0xC7:  # cmpxchg8b and cmpxchg16b
        reader.touch(16 if reader.rex & 8 else 8)
        found += ((WRITE, RESULT), (WRITE, _DX))
    elif opcode == 0xAE:  # fences, control registers
        reader.touch(4)
    else:
        _media(reader, 1, opcode, _mandatory(raw, match.start(), at))


def _mandatory(raw: bytes, begin: int, at: int) -> int:
    """The prefix that is part of an opcode, as VEX encodes it: none, 66, F3, F2."""
    prefixes = raw[begin:at]
    for number, prefix in ((2, 0xF3), (3, 0xF2), (1, 0x66)):
        if prefix in prefixes:
            return number
    return 0


def _vector(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """Instructions with VEX (SDM 2.3) or EVEX (2.7) prefixes."""
    raw = reader.raw
    first, one = raw[at], raw[at + 1]
    other = raw[at + 2]
    if first == 0xC5:
        reader.rex = (~one & 0x80) >> 5
        table, place, fields = 1, at + 2, one
        wide = False
    else:
        reader.rex = (~one & 0x80) >> 5 | (~one & 0x40) >> 5 | (~one & 0x20) >> 5
        table = one & (0x1F if first == 0xC4 else 7)
        place, fields = (at + 3, other) if first == 0xC4 else (at + 4, other)
        wide = bool(other & 0x80)
    reader.rex |= 8 if wide else 0
    reader.width = 8 if wide else 4
    reader.operands(place + 1, match)
    opcode = raw[place]
    prefix = fields & 3
    if table == 2 and opcode in (0xF2, 0xF3, 0xF5, 0xF6, 0xF7) and first != 0x62:  # BMI
        reader.use(reader.width)
        also = ~fields >> 3 & 15
        if opcode != 0xF3:
            reader.found.append((WRITE, reader.register))
        if opcode == 0xF3 or (opcode == 0xF6 and prefix == 3):
            reader.found.append((WRITE, also))
        return
    if table == 1 and opcode == 0x93:  # kmov to a register
        reader.found.append((WRITE, reader.register))
        return
    if first == 0x62 and reader.rm == _MEMORY and raw[place + 1] >> 6 == 1:
        # A displacement of one byte counts vectors or their elements.
        reader.offset *= max(16, 16 << (raw[at + 3] >> 5 & 3)) if not raw[at + 3] & 0x10 else 4
    _media(reader, table, opcode, prefix)


def _media(reader: _Reader, table: int, opcode: int, prefix: int) -> None:
    """An instruction of the vector extensions, from opcode map `table`."""
    found, own = reader.found, 8 if reader.width == 8 else 4
    if reader.rm == _MEMORY:
        reader.touch(vectors.memory_width(table, opcode, prefix, own))
    elif reader.rm == _REGISTER:
        if vectors.reads_register(table, opcode, prefix):
            reader.part(reader.base, own)
        elif vectors.writes_rm(table, opcode, prefix):
            found.append((WRITE, reader.base))
    if vectors.writes_register(table, opcode, prefix):
        found.append((WRITE, reader.register))
    elif table == 3 and 0x60 <= opcode <= 0x63:  # string comparisons
        found.append((WRITE, _CX))


def _branch(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """call and jmp to an address; jumps inside of the function are passed over."""
    raw, end = reader.raw, match.end()
    target = end + int.from_bytes(raw[at + 1 : end], "little", signed=True)
    if raw[at] == 0xE8:
        reader.found.append((CALL, reader.start + target))
    elif not 0 <= target < len(raw):
        reader.found.append((JUMP, reader.start + target))


def _constant(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """mov register, immediate."""
    raw, end = reader.raw, match.end()
    rex = raw[at - 1] if at > match.start() and raw[at - 1] >> 4 == 4 else 0
    value = int.from_bytes(raw[at + 1 : end], "little", signed=bool(rex & 8))
    reader.found.append((CONSTANT, raw[at] & 7 | (rex & 1) << 3, value))


def _accumulator(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """Arithmetic between RAX, or a part of it, and an immediate."""
    raw, end = reader.raw, match.end()
    reader.prefixes(at, match)
    opcode = raw[at]
    width = reader.width if opcode & 1 else 1
    reader.part(RESULT, width)
    if opcode in (0x05, 0x2D) and width >= 4:
        value = int.from_bytes(raw[end - 4 : end], "little", signed=True)
        reader.found.append((ADD, RESULT, value if opcode == 0x05 else -value))
    else:
        reader.found.append((WRITE, RESULT))


def _other(reader: _Reader, at: int, match: re.Match[bytes]) -> None:
    """Instructions that name a register in their opcode, or none."""
    raw, found = reader.raw, reader.found
    opcode = raw[at]
    reader.prefixes(at, match)
    if opcode == 0x0F:
        if raw[at + 1] in (0xA2, 0x31):  # cpuid, rdtsc
            found += ((WRITE, RESULT), (WRITE, _CX), (WRITE, _DX), (WRITE, _BX))
        else:  # bswap
            found.append((WRITE, raw[at + 1] & 7 | (reader.rex & 1) << 3))
    elif opcode < 0x60:  # pop
        found.append((WRITE, opcode & 7 | (reader.rex & 1) << 3))
    elif 0xB0 <= opcode <= 0xB7:
        found.append((WRITE, reader.full(opcode & 7 | (reader.rex & 1) << 3, 1)))
    elif 0x91 <= opcode <= 0x97:  # xchg with RAX
        found += ((WRITE, RESULT), (WRITE, opcode & 7 | (reader.rex & 1) << 3))
    elif opcode == 0x98:  # sign extension of EAX
        found += ((PART, RESULT), (WRITE, RESULT))
    elif opcode == 0x99:
        found.append((WRITE, _DX))
    else:
        _string(reader, opcode)


def _string(reader: _Reader, opcode: int) -> None:
    """movs, cmps, stos, lods, scas: through RSI and RDI, which move on."""
    width = reader.width if opcode & 1 else 1
    source = 6 if opcode in (0xA4, 0xA5, 0xA6, 0xA7, 0xAC, 0xAD) else None
    target = 7 if opcode not in (0xAC, 0xAD) else None
    for register in (target, source):
        if register is not None:
            reader.found += ((ACCESS, register, 0, width), (WRITE, register))
    reader.found.append((WRITE, _CX))
    if opcode in (0xAC, 0xAD):
        reader.found.append((WRITE, RESULT))


_FOLLOWED = {
    "plain": _plain,
    "byte": _with_immediate,
    "long": _with_immediate,
    "branch": _branch,
    "constant": _constant,
    "accumulator": _accumulator,
    "other": _other,
}
