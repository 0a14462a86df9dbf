"""A second reader of atlas files, after docs/reference/atlas-file.md; it shares no code with envlock."""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def symbol_number(name: bytes) -> int:
    return binascii.crc32(name) << 8 | binascii.crc_hqx(name, 0xFFFF) & 0xFF


class Book:
    """Sections, releases, and what each unit exports."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        assert self.data[:8] == b"ENVATLAS"
        version, count = struct.unpack_from("<II", self.data, 8)
        assert version == 2
        self.sections: dict[bytes, bytes] = {}
        for number in range(count):
            tag, offset, size = struct.unpack_from("<4sII", self.data, 16 + 12 * number)
            self.sections[tag] = self.data[offset : offset + size]
        self.meta: dict[str, Any] = json.loads(self.sections[b"META"])

    def units(self) -> Iterator[tuple[dict[str, Any], dict[str, Any], int]]:
        """Every library of every release, with its place in the membership bitmaps."""
        number = 0
        for release in self.meta["releases"]:
            for library in release["libraries"]:
                yield release, library, number
                number += 1

    def exports(self) -> list[tuple[int, int]]:
        """Every symbol number with its membership bitmap, in rising order."""
        starts = struct.unpack("<65537I", self.sections[b"EXPI"])
        entries, members = self.sections[b"EXPE"], self.sections[b"EXPM"]
        (width,) = struct.unpack_from("<I", members)
        bitmaps = [
            int.from_bytes(members[at : at + width], "little")
            for at in range(4, len(members), width)
        ]
        found = []
        for upper in range(65536):
            bucket = entries[starts[upper] : starts[upper + 1]]
            count = bucket[0]
            kinds = bucket[1 + 3 * count : 1 + 4 * count]
            wide = iter(struct.unpack(f">{kinds.count(255)}H", bucket[1 + 4 * count :]))
            for number in range(count):
                low = int.from_bytes(bucket[1 + 3 * number : 4 + 3 * number], "big")
                kind = kinds[number] if kinds[number] < 255 else next(wide)
                found.append((upper << 24 | low, bitmaps[kind]))
        return found
