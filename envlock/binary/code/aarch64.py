"""Calls and their constant arguments in AArch64 code (Arm ARM, A64 base instructions)."""

from __future__ import annotations

import struct

from .calls import TAKES_STRING, Call, Stores, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .calls import Image

#: AAPCS64: the registers that a call keeps.
_KEPT = frozenset(range(19, 30))


def targets(image: Image, start: int, raw: bytes) -> list[int]:
    """Where a function's branches lead."""
    found: dict[int, None] = {}
    for number, (word,) in enumerate(struct.iter_unpack("<I", raw[: len(raw) & ~3])):
        if word & 0x7C000000 == 0x14000000:
            found[_branch(start + 4 * number, word)] = None
    return list(found)


def sweep(image: Image, start: int, raw: bytes) -> list[Call]:
    """The calls of one function, in file order."""
    state = _State(image)
    for number, (word,) in enumerate(struct.iter_unpack("<I", raw[: len(raw) & ~3])):
        if word & 0x7C000000 == 0x14000000:
            state.branch(start + 4 * number, word)
        else:
            state.step(start + 4 * number, word)
    return state.calls


class _State:
    """Registers, pages of addresses that are only half known, and what was stored."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.calls: list[Call] = []
        self._registers: dict[int, Value | None] = {
            n: Value("argument", number=n) for n in range(6)
        }
        self._vectors: dict[int, bytes] = {}
        self._stores = Stores()

    def branch(self, address: int, word: int) -> None:
        """`b` or `bl`."""
        target = _branch(address, word)
        if self.image.code(target) is None:
            return
        name = self.image.name(target)
        linked = bool(word >> 31)
        if not linked and not name and target not in self.image.known:
            return
        built = None
        if TAKES_STRING in name:
            built = self._stores.text()
            self._stores.clear()
        arguments = tuple(self._registers.get(number) for number in range(6))
        self.calls.append(Call(target, name, arguments, built))
        if linked:
            self._registers = {r: v for r, v in self._registers.items() if r in _KEPT}

    def step(self, address: int, word: int) -> None:
        """Any other instruction; one that is not known changes nothing."""
        to, base = word & 31, word >> 5 & 31
        registers = self._registers
        if word & 0x9F000000 == 0x90000000:  # adrp
            registers[to] = Value("page", number=_page(address, word))
        elif word & 0xFFC00000 == 0x91000000:  # add (immediate)
            registers[to] = self._sum(base, word >> 10 & 0xFFF)
        elif word & 0xFFE0FFE0 == 0xAA0003E0:  # mov (register)
            source = word >> 16 & 31
            registers[to] = Value("number") if source == 31 else registers.get(source)
        elif word & 0x7F800000 == 0x52800000:  # movz
            amount = (word >> 5 & 0xFFFF) << 16 * (word >> 21 & 3)
            registers[to] = Value("number", number=amount)
            self._stores.number(amount)
        elif word & 0x7F800000 == 0x72800000:  # movk
            value, shift = registers.get(to), 16 * (word >> 21 & 3)
            if value is not None and value.kind == "number":
                amount = value.number & ~(0xFFFF << shift) | (word >> 5 & 0xFFFF) << shift
                registers[to] = Value("number", number=amount)
        elif word & 0xFFC00000 == 0xF9400000:  # ldr (immediate)
            registers[to] = self._load(base, (word >> 10 & 0xFFF) * 8)
        elif word & 0xFFC00000 == 0x3DC00000:  # ldr (vector, immediate)
            self._vectors[to] = self._content(base, (word >> 10 & 0xFFF) * 16)
        elif word & 0xFFE00C00 == 0x3CC00000:  # ldur (vector)
            self._vectors[to] = self._content(base, _signed(word >> 12, 9))
        else:
            self._store(word, to, base)

    def _store(self, word: int, source: int, base: int) -> None:
        if word & 0xFFC00000 == 0xA9000000:  # stp
            offset = 8 * _signed(word >> 15, 7)
            self._write(base, offset, self._bytes(source, 8))
            self._write(base, offset + 8, self._bytes(word >> 10 & 31, 8))
        elif word & 0x3FC00000 == 0x39000000:  # strb, strh, str
            size = 1 << (word >> 30)
            self._write(base, (word >> 10 & 0xFFF) * size, self._bytes(source, size))
        elif word & 0x3FE00C00 == 0x38000000:  # sturb, sturh, stur
            self._write(base, _signed(word >> 12, 9), self._bytes(source, 1 << (word >> 30)))
        elif word & 0xFFC00000 == 0x3D800000:  # str (vector, immediate)
            self._write(base, (word >> 10 & 0xFFF) * 16, self._vectors.get(source, b""))
        elif word & 0xFFE00C00 == 0x3C800000:  # stur (vector)
            self._write(base, _signed(word >> 12, 9), self._vectors.get(source, b""))

    def _sum(self, base: int, offset: int) -> Value | None:
        value = self._registers.get(base)
        if value is not None and value.kind == "page":
            known = self.image.constant(value.number + offset)
            return known if known is not None else Value("page", number=value.number + offset)
        if value is not None and value.kind == "address":
            return Value("address", value.name, value.number + offset)
        return Value("address", str(base), offset)

    def _load(self, base: int, offset: int) -> Value | None:
        value = self._registers.get(base)
        if value is None:
            return None
        if value.kind == "page":
            return self.image.loaded(value.number + offset)
        return Value("loaded", value.name) if value.kind == "slot" and not offset else None

    def _content(self, base: int, offset: int) -> bytes:
        value = self._registers.get(base)
        if value is None or value.kind not in ("page", "text"):
            return b""
        return self.image.data(value.number + offset)

    def _bytes(self, register: int, size: int) -> bytes:
        if register == 31:
            return bytes(size)
        value = self._registers.get(register)
        if value is None or value.kind != "number":
            return b""
        return (value.number & (1 << 64) - 1).to_bytes(8, "little")[:size]

    def _write(self, base: int, offset: int, data: bytes) -> None:
        value = self._registers.get(base)
        if value is not None and value.kind == "address":
            base, offset = int(value.name), value.number + offset
        if data:
            self._stores.write(base, offset, data)


def _signed(value: int, bits: int) -> int:
    """The lowest bits as a two's complement number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _page(address: int, word: int) -> int:
    """What `adrp` puts into its register."""
    offset = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
    if offset & 0x100000:
        offset -= 0x200000
    return (address & ~0xFFF) + (offset << 12)


def _branch(address: int, word: int) -> int:
    """Where `b` or `bl` leads."""
    offset = word & 0x3FFFFFF
    return address + 4 * (offset - ((offset & 0x2000000) << 1))


def slot(target: int, raw: bytes) -> int | None:
    """The address that a PLT entry at `target` jumps through, None where it is none."""
    at = 4 if raw[:4] == b"\x5f\x24\x03\xd5" else 0  # bti c
    if len(raw) < at + 8:
        return None
    page, load = struct.unpack_from("<II", raw, at)
    if page & 0x9F000000 != 0x90000000 or load & 0xFFC00000 != 0xF9400000:
        return None
    place: int = _page(target + at, page) + (load >> 10 & 0xFFF) * 8
    return place
