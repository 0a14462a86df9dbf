"""What a process of another environment has loaded after `import tensorflow`, from its files.

The Python executable and its DT_NEEDED closure are mapped at start and global. `import tensorflow`
then loads, before any plugin can come, its processor check and `_pywrap_tensorflow_internal.so`
with their closures: without RTLD_GLOBAL up to 2.18 and in the full 2.19, with it from 2.20 and in
tensorflow-cpu 2.19. `python/pywrap_tensorflow.py` decides that by whether the module
`pywrap_dlopen_global_flags` exists, and so does this. Its other extension modules are local, have
no soname that anything needs, and need nothing more. Those of the standard library matter by what
they brought in (libz, libssl, libffi): they are looked at when a name is known to nothing else.
"""

from __future__ import annotations

import os

from .header import Host, asks_for_stack
from .library import Library, LibraryPool, open_plugin
from .mapping import Mapper
from .namespace import LoadedObject
from .rtld import interpreter_of
from .scope import LiveScope, searcher_for
from .search import Found, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from ..files.roots import Root

    class Paths(Protocol):
        """Where an environment keeps what."""

        @property
        def executable(self) -> str: ...
        @property
        def stdlib(self) -> str: ...
        @property
        def root(self) -> Root | None: ...

    class Install(Protocol):
        """The installed TensorFlow."""

        @property
        def package_dir(self) -> str: ...

    class EnvironmentLike(Protocol):
        """What `for_environment` needs of an `envlock.environment.live.Environment`."""

        @property
        def paths(self) -> Paths: ...
        @property
        def tensorflow(self) -> Install | None: ...


GLOBAL_FLAGS = "python/pywrap_dlopen_global_flags.py"
INTERNAL = "python/_pywrap_tensorflow_internal.so"
#: Imported first, by `tensorflow.python.platform.self_check`.
_GUARDS = ("python/platform/_pywrap_cpu_feature_guard.so", "core/platform/_cpu_feature_guard.so")
#: Extension modules of the standard library that `import tensorflow` uses and that need others.
_STDLIB = ("_ctypes", "zlib", "_bz2", "_lzma", "_hashlib", "_ssl", "_uuid", "_sqlite3")


def for_environment(
    environment: EnvironmentLike,
    environ: Mapping[str, str] | None = None,
    *,
    cache_path: str | None = "/etc/ld.so.cache",
) -> LiveScope:
    """The scope of that environment's Python after `import tensorflow`.

    `environ` gives LD_LIBRARY_PATH and LD_PRELOAD (default: this process's). Raises
    `FileAccessError` or `ElfError` when the Python executable cannot be read.
    """
    install = environment.tensorflow
    return build_scope(
        environment.paths.executable,
        install.package_dir if install is not None else None,
        stdlib=environment.paths.stdlib,
        environ=environ,
        cache_path=cache_path,
        root=environment.paths.root,
    )


def build_scope(
    executable: str,
    package_dir: str | None,
    *,
    stdlib: str | None = None,
    environ: Mapping[str, str] | None = None,
    cache_path: str | None = "/etc/ld.so.cache",
    root: Root | None = None,
) -> LiveScope:
    """`for_environment` with plain paths; `package_dir` is the folder of the `tensorflow` package."""
    # What is set here does not reach a process of another root.
    here = os.environ if root is None else {}
    env = here if environ is None else environ
    scope = start_process(executable, env, cache_path=cache_path, root=root)
    if package_dir is not None:
        import_tensorflow(scope, package_dir)
    if stdlib is not None:
        expect_stdlib(scope, stdlib)
    return scope


