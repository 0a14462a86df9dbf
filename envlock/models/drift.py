"""What changed between two environments, and what each change does to the plugins."""

from __future__ import annotations

from .record import Record
from .report import Report, Unchecked
from .shown import ErrorInfo
from .verdict import VERDICTS, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

DRIFT_FORMAT = "envlock.drift/1"

#: "files" are contents that differ although the package is the same.
CHANGED_PARTS = ("interpreter", "native", "packages", "files", "plugins", "variables")
KINDS = ("replaced", "removed", "downgraded", "upgraded", "changed", "modified", "added")


class Side(Record):
    """One of the two things compared."""

    kind: str
    label: str  # as it was named by whoever asked
    detail: str | None = None  # "uv.lock", "TensorFlow 2.15.1, Python 3.11.7"
    fingerprint: str | None = None  # None where it is not a whole environment
    digests: dict[str, str] = {}  # noqa: RUF012
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "kind": ("environment", "snapshot", "saved", "plugin", "lock-file")
    }


class Effect(Record):
    """What a change does to one plugin: a finding of the check, in short."""

    plugin: str
    rule: str
    verdict: Verdict
    message: str
    remedy: str | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"verdict": VERDICTS}


class Change(Record):
    """One difference; `verdict` is its worst effect, "drifted" where none is known."""

    part: str
    kind: str
    subject: str  # "numpy", "libstdc++", "LD_LIBRARY_PATH"
    manager: str | None = None  # "pip" or "conda"
    before: str | None = None
    after: str | None = None
    message: str
    details: tuple[str, ...] = ()
    verdict: Verdict = Verdict.DRIFTED
    effects: tuple[Effect, ...] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "part": CHANGED_PARTS,
        "kind": KINDS,
        "verdict": VERDICTS,
    }


class DriftDocument(Record):
    """What `diff` and `drift` write as JSON; changes are sorted, the worst effect first."""

    format: str
    before: Side
    after: Side
    verdict: Verdict | None  # None: an input could not be read
    changes: tuple[Change, ...] = ()
    reports: tuple[Report, ...] = ()  # the plugins of the environment after the change
    unchecked: tuple[Unchecked, ...] = ()
    error: ErrorInfo | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "format": (DRIFT_FORMAT,),
        "verdict": VERDICTS,
    }
