"""Every pip distribution and conda package of an environment, as the documents record them."""

from __future__ import annotations

import os
import re

from ..environment.distributions import UNKNOWN
from ..files.reading import plain
from ..models.snapshot import CondaPackage, DirectUrl, Packages, PipPackage
from .urls import clean_url, is_local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..environment.conda import PrefixRecord
    from ..environment.distributions import Distribution
    from ..environment.live import Environment

_TAG = re.compile(r"^Tag:[ \t]*([A-Za-z0-9_.]+-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+)[ \t]*$", re.M)
_BUILD = re.compile(r"^Build:[ \t]*(\d\w*)[ \t]*$", re.M)
_COMMIT = r"[0-9A-Za-z_.+-]{1,100}\Z"
_HEX = r"[0-9a-f]{32,128}\Z"
_METADATA = ("/METADATA", "/PKG-INFO")

#: What an installer adds to a dist-info; it differs between installers, not between packages.
_OF_INSTALLER = (
    b"INSTALLER",
    b"REQUESTED",
    b"RECORD",
    b"direct_url.json",
    b"uv_cache.json",
    b"uv_build.json",
)


class Installed:
    """What pip's and conda's records say, each parsed once: packages, and who owns a file."""

    def __init__(self, environment: Environment) -> None:
        #: The distributions that count; listing them anew costs more than it seems.
        self.distributions = list(environment.distributions)
        self.prefixes = {environment.paths.prefix, os.path.realpath(environment.paths.prefix)}
        self.packages: list[CondaPackage] = []
        self.editable: set[str] = set()  # dist-info folders; known once the packages are read
        self.owners: dict[str, str] = {}  # path relative to the prefix -> conda package
        #: record, its package's name, its `paths_data.paths`
        self.paths: list[tuple[PrefixRecord, str, list[Any]]] = []
        for record in environment.conda.records() if environment.conda else ():
            content = record.parse()
            package = conda_package(record, content)
            self.packages.append(package)
            listed = content.get("files")
            if isinstance(listed, list):
                self.owners.update((p, package.name) for p in listed if isinstance(p, str))
            data = content.get("paths_data")
            paths = data.get("paths") if isinstance(data, dict) else None
            self.paths.append((record, package.name, paths if isinstance(paths, list) else []))

    def owner_of(self, path: str) -> str | None:
        """The conda package that lists a file, by its absolute path."""
        for prefix in self.prefixes:
            if path.startswith(prefix + "/"):
                return self.owners.get(path[len(prefix) + 1 :])
        return None

    def brought(self, one: Distribution) -> str | None:
        """The conda package that brought a distribution's metadata; None: pip brought it."""
        if not self.owners:
            return None
        for suffix in ("", *_METADATA):
            owner = self.owner_of(one.path + suffix)
            if owner is not None:
                return owner
        return None


def read_packages(installed: Installed) -> Packages:
    """Every package, sorted by name."""
    pip = []
    for one in installed.distributions:
        package = pip_package(one, installed.brought(one))
        if package.direct_url is not None and package.direct_url.editable:
            installed.editable.add(one.path)
        pip.append(package)
    return Packages(
        pip=tuple(sorted(pip, key=lambda p: (p.name, p.version or ""))),
        conda=tuple(
            sorted(installed.packages, key=lambda c: (c.name, c.version or "", c.build or ""))
        ),
    )


def pip_package(one: Distribution, conda: str | None) -> PipPackage:
    """One distribution; conda's are known by their prefix record, so RECORD is not read."""
    name, version = one.canonical_name, one.version
    record = one.record()
    # What RECORD does not list need not be looked for.
    direct_url = _direct_url(one) if not record or b"/direct_url.json," in record else None
    wheel = one.text("WHEEL") or ""
    build = _BUILD.search(wheel)
    editable = direct_url is not None and direct_url.editable
    contents = None
    if conda is None and not editable:
        contents = contents_digest(record, one.folder_name)
    return PipPackage(
        name=name,
        version=None if version == UNKNOWN else version,
        tags=tuple(sorted(set(_TAG.findall(wheel)))),
        build=build[1] if build else None,
        contents=contents,
        direct_url=direct_url,
        conda=conda,
        installer=one.installer,
        requested=b"/REQUESTED," in record or None,
        problem=one.problem,
    )


