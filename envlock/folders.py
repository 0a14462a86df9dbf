"""The user's folders for data and for what can be made again (XDG Base Directory Specification)."""

from __future__ import annotations

import os


def data_folder() -> str:
    """`$XDG_DATA_HOME/envlock`, else `~/.local/share/envlock`."""
    return _own("XDG_DATA_HOME", ".local/share")


def cache_folder() -> str:
    """`$XDG_CACHE_HOME/envlock`, else `~/.cache/envlock`."""
    return _own("XDG_CACHE_HOME", ".cache")


def _own(variable: str, default: str) -> str:
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):
        # The specification: a relative one is invalid and to be ignored, as an empty one is.
        base = os.path.join(os.path.expanduser("~"), default)
    return os.path.join(base, "envlock")
