"""Where atlases of one's own are looked for; apart, so that a gate without any imports no more.

`$ENVLOCK_ATLAS` names files or folders, separated by colons. Then comes `envlock/atlas` below the
user's data folder (`$XDG_DATA_HOME`, default `~/.local/share`).
"""

from __future__ import annotations

import os

from ..errors import FileAccessError
from ..folders import data_folder

SUFFIX = ".atlas"


def user_folder() -> str:
    """Where atlases of one's own are looked for by default."""
    return os.path.join(data_folder(), "atlas")


def added_files() -> list[str]:
    """The atlases that the user added, in the order in which they are asked.

    A file that is named is listed even if it does not exist: whoever opens it says so. Raises
    `FileAccessError` for a folder that cannot be read.
    """
    found = []
    named = [name for name in os.environ.get("ENVLOCK_ATLAS", "").split(":") if name]
    for place in (*named, user_folder()):
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