def contents_digest(record: bytes, folder_name: str) -> str | None:
    """Digest of what the wheel brought, from RECORD; None where there is no RECORD.

    Left out are byte code, what the installer itself wrote, and the content (not the name) of
    scripts, whose first line names the environment's folder.
    """
    lines = record.splitlines()
    # Compiled files and RECORD itself stand there without digest.
    kept = [line for line in lines if line and not line.endswith(b",,")]
    if not kept:
        return None
    info = os.fsencode(folder_name) + b"/"
    odd = [line for line in kept if line.startswith((info, b"../", b"/", b'"../', b'"/'))]
    if odd:
        own = tuple(info + name + b"," for name in _OF_INSTALLER)
        dropped = set(odd)
        kept = [line for line in kept if line not in dropped]
        kept += [_outside(line) for line in odd if not line.startswith(own)]
    kept.sort()
    from hashlib import sha256

    return "sha256:" + sha256(b"\n".join(kept)).hexdigest()


def _outside(line: bytes) -> bytes:
    path = line.rsplit(b",", 2)[0].strip(b'"')
    parts = path.split(b"/")
    if len(parts) > 1 and parts[-2] in (b"bin", b"Scripts"):
        return b"bin/" + parts[-1]
    return line


def _direct_url(one: Distribution) -> DirectUrl | None:
    value = one.direct_url
    if value is None:
        return None
    raw = value.get("url")
    url = raw if isinstance(raw, str) else ""
    vcs, archive, folder = (_table(value, key) for key in ("vcs_info", "archive_info", "dir_info"))
    subdirectory = value.get("subdirectory")
    editable = folder is not None and folder.get("editable") is True
    commit = vcs.get("commit_id") if vcs else None
    kind = "vcs" if vcs is not None else "directory" if folder is not None else "archive"
    return DirectUrl(
        kind=kind,
        url=clean_url(url) or None,
        vcs=_name(vcs.get("vcs")) if vcs else None,
        commit=_name(commit),
        subdirectory=plain(subdirectory) if isinstance(subdirectory, str) else None,
        hashes=_hashes(archive or {}),
        editable=editable,
        local=is_local(url),
    )


def _table(value: dict[str, Any], key: str) -> dict[str, Any] | None:
    found = value.get(key)
    return found if isinstance(found, dict) else None


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and re.match(_COMMIT, value) else None


def _hashes(archive: dict[str, Any]) -> dict[str, str]:
    """`hashes`, or the older `hash`, of an archive (PEP 610)."""
    found = _table(archive, "hashes") or {}
    older = archive.get("hash")
    if not found and isinstance(older, str) and "=" in older:
        algorithm, _, value = older.partition("=")
        found = {algorithm: value}
    return {
        plain(k)[:20]: v.lower()
        for k, v in sorted(found.items())
        if isinstance(k, str) and isinstance(v, str) and re.match(_HEX, v.lower())
    }


def conda_package(record: PrefixRecord, content: dict[str, Any]) -> CondaPackage:
    """One prefix record and its parsed content."""
    subdir, requested = content.get("subdir"), content.get("requested_spec")
    asked = isinstance(requested, str) and requested not in ("", "None")
    return CondaPackage(
        name=record.name,
        version=None if record.version == UNKNOWN else record.version,
        build=record.build,
        subdir=plain(subdir) if isinstance(subdir, str) and subdir else None,
        channel=record.channel,
        sha256=record.sha256,
        md5=record.md5,
        url=_archive_url(content, record.url),
        requested=asked or bool(content.get("requested_specs")) or None,
        problem=record.problem,
    )


def _archive_url(content: dict[str, Any], url: str | None) -> str | None:
    """The archive's URL without secrets; a channel in a local folder keeps its path.

    Without the path nothing could be installed from it again; it is not part of any digest.
    """
    raw = content.get("url")
    if isinstance(raw, str) and raw.startswith("file:"):
        return plain(raw.partition("?")[0])
    return None if url is None else url.partition("?")[0]
