"""What this very process has mapped: glibc's own list, and the global scope.

The public part of `struct link_map` (link.h) gives path, order and dynamic section of every object.
It is read through /proc/self/mem, so that nothing new is mapped by looking: `ctypes` would map itself
and libffi. Where the kernel refuses (a process that cannot be traced), `ctypes` reads after all.
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct

from ..binary.elf.dynamic import DT_NULL, DT_SONAME, DT_STRSZ, DT_STRTAB
from ..models.errors import EnvironmentUnreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .namespace import LoadedObject

    #: Up to so many bytes of this process's memory at an address; fewer at the end of a mapping.
    Memory = Callable[[int, int], bytes]

#: What the kernel writes behind the path of a file that has no name any more.
DELETED = " (deleted)"
#: More objects than this is a loop in damaged memory.
TRIES = 3
MAX_OBJECTS = 1 << 16
#: The smallest page of any machine, in bytes, and how many of them a dynamic section may take.
PAGE = 4096
MAX_DYNAMIC = 32
#: Bytes of it that are read at a time: most are not longer.
SOME = 40 * 2 * struct.calcsize("@N")
#: Bytes of dynamic strings that are searched in one go.
PIECE = 1 << 20
#: elf.h
AT_PHDR, AT_PHNUM, PT_DYNAMIC, PT_PHDR, DT_DEBUG = 3, 5, 2, 6, 21
_WORD = struct.calcsize("@N")
_PAIR = struct.Struct("@2N")  # an `Elf_Dyn`, an entry of the auxiliary vector
_CHAIN = struct.Struct("@4N")  # l_addr, l_name, l_ld, l_next


class Link:
    """One `struct link_map`: where it is, l_addr, path, DT_SONAME, and where in memory its dynamic section
    and dynamic strings are (addresses and bytes; 0 where unknown)."""

    __slots__ = ("address", "base", "dynamic", "path", "soname", "strings", "strings_size")

    def __init__(
        self,
        address: int,
        base: int,
        path: str,
        dynamic: int,
        soname: str | None,
        strings: int,
        strings_size: int,
    ) -> None:
        self.address = address
        self.base = base
        self.path = path
        self.dynamic = dynamic
        self.soname = soname
        self.strings = strings
        self.strings_size = strings_size


class RunningProcess:
    """What only the process itself can tell. `links` are the mapped objects behind the executable,
    `global_scope` those whose symbols every library sees, None where that is not known."""

    def __init__(self, chain: Sequence[Link], main: LoadedObject) -> None:
        self.links = [link for link in chain if link.path]
        self.global_scope: list[LoadedObject] | None = None
        self._by_path = {link.path or main.path: link for link in reversed(chain)}

    def mentioning(self, paths: Iterable[str], wanted: Sequence[bytes]) -> Iterator[str]:
        """Those of the objects at these paths whose dynamic strings hold one of some texts, or are
        unknown."""
        overlap = max(map(len, wanted)) - 1
        with _Reader() as memory:
            for path in paths:
                link = self._by_path.get(path)
                if link is None or not link.strings_size:
                    yield path
                    continue
                end = link.strings + link.strings_size
                for start in range(link.strings, end, PIECE):
                    size = min(PIECE + overlap, end - start)
                    piece = memory(start, size)
                    if len(piece) < size or any(text in piece for text in wanted):
                        yield path
                        break

    def defines(self, name: bytes, version: bytes | None) -> bool:
        """Whether the global scope defines (name, version) where its files do not say so."""
        if self._told_by_files:
            return False
        plain, versioned = self._dlsym
        if version is None or versioned is None:
            return plain(None, name) is not None
        return versioned(None, name, version) is not None

    @functools.cached_property
    def _told_by_files(self) -> bool:
        """Whether the global scope is known, and its files are those that are mapped."""
        return (
            self.global_scope is not None
            and not any(name.endswith(DELETED) for _, _, name in self._mappings)
            and all(loaded.library is not None for loaded in self.global_scope)
        )

    @functools.cached_property
    def _dlsym(self) -> tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer | None]:
        import ctypes

        process = ctypes.CDLL(None)
        plain: ctypes._NamedFuncPointer = process.dlsym
        plain.restype = ctypes.c_void_p
        plain.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        try:
            versioned: ctypes._NamedFuncPointer | None = process.dlvsym
        except AttributeError:  # musl knows no versions
            return plain, None
        assert versioned is not None
        versioned.restype = ctypes.c_void_p
        versioned.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
        return plain, versioned

    @property
    def executable_stack(self) -> bool:
        """Whether the main thread's stack is executable, as the kernel says (proc_pid_maps(5))."""
        try:
            with open("/proc/self/maps", "rb", buffering=0) as file:
                data = file.readall() or b""
        except OSError:
            return False
        line = next((one for one in data.splitlines() if one.endswith(b"[stack]")), b"")
        return b"x" in line.split(None, 2)[1] if line else False

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


class _Reader:
    """This process's memory, as long as the `with` block lasts."""

    def __enter__(self) -> Memory:
        try:
            self._file = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
            if self._read(id(None), 1):  # it opens and does not read where a sandbox says so
                return self._read
            os.close(self._file)
        except OSError:
            pass
        import ctypes

        self._file = -1
        return ctypes.string_at

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)

    def _read(self, address: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, address)
        except (OSError, OverflowError):
            return b""


