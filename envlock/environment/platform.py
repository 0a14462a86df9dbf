"""The machine and the C and C++ run time that an environment's Python runs on."""

from __future__ import annotations

import functools
import os

from ..binary.elf import ElfFile
from ..binary.libc import UNKNOWN, is_musl, read, release_of
from ..files import reading as files
from ..models.errors import InputError
from ..models.manifest import PlatformFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..files.roots import Root

PT_INTERP = 3

_MUSL_VERSION = rb"\0(1\.[12]\.\d{1,3}(?:-git-[-\w]+)?)\0"


def read_platform(executable: str, root: Root | None = None) -> PlatformFacts:
    """Machine and C library of a Python executable; libstdc++ is the linker's to find.

    The C library is the one whose dynamic linker the executable names (PT_INTERP). "glibc" comes
    with its release, as gnu_get_libc_version() returns it. `root` is another root file system that
    the executable lies in.
    """
    try:
        with ElfFile.open(executable) as elf:
            machine = elf.machine
            loader = _interpreter(elf)
    except InputError:
        machine, loader = os.uname().machine, None
    libc, version = _libc(loader, root)
    return PlatformFacts(machine=machine, libc=libc, libc_version=version)


@functools.lru_cache(maxsize=64)
def highest(names: frozenset[bytes], prefix: bytes) -> str | None:
    """The highest dotted number behind a version name's prefix: of GLIBC_2.2.5 and GLIBC_2.36."""
    best: tuple[int, ...] = ()
    for name in names:
        if name.startswith(prefix):
            parts = name[len(prefix) :].split(b".")
            if all(part.isdigit() and len(part) < 10 for part in parts):
                best = max(best, tuple(int(part) for part in parts))
    return ".".join(str(number) for number in best) or None


def _interpreter(elf: ElfFile) -> str | None:
    for segment in elf.segments:
        if segment.type == PT_INTERP:
            end = segment.offset + segment.filesz
            name = elf.string(segment.offset, end, "the program interpreter's name")
            return os.fsdecode(name)
    return None


def _libc(loader: str | None, root: Root | None) -> tuple[str | None, str | None]:
    """Kind and version of the C library that belongs to a dynamic linker."""
    if loader is None:
        return None, None
    real = os.path.realpath(loader) if root is None else root.real(root.outside(loader))
    if not os.path.exists(real):
        return None, None
    if is_musl(loader):
        return "musl", _musl_version(real)
    own = _own_glibc()
    if own is not None and real == _own_loader():
        return "glibc", own
    release = release_of(real, read(real))
    return "glibc", None if release == UNKNOWN else f"{release[0]}.{release[1]}"


def _own_glibc() -> str | None:
    """The version of the C library that this process runs on; None where it is not glibc."""
    try:
        kind, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (OSError, ValueError):
        return None
    return version if kind == "glibc" and version else None


def _own_loader() -> str | None:
    try:
        with ElfFile.open("/proc/self/exe") as elf:
            loader = _interpreter(elf)
    except InputError:
        return None
    return None if loader is None else os.path.realpath(loader)


def _musl_version(loader: str) -> str | None:
    # musl's dynamic linker is its C library, and prints its version when run without arguments.
    try:
        raw = files.read(loader, 1 << 24)
    except files.Unreadable:
        return None
    import re

    match = re.search(_MUSL_VERSION, raw)
    return match[1].decode() if match else None
