"""What this very process has mapped: glibc's own list, and what `dlsym` finds in it.

The public part of `struct link_map` (link.h) gives path, order and dynamic section of every
object.
"""

from __future__ import annotations

import functools
import os

from ..binary.elf.dynamic import DT_SONAME, DT_STRSZ, DT_STRTAB

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    import struct
    from collections.abc import Callable, Sequence

    from .namespace import LoadedObject

#: What the kernel writes behind the path of a file that has no name any more.
DELETED = " (deleted)"
#: More objects than this is a loop in damaged memory.
MAX_OBJECTS = 1 << 16
#: The smallest page of any machine, in bytes, and how many of them a dynamic section may take.
PAGE = 4096
MAX_DYNAMIC = 32


class Link:
    """One `struct link_map`: path, DT_SONAME, and where in memory its dynamic section and dynamic
    strings are (addresses and bytes; 0 where unknown)."""

    __slots__ = ("dynamic", "path", "soname", "strings", "strings_size")

    def __init__(
        self, path: str, dynamic: int, soname: str | None, strings: int, strings_size: int
    ) -> None:
        self.path = path
        self.dynamic = dynamic
        self.soname = soname
        self.strings = strings
        self.strings_size = strings_size


class RunningProcess:
    """What only the process itself can tell. `links` are the mapped objects behind the executable."""

    def __init__(self, chain: Sequence[Link], main: LoadedObject) -> None:
        self.links = [link for link in chain if link.path]
        self._by_path = {link.path or main.path: link for link in reversed(chain)}

    def mentions(self, path: str, wanted: bytes) -> bool:
        """Whether the dynamic strings of the object at a path hold a text, or are unknown."""
        link = self._by_path.get(path)
        if link is None or not link.strings_size:
            return True
        found = self._search(link.strings, link.strings_size, wanted, len(wanted))
        return found is not None

    @functools.cached_property
    def _search(self) -> ctypes._NamedFuncPointer:
        import ctypes

        search: ctypes._NamedFuncPointer = ctypes.CDLL(None).memmem
        search.restype = ctypes.c_void_p
        search.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        return search

    def defines(self, name: bytes, version: bytes | None) -> bool:
        """Whether the global scope defines (name, version)."""
        plain, versioned = self._dlsym
        if version is None:
            return plain(None, name) is not None
        return versioned(None, name, version) is not None

    @functools.cached_property
    def _dlsym(self) -> tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer]:
        import ctypes

        process = ctypes.CDLL(None)
        plain: ctypes._NamedFuncPointer = process.dlsym
        plain.restype = ctypes.c_void_p
        plain.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        versioned: ctypes._NamedFuncPointer = process.dlvsym
        versioned.restype = ctypes.c_void_p
        versioned.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
        return plain, versioned

    def file_of(self, path: str) -> str | None:
        """Where the file is that was mapped under a path; None where it was deleted or replaced."""
        link = self._by_path.get(path)
        if link is None:
            return path
        for start, end, name in self._mappings:
            if start <= link.dynamic < end:
                return None if name.endswith(DELETED) else name
        return path

    @functools.cached_property
    def _mappings(self) -> list[tuple[int, int, str]]:
        """(start, end, path) of the mapped files: proc_pid_maps(5)."""
        try:
            with open("/proc/self/maps", "rb", buffering=0) as file:
                data = file.readall() or b""
        except OSError:
            return []
        found = []
        for line in data.splitlines():
            fields = line.split(None, 5)
            if len(fields) == 6 and fields[5].startswith(b"/"):
                start, _, end = fields[0].partition(b"-")
                name = os.fsdecode(fields[5].replace(b"\\012", b"\n"))
                found.append((int(start, 16), int(end, 16), name))
        return found


def read_link_map() -> list[Link]:
    """Every mapped object in load order, the executable first, with an empty path."""
    import ctypes
    import struct

    pair = struct.Struct("@2N")  # an `Elf_Dyn`
    chain = struct.Struct("@4N")  # l_addr, l_name, l_ld, l_next
    text = ctypes.string_at
    found = []
    address = ctypes.CDLL(None)._handle  # the executable's `struct link_map`
    for _ in range(MAX_OBJECTS):
        if not address:
            break
        base, name, dynamic, address = chain.unpack(text(address, chain.size))
        path = os.fsdecode(text(name)) if name else ""
        # The kernel's vdso (linux-vdso.so.1, linux-gate.so.1) has no file.
        if not path.startswith("linux-"):
            found.append(Link(path, dynamic, *_strings(text, pair, base, dynamic)))
    return found


def _strings(
    text: Callable[..., bytes], pair: struct.Struct, base: int, dynamic: int
) -> tuple[str | None, int, int]:
    """DT_SONAME, DT_STRTAB and DT_STRSZ of a mapped dynamic section, which is read up to the ends
    of pages: they are mapped."""
    strings = offset = None
    length = 0
    for _ in range(MAX_DYNAMIC):
        size = (PAGE - dynamic % PAGE) // pair.size * pair.size or pair.size
        for tag, value in pair.iter_unpack(text(dynamic, size)):
            if tag == DT_STRTAB:
                strings = value
            elif tag == DT_STRSZ:
                length = value
            elif tag == DT_SONAME:
                offset = value
            elif tag == 0:
                break
        else:
            dynamic += size
            continue
        break
    if strings is None:
        return None, 0, 0
    # Most machines relocate the entry in place; where the section is read-only it stays relative.
    if strings < base:
        strings += base
    soname = None if offset is None else os.fsdecode(text(strings + offset))
    return soname, strings, length
