"""The scope of the running process: glibc's own list of what is mapped (`link_map`).

Whether an object was loaded with RTLD_GLOBAL is told by the first words of ld.so's own
`_rtld_global`. Where these are not as expected, or a mapped file is not what it was, the process
itself is asked for symbols that are found nowhere else, with `dlsym(RTLD_DEFAULT, name)`.
"""

from __future__ import annotations

import os

from ..models.errors import EnvironmentUnreadable, InputError
from .link_map import DELETED, RunningProcess, read_global_scope, read_link_map
from .namespace import LoadedObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .library import Library
    from .link_map import Link
    from .scope import LiveScope

EXECUTABLE = "/proc/self/exe"


def from_process() -> LiveScope:
    """The scope of this very process. Raises `EnvironmentUnreadable` where it cannot be had."""
    from .cache import PATH as CACHE
    from .header import Host
    from .library import Library, LibraryPool
    from .rtld import interpreter_of
    from .scope import LiveScope, searcher_for

    real, program = _program()
    interpreter = interpreter_of(program.elf)
    host = Host.of(program.elf, interpreter.traits, _started_with("GLIBC_TUNABLES"))
    pool = LibraryPool(host)
    pool.add(program)
    searcher = searcher_for(pool, interpreter, _started_with("LD_LIBRARY_PATH"), CACHE)
    main = LoadedObject(real, program, origin=os.path.dirname(real))
    scope = LiveScope(host=host, interpreter=interpreter, pool=pool, searcher=searcher, main=main)

    def opener(path: str) -> Library | None:
        answer = pool.open(path)
        return answer if isinstance(answer, Library) else None

    scope.namespace.add(main)
    chain = read_link_map()
    process = RunningProcess(chain, main)
    objects = {chain[0].address: main}
    for link in process.links:
        # A relative path is meant as seen from the folder in which it was opened.
        file = link.path if link.path.startswith("/") else process.file_of(link.path)
        loaded = LoadedObject(link.path, opener=opener, soname=link.soname, file=file)
        if link.path == interpreter.path:
            scope.add_loader(loaded)
        else:
            scope.namespace.add(loaded)
        objects[link.address] = loaded
    scope.startup = _startup(scope)
    known = _global_scope(chain, objects, interpreter.path)
    process.global_scope = known
    scope.make_global(scope.startup if known is None else known)
    scope.find_framework()
    scope.process = process
    scope.note_loader()
    host.executable_stack = process.executable_stack
    return scope


def _program() -> tuple[str, Library]:
    """The executable: its path when the process began (what `$ORIGIN` goes by), and the very file
    that is mapped, also where another one has taken its place since."""
    from ..binary.elf import ElfFile
    from .library import Library

    try:
        path = os.readlink(EXECUTABLE)
        elf = ElfFile.open(EXECUTABLE)
    except OSError as error:
        raise EnvironmentUnreadable(f"`{EXECUTABLE}` cannot be read: {error.strerror}") from None
    except InputError as error:
        raise EnvironmentUnreadable(error.message, hint=error.hint) from None
    try:
        if path.endswith(DELETED) and not _is(path, elf.status):
            path = path[: -len(DELETED)]
        return path, Library(elf, path)
    except BaseException as error:
        elf.close()
        if isinstance(error, InputError):
            raise EnvironmentUnreadable(error.message, hint=error.hint) from None
        raise


def _is(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except OSError:
        return False


def _global_scope(
    chain: Sequence[Link], objects: dict[int, LoadedObject], interpreter: str
) -> list[LoadedObject] | None:
    """What every library sees, in lookup order; None where ld.so is none that is understood."""
    from .lookup import LookupScope

    for link in chain:
        library = objects[link.address].library if link.path == interpreter else None
        found = LookupScope([library]).find(b"_rtld_global") if library is not None else None
        if found is not None:
            known = read_global_scope(chain, link.base + found[1].value)
            return None if known is None else [objects[one.address] for one in known]
    return None


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
