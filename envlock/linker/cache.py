"""`/etc/ld.so.cache`: the new format, the old one, and the old one with the new one inside.

Mirrors `_dl_load_cache_lookup` and `search_cache` (elf/dl-cache.c, sysdeps/generic/dl-cache.h):
the same binary search with the same comparison, so that a cache that was sorted otherwise gives
the same answer as in the dynamic linker. A damaged cache counts as absent, as there.
"""

from __future__ import annotations

import os
import struct
import sys

PATH = "/etc/ld.so.cache"
#: Real caches are some hundred KB.
MAX_SIZE = 64 << 20

#: Names of processor levels that are looked at, and the bytes of one; real caches have a dozen.
MAX_HWCAPS, MAX_HWCAP = 1024, 256
#: Bytes of a name or path; the kernel takes no longer ones.
MAX_STRING = 4096
#: Extensions of a cache; glibc knows two kinds.
MAX_EXTENSIONS = 64

_OLD_MAGIC = b"ld.so-1.7.0"
_NEW_MAGIC = b"glibc-ld.so.cache1.1"
_OLD_HEADER, _OLD_ENTRY = 16, 12
_NEW_HEADER, _NEW_ENTRY = 48, 24
_EXTENSION_MAGIC = -358342284 & 0xFFFFFFFF
_HWCAPS_TAG = 1
_HWCAP_EXTENSION = 1 << 62 >> 32
#: _DL_HWCAP_TLS_MASK: the entry lies in a folder tls/.
_TLS = 1 << 63
_ISA_LEVEL_MASK = (1 << 10) - 1

#: `_DL_CACHE_DEFAULT_ID` by (machine, class): FLAG_*_LIB* | FLAG_ELF_LIBC6.
DEFAULT_FLAGS = {
    (62, 64): 0x0303,
    (62, 32): 0x0803,
    (3, 32): 0x0003,
    (183, 64): 0x0A03,
    (40, 32): 0x0B03,
    (243, 64): 0x1003,
    (22, 64): 0x0403,
    (21, 64): 0x0503,
}


