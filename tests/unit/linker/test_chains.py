"""Hash chains: as long as linkers make them they cost nothing, longer ones have an end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from envlock.binary.elf.file import ElfFile
from envlock.binary.elf.symbols import MAX_STEPS, PORTION, SHORT_CHAIN, SymbolTable, begin_plugin
from envlock.linker.resolve import predict
from envlock.models.errors import ElfError
from tests.support import bombs
from tests.support.environments import TfEnvironment
from tests.unit.linker.workshop import Workshop


def longest_chain(table: SymbolTable) -> int:
    """The longest chain of a GNU hash table."""
    assert table.gnu is not None
    count, first, _, _, _, buckets = table.gnu
    elf = table.elf
    starts = elf.words(buckets, count, 4).tolist()
    chains = elf.words(buckets + 4 * count, len(table) - first, 4).tolist()
    longest = 0
    for start in filter(None, starts):
        at = start - first
        end = at
        while not chains[end] & 1:
            end += 1
        longest = max(longest, end + 1 - at)
    return longest


@pytest.mark.skipif(sys.byteorder != "little", reason="reads words as they stand")
def test_no_chain_of_tensorflow_is_a_long_one(tf_envs: list[TfEnvironment]) -> None:
    package = tf_envs[-1].site_packages / "tensorflow"
    found = [path for path in package.glob("*.so*") if "tensorflow" in path.name]
    assert found
    for path in found:
        with ElfFile.open(path) as elf:
            assert longest_chain(elf.dynamic.symbols) <= SHORT_CHAIN // 2, path


@pytest.mark.parametrize("style", ["gnu", "sysv"])
def test_a_library_of_many_symbols_is_never_refused(style: str, shop: Workshop) -> None:
    """Every symbol and as many absent names, for one plugin: far more steps than `MAX_STEPS` may
    have been taken, none of them in a long chain."""
    number = 30_000
    source = "\n".join(f"int symbol_{i};" for i in range(number))
    path = shop.lib("many.so", source, flags=[f"-Wl,--hash-style={style}"])
    with ElfFile.open(path) as elf:
        table = elf.dynamic.symbols
        assert (table.gnu is None) == (style == "sysv")
        begin_plugin()
        for i in range(number):
            (symbol,) = table.candidates(b"symbol_%d" % i)
            assert symbol.defined
            assert not table.candidates(b"absent_%d" % i)


@pytest.mark.slow
@pytest.mark.parametrize("classic", [False, True])
def test_long_chains_serve_any_number_of_plugins(classic: bool, tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(bombs.classic_hash_chain(300, 1) if classic else bombs.hash_chain(300, 1))
    with ElfFile.open(path) as elf:
        table = elf.dynamic.symbols
        each = MAX_STEPS // PORTION // 4
        for _ in range(8):
            begin_plugin()
            for i in range(each):
                table.candidates(b"absent_%d" % i)
        for i in range(3 * each):
            table.candidates(b"absent_%d" % i)
        with pytest.raises(ElfError, match="more than 64 entries, and more than 2097152 steps"):
            table.candidates(b"absent")


def test_plugins_that_share_a_library_with_long_chains(shop: Workshop) -> None:
    """Each is judged by itself: the table of their dependency counts for each anew."""
    library = shop.path("libchain.so")
    library.write_bytes(bombs.hash_chain(300, 0))
    names = [f"absent_{number}" for number in range(400)]
    calls = "".join(f"int {name}(void) __attribute__((weak));" for name in names)
    body = "+".join(f"{name}()" for name in names)
    source = f"{calls} int g(void) {{ return {body}; }}"
    first = shop.lib("plugin.so", source, [library])
    shop.host()
    scope = shop.scope()
    more = MAX_STEPS // PORTION // len(names) + 2
    for number in range(more):
        path = shop.folder / f"plugin{number}.so"
        # Other names of the same length, so that no answer is a remembered one.
        path.write_bytes(first.read_bytes().replace(b"absent_", b"ab%04d_" % number))
        prediction = predict(os.fspath(path), scope)
        assert prediction.ok, prediction.error
    assert len(scope.pool._by_identity) < more
