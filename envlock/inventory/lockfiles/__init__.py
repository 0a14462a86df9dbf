"""Lock files that people already have, read as lists of pins for one platform.

    read(path, target) -> LockFile

`requirements.txt`, `pylock.toml`, `uv.lock`, `environment.yml`, conda explicit lists, `pixi.lock`
and `conda-lock.yml`; the kind is recognised by the content, the name only helps. Damaged input raises
`LockFileError`, a reader that is not installed `DependencyMissing`.
"""

from __future__ import annotations

import os

from .base import LockFile, LockFileError, Pin, Target, missing, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LockFile", "LockFileError", "Pin", "Target", "kind_of", "looks_like_lock", "read"]


KINDS = (
    "requirements.txt",
    "pylock.toml",
    "uv.lock",
    "environment.yml",
    "conda explicit list",
    "pixi.lock",
    "conda-lock.yml",
)
_SUFFIXES = (".txt", ".toml", ".lock", ".yml", ".yaml", ".in", ".list")


def looks_like_lock(path: str) -> bool:
    """Whether a file's name is one that lock files have; nothing is read."""
    return os.path.basename(path).lower().endswith(_SUFFIXES)


def kind_of(name: str, text: str) -> str:
    """Which of `KINDS` a file is, by its name and content; raises `LockFileError`."""
    base = os.path.basename(name).lower()
    if any(line.strip() == "@EXPLICIT" for line in text.splitlines()):
        return "conda explicit list"
    if base.endswith((".toml", ".lock")) and not base.startswith("pixi"):
        if ("lock-version" in text and "[[packages]]" in text) or base.startswith("pylock"):
            return "pylock.toml"
        if ("[[package]]" in text and base.endswith(".lock")) or base == "uv.lock":
            return "uv.lock"
    if base.endswith((".yml", ".yaml", ".lock")):
        lines = {line.partition(":")[0] for line in text.splitlines() if ":" in line}
        if {"environments", "packages"} <= lines:
            return "pixi.lock"
        if "package" in lines and "metadata" in lines:
            return "conda-lock.yml"
        if "dependencies" in lines:
            return "environment.yml"
    if base.endswith((".txt", ".in", ".list")):
        return "requirements.txt"
    raise LockFileError(
        f"`{name}` is not a lock file of a known kind",
        hint=f"readable are {', '.join(KINDS)}",
    )


def read(path: str, target: Target | None = None) -> LockFile:
    """Read one lock file; `target` chooses among platforms (default: the running interpreter)."""
    target = target or Target.running()
    text = read_text(path)
    kind = kind_of(path, text)
    reader = _reader(kind)
    try:
        return reader(path, text, target)
    except RecursionError:
        raise LockFileError(f"`{path}` is nested too deeply") from None
    except ValueError as error:  # numbers of thousands of digits, in versions
        raise LockFileError(f"`{path}` cannot be read: {error!s:.200}") from None


def _reader(kind: str) -> Callable[[str, str, Target], LockFile]:
    try:
        from . import conda, pip
    except ImportError:
        raise missing("packaging", "reading a lock file") from None
    return {
        "requirements.txt": pip.read_requirements,
        "pylock.toml": pip.read_pylock,
        "uv.lock": pip.read_uv,
        "environment.yml": conda.read_environment,
        "conda explicit list": conda.read_explicit,
        "pixi.lock": conda.read_pixi,
        "conda-lock.yml": conda.read_conda_lock,
    }[kind]
