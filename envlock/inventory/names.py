"""Where the history is, without opening it: commands that do not need it stay lean."""

from __future__ import annotations

import os


def default_path() -> str:
    """`$ENVLOCK_STORE`, or `envlock/history.sqlite3` in the user's data folder (XDG)."""
    named = os.environ.get("ENVLOCK_STORE")
    if named:
        return named
    base = os.environ.get("XDG_DATA_HOME") or ""
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(base, "envlock", "history.sqlite3")
