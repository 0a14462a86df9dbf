"""Calls and their constant arguments in x86-64 code (Intel SDM, volume 2).

One regular expression finds the few instructions that matter; a function is not decoded whole. A
match inside of another instruction does no harm: it would have to name a builder of TensorFlow as
the target of a call, or hold the address of a string.
"""

from __future__ import annotations

import re
import struct

from .calls import TAKES_STRING, Call, Stores, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .calls import Image

#: System V AMD64: the registers of the first arguments, and those that a call keeps.
_ARGUMENTS = (7, 6, 2, 1, 8, 9)
_KEPT = frozenset((3, 4, 5, 12, 13, 14, 15))

_INSTRUCTION = re.compile(
    rb"(?P<lea>[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(?P<at>[\x00-\xff]{4})"
    rb"|(?P<got>[\x48\x4c]\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(?P<slot>[\x00-\xff]{4})"
    rb"|(?P<whole>[\x48\x49][\xb8-\xbf])(?P<bytes>[\x00-\xff]{8})"
    rb"|(?P<vector>(?:(?:[\x66\xf3]\x0f|\xc5[\x78-\x7b\xf8-\xfb])\x6f|"
    rb"(?:\x0f|\xc5[\x78-\x7b\xf8-\xfb])[\x10\x28])[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])"
    rb"(?P<data>[\x00-\xff]{4})"
    rb"|(?P<store>\x66?[\x40-\x4f]?(?:[\xc6\xc7][\x00-\x07\x40-\x47\x80-\x87]|[\x88\x89][\x00-\xbf])"
    rb"|(?:[\x66\xf3]\x0f|\xc5[\x78-\x7b\xf8-\xfb])\x7f[\x00-\xbf]"
    rb"|(?:\x0f|\xc5[\x78-\x7b\xf8-\xfb])[\x11\x29][\x00-\xbf])"
    rb"|(?P<copy>[\x40-\x4f]?[\x89\x8b][\xc0-\xff])"
    rb"|(?P<load>[\x48-\x4f][\x8b\x8d][\x00-\xbf])"
    rb"|(?P<zero>[\x40-\x4f]?[\x31\x33][\xc0-\xff])"
    rb"|(?P<number>\x41?[\xb8-\xbf])(?=(?P<value>[\x00-\xff]{4}))"
    rb"|(?P<call>[\xe8\xe9])(?=(?P<target>[\x00-\xff]{4}))"
    rb"|(?P<through>\xff\x15)(?=(?P<place>[\x00-\xff]{4}))"
)


_BRANCH = re.compile(rb"[\xe8\xe9]")
_ADDRESS = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d][\x00-\xff]{4}")
_THROUGH = re.compile(rb"\xff\x15[\x00-\xff]{4}")


def targets(image: Image, start: int, raw: bytes) -> list[int]:
    """Where a function's calls and jumps lead, and the PLT-less calls through its GOT."""
    found: dict[int, None] = {}
    for match in _BRANCH.finditer(raw):
        at = match.start() + 1
        target = start + at + 4 + int.from_bytes(raw[at : at + 4], "little", signed=True)
        if image.code(target) is not None:
            found[target] = None
    for match in _ADDRESS.finditer(raw):
        # Ops are registered by a function that is handed over.
        at = match.end()
        target = start + at + int.from_bytes(raw[at - 4 : at], "little", signed=True)
        if target in image.known:
            found[target] = None
    for match in _THROUGH.finditer(raw):
        at = match.end()
        slot = start + at + int.from_bytes(raw[at - 4 : at], "little", signed=True)
        if image.symbol(slot):
            found[-slot] = None
    return list(found)


