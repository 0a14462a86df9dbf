"""What all lock files come down to, and the platform that they are read for."""

from __future__ import annotations

import os
import sys

from ...models.errors import DependencyMissing, FileAccessError, InputError
from ...models.versions import minor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from packaging.markers import Marker

#: Lists and mappings inside each other; lock files have six.
_MAX_DEPTH = 64
#: Values, aliases counted as what they stand for; the largest lock files have 500,000.
_MAX_NODES = 4_000_000

#: Real lock files of large projects have 5 MB.
SIZE_LIMIT = 1 << 26


class LockFileError(InputError):
    """A lock file that is damaged, or no lock file at all."""


class Target:
    """The environment that a lock file is read for: interpreter version and machine."""

    __slots__ = ("machine", "python")

    def __init__(self, python: str, machine: str) -> None:
        self.python = python  # "3.11.7"
        self.machine = machine  # "x86_64"

    @classmethod
    def running(cls) -> Target:
        """The interpreter that envlock runs in."""
        import os

        return cls(".".join(map(str, sys.version_info[:3])), os.uname().machine)

    @property
    def subdir(self) -> str:
        """conda's platform name."""
        return {"x86_64": "linux-64", "i686": "linux-32"}.get(self.machine, f"linux-{self.machine}")

    def markers(self) -> dict[str, str]:
        """The values that environment markers are evaluated with (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": minor(self.python),
            "sys_platform": "linux",
        }


class Pin:
    """One package of a lock file."""

    __slots__ = (
        "build",
        "channel",
        "hashes",
        "manager",
        "name",
        "sha256",
        "source",
        "specifier",
        "version",
    )

    def __init__(
        self,
        manager: str,
        name: str,
        version: str | None,
        *,
        specifier: str | None = None,
        build: str | None = None,
        channel: str | None = None,
        hashes: tuple[str, ...] = (),
        sha256: str | None = None,
        source: str | None = None,
    ) -> None:
        from packaging.utils import canonicalize_name

        self.manager = manager  # "pip" or "conda"
        self.name = canonicalize_name(name) if manager == "pip" else name.lower()
        self.version = version  # None: only constrained, see `specifier`
        self.specifier = specifier  # ">=1.24,<2"
        self.build = build  # conda's build string
        self.channel = channel
        self.hashes = hashes  # "sha256:..." of every file that the lock allows
        self.sha256 = sha256  # of the one conda archive
        self.source = source  # a VCS commit, "name @ url": not from an index

    def __repr__(self) -> str:
        return f"Pin({self.manager}, {self.name}, {self.version or self.specifier})"


class LockFile:
    """The pins of one file. `complete`: what it does not name does not belong there."""

    __slots__ = ("complete", "kind", "notes", "path", "pins", "python")

    def __init__(
        self,
        path: str,
        kind: str,
        pins: list[Pin],
        *,
        complete: bool,
        notes: tuple[str, ...] = (),
        python: str | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.pins = pins
        self.complete = complete
        self.notes = notes  # what could not be read or was left aside, one sentence each
        self.python = python  # the interpreter it asks for, ">=3.9"


def missing(module: str, doing: str) -> DependencyMissing:
    """The error for a library that is not installed; `doing` is what needs it."""
    return DependencyMissing(
        f"{doing} needs the Python package `{module}`", hint="pip install 'tf-envlock[locks]'"
    )


def parse_toml(path: str, text: str) -> dict[str, Any]:
    """TOML text as a table; raises `LockFileError`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError:
            raise missing("tomli", f"reading `{path}`") from None
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
        raise LockFileError(f"`{path}` is not TOML: {error!s:.200}") from None


def parse_yaml(path: str, text: str) -> dict[str, Any]:
    """YAML text as a table (safe types only); raises `LockFileError`."""
    try:
        import yaml
    except ImportError:
        raise missing("PyYAML", f"reading `{path}`") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _limit_nodes(path, yaml.parse(text, Loader=loader))
        value = yaml.load(text, Loader=loader)
    except (
        *(yaml.YAMLError, ValueError, OverflowError),
        # What its constructors raise for `!!int ""`, `!!bool x`, `!!timestamp x`, `=` as a key.
        *(LookupError, AttributeError, TypeError),
    ) as error:
        reason = " ".join(str(error).split())
        raise LockFileError(f"`{path}` is not YAML: {reason:.200}") from None
    if not isinstance(value, dict):
        raise LockFileError(f"`{path}` is not a YAML mapping")
    return value


def _limit_nodes(path: str, events: Iterable[Any]) -> None:
    """Refuse deep nesting before anything is built: libyaml's composer recurses in C.

    An alias counts as much as what it repeats: thirty lines of aliases of aliases would otherwise
    be gigabytes when they are merged or shown.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, nodes before it
    total = 0
    for event in events:
        kind = type(event).__name__
        if kind == "AliasEvent":
            # An alias inside of its own anchor is not known yet.
            total += sizes.get(event.anchor, _MAX_NODES + 1)
        elif kind == "ScalarEvent":
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif kind.endswith("StartEvent"):
            open_nodes.append((getattr(event, "anchor", None), total))
            total += 1
            if len(open_nodes) > _MAX_DEPTH:
                raise LockFileError(f"`{path}` is nested deeper than {_MAX_DEPTH} levels")
        elif kind.endswith("EndEvent"):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > _MAX_NODES:
            raise LockFileError(f"`{path}` has more than {_MAX_NODES} values, aliases followed")


def holds(marker: Marker | None, values: Mapping[str, Any], **more: Any) -> bool:
    """Whether an environment marker holds; one that compares what has no order (`os_name ~= "x"`)
    counts as holding, so that no package is lost."""
    try:
        return marker is None or marker.evaluate(dict(values), **more)
    except (ValueError, LookupError):  # UndefinedComparison, UndefinedEnvironmentName
        return True


def table(value: object) -> dict[str, Any]:
    """The value if it is a mapping with text keys, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def string(value: object) -> str | None:
    """The value if it is text, else None."""
    return value if isinstance(value, str) and value else None


def read_text(path: str) -> str:
    """A lock file's text. Raises `FileAccessError`, and `LockFileError` where it is not text."""
    from ...files import reading as files

    if not os.path.lexists(path):
        raise FileAccessError(f"no such file: `{path:.1000}`")
    try:
        raw = files.read(path, SIZE_LIMIT)
    except files.Unreadable as problem:
        raise FileAccessError(f"`{path}` cannot be read: {problem}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LockFileError(f"`{path}` is not text: byte {error.start} is not UTF-8") from None
