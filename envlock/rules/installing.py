"""How a remedy gets a TensorFlow into an environment: who has wheels for which Python, and commands.

Only what refuses a plugin imports this.
"""

from __future__ import annotations

import os
import sys
from shlex import quote

from ..models.versions import order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Paths(Protocol):
        """Where an environment is (`envlock.environment.locate.EnvironmentPaths`)."""

        @property
        def prefix(self) -> str: ...
        @property
        def executable(self) -> str: ...
        @property
        def version(self) -> tuple[int, int]: ...
        @property
        def running(self) -> bool: ...
        @property
        def search_path(self) -> tuple[str, ...]: ...


#: The first minor release that a row holds for, and the minor versions of Python 3 with wheels.
_WHEELS = (
    ((2, 21), (10, 11, 12, 13)),
    ((2, 20), (9, 10, 11, 12, 13)),
    ((2, 16), (9, 10, 11, 12)),
    ((2, 12), (9, 10, 11)),
    ((2, 8), (9, 10)),
    ((2, 5), (9,)),
)
#: What breaks `import tensorflow` of a release although its own requirements allow it.
_BESIDE = (
    ((2, 12), ()),
    ((2, 11), ("numpy<2",)),
    ((2, 7), ("numpy<1.24",)),
    ((2, 5), ()),
)


def pythons(version: str) -> tuple[tuple[int, int], ...]:
    """The Pythons that a TensorFlow release has wheels for, as far as envlock runs on them."""
    minors = next((row[1] for row in _WHEELS if row[0] <= order(version)[:2]), ())
    return tuple((3, minor) for minor in minors)


class Place:
    """An environment, as far as commands that change it name it."""

    __slots__ = ("executable", "has_pip", "manager", "prefix", "python", "running")

    def __init__(self, manager: str | None, paths: Paths | None = None) -> None:
        """`manager` is that of its TensorFlow; without `paths`, commands do not name it."""
        self.manager = manager
        self.prefix = sys.prefix if paths is None else paths.prefix
        self.executable = sys.executable if paths is None else paths.executable
        self.python = None if paths is None else paths.version
        self.running = paths is None or paths.running or _same(paths.prefix, sys.prefix)
        folders = () if paths is None else paths.search_path
        self.has_pip = any(os.path.isdir(os.path.join(folder, "pip")) for folder in folders)

    def takes(self, version: str) -> bool:
        """Whether a release can be installed here; conda builds for other Pythons than PyPI has."""
        return self.manager == "conda" or self.python is None or self.python in pythons(version)

    def install(
        self, name: str, spec: str, *, instead_of: str | None = None, again: bool = False
    ) -> str:
        """The command that installs `spec` ("==2.15.1", "==2.15.*") of a TensorFlow here.

        `instead_of` is another distribution of TensorFlow that is installed and has the same
        files; `again` says that this very release is, with other files.
        """
        if self.manager == "conda":
            where = "" if self.running else f" --prefix {quote(self.prefix)}"
            force = " --force-reinstall" if again else ""
            return f"conda install{where}{force} {_quoted(name + spec.replace('==', '=', 1))}"
        force = " --force-reinstall --no-deps" if again else ""
        beside = "".join(f" {_quoted(one)}" for one in _beside(spec)) if not again else ""
        command = f"{self.pip('install')}{force} {_quoted(name + spec)}{beside}"
        if instead_of is None or instead_of == name:
            return command
        return f"{self.pip('uninstall')} -y {quote(instead_of)} && {command}"

    @property
    def python_command(self) -> str:
        """The environment's Python, as a command names it."""
        return "python" if self.running else quote(self.executable)

    def pip(self, verb: str) -> str:
        """`pip VERB` for this environment."""
        if self.running:
            return f"pip {verb}"
        python = self.python_command
        # An environment that uv made has no pip of its own.
        return f"{python} -m pip {verb}" if self.has_pip else f"pip --python {python} {verb}"


def elsewhere(name: str, version: str) -> str:
    """The command that makes a new environment with a release, by the newest Python it can have."""
    major, minor = pythons(version)[-1]
    folder = f"tf{version}"
    wanted = " ".join(map(_quoted, (f"{name}=={version}", *_beside(f"=={version}"))))
    return f"python{major}.{minor} -m venv {folder} && {folder}/bin/python -m pip install {wanted}"


def _beside(spec: str) -> tuple[str, ...]:
    number = order(spec.lstrip("="))[:2]
    return next((row[1] for row in _BESIDE if row[0] <= number), ())


def _quoted(text: str) -> str:
    return quote(text) if "'" in text else f"'{text}'"


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
