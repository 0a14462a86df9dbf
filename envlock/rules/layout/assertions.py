"""A plugin compiled without NDEBUG whose assertions the framework, compiled with it, cannot meet.

Up to 2.7 `core::RefCounted::Unref` sets the count to 0 within a DCHECK, so only where NDEBUG is not
defined, and the destructor, inlined into the plugin, checks that it is 0. TensorFlow drops the last
reference to every dataset itself; the process ends there, whatever release the plugin was built
with. Resources mostly live until the process ends, so for them this is no reason to refuse.
"""

from __future__ import annotations

from ...models.report import Finding
from ...models.versions import order
from .texts import ASSERTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...binary.elf import ElfFile

#: The last release whose `Unref` leaves the count as it is.
LAST = (2, 7)
_DATASET = b"_ZTIN10tensorflow4data11DatasetBaseE"
#: The file that a failing assertion names; it stands in the plugin only if one is compiled in.
_HEADER = b"tensorflow/core/platform/refcount.h\0"


def asserts_counts(elf: ElfFile, symbols: Sequence[bytes]) -> bool:
    """Whether the plugin has datasets that check their count; `symbols` are those it needs."""
    return _DATASET in symbols and elf.data.find(_HEADER) >= 0


def concerns(version: str) -> bool:
    """Whether a release leaves the count as it is."""
    return order(version)[:2] <= LAST


def assertion_findings(elf: ElfFile, version: str) -> list[Finding]:
    """The finding on a plugin that would end the process in this release, if it would."""
    if not concerns(version):
        return []
    from ...atlas.link import Wants

    return [failing(version)] if asserts_counts(elf, Wants(elf).symbols) else []


def failing(version: str) -> Finding:
    """The finding for one release."""
    return ASSERTION.finding(
        subject="tensorflow::core::RefCounted",
        built="without NDEBUG",
        live="with NDEBUG",
        message=(
            "the plugin's datasets check their reference count when they are deleted, and "
            f"TensorFlow {version}, compiled with NDEBUG, leaves it at 1"
        ),
        why="the check fails as soon as TensorFlow drops a dataset, and ends the process",
        remedy="compile the plugin with `-DNDEBUG`",
    )