def start_process(
    executable: str,
    environ: Mapping[str, str],
    *,
    cache_path: str | None = "/etc/ld.so.cache",
    root: Root | None = None,
) -> LiveScope:
    """The scope of an executable right after start: its closure, LD_PRELOAD, the interpreter.

    In another `root` file system, every path is given and found as it is from here.
    """
    real = os.path.realpath(executable) if root is None else root.real(executable)
    if root is not None and cache_path is not None:
        cache_path = root.real(root.outside(cache_path))
    program = open_plugin(real)
    interpreter = interpreter_of(program.elf, root)
    host = Host.of(program.elf, interpreter.traits, environ.get("GLIBC_TUNABLES", ""))
    host.executable_stack = True  # what is there at the start may still ask for one
    pool = LibraryPool(host, root)
    pool.add(program)
    main = LoadedObject(real, program, origin=os.path.dirname(real))
    searcher = searcher_for(pool, interpreter, environ.get("LD_LIBRARY_PATH", ""), cache_path)
    scope = LiveScope(host=host, interpreter=interpreter, pool=pool, searcher=searcher, main=main)
    scope.note_loader()
    scope.namespace.add(main)
    linker = pool.open(interpreter.path) if interpreter.path else None
    if isinstance(linker, Library):
        scope.add_loader(LoadedObject(interpreter.path, linker))
    mapper = Mapper(scope.namespace, searcher, main)
    preloads = []
    for name in environ.get("LD_PRELOAD", "").replace(":", " ").split():
        loaded = mapper.map_object(name, main)
        if not isinstance(loaded, NotFound):
            preloads.append(loaded)
    _commit(scope, mapper, main, preloads, make_global=True)
    scope.startup = list(scope.namespace.objects)
    host.executable_stack = any(
        item.library is not None
        and item.path != interpreter.path
        and asks_for_stack(item.library.elf)
        for item in scope.startup
    )
    return scope


def load(scope: LiveScope, path: str, *, make_global: bool = False) -> LoadedObject | None:
    """Add what an earlier, successful dlopen of a path left behind; None when it cannot be read.

    `make_global` is RTLD_GLOBAL.
    """
    library = scope.pool.open(path)
    if not isinstance(library, Library):
        return None
    mapper = Mapper(scope.namespace, scope.searcher, scope.main)
    root = mapper.map_found(Found(library, path, "path", None), path, None)
    _commit(scope, mapper, root, [], make_global=make_global)
    return root


def _commit(
    scope: LiveScope,
    mapper: Mapper,
    root: LoadedObject,
    preloads: list[LoadedObject],
    *,
    make_global: bool,
) -> None:
    """Finish one load of the past: what it mapped is now simply loaded."""
    mapped = mapper.map_dependencies(root, preloads)
    for item in mapped.search_list:
        item.new = False
    scope.unchecked.extend(
        f"`{missing.needed_by}` needs `{missing.name}`, which was not found"
        for missing in mapped.missing
    )
    if make_global:
        scope.make_global(mapped.search_list)


def import_tensorflow(scope: LiveScope, package_dir: str) -> None:
    """Add what `import tensorflow` maps, and note which of it is the framework."""
    global_flags = os.path.isfile(os.path.join(package_dir, GLOBAL_FLAGS))
    for name in (*_GUARDS, INTERNAL):
        path = os.path.join(package_dir, name)
        loaded = load(scope, path, make_global=global_flags and name == INTERNAL)
        if loaded is None and name == INTERNAL:
            scope.unchecked.append(f"`{path}`, which `import tensorflow` loads, is not there")
    scope.find_framework()


def expect_stdlib(scope: LiveScope, stdlib: str) -> None:
    """Add what extension modules of a standard library bring in, should a name be wanted."""
    scope.namespace.more = lambda: _load_more(scope, stdlib)


def _load_more(scope: LiveScope, stdlib: str) -> None:
    """The standard library's extension modules, for the names that they brought in."""
    folder = os.path.join(stdlib, "lib-dynload")
    paths = [
        os.path.join(folder, name)
        for name in _listing(folder)
        if name.split(".", 1)[0] in _STDLIB and name.endswith(".so")
    ]
    for path in paths:
        load(scope, path)


def _listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
