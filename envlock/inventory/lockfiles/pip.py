"""Lock files of pip's world: requirements.txt (pip's format), pylock.toml (PEP 751), uv.lock."""

from __future__ import annotations

import os
import re

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..urls import clean_url
from .base import (
    LockFile,
    LockFileError,
    Pin,
    holds,
    items,
    missing,
    parse_toml,
    read_text,
    string,
    table,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .base import Target

_HASH = re.compile(r"\s--hash[= ]\s*([a-z0-9]+:[0-9a-fA-F]+)")
_COMMENT = re.compile(r"(^|\s)#.*\Z")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_NESTING = 20


# --- requirements.txt ----------------------------------------------------------------------------


def read_requirements(path: str, text: str, target: Target) -> LockFile:
    """pip's requirements file format; `-r` and `-c` files are read too, options are left aside."""
    reader = _Requirements(target)
    reader.file(path, text, constraint=False)
    pins = list(reader.pins.values())
    # Nobody writes a transitive closure by hand: hashes on every line mean a compiled file.
    complete = bool(pins) and all(pin.hashes for pin in pins)
    return LockFile(path, "requirements.txt", pins, complete=complete, notes=tuple(reader.notes))


class _Requirements:
    def __init__(self, target: Target) -> None:
        self.target = target
        self.pins: dict[str, Pin] = {}
        self.constraints: dict[str, Pin] = {}
        self.notes: list[str] = []
        self.seen: list[str] = []

    def file(self, path: str, text: str, *, constraint: bool) -> None:
        real = os.path.realpath(path)
        if real in self.seen:
            return
        if len(self.seen) >= _NESTING:
            raise LockFileError(f"`{path}`: more than {_NESTING} files include each other")
        self.seen.append(real)
        for number, line in _logical_lines(text):
            self.line(path, number, line, constraint)

    def line(self, path: str, number: int, line: str, constraint: bool) -> None:
        include = re.match(r"(-r|--requirement|-c|--constraint)[= ]?\s*(\S+)", line)
        if include:
            nested = os.path.join(os.path.dirname(path), include[2])
            self.file(nested, read_text(nested), constraint=include[1] in ("-c", "--constraint"))
        elif re.match(r"(-e|--editable)\b", line):
            self.notes.append(f"`{os.path.basename(path)}` line {number} is an editable install")
        elif not line.startswith("-"):
            self.requirement(path, number, line, constraint)

    def requirement(self, path: str, number: int, line: str, constraint: bool) -> None:
        hashes = tuple(match.lower() for match in _HASH.findall(line))
        plain = re.split(r"\s--?[a-z]", line, maxsplit=1)[0].strip()
        where = f"`{os.path.basename(path)}` line {number}"
        if _VARIABLE.search(plain):
            self.notes.append(f"{where} depends on an environment variable")
            return
        requirement = parse_requirement(plain)
        if requirement is None:
            if re.match(r"[./~]|[a-z+]+://", plain) or plain.endswith((".whl", ".zip", ".gz")):
                self.notes.append(f"{where} names a file or URL without a package name")
                return
            raise LockFileError(f"{where} is not a requirement: `{plain:.100}`")
        if not holds(requirement.marker, self.target.markers()):
            return
        pin = pin_of(requirement, hashes)
        if constraint:
            self.constraints[pin.name] = pin
            known = self.pins.get(pin.name)
            if known is not None and known.version is None:
                self.pins[pin.name] = pin
        else:
            if pin.version is None and pin.specifier is None and pin.name in self.constraints:
                pin = self.constraints[pin.name]
            self.pins[pin.name] = pin


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with continuations joined and comments cut, as pip does it."""
    parts: list[str] = []
    start = 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw)
        if not parts:
            start = number
        if line.endswith("\\") and not raw.lstrip().startswith("#"):
            parts.append(line[:-1])
            continue
        whole = "".join([*parts, line]).strip()
        parts = []
        if whole:
            yield start, whole
    rest = "".join(parts).strip()
    if rest:
        yield start, rest


def parse_requirement(text: str) -> Requirement | None:
    """A requirement of PEP 508; None for what is none."""
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def pin_of(requirement: Requirement, hashes: tuple[str, ...]) -> Pin:
    """What a requirement fixes: a version, a place, or a range only."""
    if requirement.url is not None:
        url = clean_url(requirement.url)
        match = re.match(r"(git|hg|svn|bzr)\+.*@([0-9a-fA-F]{7,64})$", url.split("#")[0])
        digest = re.search(r"sha256=([0-9a-fA-F]{64})", requirement.url)
        if digest:
            hashes = (*hashes, f"sha256:{digest[1].lower()}")
        source = f"{match[1]} {match[2]}" if match else url.split("#")[0]
        return Pin("pip", requirement.name, None, source=source, hashes=hashes)
    exact = [
        s.version
        for s in requirement.specifier
        if s.operator in ("==", "===") and not s.version.endswith(".*")
    ]
    if exact:
        return Pin("pip", requirement.name, exact[0], hashes=hashes)
    specifier = str(requirement.specifier) or None
    return Pin("pip", requirement.name, None, specifier=specifier, hashes=hashes)


# --- pylock.toml ---------------------------------------------------------------------------------


def read_pylock(path: str, text: str, target: Target) -> LockFile:
    """PEP 751, validated by packaging's own reader."""
    try:
        from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError
    except ImportError:
        raise missing("packaging>=26", f"reading `{path}`") from None
    content = parse_toml(path, text)
    try:
        lock = Pylock.from_dict(content)
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        reason = " ".join(str(error).split())
        raise LockFileError(f"`{path}` is not a valid pylock.toml: {reason:.300}") from None
    values: dict[str, str | frozenset[str]] = dict(target.markers())
    values.update(extras=frozenset(), dependency_groups=frozenset())
    pins = []
    for package in lock.packages:
        if not holds(package.marker, values, context="lock_file"):
            continue
        hashes = [f"sha256:{w.hashes['sha256']}" for w in package.wheels or () if _sha256(w)]
        if package.sdist is not None and _sha256(package.sdist):
            hashes.append(f"sha256:{package.sdist.hashes['sha256']}")
        source = None
        if package.vcs is not None:
            source = f"{package.vcs.type} {package.vcs.commit_id}"
        elif package.archive is not None:
            source = clean_url(package.archive.url or f"file:{package.archive.path}")
            if _sha256(package.archive):
                hashes.append(f"sha256:{package.archive.hashes['sha256']}")
        elif package.directory is not None:
            source = "a local folder"
        version = None if package.version is None else str(package.version)
        pins.append(Pin("pip", package.name, version, hashes=tuple(hashes), source=source))
    python = None if lock.requires_python is None else str(lock.requires_python)
    return LockFile(path, "pylock.toml", pins, complete=True, python=python)


def _sha256(file: Any) -> bool:
    return "sha256" in (file.hashes or {})


# --- uv.lock -------------------------------------------------------------------------------------


def read_uv(path: str, text: str, target: Target) -> LockFile:
    """uv's universal lock: what its root package needs on the target, extras and groups aside."""
    content = parse_toml(path, text)
    packages = [table(p) for p in items(content.get("package"))]
    if not packages or not isinstance(content.get("version"), int):
        raise LockFileError(f"`{path}` is not a uv.lock: it has no version or no packages")
    chosen = _uv_reachable(packages, target)
    pins = []
    notes = []
    for package in chosen:
        name, version = string(package.get("name")), string(package.get("version"))
        if name is None:
            raise LockFileError(f"`{path}`: a package has no name")
        source = table(package.get("source"))
        if "virtual" in source:
            continue
        if "editable" in source or "directory" in source:
            notes.append(f"`{name}` is installed from a local folder")
            continue
        files = [*items(package.get("wheels")), table(package.get("sdist"))]
        hashes = tuple(h for f in files if (h := string(table(f).get("hash"))) is not None)
        origin = None
        if "git" in source:
            git = string(source["git"]) or ""
            origin = f"git {git.rpartition('#')[2]}"
        elif "url" in source:
            origin = clean_url(string(source["url"]) or "")
        pins.append(Pin("pip", name, version, hashes=hashes, source=origin))
    python = string(content.get("requires-python"))
    return LockFile(path, "uv.lock", pins, complete=True, notes=tuple(notes), python=python)


def _uv_reachable(packages: list[dict[str, Any]], target: Target) -> list[dict[str, Any]]:
    """The packages that the project needs on the target; all, where no root can be told."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(canonicalize_name(string(package.get("name")) or ""), []).append(package)
    local = {"virtual", "editable"}
    queue = [(p, frozenset[str]()) for p in packages if local & set(table(p.get("source")))]
    if not queue:
        return [p for p in packages if _any_marker(p.get("resolution-markers"), target)]
    seen: set[tuple[int, frozenset[str]]] = set()
    chosen: dict[int, dict[str, Any]] = {}
    while queue:
        package, extras = queue.pop()
        if (id(package), extras) in seen:
            continue
        seen.add((id(package), extras))
        chosen[id(package)] = package
        wanted = items(package.get("dependencies"))
        optional = table(package.get("optional-dependencies"))
        for extra in extras:
            wanted = [*wanted, *items(optional.get(extra))]
        for dependency in map(table, wanted):
            if not _marker(string(dependency.get("marker")), target):
                continue
            more = frozenset(e for e in items(dependency.get("extra")) if isinstance(e, str))
            version = string(dependency.get("version"))
            for found in by_name.get(canonicalize_name(string(dependency.get("name")) or ""), []):
                if version is not None and found.get("version") != version:
                    continue
                if version is None and not _any_marker(found.get("resolution-markers"), target):
                    continue
                queue.append((found, more))
    return [p for p in packages if id(p) in chosen]


def _any_marker(markers: object, target: Target) -> bool:
    texts = [m for m in items(markers) if isinstance(m, str)]
    return not texts or any(_marker(text, target) for text in texts)


def _marker(text: str | None, target: Target) -> bool:
    if text is None:
        return True
    try:
        return holds(Marker(text), {**target.markers(), "extra": ""})
    except InvalidMarker:
        return True
