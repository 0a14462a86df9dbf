"""Version numbers, as far as the gate compares them; `packaging` is too slow to import for it."""

from __future__ import annotations

from functools import lru_cache


def minor(version: str) -> str:
    """ "2.15.1" -> "2.15"; nightlies and odd versions keep their first two parts."""
    return ".".join(version.split(".")[:2])


@lru_cache(1024)  # the same few, compared again for every release and plugin
def order(version: str | None) -> tuple[int, ...]:
    """The numeric parts of a version such as "2.36" or "3.4.30", for comparing."""
    parts = []
    for part in (version or "").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        parts.append(int(digits[:9]))
    return tuple(parts)


_GLIBC = frozenset(
    ("libc.so.6", "libm.so.6", "libmvec.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1")
    + ("libresolv.so.2", "libutil.so.1", "libanl.so.1", "libnsl.so.1")
)


def of_glibc(soname: str) -> bool:
    """Whether a library is one of glibc's: they come together and have its version."""
    return soname in _GLIBC or soname.startswith("ld-linux")
