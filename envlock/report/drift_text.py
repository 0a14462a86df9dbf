"""A drift report for the terminal: 80 columns, the worst first, harmless changes folded."""

from __future__ import annotations

from . import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..models.drift import Change, DriftDocument, Effect, Side
    from ..models.report import Report
    from .text import Style

WIDTH = 80
_FOLDED = 8


def render(document: DriftDocument, *, everything: bool, style: Style) -> str:
    """The report; with `everything` harmless changes and unchecked things are listed too."""
    verdict = words.word(document.verdict)
    lines = [*_wrap(words.drift_sentence(document), style=style, kind=verdict)]
    lines += _side("before", document.before)
    lines += _side("after", document.after)
    bad = words.harmful(document.changes)
    for change in bad:
        lines += ["", *_change(change, style)]
    lines += _harmless([c for c in document.changes if c not in bad], everything, style)
    lines += _plugins(document.reports, document.changes, style)
    lines += _unchecked(document, everything)
    return "".join(f"{line}\n" for line in lines)


def _wrap(
    text: str, indent: str = "", more: str | None = None, style: Style | None = None, kind: str = ""
) -> list[str]:
    """Lines of at most 80 columns; words longer than that stay whole, so they can be copied."""
    from textwrap import wrap

    found = wrap(
        words.printable(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if more is None else more,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [style(kind, line) for line in found] if style is not None else found


def _side(label: str, side: Side) -> list[str]:
    text = words.side_name(side) + (f": {side.detail}" if side.detail else "")
    return _wrap(f"{label:<7}{text}", "  ", " " * 9)


def _change(change: Change, style: Style) -> Iterator[str]:
    values = words.values(change.before, change.after)
    head = f"{change.subject} {change.kind}" + (f", {values}" if values else "")
    lines = _wrap(f"{change.verdict}: {head}")
    yield lines[0].replace(change.verdict, style(change.verdict, change.verdict), 1)
    yield from lines[1:]
    for detail in change.details:
        yield from _wrap(f"- {detail}", "  ", "    ")
    by_finding: dict[tuple[str, str, str | None], list[Effect]] = {}
    for effect in change.effects:
        by_finding.setdefault((effect.rule, effect.message, effect.remedy), []).append(effect)
    for (rule, message, remedy), effects in by_finding.items():
        for effect in effects:
            yield f"  {words.printable(effect.plugin)}"
        yield from _wrap(f"{effects[0].verdict}[{rule}]: {message}", "    ", "      ")
        if remedy:
            yield f"    fix: {words.printable(remedy)}"


def _harmless(changes: list[Change], everything: bool, style: Style) -> Iterator[str]:
    if not changes:
        return
    yield ""
    title = f"{words.count(len(changes), 'change')} without a known effect"
    folded = len(changes) > _FOLDED and not everything
    yield title + (", `--all` lists them in full:" if folded else ":")
    if folded:
        yield from _wrap(", ".join(_short(change) for change in changes), "  ")
        return
    for change in changes:
        yield from _wrap(change.message, "  ", "    ")
        for detail in change.details:
            yield from _wrap(f"- {detail}", "    ", "      ")


def _short(change: Change) -> str:
    sign = {"added": "+", "removed": "-"}.get(change.kind, "")
    values = change.after if change.kind in ("upgraded", "downgraded", "changed") else ""
    return f"{sign}{change.subject}" + (f" {values}" if values else "")


def _plugins(reports: Iterable[Report], changes: Iterable[Change], style: Style) -> Iterator[str]:
    reports = words.by_severity(reports)
    if not reports:
        return
    told = {(e.plugin, e.rule, e.message) for change in changes for e in change.effects}
    tally = ", ".join(
        style(verdict, f"{number} {verdict}") for verdict, number in words.tally(reports).items()
    )
    yield ""
    yield f"plugins: {tally}"
    for report in reports:
        left = [
            finding
            for finding in words.findings_by_severity(report.findings)
            if (report.plugin.path, finding.rule, finding.message) not in told
            and not finding.verdict.works
        ]
        if report.verdict is None:
            yield from _wrap(f"{report.plugin.path}: {report.plugin.error}", "  ", "    ")
        elif left:
            yield f"  {words.printable(report.plugin.path)}, for a reason that did not change:"
            for finding in left:
                text = f"{finding.verdict}[{finding.rule}]: {finding.message}"
                yield from _wrap(text, "    ", "      ")
                if finding.remedy:
                    yield f"    fix: {words.printable(finding.remedy)}"


def _unchecked(document: DriftDocument, everything: bool) -> Iterator[str]:
    found = [(u.what, u.why) for u in document.unchecked]
    if everything:
        found += [
            (f"{report.plugin.path}: {u.what}", u.why)
            for report in document.reports
            for u in report.unchecked
        ]
    if found:
        yield ""
        yield f"{words.UNCHECKED}:"
        for what, why in found:
            yield from _wrap(f"{what}: {why}", "  ", "    ")
