"""The words that all report formats share, and their sentences: the verdict first, counted.

A verdict is called what the contract calls it, in every format; what has none is "unreadable", and
what was not compared "unchecked".
"""

from __future__ import annotations

from ..models.errors import printable
from ..models.verdict import Verdict
from ..models.verdict import worst as worst_verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..models.drift import Change, DriftDocument, Side
    from ..models.report import EnvironmentSummary, Finding, Report
    from .formats import Document

#: What could not be read has no verdict; it stands under this name.
UNREAD = "unreadable"
UNCHECKED = "unchecked"
#: Worst first, the order of every list.
RANKS = ("incompatible", "unsafe", UNREAD, "drifted", "compatible")
#: What a verdict means, behind its word.
_MEANS = {
    "compatible": "with {}",
    "drifted": "but fine with {}",
    "unsafe": "with {}: it would load, and can then crash or compute garbage",
    "incompatible": "with {}: it would not load",
}

__all__ = ["RANKS", "UNCHECKED", "UNREAD", "headline", "printable", "word"]


def word(verdict: str | None) -> str:
    """What a verdict is called; None is that of an input that could not be read."""
    return verdict or UNREAD


def headline(report: Report) -> str:
    """`zero_out.so: compatible with TensorFlow 2.15.1 (tensorflow-cpu)`."""
    said = f"{report.plugin.path}: {word(report.verdict)}"
    if report.verdict is None:
        return f"{said}: {report.plugin.error}"
    decisive = [f.rule for f in report.findings if f.verdict == report.verdict]
    if decisive and all(rule.startswith("signature-") for rule in decisive):
        return f"{said}: no trusted key has signed what would be loaded"
    if decisive == ["stamp-missing"]:
        return f"{said}: the policy requires a stamp"
    comma = "," if report.verdict == "drifted" else ""
    return f"{said}{comma} {_MEANS[report.verdict].format(_tensorflow(report.environment))}"


def rank(verdict: str | None) -> int:
    """Position in a list that starts with the worst."""
    return RANKS.index(word(verdict))


def by_severity(reports: Iterable[Report]) -> list[Report]:
    """Reports, worst first, then by path."""
    return sorted(reports, key=lambda r: (rank(r.verdict), r.plugin.path))


def findings_by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Findings, worst first, otherwise in the order of the rules."""
    return sorted(findings, key=lambda f: rank(f.verdict))


def count(number: int, noun: str) -> str:
    """ "1 plugin", "3 plugins"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def tally(reports: Iterable[Report]) -> dict[str, int]:
    """How many reports have each verdict, worst first, zeros left out."""
    counts = dict.fromkeys(RANKS, 0)
    for report in reports:
        counts[word(report.verdict)] += 1
    return {verdict: number for verdict, number in counts.items() if number}


def worst(reports: Iterable[Report]) -> Verdict | None:
    """The worst verdict; None where something could not be read and nothing worse is known."""
    verdicts = [r.verdict for r in reports]
    known = [v for v in verdicts if v is not None]
    top = worst_verdict(known)
    if None in verdicts and top.works:
        return None
    return top


def environment_line(environment: EnvironmentSummary) -> str:
    """ "TensorFlow 2.15.1 (tensorflow-cpu), Python 3.11.7"."""
    parts = [_tensorflow(environment)]
    if environment.python:
        parts.append(f"Python {environment.python}")
    return printable(", ".join(parts))


def _tensorflow(environment: EnvironmentSummary) -> str:
    if environment.glibc:
        return f"glibc {environment.glibc}"
    if not environment.tensorflow:
        return "no TensorFlow"
    name = environment.distribution
    suffix = f" ({name})" if name and name != "tensorflow" else ""
    return f"TensorFlow {environment.tensorflow}{suffix}"


def is_matrix(reports: Sequence[Report]) -> bool:
    """Whether plugins were checked against several releases each."""
    environments: dict[str, set[EnvironmentSummary]] = {}
    for report in reports:
        environments.setdefault(report.plugin.path, set()).add(report.environment)
    return any(len(one) > 1 for one in environments.values())


def against(report: Report, matrix: bool) -> str:
    """ " with TensorFlow 2.15.1" in a matrix, where only that distinguishes reports."""
    return f" with {_tensorflow(report.environment)}" if matrix else ""


def plugins_sentence(reports: Sequence[Report]) -> str:
    """The verdict over all plugins in one sentence."""
    if not reports:
        return "No TensorFlow plugin was found"
    if len(reports) == 1:
        return printable(headline(reports[0]))
    counts = tally(reports)
    nouns = "combinations of plugin and release" if is_matrix(reports) else "plugins"
    if len(counts) == 1:
        return f"All {len(reports)} {nouns} are {next(iter(counts))}"
    parts = [f"{n} {'is' if n == 1 else 'are'} {verdict}" for verdict, n in counts.items()]
    return f"Of {len(reports)} {nouns}, {joined(parts)}"


def harmful(changes: Iterable[Change]) -> list[Change]:
    """The changes that break or endanger a plugin."""
    return [c for c in changes if not c.verdict.works]


def side_name(side: Side) -> str:
    """A side of a comparison, for people."""
    noun = {
        "environment": "environment",
        "snapshot": "snapshot",
        "saved": "saved snapshot",
        "plugin": "build environment of",
        "lock-file": "lock file",
    }[side.kind]
    return printable(f"{noun} {side.label}")


def drift_sentence(document: DriftDocument) -> str:
    """What changed and what it does, in one sentence."""
    if document.error is not None:
        return printable(document.error.message)
    changes = document.changes
    if not changes:
        return "Nothing that matters changed"
    bad = harmful(changes)
    plugins = {effect.plugin for change in bad for effect in change.effects}
    total = count(len(changes), "change")
    if not bad:
        failing = [r for r in document.reports if r.verdict is not None and not r.verdict.works]
        if failing:
            return (
                f"{total}; {count(len(failing), 'plugin')} would fail or misbehave, "
                "for reasons that are older than the changes or could not be linked to one"
            )
        if not document.reports:
            return f"{total}; the environment has no plugin that they could affect"
        return f"{total}, none of which affects a plugin"
    verb = "break" if any(c.verdict == Verdict.INCOMPATIBLE for c in bad) else "endanger"
    if len(bad) == 1:
        verb += "s"
    start = total if len(bad) == len(changes) else f"{len(bad)} of {total}"
    return f"{start} {verb} {count(len(plugins), 'plugin')}"


def sentence(document: Document) -> str:
    """The one sentence that every format starts with."""
    from ..models.drift import DriftDocument

    if isinstance(document, DriftDocument):
        return drift_sentence(document)
    return plugins_sentence(document.reports)


def document_verdict(document: Document) -> str | None:
    """The worst verdict in it; None where an input could not be read."""
    from ..models.drift import DriftDocument

    if isinstance(document, DriftDocument):
        return document.verdict
    return worst(document.reports)


def values(before: str | None, after: str | None, arrow: str = "->") -> str:
    """ "2.14.1 -> 2.15.1", or the one there is."""
    if before is not None and after is not None:
        return f"{before} {arrow} {after}"
    return before or after or ""
