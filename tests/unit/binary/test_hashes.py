"""The hash functions of symbol tables, beside what glibc's loops give."""

from __future__ import annotations

import pytest

from envlock.binary.elf.symbols import gnu_hash


def step_by_step(name: bytes) -> int:
    """`_dl_new_hash` as it stands in glibc: h = h * 33 + c in 32 bits."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def test_published_values_of_the_gnu_hash() -> None:
    assert [gnu_hash(name) for name in (b"", b"printf", b"exit")] == [5381, 0x156B2BB8, 0x7C967E3F]


@pytest.mark.parametrize("length", [1, 2, 32, 33, 255, 256, 257, 512, 513, 600, 601, 5000])
def test_the_gnu_hash_of_names_of_every_length(length: int) -> None:
    for first in (0, 1, 32, 33, 127, 128, 254, 255):
        name = bytes((first + 7 * i) % 256 for i in range(length))
        assert gnu_hash(name) == step_by_step(name)
