"""Where the history is, without opening it: commands that do not need it stay lean."""

from __future__ import annotations

import os

from ..files.folders import data_folder


def default_path() -> str:
    """`$ENVLOCK_STORE`, or `history.sqlite3` in the user's data folder."""
    named = os.environ.get("ENVLOCK_STORE")
    return named or os.path.join(data_folder(), "history.sqlite3")
