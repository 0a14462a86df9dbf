"""Structure-aware damage to binary tables other than ELF: ld.so.cache, atlases, zip archives."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tests.campaigns.fuzz.elf_mutator import BOUNDARY, blunt


def words_mutator(data: bytes, chance: Random) -> bytes:
    """32- and 64-bit numbers changed where they stand, records exchanged; sizes mostly stay."""
    if len(data) < 32 or chance.random() < 0.25:
        return blunt(data, chance)
    work = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        size = chance.choice((4, 4, 4, 8, 1))
        # Tables stand at the beginning.
        most = len(work) if chance.random() < 0.5 else min(len(work), 512)
        at = chance.randrange(max(most - size, 1)) // size * size
        old = int.from_bytes(work[at : at + size], "little")
        how = chance.random()
        if how < 0.3:
            value = chance.choice(BOUNDARY)
        elif how < 0.6:
            value = old + chance.choice((-24, -12, -8, -4, -1, 1, 4, 8, 12, 24))
        elif how < 0.8:
            source = chance.randrange(max(len(work) - size, 1)) // size * size
            value = int.from_bytes(work[source : source + size], "little")
        else:
            value = len(work) + chance.choice((-8, -4, -1, 0, 1))
        work[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return bytes(work)


_NAMES = (
    "a.so",
    "b/_op.so",
    "../../x.so",
    "/etc/x.so",
    "a.so/b.so",
    "",
    ".",
    "./a.so",
    "a.so\0b",
    "x" * 300 + ".so",
    "\u202e.so",
    "é.so",
    "a.dist-info/RECORD",
    "lib/",
    "a//b.so",
    "liba.so.2",
)
#: Offset in the fixed part of a header, and bytes, of each of its numbers.
_CENTRAL = (
    (4, 2),
    (6, 2),
    (8, 2),
    (10, 2),
    (12, 4),
    (16, 4),
    (20, 4),
    (24, 4),
    (28, 2),
    (30, 2),
    (32, 2),
    (34, 2),
    (36, 2),
    (38, 4),
    (42, 4),
)
_LOCAL = ((4, 2), (6, 2), (8, 2), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
_END = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))
_HEADERS = ((b"PK\1\2", _CENTRAL), (b"PK\3\4", _LOCAL), (b"PK\5\6", _END))


def zip_mutator(data: bytes, chance: Random) -> bytes:
    """Archives whose headers lie: sizes, methods, flags, offsets, names; or rebuilt ones."""
    how = chance.random()
    if how < 0.1:
        return blunt(data, chance)
    if how < 0.25:
        return rebuilt(data, chance)
    work = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        magic, fields = chance.choice(_HEADERS)
        places = _all(work, magic)
        if not places:
            continue
        place = chance.choice(places)
        offset, size = chance.choice(fields)
        at = place + offset
        old = int.from_bytes(work[at : at + size], "little")
        value = chance.choice(
            (*BOUNDARY, old + 1, old - 1, old * 2, old ^ 1, 0, 8, 9, 12, 14, 93, 99, len(work))
        )
        work[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return bytes(work)


def _all(work: bytearray, magic: bytes) -> list[int]:
    found = []
    at = work.find(magic)
    while at >= 0 and len(found) < 64:
        found.append(at)
        at = work.find(magic, at + 4)
    return found


def rebuilt(data: bytes, chance: Random) -> bytes:
    """A new archive of pieces of the old one, with right or lying numbers."""
    content = data[: chance.choice((0, 64, 1000, len(data)))] * chance.choice((1, 1, 20))
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = raw.compress(content) + raw.flush()
    out = b""
    central = []
    shared = chance.random() < 0.2  # all members in the same place
    for _ in range(chance.choice((1, 2, 5, 40))):
        name = chance.choice(_NAMES).encode("utf-8", "replace")
        method, body = chance.choice(((8, packed), (0, content), (8, content)))
        size = len(content) if chance.random() < 0.7 else chance.choice(BOUNDARY) & 0xFFFFFFFF
        where = 0 if shared else len(out)
        flags = chance.choice((0, 0, 0x800, 1, 8))
        head = struct.pack(
            "<HHHIIIIHH", 20, flags, method, 0, zlib.crc32(content), len(body), size, len(name), 0
        )
        if not shared or not out:
            out += b"PK\3\4" + head + name + body
        central.append(
            b"PK\1\2"
            + struct.pack("<H", 20)
            + head
            + struct.pack("<HHHII", 0, 0, 0, 0, where)
            + name
        )
    table = b"".join(central)
    end = struct.pack("<HHHHIIH", 0, 0, len(central), len(central), len(table), len(out), 0)
    return out + table + b"PK\5\6" + end
