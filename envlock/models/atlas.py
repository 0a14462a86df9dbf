"""An atlas's own list of releases, and what `atlas list` answers: the builds that are known."""

from __future__ import annotations

from .manifest import HeaderVersions, LibraryIdentity
from .record import Record
from .shown import ErrorInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

ATLAS_FORMAT = "envlock.atlas/1"


class AtlasRelease(Record):
    """One build; builds with the same `interface` number have the same class layouts."""

    tensorflow: str
    distribution: str
    shipped: bool  # in the atlas that comes with envlock
    interface: int
    global_scope: bool
    git_version: str | None = None
    compiler: str | None = None  # TensorFlow's own
    cxx11_abi: bool | None = None
    headers: HeaderVersions
    libraries: tuple[LibraryIdentity, ...] = ()
    probe: str  # the compiler that read the headers


class AtlasDocument(Record):
    """All builds, those of added atlases first, oldest release first in each."""

    format: str
    releases: tuple[AtlasRelease, ...] = ()
    error: ErrorInfo | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"format": (ATLAS_FORMAT,)}


class ListedLibrary(Record):
    """A library in an atlas's list of releases; `needed` is a place in the list's `needed`."""

    name: str
    soname: str | None
    build_id: str | None
    size: int
    needed: int


class ListedRelease(Record):
    """A release in that list."""

    version: str
    distribution: str
    abi: int
    global_scope: bool
    git_version: str | None
    compiler: str | None
    cxx11_abi: bool | None
    headers: HeaderVersions
    libraries: tuple[ListedLibrary, ...]
    probe: str


class ReleaseList(Record):
    """The section META of an atlas (docs/atlas.md)."""

    needed: tuple[tuple[str, ...], ...]
    releases: tuple[ListedRelease, ...]
    virtual: tuple[str, ...]
