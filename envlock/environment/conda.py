"""Conda's side of an environment: the prefix records in `conda-meta/`.

One JSON file a package, `<name>-<version>-<build>.json`, as conda, mamba and rattler write them. A
record that cannot be read becomes an entry with `problem` set, named after its file.
"""

from __future__ import annotations

import os
import re

from ..files import reading as files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TOKEN = r"/t/[^/]+"
_SUBDIR = r"/(?:noarch|(?:linux|osx|win|emscripten|wasi|freebsd|zos)-[A-Za-z0-9_]+)/?$"
_DIGEST = r"[0-9a-fA-F]{32,64}$"

_METADATA = rb'"([^"\\\n]{1,500}(?:\.dist-info/METADATA|\.egg-info/PKG-INFO|\.egg-info))"'

UNKNOWN = "unknown"


class PrefixRecord:
    """One conda package of a prefix. Name, version and build come from the file's name unread."""

    __slots__ = ("_texts", "path", "problem")

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem: str | None = None  # why it is damaged; set once something was read
        # Only the short values are kept: a prefix's records can be a hundred megabytes.
        self._texts: dict[str, str] | None = None

    @property
    def stated(self) -> tuple[str, str, str]:
        """(name, version, build) as the file's name has them."""
        parts = os.path.basename(self.path)[: -len(".json")].rsplit("-", 2)
        parts += [UNKNOWN] * (3 - len(parts))
        return files.plain(parts[0]), files.plain(parts[1]), files.plain(parts[2])

    def raw(self) -> bytes:
        """The file as it stands; empty where it cannot be read."""
        try:
            return files.read(self.path, files.RECORD_LIMIT)
        except files.Unreadable as problem:
            self.problem = f"it cannot be read: {problem}"
            return b""

    def parse(self) -> dict[str, Any]:
        """The record as JSON; empty where it is damaged."""
        import json

        raw = self.raw()
        if self.problem is not None:
            return {}
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            self.problem = f"it is not JSON: {files.plain(str(error))}"
            return {}
        if not isinstance(value, dict):
            self.problem = "it is not a JSON object"
            return {}
        if not isinstance(value.get("name"), str) or not isinstance(value.get("version"), str):
            self.problem = "it does not state its name and version"
        return value

    def check(self) -> str | None:
        """Read the record and say what is wrong with it; None when nothing is."""
        self._text("name")
        return self.problem

    def _text(self, key: str) -> str | None:
        if self._texts is None:
            items = self.parse().items()
            self._texts = {k: files.plain(v) for k, v in items if isinstance(v, str) and v}
        return self._texts.get(key)

    @property
    def name(self) -> str:
        """The package's name."""
        return self._text("name") or self.stated[0]

    @property
    def version(self) -> str:
        """The package's version."""
        return self._text("version") or self.stated[1]

    @property
    def build(self) -> str | None:
        """The build string, "py311h1234567_0"; None in a damaged record of a file named oddly."""
        stated = self.stated[2]
        return self._text("build") or (None if stated == UNKNOWN else stated)

    @property
    def channel(self) -> str | None:
        """The channel's name, without host, token and platform: "conda-forge", "pkgs/main"."""
        return channel_name(self._text("channel") or "")

    @property
    def url(self) -> str | None:
        """Where the package was downloaded, without credentials."""
        value = self._text("url")
        return None if value is None else re.sub(_TOKEN, "", re.sub(r"://[^/@]*@", "://", value))

    @property
    def sha256(self) -> str | None:
        """Digest of the package archive, as recorded."""
        value = self._text("sha256")
        return value.lower() if value and re.match(_DIGEST, value) else None

    @property
    def md5(self) -> str | None:
        """Digest of the package archive, as recorded by older conda."""
        value = self._text("md5")
        return value.lower() if value and re.match(_DIGEST, value) else None

    @property
    def files(self) -> tuple[str, ...]:
        """The installed files, relative to the prefix."""
        value = self.parse().get("files")
        if not isinstance(value, list):
            return ()
        return tuple(item for item in value if isinstance(item, str))

    def lists(self, relative: str) -> bool:
        """Whether the package installed that file; records without the name are not parsed."""
        import json

        needles = {json.dumps(relative), json.dumps(relative, ensure_ascii=False)}
        needles |= {needle.replace("/", "\\/") for needle in needles}
        try:
            encoded = [needle.encode() for needle in needles]
        except UnicodeEncodeError:
            return False
        raw = self.raw()
        return any(needle in raw for needle in encoded) and relative in self.files


