"""The scope of the running process: glibc's own list of what is mapped.

The public part of `struct link_map` (link.h) gives path, order and dynamic section of every
object. Whether an object was loaded with RTLD_GLOBAL is not public; where a symbol is not found in
what was mapped at process start nor in the plugin's own closure, the process itself is asked with
`dlsym(RTLD_DEFAULT, name)`, which searches exactly the global scope.
"""

from __future__ import annotations

import os

from ..elf.dynamic import DT_SONAME, DT_STRSZ, DT_STRTAB
from ..errors import EnvironmentUnreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import struct
    from collections.abc import Callable

    from .library import Library
    from .scope import LiveScope, LoadedObject

#: More objects than this is a loop in damaged memory.
MAX_OBJECTS = 1 << 16
#: The smallest page of any machine, in bytes, and how many of them a dynamic section may take.
PAGE = 4096
MAX_DYNAMIC = 32


def from_process() -> LiveScope:
    """The scope of this very process. Raises `EnvironmentUnreadable` where it cannot be had."""
    from .header import Host
    from .library import Library, LibraryPool, open_plugin
    from .rtld import interpreter_of
    from .scope import LiveScope, LoadedObject
    from .search import Searcher

    try:
        real = os.readlink("/proc/self/exe")
        program = open_plugin(real)
    except OSError as error:
        raise EnvironmentUnreadable(f"`/proc/self/exe` cannot be read: {error.strerror}") from None
    interpreter = interpreter_of(program.elf)
    pool = LibraryPool(Host.of(program.elf, interpreter.glibc))
    pool.add(program)
    searcher = Searcher(pool, interpreter, _started_with("LD_LIBRARY_PATH"))
    main = LoadedObject(real, program, origin=os.path.dirname(real))
    scope = LiveScope(
        host=pool.host, interpreter=interpreter, pool=pool, searcher=searcher, main=main
    )

    def opener(path: str) -> Library | None:
        answer = pool.open(path)
        return answer if isinstance(answer, Library) else None

    scope.namespace.add(main)
    strings: dict[str, tuple[int, int]] = {}
    for path, soname, table in _link_map():
        if path:
            scope.namespace.add(LoadedObject(path, opener=opener, soname=soname))
        strings[path or main.path] = table
    scope.startup = _startup(scope)
    scope.make_global(scope.startup)
    scope.find_framework()
    scope.tunables = _started_with("GLIBC_TUNABLES")
    scope.asks_process = _asker()
    scope.mentions = _mentions(strings)
    return scope


def _started_with(variable: str) -> str:
    """A variable's value when the process began: later changes do not reach the linker."""
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            data = file.readall() or b""
    except OSError:
        return os.environ.get(variable, "")
    prefix = variable.encode() + b"="
    for entry in data.split(b"\0"):
        if entry.startswith(prefix):
            return os.fsdecode(entry[len(prefix) :])
    return ""


def _link_map() -> list[tuple[str, str | None, tuple[int, int]]]:
    """(path, DT_SONAME, dynamic strings in memory) of every mapped object, in load order.

    The strings are (address, size), sizes 0 where unknown; the executable's path is empty.
    """
    import ctypes
    import struct

    pair = struct.Struct("@2N")  # an `Elf_Dyn`
    chain = struct.Struct("@4N")  # l_addr, l_name, l_ld, l_next
    text = ctypes.string_at
    found: list[tuple[str, str | None, tuple[int, int]]] = []
    link = ctypes.CDLL(None)._handle  # the executable's `struct link_map`
    for _ in range(MAX_OBJECTS):
        if not link:
            break
        base, name, dynamic, link = chain.unpack(text(link, chain.size))
        path = os.fsdecode(text(name)) if name else ""
        # The kernel's vdso (linux-vdso.so.1, linux-gate.so.1) has no file.
        if not path.startswith("linux-"):
            found.append((path, *_strings(text, pair, base, dynamic)))
    return found


def _strings(
    text: Callable[..., bytes], pair: struct.Struct, base: int, dynamic: int
) -> tuple[str | None, tuple[int, int]]:
    """DT_SONAME and the string table of a mapped dynamic section, which is read up to the ends of
    pages: they are mapped."""
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
        return None, (0, 0)
    # Most machines relocate the entry in place; where the section is read-only it stays relative.
    if strings < base:
        strings += base
    soname = None if offset is None else os.fsdecode(text(strings + offset))
    return soname, (strings, length)


def _mentions(tables: dict[str, tuple[int, int]]) -> Callable[[LoadedObject, bytes], bool]:
    """A function that says whether an object's dynamic strings, at these places, hold a text."""
    import ctypes

    search: ctypes._NamedFuncPointer = ctypes.CDLL(None).memmem
    search.restype = ctypes.c_void_p
    search.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]

    def mentions(loaded: LoadedObject, wanted: bytes) -> bool:
        address, size = tables.get(loaded.path, (0, 0))
        return not size or search(address, size, wanted, len(wanted)) is not None

    return mentions


def _startup(scope: LiveScope) -> list[LoadedObject]:
    """The executable's closure among what is mapped, LD_PRELOAD first, in breadth-first order."""
    found = [scope.main]
    preload = _started_with("LD_PRELOAD").replace(":", " ").split()
    for name in preload:
        loaded = scope.namespace.find(name)
        if loaded is not None and loaded not in found:
            found.append(loaded)
    for item in found:
        library = item.library
        for name in library.needed if library is not None else ():
            loaded = scope.namespace.find(scope.searcher.substitute(name, item))
            if loaded is not None and loaded not in found:
                found.append(loaded)
    return found


def _asker() -> Callable[[bytes, bytes | None], bool]:
    """A function that says whether the global scope defines (name, version)."""
    import ctypes

    process = ctypes.CDLL(None)
    plain: ctypes._NamedFuncPointer = process.dlsym
    plain.restype = ctypes.c_void_p
    plain.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    versioned: ctypes._NamedFuncPointer = process.dlvsym
    versioned.restype = ctypes.c_void_p
    versioned.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]

    def asks(name: bytes, version: bytes | None) -> bool:
        if version is None:
            return plain(None, name) is not None
        return versioned(None, name, version) is not None

    return asks
