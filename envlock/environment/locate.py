"""Where an environment keeps what: interpreter, prefixes, and the folders on its `sys.path`.

Mirrors CPython's Modules/getpath.py (prefix and `pyvenv.cfg`) and Lib/site.py (site-packages,
user site, `.pth` files), and Debian's patch to the latter, from the files alone.
"""

from __future__ import annotations

import os
import stat
import sys

from ..files import reading as files
from ..models.errors import EnvironmentUnreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..files.roots import Root

_STEMS = ("python", "pypy")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PTH_LIMIT = 1 << 20


def _is_python(name: str) -> bool:
    """Whether an executable's name is a Python's: `python`, `python3.11`, `pypy3`, `python3.9d`."""
    stem = next((stem for stem in _STEMS if name.startswith(stem)), None)
    if stem is None:
        return False
    number = name[len(stem) :].rstrip(_LETTERS)
    return not number or all(part.isdecimal() for part in number.split("."))


def _version_named(name: str) -> tuple[int, int] | None:
    """(3, 13) of a library folder's name: `python3.13`, `python3.13t`, `pypy3.10`."""
    stem = next((stem for stem in _STEMS if name.startswith(stem)), None)
    if stem is None:
        return None
    number = name[len(stem) :]
    return _version(number[:-1] if number.endswith("t") else number)


def _version(number: str) -> tuple[int, int] | None:
    major, _, minor = number[:16].partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


class EnvironmentPaths:
    """One environment's places. All paths are absolute; only `real_executable` is resolved."""

    __slots__ = (
        "base_prefix",
        "executable",
        "kind",
        "prefix",
        "real_executable",
        "root",
        "running",
        "search_path",
        "stdlib",
        "version",
    )

    def __init__(
        self,
        *,
        prefix: str,
        base_prefix: str,
        executable: str,
        stdlib: str,
        version: tuple[int, int],
        search_path: tuple[str, ...],
        running: bool = False,
        root: Root | None = None,
    ) -> None:
        self.prefix = prefix
        self.base_prefix = base_prefix  # where the standard library is
        self.executable = executable  # as named, symbolic links kept
        self.root = root  # the root file system that it lies in, None for this process's own
        self.real_executable = _real(executable, root) if executable else ""
        self.stdlib = stdlib
        self.version = version  # (3, 11)
        self.search_path = search_path  # sys.path without the standard library's own entries
        self.running = running  # this very interpreter
        self.kind = _kind(prefix, base_prefix)  # "venv", "conda" or "system"


def _real(path: str, root: Root | None) -> str:
    return os.path.realpath(path) if root is None else root.real(path)


def _kind(prefix: str, base_prefix: str) -> str:
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        return "conda"
    return "venv" if prefix != base_prefix else "system"


def locate(
    env: str | os.PathLike[str] | None = None, root: str | os.PathLike[str] | None = None
) -> EnvironmentPaths:
    """Find an environment's places.

    `root` is the folder of another root file system that `env` lies in, named from here or as it is
    called inside; without `env` it is the Python of that system. Without `root`, a folder above
    `env` is taken for one where it looks so: with usr/lib, etc and an ld.so of its own.

    `env` is a virtual environment's, conda prefix's or installation's folder, or a Python
    executable in it; None is the running interpreter. Nothing is run. Raises
    `EnvironmentUnreadable`.
    """
    if env is None and root is None:
        return _running()
    from ..files.roots import root_of

    other = None if root is None else _root(root)
    try:
        named = os.fspath(env) if env is not None else _system_prefix(other)
        if other is not None and not other.holds(os.path.abspath(named)):
            named = other.outside(os.path.abspath(named))
        other = other or root_of(named)
        status = os.stat(named if other is None else other.real(os.path.abspath(named)))
    except OSError as error:
        if os.path.islink(named):
            _fail(f"`{named}` is a broken link to `{os.readlink(named)}`")
        _fail(f"environment `{named}` cannot be examined: {error.strerror}")
    except (TypeError, ValueError) as error:
        _fail(f"environment {env!r:.200} is not a path: {error}")
    path = os.path.abspath(named)
    if stat.S_ISDIR(status.st_mode):
        executable = _executable_in(path, named, other)
    elif stat.S_ISREG(status.st_mode):
        executable = path
    else:
        _fail(f"environment `{named}` is neither a folder nor a Python executable")
    return _other(executable, other)


def _root(folder: str | os.PathLike[str]) -> Root | None:
    """The root file system in a folder; None for this process's own."""
    from ..files.roots import Root

    named = os.fspath(folder)
    if not os.path.isdir(named):
        _fail(f"`{named}` is no folder, so no root file system")
    return Root(named) if os.path.realpath(named) != "/" else None


def _system_prefix(root: Root | None) -> str:
    """Where a root's own Python is: images put theirs into /usr/local."""
    folder = "" if root is None else root.folder
    for prefix in ("/usr/local", "/usr"):
        names = files.listing(f"{folder}{prefix}/bin")
        if any(map(_is_python, names)):
            break
    else:
        _fail(f"the root `{folder or '/'}` has no Python in /usr/local/bin or /usr/bin")
    return f"{folder}{prefix}"


