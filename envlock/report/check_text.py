"""A check report as text: the verdict first, then cause, both values, reason and remedy."""

from __future__ import annotations

from . import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..models.report import Finding, Report, ReportDocument
    from .text import Style

_WIDTH = 80
_COLUMN = 14  # of a matrix: the longest word and a gap
_NAMES = 36  # characters of a matrix's first column; longer names have a line of their own


def render(document: ReportDocument, *, everything: bool, style: Style) -> str:
    """One plugin in full; of several the verdicts, what is wrong with each, and with `everything`
    harmless findings and what is unchecked."""
    reports = document.reports
    if len(reports) == 1:
        return report_text(reports[0])
    lines = [words.plugins_sentence(reports)]
    if words.is_matrix(reports):
        lines += ["", *_matrix(reports, style), *_reasons(reports, everything)]
    else:
        lines += _several(reports, everything, style)
    harmless = sum(len(r.findings) - len(_shown(r)) for r in reports)
    unchecked = sum(len(r.unchecked) for r in reports)
    if (harmless or unchecked) and not everything:
        told = [words.count(harmless, "harmless finding")] if harmless else []
        told += [words.count(unchecked, "thing") + f" {words.UNCHECKED}"] if unchecked else []
        lines += ["", f"`--all` lists {words.joined(told)}"]
    return "\n".join(lines).rstrip() + "\n"


def _several(reports: Sequence[Report], everything: bool, style: Style) -> Iterator[str]:
    environments = dict.fromkeys(words.environment_line(r.environment) for r in reports)
    if len(environments) == 1:
        yield f"checked against {next(iter(environments))}"
    yield ""
    for report in words.by_severity(reports):
        word = words.word(report.verdict)
        place = "" if len(environments) == 1 else f" ({words.environment_line(report.environment)})"
        yield f"{style(word, f'{word:<13}')} {words.printable(report.plugin.path)}{place}"
        if report.plugin.error:
            yield f"    {words.printable(report.plugin.error)}"
        yield from _details(report, everything)


def _matrix(reports: Sequence[Report], style: Style) -> Iterator[str]:
    """A line a plugin, a column a release, as many beside each other as the width allows."""
    verdicts = {(r.plugin.path, _release(r)): words.word(r.verdict) for r in reports}
    plugins = list(dict.fromkeys(path for path, _ in verdicts))
    releases = list(dict.fromkeys(release for _, release in verdicts))
    width = min(max(map(len, map(words.printable, plugins))), _NAMES) + 2
    beside = (_WIDTH - width) // _COLUMN
    for start in range(0, len(releases), beside):
        block = releases[start : start + beside]
        yield (" " * width + "".join(f"{words.printable(r):<{_COLUMN}}" for r in block)).rstrip()
        for plugin in plugins:
            head = f"{words.printable(plugin):<{width}}"
            if len(head) > width:
                yield head
                head = " " * width
            cells = [verdicts.get((plugin, release), "") for release in block]
            padded = [style(w, w) + " " * (_COLUMN - len(w)) if w else " " * _COLUMN for w in cells]
            yield (head + "".join(padded)).rstrip()
        yield ""


def _reasons(reports: Sequence[Report], everything: bool) -> Iterator[str]:
    """The findings of a report, one a line; with `everything`, all that is known of each."""
    said = None
    for report in reports:
        error = report.plugin.error
        lines = (
            [error] if error else [f"{f.verdict}[{f.rule}]: {f.message}" for f in _shown(report)]
        )
        more = list(_details(report, everything)) if everything else []
        if (lines or more) and report.plugin.path != said:
            said = report.plugin.path
            yield words.printable(said)
        if more:
            yield words.printable(f"  {_release(report)}:")
            yield from (f"  {line}" for line in more)
        else:
            yield from (words.printable(f"  {_release(report)}: {line}") for line in lines)


def _release(report: Report) -> str:
    environment = report.environment
    if environment.glibc:
        return f"glibc {environment.glibc}"
    return environment.tensorflow or environment.prefix or "no TensorFlow"


def _shown(report: Report) -> list[Finding]:
    return [f for f in report.findings if not f.verdict.works]


def _details(report: Report, everything: bool) -> Iterator[str]:
    shown = words.findings_by_severity(report.findings if everything else _shown(report))
    yield from map(words.printable, findings_lines(shown))
    if everything:
        yield from (words.printable(line) for line in unchecked_lines(report))


def finding_lines(finding: Finding, *, remedy: bool = True) -> list[str]:
    """One finding: what is wrong, why it matters, examples, what to do."""
    lines = [f"  {finding.verdict}[{finding.rule}]: {finding.message}"]
    if finding.why:
        lines.append(f"    why: {finding.why}")
    shown = finding.examples[:5]
    if shown:
        rest = finding.count - len(shown)
        lines += [f"    - {example}" for example in shown]
        if rest > 0:
            lines.append(f"    - and {rest} more")
    if finding.remedy and remedy:
        lines.append(f"    fix: {finding.remedy}")
    return lines


def findings_lines(findings: Sequence[Finding]) -> list[str]:
    """Findings, one after the other; a remedy that several share follows the last in its row."""
    lines: list[str] = []
    said = set()
    for at, finding in enumerate(findings):
        follows = at + 1 < len(findings) and findings[at + 1].remedy == finding.remedy
        lines += finding_lines(finding, remedy=not follows and finding.remedy not in said)
        if not follows:
            said.add(finding.remedy)
    return lines


def unchecked_lines(report: Report) -> list[str]:
    """What was not compared, and why."""
    return [f"  {words.UNCHECKED}: {u.what}: {u.why}" for u in report.unchecked]


def report_text(report: Report, *, verbose: bool = True) -> str:
    """A whole report; ends with a newline. Harmless findings come last."""
    lines = [words.headline(report)]
    if report.plugin.signed_by is not None:
        lines.append(f"  signed by {report.plugin.signed_by}")
    lines += findings_lines(words.findings_by_severity(report.findings))
    if verbose:
        lines += unchecked_lines(report)
    return "".join(words.printable(line) + "\n" for line in lines)


def summary(report: Report) -> str:
    """The findings that decide, as the text of an exception: cause, both values, remedy."""
    decisive = [
        f for f in report.findings if f.verdict == report.verdict or f.rule.startswith("signature-")
    ]
    lines = [words.headline(report), *findings_lines(decisive)]
    return "\n".join(words.printable(line) for line in lines)
