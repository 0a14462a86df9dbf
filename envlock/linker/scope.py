"""The live scope: which objects a process has mapped, and which of them are global.

`envlock.linker.simulate` works it out from files, `envlock.linker.process` takes it from the
running process.
"""

from __future__ import annotations

import os

from .namespace import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .header import Host
    from .library import Library, LibraryPool
    from .link_map import RunningProcess
    from .lookup import LookupScope
    from .namespace import LoadedObject
    from .rtld import Interpreter
    from .search import Searcher
    from .tls import StaticTls


#: The framework's libraries, whose exports plugins are written against.
FRAMEWORK = ("libtensorflow_framework.so", "libtensorflow_cc.so", "_pywrap_tensorflow_internal.so")


#: Different closures whose lookups are remembered at once.
MOST_LOOKUPS = 64


def searcher_for(
    pool: LibraryPool, interpreter: Interpreter, library_path: str, cache_path: str | None
) -> Searcher:
    """What finds libraries as this interpreter does."""
    from .search import Searcher

    if interpreter.traits.musl:
        from .musl import MuslSearcher

        return MuslSearcher(pool, interpreter, library_path, None)
    return Searcher(pool, interpreter, library_path, cache_path)


class LiveScope:
    """A process as dlopen finds it.

    `namespace` holds what is mapped, `global_scope` the objects whose symbols every library sees,
    in lookup order. `process` is given for the running process: it answers what cannot be known from
    files, such as whether the global scope defines a (name, version). `startup` holds the
    objects mapped at process start (their TLS is static), `unchecked` what could not be found out.
    """

    def __init__(
        self,
        *,
        host: Host,
        interpreter: Interpreter,
        pool: LibraryPool,
        searcher: Searcher,
        main: LoadedObject,
    ) -> None:
        self.host = host
        self.interpreter = interpreter
        self.pool = pool
        self.searcher = searcher
        self.main = main
        self.namespace = Namespace()
        self.global_scope: list[LoadedObject] = []
        self.startup: list[LoadedObject] = []
        self.framework: list[LoadedObject] = []
        self.process: RunningProcess | None = None
        self.unchecked: list[str] = []
        self._lookups: dict[tuple[Library, ...], LookupScope] = {}
        #: Function name to what the framework exports under it; filled by explanations.
        self.similar_names: dict[str, list[str]] = {}
        self._framework_lookup: LookupScope | None = None
        self._static_tls: StaticTls | None = None
        self._global_libraries: tuple[Library, ...] | None = None

    @property
    def machine(self) -> str:
        """The process's architecture in words."""
        from ..binary.elf.image import MACHINES

        number = self.host.machine_number
        return MACHINES.get(number, f"EM_{number}")

    @property
    def global_libraries(self) -> tuple[Library, ...]:
        """The global scope's libraries, opened."""
        if self._global_libraries is None:
            self._global_libraries = tuple(
                library
                for library in (loaded.library for loaded in self.global_scope)
                if library is not None
            )
        return self._global_libraries

    def find_framework(self) -> None:
        """Note which of the loaded objects are TensorFlow's own, whose exports plugins use."""
        found = [
            item
            for item in self.namespace.objects
            if os.path.basename(item.path).startswith(FRAMEWORK)
        ]
        # libtensorflow_framework first: most of what plugins use is there.
        self.framework = sorted(found, key=lambda item: "libtensorflow_framework" not in item.path)

    def add_loader(self, loaded: LoadedObject) -> None:
        """Add the dynamic linker itself, which is the C library too where it is musl's."""
        names: tuple[str, ...] = ()
        if self.interpreter.traits.musl:
            from .musl import OWN_NAMES

            names = OWN_NAMES
        self.namespace.add(loaded, *names)

    def note_loader(self) -> None:
        """Say under `unchecked` where it is not known which loader this is."""
        traits, path = self.interpreter.traits, self.interpreter.path
        if traits.musl:
            self.unchecked.append(
                f"`{path}` is musl's dynamic linker: of its own rules only how it finds libraries "
                "and symbols is known here"
            )
        elif traits.release == (0, 0):
            self.unchecked.append(
                f"`{path or self.main.path}` is not a readable glibc interpreter: it is assumed to "
                "do what glibc does"
            )

    def make_global(self, loaded: Iterable[LoadedObject]) -> None:
        """`add_to_global`: append what is not global yet."""
        for item in loaded:
            if item not in self.global_scope:
                self.global_scope.append(item)
        self._global_libraries = None
        self._lookups.clear()

    def shared_lookup(self, closure: tuple[Library, ...]) -> LookupScope:
        """The global scope, then these libraries; plugins with the same closure share it."""
        from .lookup import LookupScope

        known = self._lookups.get(closure)
        if known is None:
            if len(self._lookups) >= MOST_LOOKUPS:
                self._lookups.clear()
            libraries = [*self.global_libraries, *closure]
            known = self._lookups[closure] = LookupScope(libraries, self.main.library)
        return known

    @property
    def framework_libraries(self) -> tuple[Library, ...]:
        """The libraries of `framework`, opened."""
        libraries = (loaded.library for loaded in self.framework)
        return tuple(library for library in libraries if library is not None)

    @property
    def framework_lookup(self) -> LookupScope:
        """What the framework's libraries export, whatever their scope is."""
        if self._framework_lookup is None:
            from .lookup import LookupScope

            self._framework_lookup = LookupScope(self.framework_libraries)
        return self._framework_lookup

    @property
    def static_tls(self) -> StaticTls:
        """What is left for initial-exec TLS of libraries that are dlopened (an estimate)."""
        if self._static_tls is None:
            from .tls import StaticTls

            self._static_tls = StaticTls(self.startup, self.namespace.objects, self.host)
        return self._static_tls

    def close(self) -> None:
        """Unmap every library that was opened."""
        self.pool.close()
