"""What `atlas list` answers: the TensorFlow builds that the atlases at hand know."""

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
