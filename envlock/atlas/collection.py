"""All atlases at hand: the shipped one, and those that the user added for builds it does not know.

Added atlases are looked for in `$ENVLOCK_ATLAS` (files or folders, separated by colons) and in
`envlock/atlas` below the user's data folder (`$XDG_DATA_HOME`, default `~/.local/share`).
"""

from __future__ import annotations

import os

from ..errors import InputError
from ..versions import minor
from .format import Atlas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..models.manifest import LibraryIdentity
    from .format import Release

    class Installed(Protocol):
        """An installed TensorFlow, as far as the atlas identifies it."""

        @property
        def version(self) -> str: ...
        @property
        def libraries(self) -> tuple[LibraryIdentity, ...]: ...


SUFFIX = ".atlas"


class Known:
    """A release, the atlas that holds it, and whether it is the very build that was asked for."""

    __slots__ = ("atlas", "exact", "release")

    def __init__(self, atlas: Atlas, release: Release, exact: bool) -> None:
        self.atlas = atlas
        self.release = release
        self.exact = exact


def user_folder() -> str:
    """Where atlases of one's own are looked for by default."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(
        os.path.expanduser("~"), ".local", "share"
    )
    return os.path.join(base, "envlock", "atlas")


def added_files() -> list[str]:
    """The atlases that the user added, in the order in which they are asked."""
    found = []
    named = [name for name in os.environ.get("ENVLOCK_ATLAS", "").split(":") if name]
    for place in (*named, user_folder()):
        if os.path.isdir(place):
            names = sorted(name for name in os.listdir(place) if name.endswith(SUFFIX))
            found += [os.path.join(place, name) for name in names]
        elif place in named:
            found.append(place)
    return found


def open_atlas() -> Atlas:
    """The shipped atlas. Raises `InputError` when it is missing or damaged."""
    return Atlas.open()


def find_release(version: str, distribution: str | None) -> Known | None:
    """A release by number, else another patch of the same minor; added atlases come first.

    Raises `InputError` when an atlas is damaged.
    """
    atlases = [*map(Atlas.open, added_files()), open_atlas()]
    for find in (Atlas.find, _same_minor):
        for atlas in atlases:
            release = find(atlas, version, distribution)
            if release is not None:
                return Known(atlas, release, False)
    return None


def _same_minor(atlas: Atlas, version: str, distribution: str | None) -> Release | None:
    """Another patch release of the same minor: their binary interfaces never differed so far."""
    fitting = [r for r in atlas.releases if minor(r.version) == minor(version)]
    for release in fitting:
        if release.distribution == distribution:
            return release
    return fitting[-1] if fitting else None


def find_installed(installed: Installed, distribution: str | None) -> Known | None:
    """The build that is installed: the one with the same libraries, else the same release.

    Raises `InputError` when an atlas is damaged.
    """
    own = {library.name: _mark(library.build_id, library.size) for library in installed.libraries}
    for atlas in (*map(Atlas.open, added_files()), open_atlas()):
        for release in atlas.releases:
            if release.version != installed.version:
                continue
            marks = {
                one["name"]: _mark(one.get("build_id"), one.get("size"))
                for one in release.libraries
            }
            shared = own.keys() & marks.keys()
            if shared and all(own[name] == marks[name] for name in shared):
                return Known(atlas, release, True)
    return find_release(installed.version, distribution)


def _mark(build_id: str | None, size: int | None) -> str:
    return build_id or f"{size} bytes"


__all__ = [
    "SUFFIX",
    "InputError",
    "Known",
    "added_files",
    "find_installed",
    "find_release",
    "open_atlas",
]