def read_link_map() -> list[Link]:
    """Every mapped object in load order, the executable first, with an empty path.

    Raises `EnvironmentUnreadable` where the list cannot be read, or changes whenever it is.
    """
    for _ in range(TRIES):
        with contextlib.suppress(struct.error):  # another thread unloaded what was being read
            return _read_chain()
    raise EnvironmentUnreadable("the list of what this process has loaded cannot be read")


def _read_chain() -> list[Link]:
    found: list[Link] = []
    with _Reader() as memory:
        address = _first_link(memory)
        for _ in range(MAX_OBJECTS):
            if not address:
                break
            here = address
            base, name, dynamic, address = _CHAIN.unpack(memory(here, _CHAIN.size))
            path = os.fsdecode(_string(memory, name)) if name else ""
            # The kernel's vdso (linux-vdso.so.1, linux-gate.so.1) has no file.
            if not path.startswith("linux-"):
                path = path if found else ""  # musl's first one has the program's name
                found.append(Link(here, base, path, dynamic, *_strings(memory, base, dynamic)))
    return found


def read_global_scope(links: Sequence[Link], rtld_global: int) -> list[Link] | None:
    """The main program's search list, with what was opened with RTLD_GLOBAL, in lookup order.

    `rtld_global` is the address of `struct rtld_global`, which begins with the first namespace: its
    objects, their number, its `struct r_scope_elem` (ldsodefs.h: "must remain the first element.
    Forever."). None where what is read there is not that.
    """
    known = {link.address: link for link in links}
    with _Reader() as memory:
        try:
            first, _, scope = struct.unpack("@NI0NN", memory(rtld_global, 3 * _WORD))
            table, count = struct.unpack("@NI", memory(scope, _WORD + 4))
            if first != links[0].address or not 0 < count <= MAX_OBJECTS:
                return None
            addresses = struct.unpack(f"@{count}N", memory(table, count * _WORD))
        except struct.error:
            return None
    found = [known.get(address) for address in addresses]
    whole = [link for link in found if link is not None]
    return whole if len(whole) == count and whole[0] is links[0] else None


def _first_link(memory: Memory) -> int:
    """The address of the executable's `struct link_map`: DT_DEBUG leads to `_r_debug` (link.h)."""
    try:
        with open("/proc/self/auxv", "rb", buffering=0) as file:
            vector = file.readall() or b""
        auxiliary = dict(_PAIR.iter_unpack(vector))
        table = auxiliary[AT_PHDR]
        # p_type, p_flags, p_offset, p_vaddr, ...; the flags stand behind in a 32-bit file.
        header = struct.Struct("@IIQQ32x" if _WORD == 8 else "@III20x")
        raw = memory(table, header.size * auxiliary[AT_PHNUM])
        places = {fields[0]: fields[-1] for fields in header.iter_unpack(raw)}
        at = table - places[PT_PHDR] + places[PT_DYNAMIC]
        tag = -1
        while tag != DT_DEBUG:
            tag, value = _PAIR.unpack(memory(at, _PAIR.size))
            if tag == 0:
                raise KeyError
            at += _PAIR.size
        first: int = _PAIR.unpack(memory(value, _PAIR.size))[1]  # r_version, r_map
    except (OSError, KeyError, struct.error):
        # ld.so was called with the program as an argument, or it hides what the kernel knows.
        import ctypes

        first = ctypes.CDLL(None)._handle
    return first


def _string(memory: Memory, address: int) -> bytes:
    """A string that ends with a NUL; what is read ends with a page, which is mapped."""
    found = b""
    for _ in range(PAGE):
        piece = memory(address, PAGE - address % PAGE)
        text, end, _ = piece.partition(b"\0")
        found += text
        if end or not piece:
            break
        address += len(piece)
    return found


def _strings(memory: Memory, base: int, dynamic: int) -> tuple[str | None, int, int]:
    """DT_SONAME, DT_STRTAB and DT_STRSZ of a mapped dynamic section, which is read up to the ends
    of pages: they are mapped."""
    entries: dict[int, int] = {}
    for _ in range(MAX_DYNAMIC * PAGE // SOME):
        size = min(PAGE - dynamic % PAGE, SOME) // _PAIR.size * _PAIR.size or _PAIR.size
        raw = memory(dynamic, size)
        words = memoryview(raw[: len(raw) // _PAIR.size * _PAIR.size]).cast("L").tolist()
        tags = words[::2]
        count = tags.index(DT_NULL) if DT_NULL in tags else len(tags)
        entries.update(zip(tags[:count], words[1 : 2 * count : 2]))
        if count < len(tags):
            break
        dynamic += size
    strings, offset = entries.get(DT_STRTAB), entries.get(DT_SONAME)
    length = entries.get(DT_STRSZ, 0)
    if strings is None:
        return None, 0, 0
    # Most machines relocate the entry in place; where the section is read-only it stays relative.
    if strings < base:
        strings += base
    soname = None if offset is None else os.fsdecode(_string(memory, strings + offset))
    return soname, strings, length