def _fail(message: str, hint: str | None = None) -> NoReturn:
    # Paths may hold anything; an error is one line.
    raise EnvironmentUnreadable(files.plain(message), hint=hint and files.plain(hint))


# --- the running interpreter ---------------------------------------------------------------------


def _running() -> EnvironmentPaths:
    stdlib = os.path.dirname(os.__file__)
    own = {stdlib, os.path.join(stdlib, "lib-dynload")}
    path = []
    for entry in sys.path:
        if isinstance(entry, str):
            folder = os.path.abspath(entry or ".")
            if folder not in own and folder not in path and os.path.isdir(folder):
                path.append(folder)
    return EnvironmentPaths(
        prefix=sys.prefix,
        base_prefix=sys.base_prefix,
        executable=sys.executable or "",
        stdlib=stdlib,
        version=sys.version_info[:2],
        search_path=tuple(path),
        running=True,
    )


# --- another one ---------------------------------------------------------------------------------


def _executable_in(folder: str, named: str, root: Root | None) -> str:
    """The Python in a prefix: bin/python, python3, then pythonX.Y; what activation would offer."""
    binaries = os.path.join(folder, "bin")
    names = ["python", "python3", "pypy3"]
    names += [name for name in files.listing(binaries) if _is_python(name)]
    broken = None
    for name in names:
        candidate = os.path.join(binaries, name)
        if os.path.isfile(candidate if root is None else root.real(candidate)):
            return candidate
        if os.path.islink(candidate) and broken is None:
            broken = candidate
    if broken is not None:
        _fail(
            f"`{broken}` is a broken link to `{os.readlink(broken)}`",
            "the Python it was made with is gone: make the environment again",
        )
    if any(map(_is_python, files.listing(folder))):
        _fail(f"`{named}` has no `bin/python`", f"name its parent, `{os.path.dirname(folder)}`")
    if os.path.isdir(os.path.join(folder, "conda-meta")):
        _fail(f"conda prefix `{named}` has no Python", f"conda install --prefix {named} python")
    _fail(
        f"`{named}` is not a Python environment: it has no `bin/python`",
        "name a virtual environment's or conda prefix's folder, or a Python executable",
    )


def _other(executable: str, root: Root | None) -> EnvironmentPaths:
    real = _real(executable, root)
    _require_python(executable, real)
    config = _find_config(executable)
    if config is None:
        places = [os.path.dirname(real)]
        settings: dict[str, str] = {}
    else:
        settings = _read_config(config)
        home = settings["home"] if root is None else root.outside(settings["home"])
        if not os.path.isdir(home):
            _fail(
                f"`{config}` names the Python folder `{home}`, which does not exist",
                "the Python it was made with is gone: make the environment again",
            )
        places = [home, _real(home, root), os.path.dirname(real)]
    found = _find_stdlib(places, real, settings, root)
    if found is None:
        _fail(f"no standard library was found for `{executable}`, searched above `{places[0]}`")
    base_prefix, stdlib = found
    version = _version_named(os.path.basename(stdlib))
    assert version is not None
    prefix = base_prefix if config is None else os.path.dirname(config)
    search = _SearchPath(stdlib, base_prefix, version, root)
    search.fill(prefix if config is not None else None, settings)
    return EnvironmentPaths(
        prefix=prefix,
        base_prefix=base_prefix,
        executable=executable,
        stdlib=stdlib,
        version=version,
        search_path=tuple(search.folders),
        root=root,
    )


def _require_python(executable: str, real: str) -> None:
    try:
        head = files.read(real, 4, head=True)
    except files.Unreadable as problem:
        _fail(f"`{executable}` cannot be read: {problem}")
    names = (os.path.basename(executable), os.path.basename(real))
    if not any(map(_is_python, names)):
        _fail(f"by its name, `{executable}` is not a Python executable")
    if head[:2] == b"#!":
        _fail(
            f"`{executable}` is a script, not a Python executable",
            f"name what it starts: `{executable} -c 'import sys; print(sys.executable)'`",
        )
    if head != b"\x7fELF":
        _fail(f"`{executable}` is not a Python executable: it is not an ELF file")


def _find_config(executable: str) -> str | None:
    """`pyvenv.cfg` beside the executable or one folder up, symbolic links not followed."""
    folder = os.path.dirname(executable)
    for place in (folder, os.path.dirname(folder)):
        candidate = os.path.join(place, "pyvenv.cfg")
        if os.path.lexists(candidate):
            return candidate
    return None


def _read_config(path: str) -> dict[str, str]:
    """The settings of a `pyvenv.cfg`; raises when it cannot be one."""
    try:
        raw = files.read(path, files.CONFIG_LIMIT)
    except files.Unreadable as problem:
        _fail(f"`{path}` cannot be read: {problem}")
    settings = {}
    for line in raw.decode("utf-8", "surrogateescape").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            settings[key.strip().lower()] = value.strip()
    if not settings.get("home") or "\0" in settings["home"]:
        _fail(f"`{path}` names no `home`, so the Python behind it is unknown")
    return settings


