"""Lock files of conda's world: environment.yml, explicit lists, pixi.lock, conda-lock.yml."""

from __future__ import annotations

import re

from ..urls import clean_url
from .base import LockFile, LockFileError, Pin, holds, items, missing, parse_yaml, string, table
from .pip import parse_requirement, pin_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .base import Target

_ARCHIVE = re.compile(r"(?:\.conda|\.tar\.bz2)\Z")
#: Characters of one specification; py-rattler's parser exhausts the stack at 5,000 parentheses.
_MAX_SPEC = 1000
_EXACT = re.compile(r"==([^,|*]+)\Z")


def split_archive(url: str) -> tuple[str, str, str] | None:
    """(name, version, build) from a conda archive's URL or file name."""
    name = url.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2]
    stem, changed = _ARCHIVE.subn("", name)
    parts = stem.rsplit("-", 2)
    if not changed or len(parts) != 3 or not all(parts):
        return None
    return parts[0], parts[1], parts[2]


def channel_of(url: str) -> str | None:
    """The channel's name in an archive's URL: what stands before the platform, without host."""
    from ...environment.conda import channel_name

    return channel_name(url.rpartition("/")[0])


# --- environment.yml -----------------------------------------------------------------------------


def read_environment(path: str, text: str, target: Target) -> LockFile:
    """conda's environment.yml, its `pip:` list included."""
    content = parse_yaml(path, text)
    dependencies = content.get("dependencies")
    if not isinstance(dependencies, list):
        raise LockFileError(f"`{path}` is not an environment.yml: `dependencies` is not a list")
    pins: dict[tuple[str, str], Pin] = {}
    notes = []
    for entry in dependencies:
        if isinstance(entry, str):
            pin = _spec(path, entry)
            pins[pin.manager, pin.name] = pin
        elif isinstance(entry, dict) and set(entry) == {"pip"}:
            for line in items(entry["pip"]):
                requirement = parse_requirement(str(line).partition(" #")[0].strip())
                if requirement is None:
                    notes.append(f"its pip entry `{line!s:.80}` is not a requirement with a name")
                elif holds(requirement.marker, target.markers()):
                    found = pin_of(requirement, ())
                    pins[found.manager, found.name] = found
        else:
            raise LockFileError(f"`{path}`: the dependency {entry!r:.80} is not understood")
    return LockFile(
        path, "environment.yml", list(pins.values()), complete=False, notes=tuple(notes)
    )


def _spec(path: str, text: str) -> Pin:
    """What a match specification fixes: a version, or a range only."""
    try:
        from rattler import MatchSpec
        from rattler.exceptions import InvalidMatchSpecError
    except ImportError:
        raise missing("py-rattler", f"reading `{path}`") from None
    if len(text) > _MAX_SPEC:
        raise LockFileError(f"`{path}`: a specification has more than {_MAX_SPEC} characters")
    try:
        spec = MatchSpec(text)
    except InvalidMatchSpecError as error:
        raise LockFileError(
            f"`{path}`: `{text:.80}` is no conda specification: {error!s:.200}"
        ) from None
    wanted, build, channel = spec.version, spec.build, spec.channel
    exact = _EXACT.match(wanted or "")
    return Pin(
        "conda",
        spec.name.normalized,
        exact[1] if exact else None,
        specifier=None if exact or wanted == "*" else wanted,
        build=None if build is None or "*" in build else build,
        channel=None if channel is None else (channel.name or "").rpartition("/")[2] or None,
        sha256=None if spec.sha256 is None else spec.sha256.hex(),
    )


# --- explicit list -------------------------------------------------------------------------------


def read_explicit(path: str, text: str, target: Target) -> LockFile:
    """`conda list --explicit`: one archive URL a line, after `@EXPLICIT`."""
    pins = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#") or line == "@EXPLICIT":
            continue
        url, _, digest = line.partition("#")
        parts = split_archive(url)
        if parts is None:
            raise LockFileError(f"`{path}` line {number} names no conda archive: `{line:.100}`")
        digest = digest.lower().removeprefix("sha256:")
        pins.append(
            Pin(
                "conda",
                parts[0],
                parts[1],
                build=parts[2],
                channel=channel_of(url),
                sha256=digest if len(digest) == 64 else None,
            )
        )
    return LockFile(path, "conda explicit list", pins, complete=True)


