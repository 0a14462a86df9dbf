"""Asking a package index for files and digests (the Simple repository API, PEP 503 and PEP 691).

The only part of envlock that uses a network, and only when `recreate` is told to.
"""

from __future__ import annotations

import json
import os
import re

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from ..models.errors import InputError
from .urls import clean_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .recreating.plan import Item

DEFAULT = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
#: Bytes of one project's page; PyPI's largest has 30 MB.
_LIMIT = 1 << 26
_TIMEOUT = 30.0
_THREADS = 8
_LINK = re.compile(r"<a\s[^>]*?href\s*=\s*(?:\"([^\"]*)\"|'([^']*)')[^>]*>", re.I)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class IndexFile:
    """One file of a release; `version` is None where its name tells none."""

    __slots__ = ("build", "name", "sha256", "tags", "url", "version")

    def __init__(self, name: str, url: str, sha256: str | None) -> None:
        self.name = name
        self.url = url
        self.sha256 = sha256
        self.version: Version | None = None
        self.build: str | None = None
        # "py2.py3-none-any" stands for two tags, as WHEEL lists them.
        self.tags: tuple[str, ...] = ()
        try:
            if name.endswith(".whl"):
                _, self.version, build, tags = parse_wheel_filename(name)
                self.build = "".join(map(str, build)) or None
                self.tags = tuple(sorted(map(str, tags)))
            else:
                # `.tar.bz2` is older than PEP 625.
                plain = name.removesuffix(".tar.bz2")
                _, self.version = parse_sdist_filename(name if plain == name else plain + ".zip")
        except ValueError:
            pass

    @property
    def shown_url(self) -> str:
        """The address without credentials."""
        local = self.url.startswith("file:")
        return self.url.partition("#")[0] if local else clean_url(self.url)


def default_index() -> str:
    """What pip and uv would ask: PIP_INDEX_URL, UV_DEFAULT_INDEX, UV_INDEX_URL, else PyPI."""
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        value = os.environ.get(name)
        if value:
            return value
    return DEFAULT


class PackageIndex:
    """One index. A package that it does not have is an empty list, not an error."""

    def __init__(self, url: str | None = None) -> None:
        self.url = (url or default_index()).rstrip("/") + "/"
        if not self.url.startswith(("http://", "https://", "file://")):
            raise InputError(f"`{clean_url(self.url)}` is not the address of a package index")

    @property
    def shown(self) -> str:
        """The address without credentials."""
        return self.url if self.url.startswith("file:") else clean_url(self.url)

    def find_all(self, items: Sequence[Item]) -> dict[str, list[IndexFile]]:
        """The files of each package's version, several packages asked for at once."""
        from concurrent.futures import ThreadPoolExecutor

        wanted = {item.name: item.version for item in items if item.source is None}
        if not wanted:
            return {}
        with ThreadPoolExecutor(min(_THREADS, len(wanted))) as pool:
            found = pool.map(lambda pair: self.find(*pair), wanted.items())
            return dict(zip(wanted, found))

    def find(self, name: str, version: str) -> list[IndexFile]:
        """The files of one version. Raises `InputError` where the index cannot be reached."""
        try:
            wanted = Version(version)
        except ValueError:
            return []  # no installer takes it from an index
        return [file for file in self._files(name) if file.version == wanted]

    def _files(self, name: str) -> list[IndexFile]:
        from urllib.error import HTTPError, URLError
        from urllib.parse import quote
        from urllib.request import Request, urlopen

        address = f"{self.url}{quote(canonicalize_name(name))}/"
        if address.startswith("file:"):
            address += "index.html"
        request = Request(*_credentials(address))
        request.add_header("Accept", _ACCEPT)
        request.add_header("User-Agent", "envlock")
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:
                kind = answer.headers.get_content_type()
                body = answer.read(_LIMIT + 1)
                where = answer.geturl()
        except HTTPError as error:
            if error.code in (404, 410):
                return []
            raise InputError(
                f"the index `{self.shown}` answers {error.code} for `{name}`"
            ) from None
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if address.startswith("file:") and isinstance(reason, FileNotFoundError):
                return []
            if address.startswith("file:") and "No such file" in str(reason):
                return []
            raise InputError(
                f"the index `{self.shown}` cannot be reached: {reason}",
                hint="name another one with `--index URL`, or work without: `--offline`",
            ) from None
        if len(body) > _LIMIT:
            raise InputError(f"the index `{self.shown}` answers with more than {_LIMIT} bytes")
        text = body.decode("utf-8", "replace")
        return _json_files(text, where) if kind.endswith("+json") else _html_files(text, where)


def _credentials(address: str) -> tuple[str, None, dict[str, str]]:
    """The address without user and password, and the header that carries them."""
    from base64 import b64encode
    from urllib.parse import unquote

    match = re.match(r"(https?://)([^/@]*)@(.*)$", address)
    if match is None:
        return address, None, {}
    token = b64encode(unquote(match[2]).encode()).decode()
    return match[1] + match[3], None, {"Authorization": f"Basic {token}"}


def _json_files(text: str, where: str) -> list[IndexFile]:
    from urllib.parse import urljoin

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    files = value.get("files") if isinstance(value, dict) else None
    found = []
    for entry in files if isinstance(files, list) else ():
        if isinstance(entry, dict):
            name, url, hashes = entry.get("filename"), entry.get("url"), entry.get("hashes")
            if isinstance(name, str) and isinstance(url, str):
                digest = hashes.get("sha256") if isinstance(hashes, dict) else None
                try:
                    address = urljoin(where, url)
                except ValueError:  # `http://[`
                    continue
                found.append(IndexFile(name, address, _digest(digest)))
    return found


def _html_files(text: str, where: str) -> list[IndexFile]:
    from html import unescape
    from urllib.parse import unquote, urljoin

    found = []
    for match in _LINK.finditer(text):
        try:
            url = urljoin(where, unescape(match[1] or match[2] or ""))
        except ValueError:  # `http://[`
            continue
        address, _, fragment = url.partition("#")
        name = unquote(address.partition("?")[0].rpartition("/")[2])
        digest = fragment[len("sha256=") :] if fragment.startswith("sha256=") else None
        found.append(IndexFile(name, address, _digest(digest)))
    return found


def _digest(value: object) -> str | None:
    text = value.lower() if isinstance(value, str) else ""
    return text if _SHA256.match(text) else None
