"""Installed Python distributions, read from their dist-info or egg-info folders.

A lean counterpart of importlib.metadata (whose import alone costs more than the whole gate may),
after the packaging specifications "Recording installed projects" and "Core metadata". The first
distribution of a name on `sys.path` wins, as in Python.
"""

from __future__ import annotations

import os

from ..files import reading as files
from ..files.json_text import JsonReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_HEAD = 1 << 16
_SMALL = 1 << 16
_VERSION_MARKS = {ord(mark): None for mark in ".!+_-"}
_SUFFIXES = (".dist-info", ".egg-info")

UNKNOWN = "unknown"


def normalise(name: str) -> str:
    """A distribution name in the form that names are compared in, with `_` (PEP 503, PEP 491)."""
    plain = name.lower().replace("-", "_").replace(".", "_")
    while "__" in plain:
        plain = plain.replace("__", "_")
    return plain


def _is_version(text: str) -> bool:
    """Whether text can be a version: no more than PEP 440's characters."""
    bare = text.translate(_VERSION_MARKS)
    return bare.isalnum() and bare.isascii() and text[0].isalnum()


class RecordEntry:
    """One installed file of a distribution, as its RECORD lists it."""

    __slots__ = ("digest", "path", "size")

    def __init__(self, path: str, digest: str | None, size: int | None) -> None:
        self.path = path  # relative to the folder that holds the dist-info, or absolute
        self.digest = digest  # "sha256=<urlsafe base64 without padding>"
        self.size = size  # bytes


