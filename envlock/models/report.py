"""Verdicts, findings and reports: what a check answers."""

from __future__ import annotations

from .record import Record
from .verdict import VERDICTS, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

REPORT_FORMAT = "envlock.report/1"


class Finding(Record):
    """One rule's answer: what differs, both values, why it matters, what to do."""

    rule: str
    verdict: Verdict
    subject: str
    built: str | None = None
    live: str | None = None
    message: str  # what is wrong, one sentence, both values
    why: str | None = None  # why it matters, one sentence
    remedy: str | None = None  # a command that can be pasted, or one sentence
    count: int = 1  # how many symbols or files share this cause
    examples: tuple[str, ...] = ()  # at most five, demangled where they are C++ names
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"verdict": VERDICTS}


class Unchecked(Record):
    """Something that could not be compared, and why; never a match."""

    what: str
    why: str


class PluginSummary(Record):
    """The checked file."""

    path: str
    stamped: bool
    stamp: str | None = None  # "appended" or "linked-in"
    tensorflow: str | None = None  # the release it was built for, as far as known
    signed_by: str | None = None  # the trusted key that signed it, if a policy asks for one
    error: str | None = None  # why it could not be read


class EnvironmentSummary(Record):
    """The environment it was checked against."""

    prefix: str | None = None
    python: str | None = None
    tensorflow: str | None = None
    distribution: str | None = None
    glibc: str | None = None  # a release of the C library that was asked about alone (`--glibc`)


class Report(Record):
    """One plugin against one environment; `verdict` is None when the input could not be read."""

    plugin: PluginSummary
    environment: EnvironmentSummary
    verdict: Verdict | None
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"verdict": VERDICTS}


class ReportDocument(Record):
    """What `check --format json` writes."""

    format: str
    reports: tuple[Report, ...]
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"format": (REPORT_FORMAT,)}
