"""Numbers that functions of a Python extension module return, read from its machine code.

`tf.sysconfig` asks such a function for what TensorFlow was compiled with. Each is a constant that
is handed to `PyLong_FromSsize_t`: a load into the first argument's register, then a call or a jump
to that function's stub in the PLT.
"""

from __future__ import annotations

from ...models.errors import ElfError
from ..elf.dynamic import DT_JMPREL, DT_PLTRELSZ, DT_RELA, DT_RELASZ
from . import aarch64, x86_64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..elf import ElfFile

_MAKERS = (b"PyLong_FromSsize_t", b"PyLong_FromLong")
#: Bytes between the load and the call: what takes down the stack frame.
_BETWEEN = 8


def returned_number(elf: ElfFile, numbers: Iterable[int]) -> int | None:
    """The one of these numbers that a function returns; None where none or several are.

    Read on x86-64 and aarch64. Raises `ElfError`.
    """
    search = {"x86_64": _calls_x86, "aarch64": _calls_aarch64}.get(elf.machine)
    text = elf.section(".text")
    if search is None or text is None or elf.bits != 64:
        return None
    code = elf.section_bytes(text)
    slots = _slots(elf)
    found = {
        number
        for number in numbers
        if any(_slot_of(elf, target) in slots for target in search(code, text.addr, number))
    }
    return found.pop() if len(found) == 1 else None


def _slots(elf: ElfFile) -> frozenset[int]:
    """The addresses that hold the functions which make Python's integers."""
    dynamic, entry = elf.dynamic, elf.struct("QQq")
    places: dict[int, list[int]] = {}
    # A function whose address is taken as well has its slot among the other relocations.
    for table, length in ((DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)):
        start, size = dynamic.get(table) or 0, dynamic.get(length) or 0
        size -= size % entry.size
        if not start or not size:
            continue
        raw = elf.read(elf.offset_of(start, size, "a relocation table"), size, "it")
        for place, info, _ in entry.iter_unpack(raw):
            if info >> 32:
                places.setdefault(info >> 32, []).append(place)
    symbol = dynamic.symbols.symbol
    found = [places[index] for index in places if symbol(index).name in _MAKERS]
    return frozenset(place for group in found for place in group)


def _calls_x86(code: bytes, base: int, number: int) -> Iterator[int]:
    """Where `mov edi, number` (BF id) leads to by a call (E8 cd) or jump (E9 cd) behind it."""
    needle = b"\xbf" + number.to_bytes(4, "little")
    at = code.find(needle)
    while at >= 0:
        for place in range(at + 5, at + 5 + _BETWEEN):
            if code[place : place + 1] in (b"\xe8", b"\xe9"):
                by = int.from_bytes(code[place + 1 : place + 5], "little", signed=True)
                yield base + place + 5 + by
        at = code.find(needle, at + 1)


def _calls_aarch64(code: bytes, base: int, number: int) -> Iterator[int]:
    """Where `mov w0, number` or `mov x0, number` (MOVZ) leads to by a B or BL behind it."""
    for load in (0x52800000, 0xD2800000):
        needle = (load | number << 5).to_bytes(4, "little")
        at = code.find(needle)
        while at >= 0:
            for place in range(at + 4, at + 4 + _BETWEEN, 4) if at % 4 == 0 else ():
                word = int.from_bytes(code[place : place + 4], "little")
                if word & 0x7C000000 == 0x14000000:
                    by = (word & 0x3FFFFFF ^ 0x2000000) - 0x2000000
                    yield base + place + 4 * by
            at = code.find(needle, at + 1)


def _slot_of(elf: ElfFile, stub: int) -> int | None:
    """The address that a stub of the PLT jumps through; None where there is no stub."""
    try:
        raw = elf.read(elf.offset_of(stub, 16, "a stub"), 16, "a stub")
    except ElfError:
        return None
    return x86_64.slot(stub, raw) if elf.machine == "x86_64" else aarch64.slot(stub, raw)