class LinkerCache:
    """A loaded cache; `lookup` gives the path for a name as the dynamic linker would."""

    __slots__ = (
        "_base",
        "_data",
        "_entry",
        "_entry_size",
        "_flags",
        "_hwcaps",
        "_kernel",
        "_legacy",
        "_nlibs",
        "_start",
        "_strict",
        "_string_limit",
    )

    def __init__(
        self,
        data: bytes,
        flags: int,
        hwcaps: tuple[str, ...] = (),
        legacy: int | None = None,
        kernel: int | None = None,
    ) -> None:
        """`hwcaps` are the glibc-hwcaps names that are searched, best first. `legacy` are the bits
        that entries of the mechanism before may have, None where a loader passes over such entries
        (from 2.37 on). `kernel` is the kernel's number, None where it does not matter (from 2.36
        on)."""
        self._data = data
        self._legacy = legacy
        self._kernel = kernel
        self._flags = flags
        # x86-64 accepts only its own entries, other machines also untyped ones.
        self._strict = flags != 0x0003
        self._hwcaps: dict[int, int] = {}
        self._nlibs = 0
        self._base = self._start = self._string_limit = 0
        self._entry_size = _NEW_ENTRY
        order = "<" if sys.byteorder == "little" else ">"
        self._entry = struct.Struct(order + "iIIIQ")
        self._setup(order, hwcaps)

    @classmethod
    def load(
        cls,
        path: str = PATH,
        flags: int = DEFAULT_FLAGS[62, 64],
        hwcaps: tuple[str, ...] = (),
        legacy: int | None = None,
        kernel: int | None = None,
    ) -> LinkerCache | None:
        """Read a cache file; None when there is none or it is not one."""
        try:
            with open(path, "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size > MAX_SIZE:
                    return None
                data = file.readall()
        except OSError:
            return None
        cache = cls(data or b"", flags, hwcaps, legacy, kernel)
        return cache if cache._nlibs else None

    def _setup(self, order: str, hwcaps: tuple[str, ...]) -> None:
        data, size = self._data, len(self._data)
        if data.startswith(_NEW_MAGIC):
            self._setup_new(order, 0, hwcaps)
        elif data.startswith(_OLD_MAGIC) and size > _OLD_HEADER:
            (nlibs,) = struct.unpack_from(order + "I", data, 12)
            if (size - _OLD_HEADER) // _OLD_ENTRY < nlibs:
                return
            inner = _OLD_HEADER + nlibs * _OLD_ENTRY + 7 & -8
            if data[inner : inner + len(_NEW_MAGIC)] == _NEW_MAGIC and size >= inner + _NEW_HEADER:
                self._setup_new(order, inner, hwcaps)
                return
            self._nlibs, self._start = nlibs, _OLD_HEADER
            self._entry_size = _OLD_ENTRY
            self._entry = struct.Struct(order + "iII")
            self._base = _OLD_HEADER + nlibs * _OLD_ENTRY
            self._string_limit = size - self._base

    def _setup_new(self, order: str, at: int, hwcaps: tuple[str, ...]) -> None:
        data, size = self._data, len(self._data)
        if size < at + _NEW_HEADER:
            return
        nlibs, _, flags, extensions = struct.unpack_from(order + "IIBxxxI", data, at + 20)
        if (size - at - _NEW_HEADER) // _NEW_ENTRY < nlibs:
            return
        if flags and flags & 3 != (2 if sys.byteorder == "little" else 3):
            return
        self._nlibs, self._start, self._base = nlibs, at + _NEW_HEADER, at
        self._string_limit = size
        if extensions:
            self._read_extensions(order, extensions, hwcaps)

    def _read_extensions(self, order: str, offset: int, hwcaps: tuple[str, ...]) -> None:
        """The glibc-hwcaps names of the cache, as index to priority (1 is best)."""
        data, size = self._data, len(self._data)
        if offset % 4 or offset + 8 > size:
            return
        magic, count = struct.unpack_from(order + "II", data, offset)
        if magic != _EXTENSION_MAGIC or offset + 8 + count * 16 > size or count > MAX_EXTENSIONS:
            return
        for tag, _, start, length in struct.iter_unpack(
            order + "IIII", data[offset + 8 : offset + 8 + count * 16]
        ):
            if start + length > size:
                self._hwcaps.clear()
                return
            if tag != _HWCAPS_TAG or not length or start % 4 or length % 4:
                continue
            # Of several arrays the last counts, as in `cache_extension_load`.
            names = struct.unpack_from(f"{order}{min(length // 4, MAX_HWCAPS)}I", data, start)
            self._hwcaps = {
                index: hwcaps.index(text) + 1
                for index, text in enumerate(os.fsdecode(self._hwcap(name)) for name in names)
                if text in hwcaps
            }

    def _hwcap(self, offset: int) -> bytes:
        end = self._data.find(b"\0", offset, offset + MAX_HWCAP)
        return self._data[offset:end] if end >= 0 else b""

    def _string(self, offset: int, base: int) -> bytes:
        start = base + offset
        end = self._data.find(b"\0", start, start + MAX_STRING)
        return self._data[start : end if end >= 0 else start + MAX_STRING]

    def _key(self, index: int) -> bytes | None:
        at = self._start + index * self._entry_size
        key = int(self._entry.unpack_from(self._data, at)[1])
        return None if key >= self._string_limit else self._string(key, self._base)

    def lookup(self, name: str) -> str | None:
        """The path that the cache gives for a library name, None when it has none."""
        wanted = os.fsencode(name)
        if len(wanted) >= MAX_STRING:
            return None
        left, right = 0, self._nlibs - 1
        while left <= right:
            middle = (left + right) // 2
            key = self._key(middle)
            if key is None:
                return None
            order = compare(wanted, key)
            if order == 0:
                return self._pick(wanted, middle, right)
            if order < 0:
                left = middle + 1
            else:
                right = middle - 1
        return None

    def _pick(self, wanted: bytes, middle: int, right: int) -> str | None:
        """The best of the neighbouring entries with that name."""
        while middle > 0:
            key = self._key(middle - 1)
            if key is None or compare(wanted, key) != 0:
                break
            middle -= 1
        best: bytes | None = None
        best_priority = 0
        while middle <= right:
            fields = self._entry.unpack_from(self._data, self._start + middle * self._entry_size)
            flags, key_offset, value = fields[:3]
            middle += 1
            key = None if key_offset >= self._string_limit else self._string(key_offset, self._base)
            if key is None or compare(wanted, key) != 0:
                break
            accepted = flags == self._flags or (flags == 1 and not self._strict)
            if not accepted or value >= self._string_limit:
                continue
            if len(fields) == 5:
                hwcap = fields[4]
                if hwcap >> 32 & ~_ISA_LEVEL_MASK == _HWCAP_EXTENSION:
                    priority = self._hwcaps.get(hwcap & 0xFFFFFFFF, 0)
                    if priority and (best is None or priority < best_priority):
                        best, best_priority = self._string(value, self._base), priority
                    continue
                if best is not None:
                    break
                # Entries of the mechanism that glibc 2.37 removed; ldconfig puts the best first.
                if hwcap and (self._legacy is None or hwcap & ~(self._legacy | _TLS)):
                    continue
                if self._kernel is not None and fields[3] > self._kernel:
                    continue
            best = self._string(value, self._base)
            if flags == self._flags:
                break
        return None if best is None else os.fsdecode(best)


def compare(first: bytes, second: bytes) -> int:
    """`_dl_cache_libcmp`: like strcmp, but runs of digits compare as numbers."""
    i = j = 0
    a, b = first + b"\0", second + b"\0"
    while a[i]:
        if 48 <= a[i] <= 57:
            if not 48 <= b[j] <= 57:
                return 1
            value = other = 0
            # An `int` in C: numbers of more digits wrap around.
            while 48 <= a[i] <= 57:
                value = value * 10 + a[i] - 48 & 0xFFFFFFFF
                i += 1
            while 48 <= b[j] <= 57:
                other = other * 10 + b[j] - 48 & 0xFFFFFFFF
                j += 1
            if value != other:
                return (value - other + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        elif 48 <= b[j] <= 57:
            return -1
        elif a[i] != b[j]:
            return a[i] - b[j]
        else:
            i += 1
            j += 1
    return a[i] - b[j]
