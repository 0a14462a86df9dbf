"""All atlases at hand: the shipped one, and those that the user added for builds it does not know.

Where those are looked for: `envlock.files.folders`.
"""

from __future__ import annotations

import os

from ..files.folders import SUFFIX, added_files
from ..models.errors import InputError
from ..models.versions import minor, order
from .format import SHIPPED, Atlas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    from ..models.manifest import LibraryIdentity
    from .format import Release

    class Installed(Protocol):
        """An installed TensorFlow, as far as the atlas identifies it."""

        @property
        def version(self) -> str: ...
        @property
        def libraries(self) -> tuple[LibraryIdentity, ...]: ...


#: How the libraries are called that all wheels of one build have in common.
_COMMON = "libtensorflow_"


class Known:
    """A release, the atlas that holds it, and whether it is the very build that was asked for."""

    __slots__ = ("atlas", "exact", "release")

    def __init__(self, atlas: Atlas, release: Release, exact: bool) -> None:
        self.atlas = atlas
        self.release = release
        self.exact = exact


def open_atlas() -> Atlas:
    """The shipped atlas. Raises `InputError` when it is missing or damaged."""
    return _open(SHIPPED)


def open_added() -> list[Atlas]:
    """The atlases that the user added. Raises `InputError` when one is missing or damaged."""
    found = [_open(path) for path in added_files()]
    for atlas in found:
        _ = atlas.releases
    return found


def _open(path: str) -> Atlas:
    """An atlas that is kept open as long as its file stays what it is."""
    try:
        status = os.stat(path)
    except OSError:
        return Atlas.open(path)  # says what is wrong
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    known = _atlases.get(path)
    if known is None or known[0] != state:
        known = _atlases[path] = (state, Atlas.open(path))
    return known[1]


_atlases: dict[str, tuple[tuple[int, ...], Atlas]] = {}


def find_release(version: str, distribution: str | None, first: Sequence[str] = ()) -> Known | None:
    """A release by number; for a patch newer than every known one, the newest of its minor.

    The files named in `first` are asked, then the added atlases, then the shipped, which holds
    every public release there was when it was made. A number of its own such as `2.15.0+nv24`
    is looked up as `2.15.0` where it is not known as it stands. Raises `InputError` when an atlas
    is damaged.
    """
    atlases = [*map(_open, first), *open_added(), open_atlas()]
    for name in dict.fromkeys((version, version.partition("+")[0])):
        for atlas in atlases:
            release = atlas.find(name, distribution)
            if release is not None:
                return Known(atlas, release, False)
    siblings = [
        (order(release.version), atlas, release)
        for atlas in reversed(atlases)
        for release in atlas.releases
        if minor(release.version) == minor(version)
    ]
    newest = max((number for number, _, _ in siblings), default=())
    if not siblings or order(version.partition("+")[0]) <= newest:
        return None
    # A build of one's own says less about a public patch release than another public one does.
    atlas = siblings[0][1]
    number = max(number for number, one, _ in siblings if one is atlas)
    fitting = [release for n, one, release in siblings if one is atlas and n == number]
    own = [release for release in fitting if release.distribution == distribution]
    return Known(atlas, (own or fitting)[0], False)


def find_installed(
    installed: Installed, distribution: str | None, first: Sequence[str] = ()
) -> Known | None:
    """The build that is installed: the one with the same libraries, else the same release.

    Libraries that are linked anew for each Python, `_pywrap_tensorflow_internal.so` and its like,
    say nothing: the wheels of one build differ in them. `first` as for `find_release`. Raises
    `InputError` when an atlas is damaged.
    """
    own = marks(one for one in installed.libraries if one.name.startswith(_COMMON))
    for atlas in (*map(_open, first), *open_added(), open_atlas()):
        for release in atlas.releases:
            if release.version != installed.version:
                continue
            known = {
                one["name"]: _mark(one.get("build_id"), one.get("size"))
                for one in release.libraries
            }
            shared = own.keys() & known.keys()
            if shared and all(own[name] == known[name] for name in shared):
                return Known(atlas, release, True)
    return find_release(installed.version, distribution, first)


def marks(libraries: Iterable[LibraryIdentity]) -> dict[str, str]:
    """What distinguishes builds of a library, by its name: the build-id, else the size."""
    return {library.name: _mark(library.build_id, library.size) for library in libraries}


def _mark(build_id: str | None, size: int | None) -> str:
    return build_id or f"{size} bytes"


__all__ = [
    "SUFFIX",
    "InputError",
    "Known",
    "added_files",
    "find_installed",
    "find_release",
    "marks",
    "open_added",
    "open_atlas",
]