class Distribution:
    """One dist-info or egg-info. Everything is read at first use; damage ends up in `problem`."""

    __slots__ = ("_asked", "_head", "_record", "folder_name", "path", "problem", "site")

    def __init__(self, site: str, folder_name: str) -> None:
        self.site = site  # the sys.path folder that holds it
        self.folder_name = folder_name
        self.path = os.path.join(site, folder_name)
        # Why it is damaged; what can only be seen by reading is set once something was read.
        self.problem: str | None = None
        if folder_name.startswith("~"):
            self.problem = "it is left over from an interrupted `pip install`"
        self._head: dict[str, str] | None = None
        self._record: bytes | None = None
        self._asked = False

    @property
    def key(self) -> str:
        """The normalised name, from the folder's name alone."""
        return normalise(self._stem().partition("-")[0])

    def _stem(self) -> str:
        """The folder's name without suffix: name-version, maybe -pyX.Y behind it."""
        if self.folder_name == "EGG-INFO":
            return os.path.basename(self.site).rpartition(".")[0]
        return self.folder_name.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The name in METADATA, or else the one in the folder's name."""
        head = self._headers()
        return head.get("name") or files.plain(self._stem().partition("-")[0])

    @property
    def canonical_name(self) -> str:
        """The name as PEP 503 spells it: 2.18's METADATA says `tensorflow_cpu`, 2.17's not."""
        return normalise(self.name).replace("_", "-")

    @property
    def version(self) -> str:
        """The version in METADATA, else the one in the folder's name, else "unknown"."""
        head = self._headers()
        if "version" in head:
            return head["version"]
        stated = self._stem().partition("-")[2]
        if not self.folder_name.endswith(".dist-info"):
            import re

            stated = re.sub(r"-py\d+(\.\d+)?$", "", stated)
        return stated if _is_version(stated) else UNKNOWN

    def _headers(self) -> dict[str, str]:
        if self._head is None:
            self._head = {}
            try:
                raw = self._read_metadata()
            except files.Unreadable as problem:
                self._damaged(f"its metadata cannot be read: {problem}")
                return self._head
            # The description behind the headers can be long.
            for line in raw.partition(b"\n\n")[0].decode("utf-8", "replace").splitlines():
                if not line:
                    break
                key, _, value = line.partition(":")
                if key.lower() in ("name", "version"):
                    self._head.setdefault(key.lower(), files.plain(value.strip()))
            for wanted in ("name", "version"):
                if not self._head.get(wanted):
                    self._head.pop(wanted, None)
                    self._damaged(f"its metadata states no {wanted}")
            if not _is_version(self._head.get("version", "0")):
                self._damaged(f"its metadata states the version {self._head.pop('version')!r:.60}")
        return self._head

    def _read_metadata(self) -> bytes:
        if self.folder_name.endswith(".dist-info"):
            return files.read(os.path.join(self.path, "METADATA"), _HEAD, head=True)
        if os.path.isdir(self.path):
            return files.read(os.path.join(self.path, "PKG-INFO"), _HEAD, head=True)
        return files.read(self.path, _HEAD, head=True)

    def _damaged(self, why: str) -> None:
        if self.problem is None:
            self.problem = why

    def check(self) -> str | None:
        """Read the metadata and say what is wrong with it; None when nothing is."""
        self._headers()
        return self.problem

    def text(self, name: str) -> str | None:
        """A small file of the dist-info folder, None where it is not there."""
        return files.text(os.path.join(self.path, name), _SMALL)

    @property
    def installer(self) -> str | None:
        """Who installed it: "pip", "uv", "conda", ..."""
        lines = (self.text("INSTALLER") or "").split()
        return files.plain(lines[0]) if lines else None

    @property
    def direct_url(self) -> dict[str, Any] | None:
        """direct_url.json (PEP 610), None where it is absent or damaged."""
        content = self.text("direct_url.json")
        if content is None:
            return None
        try:
            value = JsonReader().read(content)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self._damaged("its direct_url.json is not a JSON object")
            return None
        return value

    @property
    def editable(self) -> bool:
        """Whether it was installed with `pip install --editable`."""
        info = (self.direct_url or {}).get("dir_info")
        return isinstance(info, dict) and info.get("editable") is True

    def record(self) -> bytes:
        """RECORD as it stands; empty where there is none (Debian's packages) or it is too large."""
        if self._record is None:
            self._record = b""
            for name in ("RECORD", "installed-files.txt"):
                path = os.path.join(self.path, name)
                try:
                    self._record = files.read(path, files.RECORD_LIMIT)
                    break
                except files.Unreadable as problem:
                    if os.path.lexists(path):
                        self._damaged(f"its {name} cannot be read: {problem}")
        return self._record

    def entries(self) -> Iterator[RecordEntry]:
        """The lines of RECORD, without those that name no file."""
        raw = self.record().decode("utf-8", "surrogateescape")
        legacy = not self.folder_name.endswith(".dist-info")
        for line in raw.splitlines():
            entry = _legacy_entry(self.folder_name, line) if legacy else record_entry(line)
            if entry is not None:
                yield entry

    def entry_of(self, relative: str) -> RecordEntry | None:
        """The entry of one file, named relative to `site`; found without reading all lines."""
        if not self.folder_name.endswith(".dist-info"):
            for entry in self.entries():
                if entry.path == relative:
                    return entry
            return None
        line = self._line_of(os.fsencode(_quoted(relative)) + b",")
        if line is None:
            return None
        return record_entry(line.decode("utf-8", "surrogateescape").rstrip("\r"))

    def _line_of(self, start: bytes) -> bytes | None:
        """The line of RECORD that starts so. It is read whole when it is asked for again."""
        if self._record is None and not self._asked:
            self._asked = True
            try:
                path = os.path.join(self.path, "RECORD")
                return files.line_with(path, start, files.RECORD_LIMIT)
            except files.Unreadable:
                pass  # `record` says why
        raw = self.record()
        at = 0 if raw.startswith(start) else raw.find(b"\n" + start) + 1
        if at == 0 and not raw.startswith(start):
            return None
        end = raw.find(b"\n", at)
        return raw[at : end if end >= 0 else len(raw)]


def _quoted(path: str) -> str:
    return '"' + path.replace('"', '""') + '"' if '"' in path or "," in path else path


def record_entry(line: str) -> RecordEntry | None:
    """One line of RECORD; None for what is not one."""
    parts = line.rsplit(",", 2)
    if len(parts) != 3:
        return None
    path, digest, size = parts
    if path.startswith('"') and path.endswith('"') and len(path) > 1:
        path = path[1:-1].replace('""', '"')
    if not path:
        return None
    known = size.isdecimal() and len(size) < 20
    return RecordEntry(path, digest or None, int(size) if known else None)