def _find_stdlib(
    places: list[str], real: str, settings: dict[str, str], root: Root | None
) -> tuple[str, str] | None:
    """The nearest folder above one of `places` with lib/pythonX.Y/os.py, and that folder."""
    wanted = _wanted_names(real, settings)
    for start in places:
        folder = start
        while True:
            found = _stdlib_in(folder, wanted)
            if found is not None:
                return folder, found
            parent = os.path.dirname(folder)
            if parent == folder or (root is not None and folder == root.folder):
                break
            folder = parent
    return None


def _wanted_names(real: str, settings: dict[str, str]) -> list[str]:
    """Names that the library folder may have, the likeliest first."""
    names = []
    name = os.path.basename(real).rstrip("dm")
    if _version_named(name):
        names.append(name)
    stated = settings.get("version_info") or settings.get("version") or ""
    version = _version(".".join(stated.split(".")[:2]))
    if version is not None:
        number = f"{version[0]}.{version[1]}"
        names += [f"python{number}", f"pypy{number}", f"python{number}t"]
    return names


def _stdlib_in(folder: str, wanted: list[str]) -> str | None:
    # lib64 first: Fedora's sys.platlibdir, where os.py is then.
    for libdir in ("lib64", "lib"):
        parent = os.path.join(folder, libdir)
        names = wanted or [name for name in files.listing(parent) if _version_named(name)]
        for name in names:
            candidate = os.path.join(parent, name)
            if os.path.isfile(os.path.join(candidate, "os.py")):
                # A merged lib64 -> lib is not a platlibdir.
                if libdir == "lib64" and os.path.islink(parent):
                    candidate = os.path.join(folder, "lib", name)
                return candidate
    return None


class _SearchPath:
    """Builds the folders that Lib/site.py would put on `sys.path`, in its order."""

    def __init__(
        self, stdlib: str, base_prefix: str, version: tuple[int, int], root: Root | None
    ) -> None:
        self.root = root
        self.folders: list[str] = []
        self.library = os.path.basename(stdlib)  # "python3.11", "python3.13t"
        self.platlibdir = os.path.basename(os.path.dirname(stdlib))
        self.base_prefix = base_prefix
        self.version = version
        # Debian's site.py looks for dist-packages, and only there outside virtual environments.
        self.debian = os.path.isdir(os.path.join(base_prefix, "lib", "python3", "dist-packages"))

    def fill(self, venv: str | None, settings: dict[str, str]) -> None:
        # What is set here does not reach a process of another root.
        named = os.environ.get("PYTHONPATH", "") if self.root is None else ""
        for entry in named.split(os.pathsep):
            if entry:
                self._add(os.path.abspath(entry))
        if venv is not None:
            self._add_prefix(venv, True)
            if settings.get("include-system-site-packages", "true").lower() != "true":
                return
        user = self._user_site()
        if user is not None:
            self._add_site(user)
        self._add_prefix(self.base_prefix, venv is not None)

    def _add(self, folder: str) -> bool:
        if self.root is not None:
            folder = self.root.real(folder)
        if folder in self.folders or not os.path.isdir(folder):
            return False
        self.folders.append(folder)
        return True

    def _add_prefix(self, prefix: str, in_venv: bool) -> None:
        libraries = [self.platlibdir] if self.platlibdir == "lib" else [self.platlibdir, "lib"]
        if in_venv or not self.debian:
            for name in libraries:
                self._add_site(os.path.join(prefix, name, self.library, "site-packages"))
        if self.debian:
            self._add_site(os.path.join(prefix, "local/lib", self.library, "dist-packages"))
            self._add_site(os.path.join(prefix, "lib/python3/dist-packages"))
            self._add_site(os.path.join(prefix, "lib", self.library, "dist-packages"))

    def _user_site(self) -> str | None:
        if (
            self.root is not None
            or os.environ.get("PYTHONNOUSERSITE")
            or os.getuid() != os.geteuid()
        ):
            return None
        base = os.environ.get("PYTHONUSERBASE") or os.path.join("~", ".local")
        return os.path.join(os.path.expanduser(base), "lib", self.library, "site-packages")

    def _add_site(self, folder: str) -> None:
        """site.addsitedir: the folder itself, then what its .pth files name."""
        if not self._add(folder):
            return
        for name in files.listing(folder):
            if name.endswith(".pth") and not name.startswith("."):
                content = files.text(os.path.join(folder, name), _PTH_LIMIT) or ""
                for line in content.lstrip("\ufeff").splitlines():
                    # Lines that start with `import` are code; running it is not for us.
                    if line.startswith(("#", "import ", "import\t")) or "\0" in line:
                        continue
                    if line.strip():
                        entry = line.rstrip()
                        entry = entry if self.root is None else self.root.outside(entry)
                        self._add(os.path.abspath(os.path.join(folder, entry)))
