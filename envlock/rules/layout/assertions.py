"""A plugin compiled without NDEBUG whose assertions the framework, compiled with it, cannot meet.

Up to 2.7 `core::RefCounted::Unref` sets the count to 0 within a DCHECK, so only where NDEBUG is not
defined, and the destructor, inlined into the plugin, checks that it is 0. TensorFlow drops the last
reference to every dataset itself; the process ends there, whatever release the plugin was built
with. Resources mostly live until the process ends, so for them this is not a reason to refuse.
"""

from __future__ import annotations

from ...models.report import Finding
from ...models.versions import order
from .texts import ASSERTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...plugin.facts import PluginFacts

#: The last release whose `Unref` leaves the count as it is.
LAST = (2, 7)


def assertion_findings(plugin: PluginFacts, version: str) -> tuple[Finding, ...]:
    """The finding on a plugin that would end the process in this release, if it would."""
    if order(version)[:2] > LAST or not plugin.asserts_counts:
        return ()
    return (_failing(version),)


def _failing(version: str) -> Finding:
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
