"""Files of some hundred kilobytes that were made to cost minutes or gigabytes."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaigns.fuzz.guard import HERE
from tests.support import bombs


def elf_of(sections: dict[str, bytes]) -> bytes:
    """The smallest ELF file that has these sections, none of them loaded."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in sections) + b".shstrtab\0"
    body, rows, name_at = b"", [(0,) * 10], 1
    for name, content in sections.items():
        rows.append((name_at, 1, 0, 0, 64 + len(body), len(content), 0, 0, 1, 0))
        name_at += len(name) + 1
        body += content
    rows.append((name_at, 3, 0, 0, 64 + len(body), len(names), 0, 0, 1, 0))
    body += names
    body += b"\0" * (-len(body) % 8)
    counts = (64, 56, 0, 64, len(rows), len(rows) - 1)
    head = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 64 + len(body), 0, *counts)
    table = b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)
    return b"\x7fELF\2\1\1" + bytes(9) + head + body + table


def unit(content: bytes, table: int = 0) -> bytes:
    """A DWARF 4 unit."""
    return struct.pack("<IHIB", len(content) + 7, 4, table, 8) + content


def overlapping_tables() -> bytes:
    """5,000 units, each with an abbreviation table that starts one entry later."""
    entry = b"\2\x24\0\0\0"
    abbreviations = entry * 5000 + b"\1\x11\0\0\0\0"
    units = b"".join(unit(b"\1", 5 * number) for number in range(5000))
    return elf_of({".debug_abbrev": abbreviations, ".debug_info": units})


def attributes_of_no_bytes() -> bytes:
    """20,000 attributes that take no room in 20,000 entries."""
    abbreviations = b"\1\x11\1\0\0\2\x24\0" + b"\x3f\x19" * 20_000 + b"\0\0\0"
    return elf_of({".debug_abbrev": abbreviations, ".debug_info": unit(b"\1" + b"\2" * 20_000)})


def overlapping_strings() -> bytes:
    """A string of 100 KB, and 20,000 types whose names are its ends."""
    abbreviations = b"\1\x11\1\0\0\2\x13\0\3\x0e\x0b\x0b\0\0\0"
    entries = b"".join(b"\2" + struct.pack("<IB", number, 4) for number in range(20_000))
    strings = b"n" * 100_000 + b"\0"
    info = unit(b"\1" + entries + b"\0")
    return elf_of({".debug_abbrev": abbreviations, ".debug_info": info, ".debug_str": strings})


def names_in_names() -> bytes:
    """20,000 namespaces inside each other, each with a name of 50 KB."""
    abbreviations = b"\1\x11\1\0\0\2\x39\1\3\x0e\0\0\0"
    info = unit(b"\1" + (b"\2" + bytes(4)) * 20_000 + bytes(20_001))
    strings = b"n" * 50_000 + b"\0"
    return elf_of({".debug_abbrev": abbreviations, ".debug_info": info, ".debug_str": strings})


def compressed_zeros() -> bytes:
    """Sixty megabytes of nothing in sixty kilobytes."""
    import zlib

    packed = zlib.compress(bytes(60 << 20), 9)
    info = struct.pack("<IIQQ", 1, 0, 60 << 20, 1) + packed
    raw = bytearray(elf_of({".debug_abbrev": b"\1\x11\0\0\0\0", ".debug_info": info}))
    table = struct.unpack_from("<Q", raw, 40)[0]
    struct.pack_into("<Q", raw, table + 2 * 64 + 8, 0x800)
    return bytes(raw)


def sections_of_one_name() -> bytes:
    """3,000 sections whose names are the ends of one long name."""
    raw = elf_of({f"s{number}": b"" for number in range(3000)})
    return raw.replace(b"\0s", b"ss")


def segments_to_search() -> bytes:
    """4,000 loaded segments: each address would be looked for in all of them."""
    head = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 4000, 64, 0, 0)
    row = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 64, 64, 4096)
    return b"\x7fELF\2\1\1" + bytes(9) + head + row * 4000


BOMBS: list[tuple[str, Callable[[], bytes]]] = [
    ("elf-debug", overlapping_tables),
    ("elf-compilation", overlapping_tables),
    ("elf-debug", attributes_of_no_bytes),
    ("elf-debug", overlapping_strings),
    ("elf-debug", names_in_names),
    ("elf-debug", compressed_zeros),
    ("elf-headers", sections_of_one_name),
    ("elf-symbols", segments_to_search),
    ("elf-headers", bombs.sections_of_one_long_name),
    ("elf-headers", bombs.sections_of_ends_of_names),
    ("elf-append", bombs.sections_of_ends_of_names),
    ("elf-dynamic", bombs.needed_of_one_name),
    ("elf-dynamic", bombs.needed_beyond_number),
    ("elf-dynamic", bombs.needed_at_the_limit),
    ("elf-dynamic", bombs.versions_of_one_name),
    ("elf-dynamic", bombs.version_needs_of_one_name),
    ("elf-dynamic", bombs.definitions_of_one_name),
    ("elf-compilation", bombs.references_with_long_names),
    ("elf-symbols", bombs.hash_chain),
    ("elf-symbols", bombs.classic_hash_chain),
    ("elf-symbols", bombs.hash_chain_of_nearly_one_name),
    ("statement", bombs.versions_of_one_name),
    ("statement", bombs.definitions_of_one_name),
    ("statement", bombs.filters_of_one_name),
    ("registrations", bombs.manifest_of_kernels),
    ("registrations", bombs.manifest_of_one_op),
    ("registrations", bombs.manifest_of_ops),
]


@pytest.mark.parametrize(
    ("target", "make"), BOMBS, ids=lambda value: getattr(value, "__name__", value)
)
def test_large_lies_cost_little(target: str, make: Callable[[], bytes], tmp_path: Path) -> None:
    """Less than minutes and 384 MB: what they were made for is two orders of magnitude above."""
    path = tmp_path / "bomb.so"
    path.write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.fuzz.replay", target, str(path)],
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