def sweep(image: Image, start: int, raw: bytes) -> list[Call]:
    """The calls of one function, in file order."""
    registers: dict[int, Value | None] = {
        register: Value("argument", number=n) for n, register in enumerate(_ARGUMENTS)
    }
    calls: list[Call] = []
    stores = Stores()
    vectors: dict[int, bytes] = {}
    unpack = struct.unpack
    for match in _INSTRUCTION.finditer(raw):
        kind = match.lastgroup
        end = start + match.end()
        code = match[0]
        if kind == "at":
            target = end + unpack("<i", match["at"])[0]
            registers[_field(code)] = image.constant(target)
        elif kind == "slot":
            target = end + unpack("<i", match["slot"])[0]
            registers[_field(code)] = image.loaded(target)
        elif kind == "bytes":
            content = match["bytes"]
            to = (code[1] & 7) | (code[0] & 1) << 3
            registers[to] = Value("number", number=int.from_bytes(content, "little"))
        elif kind == "data":
            content = image.data(end + unpack("<i", match["data"])[0])
            vectors[code[-5] >> 3 & 7] = content
        elif kind == "store":
            _store(raw, match.start(), match.end(), registers, vectors, stores)
        elif kind == "copy":
            rex = code[0] if len(code) == 3 else 0
            field = (code[-1] >> 3 & 7) | (rex & 4) << 1
            plain = (code[-1] & 7) | (rex & 1) << 3
            to, source = (plain, field) if code[-2] == 0x89 else (field, plain)
            registers[to] = registers.get(source) if rex & 8 else None
        elif kind == "load":
            registers[_field(code)] = _through(raw, match.end(), registers)
        elif kind == "zero":
            rex = code[0] if len(code) == 3 else 0
            field, plain = code[-1] >> 3 & 7, code[-1] & 7
            same = field == plain and bool(rex & 4) == bool(rex & 1)
            to = (plain | (rex & 1) << 3) if code[-2] == 0x31 else (field | (rex & 4) << 1)
            registers[to] = Value("number") if same else None
        elif kind == "value":
            to = (code[-1] & 7) | (8 if code[0] == 0x41 else 0)
            amount = unpack("<i", match["value"])[0]
            registers[to] = Value("number", number=amount)
            stores.number(amount)
        else:
            if kind == "target":
                target = end + 4 + unpack("<i", match["target"])[0]
                if image.code(target) is None:
                    continue
                name = image.name(target)
                if code == b"\xe9" and not name and target not in image.known:
                    continue
            else:
                target = 0
                name = image.symbol(end + 4 + unpack("<i", match["place"])[0])
                if not name:
                    continue
            built = None
            if TAKES_STRING in name:
                built = stores.text()
                stores.clear()
            arguments = tuple(registers.get(r) for r in _ARGUMENTS)
            calls.append(Call(target, name, arguments, built))
            if code[0] != 0xE9:
                registers = {r: v for r, v in registers.items() if r in _KEPT}
    return calls


def _store(
    raw: bytes,
    start: int,
    end: int,
    registers: dict[int, Value | None],
    vectors: dict[int, bytes],
    stores: Stores,
) -> None:
    """One x86-64 store of a known number: what is written, and where."""
    code = raw[start:end]
    narrow = code[0] == 0x66
    rex = next((byte for byte in code[:2] if 0x40 <= byte <= 0x4F), 0)
    opcode, modrm = code[-2], code[-1]
    base, at = (modrm & 7) | (rex & 1) << 3, end
    if modrm & 7 == 4:
        sib = raw[at] if at < len(raw) else 0
        if sib >> 3 & 7 != 4 or rex & 2:
            return  # an index
        base, at = (sib & 7) | (rex & 1) << 3, at + 1
    mode = modrm >> 6
    if mode == 0 and base & 7 == 5:
        return  # relative to the instruction
    offset = 0
    if mode:
        size = 1 if mode == 1 else 4
        offset = int.from_bytes(raw[at : at + size], "little", signed=True)
        at += size
    known = registers.get(base)
    if known is not None and known.kind == "address":
        base, offset = int(known.name), known.number + offset
    register = (modrm >> 3 & 7) | (rex & 4) << 1
    size = 1 if opcode in (0xC6, 0x88) else 2 if narrow else 8 if rex & 8 else 4
    if opcode in (0xC6, 0xC7):
        data = raw[at : at + min(size, 4)]
        data += (b"\xff" if data[-1:] > b"\x7f" else b"\0") * (size - len(data))
    elif opcode in (0x88, 0x89):
        value = registers.get(register)
        if value is None or value.kind != "number":
            return
        data = (value.number & (1 << 64) - 1).to_bytes(8, "little")[:size]
    else:
        data = vectors.get(register, b"")
    if data:
        stores.write(base, offset, data)


def _through(raw: bytes, end: int, registers: dict[int, Value | None]) -> Value | None:
    """What `mov` or `lea` with a memory operand (its ModRM ends at `end`) puts in a register."""
    rex, opcode, modrm = raw[end - 3 : end]
    base, mode = (modrm & 7) | (rex & 1) << 3, modrm >> 6
    if modrm & 7 in (4, 5) and not (modrm & 7 == 5 and mode):
        return None
    value = registers.get(base)
    if opcode == 0x8B:
        through = value is not None and value.kind == "slot" and not mode
        return Value("loaded", value.name) if through and value is not None else None
    offset = 0
    if mode:
        size = 1 if mode == 1 else 4
        offset = int.from_bytes(raw[end : end + size], "little", signed=True)
    if value is not None and value.kind == "address":
        return Value("address", value.name, value.number + offset)
    return Value("address", str(base), offset)


def _field(code: bytes) -> int:
    """The register that ModRM's reg field names, REX.R added."""
    return (code[2] >> 3 & 7) | (code[0] & 4) << 1


def slot(target: int, raw: bytes) -> int | None:
    """The address that a PLT entry at `target` jumps through, None where it is none."""
    at = 4 if raw[:4] == b"\xf3\x0f\x1e\xfa" else 0  # endbr64
    if raw[at : at + 1] == b"\xf2":  # bnd
        at += 1
    if raw[at : at + 2] != b"\xff\x25" or len(raw) < at + 6:
        return None
    (displacement,) = struct.unpack_from("<i", raw, at + 2)
    place: int = target + at + 6 + displacement
    return place
