"""Damaged input of any kind: an answer, `ElfError` or `FileAccessError`, never anything else."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envlock.binary.elf.file import ElfFile
from envlock.binary.elf.image import PT_DYNAMIC, PT_LOAD
from envlock.linker.prediction import Prediction
from envlock.linker.resolve import predict
from envlock.linker.scope import LiveScope
from envlock.models.errors import ElfError, FileAccessError
from tests.support import bombs
from tests.unit.linker.workshop import Workshop

OUTCOMES = ("ok", "refused", "crash")
SOURCE = """
#include <stdio.h>
int f(void); extern int data; __thread int t = 3; static __thread int u = 4;
int *p = &data; void *q[] = {&data, &p, (void *)f};
int g(void) { return f() + data + t + u + printf("x"); }
"""


class Sample:
    """A plugin and the library it needs, to be damaged; both load when they are whole."""

    def __init__(self, folder: Path) -> None:
        self.shop = Workshop(folder)
        defines = "int f(void) { return 1; } int data = 7;"
        script = "V1 { global: f; data; local: *; };"
        self.library = self.shop.lib("libf.so", defines, soname="libf.so", versions=script)
        self.plugin = self.shop.lib(
            "plugin.so", SOURCE, [self.library], runpath="$ORIGIN", libc=True
        )
        assert self.shop.agree(self.plugin).ok
        self.library_bytes = self.library.read_bytes()
        self.plugin_bytes = self.plugin.read_bytes()
        with ElfFile.open(self.plugin) as elf:
            self.interesting = [
                (s.offset, s.offset + s.filesz) for s in elf.segments if s.type == PT_DYNAMIC
            ] + [(0, 64 + 56 * elf.phnum)]
            self.loads = [(s.offset, s.filesz) for s in elf.segments if s.type == PT_LOAD]

    def scope(self) -> LiveScope:
        return self.shop.scope()

    def answer(self) -> Prediction | None:
        """Predict the plugin; None for a permitted error."""
        scope = self.scope()
        with contextlib.suppress(ElfError, FileAccessError):
            prediction = predict(str(self.plugin), scope)
            assert prediction.outcome in OUTCOMES
            assert prediction.ok or prediction.error
            return prediction
        return None


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("hostile"))


@st.composite
def damage(draw: st.DrawFn, sizes: tuple[int, int] = (0, 1 << 14)) -> list[tuple[int, bytes]]:
    """Some overwritten places: single bytes, or whole words of extreme values."""
    word = st.sampled_from([0, 1, 8, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1, 0x1000])
    content = st.one_of(
        st.binary(min_size=1, max_size=8), word.map(lambda value: struct.pack("<Q", value))
    )
    place = st.one_of(st.integers(*sizes), st.integers(0, 1200), st.integers(0x2D00, 0x3100))
    return draw(st.lists(st.tuples(place, content), min_size=1, max_size=4))


def damaged(original: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    data = bytearray(original)
    for place, content in changes:
        at = place % len(data)
        data[at : at + len(content)] = content[: len(data) - at]
    return bytes(data)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=damage())
@example(changes=[(11793, b"\0" * 8)])  # the view of the relocations outlived the error
def test_a_damaged_plugin(sample: Sample, changes: list[tuple[int, bytes]]) -> None:
    sample.library.write_bytes(sample.library_bytes)
    sample.plugin.write_bytes(damaged(sample.plugin_bytes, changes))
    sample.answer()


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=damage())
def test_a_damaged_dependency(sample: Sample, changes: list[tuple[int, bytes]]) -> None:
    sample.plugin.write_bytes(sample.plugin_bytes)
    sample.library.write_bytes(damaged(sample.library_bytes, changes))
    # The plugin is whole, so what is wrong with its dependency is an answer, not an error.
    assert sample.answer() is not None


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_dynamic_entries(sample: Sample, data: st.DataObject) -> None:
    sample.library.write_bytes(sample.library_bytes)
    start, end = sample.interesting[0]
    raw = bytearray(sample.plugin_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        at = start + 16 * data.draw(st.integers(0, (end - start) // 16 - 1))
        tag = data.draw(
            st.sampled_from([1, 2, 4, 5, 6, 7, 8, 10, 14, 15, 17, 18, 20, 23, 29, 30])
            | st.sampled_from([0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE])
            | st.sampled_from([0x6FFFFFFF, 0x6FFFFFF9, 0x7FFFFFFD, 0x7FFFFFFF])
        )
        value = data.draw(st.integers(0, 1 << 15) | st.integers(0, (1 << 64) - 1))
        raw[at : at + 16] = struct.pack("<QQ", tag, value)
    sample.plugin.write_bytes(raw)
    sample.answer()


@pytest.mark.parametrize("tenth", range(10))
def test_cut_off_anywhere(sample: Sample, tenth: int) -> None:
    sample.library.write_bytes(sample.library_bytes)
    for size in range(tenth * len(sample.plugin_bytes) // 10, len(sample.plugin_bytes), 1999):
        sample.plugin.write_bytes(sample.plugin_bytes[:size])
        prediction = sample.answer()
        real = sample.shop.judge(sample.plugin)
        if prediction is not None:
            assert prediction.outcome == real.outcome, (size, prediction, real)
        else:
            # Only what cannot work is called an error.
            assert real.outcome != "ok", size


def test_special_files(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.host()
    scope = shop.scope()
    fifo = tmp_path / "fifo.so"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.so"))
        (tmp_path / "folder.so").mkdir()
        loop = tmp_path / "loop.so"
        loop.symlink_to(loop)
        for name in ("fifo.so", "socket.so", "folder.so", "loop.so", "none.so", "/dev/null"):
            with contextlib.suppress(ElfError, FileAccessError):
                assert not predict(str(tmp_path / name), scope).ok


def test_names_that_are_no_text(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    f = shop.lib("libf.so", "int f(void) { return 1; }", soname="libX.so")
    plugin = shop.lib("plugin.so", "int f(void); int g(void) { return f(); }", [f])
    plugin.write_bytes(plugin.read_bytes().replace(b"libX.so", b"lib\xff.so"))
    prediction = shop.agree(plugin)
    assert prediction.missing_libraries[0].name == "lib\udcff.so"
    symbol = shop.lib("symbol.so", "int f(void); int g(void) { return f(); }")
    data = symbol.read_bytes().replace(b"\0f\0", b"\0\xfe\0")
    symbol.write_bytes(data)
    assert shop.predict(symbol).missing_symbols[0].name == "\\xfe"


def test_a_needed_name_of_many_kilobytes(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    f = shop.lib("libf.so", "int f(void) { return 1; }", soname="l" * 9000 + ".so")
    plugin = shop.lib("plugin.so", "int f(void); int g(void) { return f(); }", [f])
    shop.agree(plugin)


@pytest.mark.parametrize("length", [255, 256, 4095, 4096, 70_000, 1 << 20])
@pytest.mark.parametrize("form", [b"l", b"/l", b"/tmp//"])
def test_needed_names_up_to_a_megabyte(length: int, form: bytes, tmp_path: Path) -> None:
    """ld.so takes names of any length and leaves it to the kernel to find one too long."""
    shop = Workshop(tmp_path)
    name = form + form[-1:] * (length - len(form))
    plugin = shop.path("plugin.so")
    plugin.write_bytes(bombs.shared_library(b"\0" + name + b"\0", entries=[(bombs.NEEDED, 1)]))
    assert not shop.agree(plugin).ok


def test_a_longer_needed_name_is_damage(tmp_path: Path) -> None:
    """ld.so has room for it on its stack, or dies."""
    shop = Workshop(tmp_path)
    plugin = shop.path("plugin.so")
    for length in ((1 << 20) + 1, 9 << 20):
        strings = b"\0" + b"l" * length + b"\0"
        plugin.write_bytes(bombs.shared_library(strings, entries=[(bombs.NEEDED, 1)]))
        assert shop.judge(plugin).outcome != "ok"
        with pytest.raises(ElfError, match="a DT_NEEDED name has more than 1048576 bytes"):
            shop.predict(plugin)


def test_a_long_name_that_is_loaded_already(tmp_path: Path) -> None:
    """No file can have it, but it is the DT_SONAME of one with a short path."""
    shop = Workshop(tmp_path)
    first = shop.path("first.so")
    strings = b"\0" + b"l" * 70_000 + b"\0./first.so\0"
    first.write_bytes(bombs.shared_library(strings, entries=[(bombs.SONAME, 1)]))
    plugin = shop.path("plugin.so")
    entries = [(bombs.NEEDED, 70_002), (bombs.NEEDED, 1)]
    plugin.write_bytes(bombs.shared_library(strings, entries=entries))
    assert shop.agree(plugin).ok
