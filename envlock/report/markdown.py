"""Markdown for a pull request: GitHub flavour, everything from outside escaped, size limited."""

from __future__ import annotations

from ..models.drift import DriftDocument
from . import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..models.drift import Change, Side
    from ..models.policy import PolicyFile
    from ..models.report import Finding, Report, Unchecked
    from .formats import Document

#: A GitHub comment holds 65,536 characters.
SIZE_LIMIT = 60_000

_MARKS = {
    "compatible": "✅",
    "drifted": "🔹",
    "unsafe": "⚠️",
    "incompatible": "❌",
    words.UNREAD: "🚫",
}
# Characters that mean something anywhere in a line; `-`, `+` and digits only at its start, where
# nothing from outside ever stands.
_SPECIAL = str.maketrans(
    {
        **{c: f"\\{c}" for c in "\\`*_[]()!|~"},
        "<": "&lt;",
        ">": "&gt;",
        "&": "&amp;",
        # Mentions, references and links would notify people or point at strangers' pages; an
        # empty comment after the sign keeps the text and breaks them.
        "@": "@<!-- -->",
        "#": "#<!-- -->",
    }
)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    plain = words.printable(text).translate(_SPECIAL)
    return plain.replace("://", ":<!-- -->//").replace("www.", "www<!-- -->.")


def code(text: str) -> str:
    """A code span, whatever it holds; `|` is escaped because spans stand in tables too."""
    text = words.printable(text).replace("|", "\\|")
    fence = "`"
    while fence in text:
        fence += "`"
    pad = " " if text[:1] in ("`", " ", "") or text[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def block(text: str) -> list[str]:
    """A fenced block of one line: one that a name broke would be pasted as two commands."""
    text = words.printable(text)
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}sh", text, fence]


def prose(text: str) -> str:
    """A message: its code spans stay spans, everything else is escaped."""
    pieces = words.printable(text).split("`")
    if len(pieces) % 2 == 0:
        return escape(text)
    return "".join(
        (code(piece) if index % 2 and piece else escape(piece))
        for index, piece in enumerate(pieces)
    )


def mark(verdict: str | None) -> str:
    """The sign and the word of a verdict; never the sign alone."""
    return f"{_MARKS[words.word(verdict)]} {words.word(verdict)}"


def render(document: Document, policy: PolicyFile) -> str:
    """The whole comment; findings that do not fit are counted instead."""
    verdict = words.word(words.document_verdict(document))
    lines = [f"### {_MARKS[verdict]} {prose(words.sentence(document))}", ""]
    if isinstance(document, DriftDocument):
        before, after = document.before, document.after
        lines += [f"From {_side(before)} to {_side(after)}.", ""]
        sections = _changes(document.changes)
    else:
        sections = []
    sections += _plugins(document.reports, policy)
    if isinstance(document, DriftDocument):
        sections += _unchecked(document.unchecked)
    return _fit(lines, sections)


def _side(side: Side) -> str:
    name, label = words.side_name(side), words.printable(side.label)
    return f"{escape(name[: -len(label)] if label else name)}{code(label)}"


def _fit(lines: list[str], sections: list[list[str]]) -> str:
    size = sum(len(line) + 1 for line in lines)
    for index, section in enumerate(sections):
        size += sum(len(line) + 1 for line in section) + 1
        if size > SIZE_LIMIT:
            left = words.count(len(sections) - index, "section")
            lines += [f"*{left} left out here: a comment holds no more. The JSON has them all.*"]
            break
        lines += [*section, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _changes(changes: Iterable[Change]) -> list[list[str]]:
    sections = []
    bad = words.harmful(changes)
    for change in bad:
        section = [f"#### {mark(change.verdict)}: {prose(change.message)}", ""]
        section += [f"- {prose(detail)}" for detail in change.details]
        for effect in change.effects:
            section.append(f"- {code(effect.plugin)}: {prose(effect.message)}")
            if effect.remedy:
                section.append(f"  <br>fix: {code(effect.remedy)}")
        sections.append(section)
    harmless = [c for c in changes if c not in bad]
    if harmless:
        title = f"{words.count(len(harmless), 'change')} without a known effect"
        section = [f"<details><summary>{title}</summary>", ""]
        section += ["| what | before | after |", "| --- | --- | --- |"]
        for change in harmless:
            cells = [code(change.subject)]
            cells += [code(v) if v else "" for v in (change.before, change.after)]
            section.append(f"| {' | '.join(cells)} |")
        sections.append([*section, "", "</details>"])
    return sections


def _plugins(reports: Iterable[Report], policy: PolicyFile) -> list[list[str]]:
    ordered = words.by_severity(reports)
    if not ordered:
        return []
    table = ["| plugin | verdict | built for | checked against |", "| --- | --- | --- | --- |"]
    for report in ordered:
        built = report.plugin.tensorflow
        table.append(
            f"| {code(report.plugin.path)} | {mark(report.verdict)} "
            f"| {escape(f'TensorFlow {built}') if built else 'unknown'} "
            f"| {escape(words.environment_line(report.environment))} |"
        )
    sections = [table]
    matrix = words.is_matrix(ordered)
    for report in ordered:
        failing = policy.refuses(report)
        if failing:
            sections.append(_failing(report, matrix))
        elif report.findings or report.unchecked:
            sections.append(
                [
                    "<details><summary>"
                    f"{_html(report.plugin.path + words.against(report, matrix))}: "
                    f"{mark(report.verdict)}</summary>",
                    "",
                    *_findings(report),
                    "",
                    "</details>",
                ]
            )
    return sections


def _failing(report: Report, matrix: bool) -> list[str]:
    title = f"#### {mark(report.verdict)}: {code(report.plugin.path)}"
    title += escape(words.against(report, matrix))
    if report.plugin.error:
        return [title, "", prose(report.plugin.error)]
    return [title, "", *_findings(report)]


def _findings(report: Report) -> list[str]:
    lines = []
    for finding in words.findings_by_severity(report.findings):
        lines += _finding(finding)
    lines += [f"- *{words.UNCHECKED}:* {prose(u.what)}: {prose(u.why)}" for u in report.unchecked]
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = [f"- **{finding.verdict}** ({code(finding.rule)}): "]
    lines[0] += prose(finding.message)
    if finding.why:
        lines.append(f"  <br>why: {prose(finding.why)}")
    lines += [f"  - {code(example)}" for example in finding.examples[:5]]
    rest = finding.count - len(finding.examples[:5])
    if finding.examples and rest > 0:
        lines.append(f"  - and {rest} more")
    if finding.remedy:
        lines += ["", *(f"  {line}" for line in block(finding.remedy)), ""]
    return lines


def _unchecked(unchecked: Iterable[Unchecked]) -> list[list[str]]:
    lines = [f"- {prose(u.what)}: {prose(u.why)}" for u in unchecked]
    if not lines:
        return []
    title = f"{len(lines)} {words.UNCHECKED}"
    return [[f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]]


def _html(text: str) -> str:
    from html import escape as html_escape

    return html_escape(words.printable(text))
