"""JUnit XML as Jenkins, GitLab and GitHub actions read it (the xUnit plugin's junit-10.xsd).

One test case a plugin, and in a drift report one a change: it fails where the policy refuses the
verdict, and is an error where the input could not be read.
"""

from __future__ import annotations

from ..models.drift import DriftDocument
from . import words
from .check_text import finding_lines, unchecked_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from ..models.drift import Change
    from ..models.policy import PolicyFile
    from ..models.report import Report
    from .formats import Document


def render(document: Document, policy: PolicyFile) -> str:
    """The XML text, with declaration."""
    from xml.etree import ElementTree

    root = ElementTree.Element("testsuites", name="envlock")
    if isinstance(document, DriftDocument):
        cases = [_change(change, policy) for change in document.changes]
        if document.error is not None:
            case = _case("envlock.drift", "compare")
            _outcome(case, "error", words.UNREAD, document.error.message, "")
            cases.append(case)
        root.append(_suite("envlock.drift", cases))
    matrix = words.is_matrix(document.reports)
    cases = [_plugin(report, policy, matrix) for report in document.reports]
    root.append(_suite("envlock.plugins", cases))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, 'unicode')}\n"


def _suite(name: str, cases: Sequence[Element]) -> Element:
    from xml.etree.ElementTree import Element

    suite = Element("testsuite", name=name, tests=str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", "0")
    suite.extend(cases)
    return suite


def _case(suite: str, name: str) -> Element:
    from xml.etree.ElementTree import Element

    return Element("testcase", name=words.printable(name), classname=suite, time="0")


def _outcome(case: Element, tag: str, kind: str, message: str, text: str) -> None:
    from xml.etree.ElementTree import SubElement

    element = SubElement(case, tag, type=kind, message=words.printable(message))
    element.text = text


def _plugin(report: Report, policy: PolicyFile, matrix: bool) -> Element:
    case = _case("envlock.plugins", report.plugin.path + words.against(report, matrix))
    lines = [line for f in words.findings_by_severity(report.findings) for line in finding_lines(f)]
    lines += unchecked_lines(report)
    text = "".join(f"{words.printable(line)}\n" for line in lines)
    if report.verdict is None:
        _outcome(case, "error", words.UNREAD, report.plugin.error or "it could not be read", text)
    elif policy.refuses(report):
        _outcome(case, "failure", report.verdict, words.headline(report), text)
    elif text:
        _output(case, text)
    return case


def _change(change: Change, policy: PolicyFile) -> Element:
    case = _case(f"envlock.drift.{change.part}", f"{change.subject}: {change.kind}")
    lines = [*change.details]
    for effect in change.effects:
        lines.append(f"{effect.plugin}: {effect.verdict}[{effect.rule}]: {effect.message}")
        if effect.remedy:
            lines.append(f"  fix: {effect.remedy}")
    if policy.fails(change.verdict):
        text = "".join(f"{words.printable(line)}\n" for line in lines)
        _outcome(case, "failure", change.verdict, change.message, text)
    else:
        _output(case, "".join(f"{words.printable(x)}\n" for x in (change.message, *lines)))
    return case


def _output(case: Element, text: str) -> None:
    from xml.etree.ElementTree import SubElement

    SubElement(case, "system-out").text = text
