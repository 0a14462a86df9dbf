"""ld.so.cache: the machine's own, and made-up ones in every format, also damaged."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envlock.linker.cache import LinkerCache, compare
from envlock.linker.rtld import processor
from envlock.linker.traits import Traits
from envlock.linker.tunables import Tunables

NEW = b"glibc-ld.so.cache1.1"
OLD = b"ld.so-1.7.0"
FLAGS = 0x0303


def new_format(
    entries: list[tuple[str, str, int, int]],
    *,
    base: int = 0,
    flags: int = 2,
    hwcaps: tuple[str, ...] = (),
) -> bytes:
    """A cache of (name, path, flags, hwcap) in the new format; `base` is where it will start."""
    strings = b""
    rows = []
    start = 48 + 24 * len(entries)
    for name, path, kind, hwcap in entries:
        key = start + len(strings)
        strings += name.encode() + b"\0"
        value = start + len(strings)
        strings += path.encode() + b"\0"
        rows.append(struct.pack("<iIIIQ", kind, key, value, 0, hwcap))
    offsets = []
    for name in sorted(hwcaps):
        offsets.append(base + start + len(strings))
        strings += name.encode() + b"\0"
    strings += b"\0" * (-(base + start + len(strings)) % 4)
    extension = 0
    tail = b""
    if hwcaps:
        extension = base + start + len(strings)
        magic = -358342284 & 0xFFFFFFFF
        array = struct.pack(f"<{len(offsets)}I", *offsets)
        tail = struct.pack("<IIIIII", magic, 1, 1, 0, extension + 24, len(array)) + array
    header = NEW + struct.pack("<IIBxxxI12x", len(entries), len(strings), flags, extension)
    return header + b"".join(rows) + strings + tail


def old_format(entries: list[tuple[str, str, int, int]], inner: bytes = b"") -> bytes:
    """A cache in the format of libc5, with a new one inside where its strings begin."""
    strings = inner
    rows = []
    for name, path, kind, _ in entries:
        key = len(strings)
        strings += name.encode() + b"\0"
        value = len(strings)
        strings += path.encode() + b"\0"
        rows.append(struct.pack("<iII", kind, key, value))
    padding = b"\0" * (-(16 + 12 * len(entries)) % 8) if inner else b""
    header = OLD + b"\0" + struct.pack("<I", len(entries))
    return header + b"".join(rows) + padding + strings


def plain(*names: str) -> list[tuple[str, str, int, int]]:
    """Entries in the order in which ldconfig writes them: descending."""
    import functools

    ordered = sorted(names, key=functools.cmp_to_key(lambda a, b: compare(b.encode(), a.encode())))
    return [(name, f"/lib/{name}", FLAGS, 0) for name in ordered]


NAMES = ("libz.so.1", "libc.so.6", "libfoo.so.2", "libfoo.so.10", "liba.so", "libstdc++.so.6")


@pytest.mark.parametrize("form", ["new", "old", "old with new inside"])
def test_every_format(form: str) -> None:
    entries = plain(*NAMES)
    if form == "new":
        data = new_format(entries)
    elif form == "old":
        data = old_format(entries)
    else:
        start = 16
        data = old_format([], new_format(entries, base=start))
    cache = LinkerCache(data, FLAGS)
    for name in NAMES:
        assert cache.lookup(name) == f"/lib/{name}"
    for name in ("libfoo.so.3", "lib", "zzz", ""):
        assert cache.lookup(name) is None


def test_the_machines_own_cache() -> None:
    if shutil.which("ldconfig") is None and not Path("/sbin/ldconfig").exists():
        pytest.skip("needs ldconfig to print the cache")
    tool = shutil.which("ldconfig") or "/sbin/ldconfig"
    text = subprocess.run([tool, "-p"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\t(\S+) \(([^)]*)\) => (\S+)$", text, re.M)
    # The first entry of a name with the machine's own flags and no hardware folder is taken.
    wanted: dict[str, str] = {}
    for name, kind, path in found:
        if kind == "libc6,x86-64":
            wanted.setdefault(name, path)
    cache = LinkerCache.load(hwcaps=processor(62, Traits.of_release((2, 36)), Tunables()).hwcaps)
    assert cache is not None
    assert wanted
    assert {name: cache.lookup(name) for name in wanted} == wanted


def test_entries_of_another_machine_are_passed_over() -> None:
    entries = [
        ("libf.so", "/lib32/libf.so", 0x0003, 0),
        ("libf.so", "/libx32/libf.so", 0x0803, 0),
        ("libf.so", "/lib64/libf.so", FLAGS, 0),
    ]
    assert LinkerCache(new_format(entries), FLAGS).lookup("libf.so") == "/lib64/libf.so"
    assert LinkerCache(new_format(entries[:2]), FLAGS).lookup("libf.so") is None


def test_hardware_folders_by_priority() -> None:
    bit = 1 << 62
    hwcaps = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
    entries = [
        ("libf.so", "/v2/libf.so", FLAGS, bit | 0),
        ("libf.so", "/v3/libf.so", FLAGS, bit | 1),
        ("libf.so", "/v4/libf.so", FLAGS, bit | 2),
        ("libf.so", "/plain/libf.so", FLAGS, 0),
    ]
    data = new_format(entries, hwcaps=hwcaps)
    assert LinkerCache(data, FLAGS, ("x86-64-v3", "x86-64-v2")).lookup("libf.so") == "/v3/libf.so"
    assert LinkerCache(data, FLAGS, ("x86-64-v2",)).lookup("libf.so") == "/v2/libf.so"
    assert LinkerCache(data, FLAGS, ()).lookup("libf.so") == "/plain/libf.so"


def test_entries_of_the_removed_mechanism_are_passed_over() -> None:
    entries = [("libf.so", "/haswell/libf.so", FLAGS, 4), ("libf.so", "/libf.so", FLAGS, 0)]
    assert LinkerCache(new_format(entries), FLAGS).lookup("libf.so") == "/libf.so"


def test_numbers_compare_as_numbers() -> None:
    assert compare(b"libfoo.so.10", b"libfoo.so.9") > 0
    assert compare(b"libfoo.so.1", b"libfoo.so.01") == 0
    assert compare(b"liba.so", b"lib1.so") < 0
    assert compare(b"lib1.so", b"liba.so") > 0
    assert compare(b"lib.so", b"lib.so.1") < 0


def test_another_byte_order_is_no_cache() -> None:
    assert LinkerCache(new_format(plain(*NAMES), flags=3), FLAGS).lookup("libz.so.1") is None
    assert LinkerCache(new_format(plain(*NAMES), flags=0), FLAGS).lookup("libz.so.1") is not None


def test_no_cache(tmp_path: Path) -> None:
    assert LinkerCache.load(str(tmp_path / "none")) is None
    (tmp_path / "empty").write_bytes(b"")
    assert LinkerCache.load(str(tmp_path / "empty")) is None
    (tmp_path / "text").write_text("no cache")
    assert LinkerCache.load(str(tmp_path / "text")) is None


@given(st.data())
def test_damaged_caches_never_raise(data: st.DataObject) -> None:
    forms = (
        new_format(plain(*NAMES), hwcaps=("x86-64-v2", "x86-64-v3")),
        old_format(plain(*NAMES)),
        old_format([], new_format(plain(*NAMES), base=16)),
    )
    raw = bytearray(data.draw(st.sampled_from(forms)))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    cache = LinkerCache(bytes(raw[:cut]), FLAGS, ("x86-64-v3",))
    for name in NAMES:
        found = cache.lookup(name)
        assert found is None or isinstance(found, str)