# --- pixi.lock -----------------------------------------------------------------------------------


def read_pixi(path: str, text: str, target: Target) -> LockFile:
    """pixi's lock, versions 4 to 6: the default environment on the target's platform."""
    content = parse_yaml(path, text)
    environments = table(content.get("environments"))
    name = "default" if "default" in environments else next(iter(environments), None)
    platforms = table(table(environments.get(name or "")).get("packages"))
    if target.subdir not in platforms:
        known = ", ".join(str(p) for p in platforms) or "none"
        raise LockFileError(
            f"`{path}` locks nothing for {target.subdir}; its platforms: {known:.200}"
        )
    details = {}
    for entry in map(table, items(content.get("packages"))):
        location = entry.get("conda") or entry.get("pypi") or entry.get("url")
        details[str(location)] = entry
    pins = []
    notes = []
    for entry in map(table, items(platforms[target.subdir])):
        for manager in ("conda", "pypi"):
            location = string(entry.get(manager))
            if location is not None:
                pin = _pixi_pin(manager, location, details.get(location, {}))
                if pin is None:
                    notes.append(f"`{clean_url(location)}` is installed from a local folder")
                else:
                    pins.append(pin)
    if name is not None and len(environments) > 1:
        notes.append(f"of its {len(environments)} environments, `{name}` was read")
    return LockFile(path, "pixi.lock", pins, complete=True, notes=tuple(notes))


def _pixi_pin(manager: str, location: str, entry: dict[str, Any]) -> Pin | None:
    digest = string(entry.get("sha256"))
    if manager == "conda":
        parts = split_archive(location)
        name = string(entry.get("name")) or (parts[0] if parts else None)
        version = string(entry.get("version")) or (parts[1] if parts else None)
        if name is None:
            return None
        return Pin(
            "conda",
            name,
            version,
            build=string(entry.get("build")) or (parts[2] if parts else None),
            channel=channel_of(location),
            sha256=digest,
        )
    name, version = string(entry.get("name")), string(entry.get("version"))
    if name is None or version is None:
        return None
    return Pin("pip", name, version, hashes=(f"sha256:{digest}",) if digest else ())


# --- conda-lock.yml ------------------------------------------------------------------------------


def read_conda_lock(path: str, text: str, target: Target) -> LockFile:
    """conda-lock's unified format, version 1: the main category on the target's platform."""
    content = parse_yaml(path, text)
    pins = []
    platforms = set()
    for entry in map(table, items(content.get("package"))):
        platform = string(entry.get("platform"))
        platforms.add(platform)
        categories = {string(entry.get("category")) or "main", *items(entry.get("categories"))}
        if platform != target.subdir or "main" not in categories or entry.get("optional") is True:
            continue
        name, version = string(entry.get("name")), entry.get("version")
        if name is None or version is None:
            raise LockFileError(f"`{path}`: a package has no name or version")
        digest = string(table(entry.get("hash")).get("sha256"))
        if entry.get("manager") == "pip":
            hashes = (f"sha256:{digest}",) if digest else ()
            pins.append(Pin("pip", name, str(version), hashes=hashes))
            continue
        url = string(entry.get("url")) or ""
        parts = split_archive(url)
        pins.append(
            Pin(
                "conda",
                name,
                str(version),
                build=string(entry.get("build")) or (parts[2] if parts else None),
                channel=channel_of(url),
                sha256=digest,
            )
        )
    if target.subdir not in platforms:
        known = ", ".join(sorted(p for p in platforms if p)) or "none"
        raise LockFileError(
            f"`{path}` locks nothing for {target.subdir}; its platforms: {known:.200}"
        )
    return LockFile(path, "conda-lock.yml", pins, complete=True)
