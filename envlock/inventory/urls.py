"""URLs without secrets: no user, no password, no token, no query, no fragment."""

from __future__ import annotations

import re

_TOKEN = r"/t/[^/]+/"  # conda's private channels
_CREDENTIALS = r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@"
_SSH_USER = r"^((?:[a-z]+\+)?ssh://)git@"


def clean_url(url: str) -> str:
    """The URL as it may be recorded; a local path is reduced to its last name."""
    from ..files.reading import plain

    text = plain(url).strip().partition("#")[0].partition("?")[0]
    if is_local(text):
        name = re.sub(r"^(?:[a-z]+\+)?file:(?://[^/]*)?", "", text).rstrip("/").rpartition("/")[2]
        return f"file:{name}"
    if not re.match(_SSH_USER, text):
        # ssh needs its user's name, and `git` is everybody's.
        text = re.sub(_CREDENTIALS, r"\1", text)
    return re.sub(_TOKEN, "/", text)


def is_local(url: str) -> bool:
    """Whether it names a file of the machine."""
    bare = url.partition("+")[2] if re.match(r"[a-z]+\+", url) else url
    return bare.startswith(("file:", "/", ".")) or "://" not in bare
