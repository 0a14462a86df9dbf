"""Which C library a program interpreter belongs to: glibc and its release, or musl."""

from __future__ import annotations

import os

#: ld.so has its banner since 2.33; libc.so.6 has had one all along.
_BANNER = b" release version "
#: The file behind /lib64/ld-linux-x86-64.so.2 until 2.33.
_FILE_NAME = r"ld-(\d{1,3})\.(\d{1,3})(?:\.\d+)?\.so$"
#: ld.so has some 200 KB, libc.so.6 some 2 MB.
MAX_LIBRARY = 64 << 20
UNKNOWN = (0, 0)


def is_musl(path: str) -> bool:
    """Whether a program interpreter is musl's, by its name: /lib/ld-musl-x86_64.so.1."""
    return os.path.basename(path).startswith("ld-musl")


def release_of(path: str, data: bytes) -> tuple[int, int]:
    """The release of glibc that an ld.so is of: (2, 31), or (0, 0) where nothing says it.

    `data` is what is in its file. Its banner counts, else its file's name behind links, else the
    banner of the libc.so.6 beside it.
    """
    found = _banner(data)
    if found is not None:
        return found
    path = os.path.realpath(path)
    import re

    named = re.search(_FILE_NAME, path)
    if named is not None:
        return int(named[1]), int(named[2])
    beside = read(os.path.join(os.path.dirname(path), "libc.so.6"))
    return _banner(beside) or UNKNOWN


def read(path: str) -> bytes:
    """A library's bytes; none where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(MAX_LIBRARY) or b""
    except (OSError, ValueError):
        return b""


def _banner(data: bytes) -> tuple[int, int] | None:
    at = data.find(_BANNER)
    if at < 0:
        return None
    start = at + len(_BANNER)
    parts = data[start : start + 12].replace(b"\n", b".").split(b".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])