def channel_name(channel: str) -> str | None:
    """A channel without what identifies a host, a user or a folder; None where nothing is left."""
    if not channel or channel == "<unknown>":
        return None
    scheme, separator, rest = channel.partition("://")
    if not separator:
        local = channel.startswith(("/", "."))
        return os.path.basename(channel.rstrip("/")) if local else channel.strip("/") or None
    rest = re.sub(_SUBDIR, "", re.sub(_TOKEN, "", "/" + rest))
    if scheme == "file":
        return os.path.basename(rest.rstrip("/")) or None
    return rest.lstrip("/").partition("/")[2].strip("/") or None


class CondaPrefix:
    """The prefix records below one folder; none where it is not a conda prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._records: list[PrefixRecord] | None = None
        self._metadata: frozenset[str] | None = None

    def records(self) -> list[PrefixRecord]:
        """All records in the order of their names; the folder is listed, no record read."""
        if self._records is None:
            meta = os.path.join(self.prefix, "conda-meta")
            self._records = [
                PrefixRecord(os.path.join(meta, name))
                for name in files.listing(meta)
                if name.endswith(".json") and not name.startswith(".")
            ]
        return self._records

    def find(self, name: str) -> PrefixRecord | None:
        """The record of a package, by the name that its file bears."""
        for record in self.records():
            if record.stated[0] == name:
                return record
        return None

    def python_metadata(self) -> frozenset[str]:
        """The METADATA and PKG-INFO files that conda packages brought, relative to the prefix.

        A distribution whose metadata is among them is conda's, whatever its INSTALLER says.
        """
        if self._metadata is None:
            found = set()
            for record in self.records():
                raw = record.raw()
                if b"-info" in raw:
                    found |= {
                        match.decode("utf-8", "replace") for match in re.findall(_METADATA, raw)
                    }
            self._metadata = frozenset(found)
        return self._metadata

    def installed(self, info: str) -> bool:
        """Whether the dist-info or egg-info at that path came with a conda package."""
        if not self.records():
            return False
        metadata = self.python_metadata()
        for base in (self.prefix, os.path.realpath(self.prefix)):
            relative = os.path.relpath(info, base)
            names = (relative, f"{relative}/METADATA", f"{relative}/PKG-INFO")
            if any(name in metadata for name in names):
                return True
        return False

    def owner_of(self, path: str | os.PathLike[str]) -> PrefixRecord | None:
        """The package that installed a file, by its path as given or resolved."""
        if not self.records():
            return None
        given = os.path.abspath(os.fspath(path))
        folder, name = os.path.split(given)
        real = os.path.realpath(self.prefix)
        wanted: dict[str, None] = {}
        spellings = (given, os.path.join(os.path.realpath(folder), name), os.path.realpath(given))
        for spelling in spellings:
            for base in (self.prefix, real):
                if spelling.startswith(base.rstrip("/") + "/"):
                    wanted[os.path.relpath(spelling, base)] = None
        for relative in wanted:
            for record in self._ranked(relative):
                if record.lists(relative):
                    return record
        return None

    def _ranked(self, relative: str) -> list[PrefixRecord]:
        # A file is mostly named like its package: look there before reading every record.
        parts = relative.lower().replace("_", "-")
        return sorted(self.records(), key=lambda one: one.stated[0].replace("_", "-") not in parts)
