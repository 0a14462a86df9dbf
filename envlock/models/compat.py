"""What `compat` answers: a verdict for every TensorFlow release that the atlas knows."""

from __future__ import annotations

from .record import Record
from .report import Finding, PluginSummary, Unchecked
from .runtime import RuntimeNeeds
from .verdict import VERDICTS, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

COMPAT_FORMAT = "envlock.compat/1"


class CompatRelease(Record):
    """One release; `tensorflow` is its version."""

    tensorflow: str
    distribution: str
    added: bool = False  # from an atlas that the user added
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"verdict": VERDICTS}


class OtherDistribution(Record):
    """The distribution that was not asked about, and its releases that take the plugin where those
    of the one that was do not."""

    name: str
    releases: tuple[str, ...]


class CompatDocument(Record):
    """One plugin against every release; `releases` is empty when it could not be read."""

    format: str
    plugin: PluginSummary
    releases: tuple[CompatRelease, ...] = ()
    other: OtherDistribution | None = None  # None: it takes no more than this one
    runtime: RuntimeNeeds | None = None  # None where the plugin could not be read
    unchecked: tuple[Unchecked, ...] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"format": (COMPAT_FORMAT,)}
