"""The user's folders (XDG Base Directory Specification), and the atlases of one's own in them.

`$ENVLOCK_ATLAS` names files or folders of atlases, separated by colons. Then comes `atlas` in the
user's data folder. All apart from `envlock.atlas`, which a gate without any does not import.
"""

from __future__ import annotations

import os

from ..models.errors import FileAccessError

SUFFIX = ".atlas"


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


def atlas_folder() -> str:
    """Where atlases of one's own are looked for by default."""
    return os.path.join(data_folder(), "atlas")


def added_files() -> list[str]:
    """The atlases that the user added, in the order in which they are asked.

    A file that is named is listed even if it does not exist: whoever opens it says so. Raises
    `FileAccessError` for a folder that cannot be read.
    """
    found = []
    named = [name for name in os.environ.get("ENVLOCK_ATLAS", "").split(":") if name]
    for place in (*named, atlas_folder()):
        if os.path.isdir(place):
            try:
                names = sorted(name for name in os.listdir(place) if name.endswith(SUFFIX))
            except OSError as error:
                raise FileAccessError(
                    f"cannot read the folder of atlases `{place}`: {error.strerror}"
                ) from None
            found += [os.path.join(place, name) for name in names]
        elif place in named:
            found.append(place)
    return found