def _legacy_entry(folder_name: str, line: str) -> RecordEntry | None:
    # installed-files.txt is relative to the egg-info folder itself.
    if not line.strip():
        return None
    return RecordEntry(os.path.normpath(os.path.join(folder_name, line.strip())), None, None)


class Distributions:
    """All distributions on a search path, first folder first."""

    def __init__(self, search_path: Sequence[str]) -> None:
        self._search_path = search_path
        self._folders: list[tuple[str, str]] | None = None
        self._all: list[Distribution] | None = None

    def folders(self) -> list[tuple[str, str]]:
        """(folder as on sys.path, folder without symbolic links), each real one once."""
        if self._folders is None:
            self._folders = []
            seen = set()
            for folder in self._search_path:
                real = os.path.realpath(folder)
                if real not in seen:
                    seen.add(real)
                    self._folders.append((folder, real))
        return self._folders

    def all(self) -> list[Distribution]:
        """Every distribution, shadowed ones too, in search order; nothing is opened for it."""
        if self._all is None:
            self._all = []
            for folder, _ in self.folders():
                self._all += [Distribution(folder, name) for name in _info_names(folder)]
        return self._all

    def __iter__(self) -> Iterator[Distribution]:
        """The distributions that count: the first of each name."""
        seen = set()
        for one in self.all():
            if one.key not in seen and not one.key.startswith("~"):
                seen.add(one.key)
                yield one

    def find(self, name: str) -> Distribution | None:
        """The distribution of that name, None where there is none."""
        found = self.find_all(name)
        return found[0] if found else None

    def find_all(self, name: str) -> list[Distribution]:
        """All of that name: more than one is an environment that pip did not leave so."""
        wanted = normalise(name)
        return [one for one in self.all() if one.key == wanted]

    def owner_of(self, path: str | os.PathLike[str]) -> Distribution | None:
        """The distribution whose RECORD lists a file, by its path as given or resolved."""
        for one in self.owners_of(path):
            return one
        return None

    def owners_of(self, path: str | os.PathLike[str]) -> Iterator[Distribution]:
        """All distributions whose RECORD lists the file: two, where one overwrote another's."""
        given = os.path.abspath(os.fspath(path))
        folder, name = os.path.split(given)
        spellings = {given, os.path.join(os.path.realpath(folder), name), os.path.realpath(given)}
        relatives = {}
        top = set()
        for folder, real in self.folders():
            # A wheel's files go below site-packages or, its scripts and data, below the prefix.
            roots = {folder, real, _prefix_of(folder), _prefix_of(real)}
            near = [one for one in spellings if any(one.startswith(root + "/") for root in roots)]
            if near:
                bases = {folder, real}
                relatives[folder] = {
                    *near,
                    *(os.path.relpath(one, base) for one in near for base in bases),
                }
                top |= {
                    _top_name(one[len(base) + 1 :])
                    for one in near
                    for base in bases
                    if one.startswith(base + "/")
                }
        # The owner mostly carries the top folder's name: look there before reading every RECORD.
        candidates = [one for one in self.all() if one.site in relatives]
        for one in sorted(candidates, key=lambda one: not _related(one.key, top)):
            if any(one.entry_of(relative) is not None for relative in relatives[one.site]):
                yield one


def _prefix_of(folder: str) -> str:
    """The prefix of a lib/pythonX.Y/site-packages; the folder itself where it is not one."""
    if os.path.basename(folder) in ("site-packages", "dist-packages"):
        return os.path.dirname(os.path.dirname(os.path.dirname(folder)))
    return folder


def _top_name(relative: str) -> str:
    first = relative.partition("/")[0]
    return normalise(first[: -len(".libs")] if first.endswith(".libs") else first)


def _related(key: str, top: set[str]) -> bool:
    return any(key.startswith(name) or name.startswith(key) for name in top)


def _info_names(folder: str) -> list[str]:
    if folder.endswith(".egg"):
        # An unzipped egg on sys.path keeps its metadata in EGG-INFO.
        return ["EGG-INFO"] if os.path.isdir(os.path.join(folder, "EGG-INFO")) else []
    return [name for name in files.listing(folder) if name.endswith(_SUFFIXES)]
