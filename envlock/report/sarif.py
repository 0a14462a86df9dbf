"""SARIF 2.1.0 (OASIS), with what GitHub's code scanning asks for beyond the standard.

A result a finding, located at the plugin's file. In a drift report a change that breaks something
is a result too; a plugin's findings that a change already explains are not repeated.
"""

from __future__ import annotations

import json

from ..models.drift import DriftDocument
from ..models.version import __version__
from . import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..models.drift import Change
    from ..models.policy import PolicyFile
    from ..models.report import Finding, Report
    from ..models.verdict import Verdict
    from .formats import Document

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

#: The rules that only drift reports have.
CHANGE_RULES = {
    "change-interpreter": "The Python interpreter changed",
    "change-native": "TensorFlow, the C or C++ run time or CUDA changed",
    "change-packages": "A package changed",
    "change-files": "Installed files were changed by hand",
    "change-plugins": "A plugin was added, removed or replaced",
    "change-variables": "A variable that steers loading changed",
}

#: Words of rule ids that are not spelled as other words are.
_NAMES = {
    **{word: word.upper() for word in ("abi", "cpu", "cuda", "cxx", "elf")},
    "glibc": "glibc",
    "numpy": "numpy",
    "python": "Python",
    "tensorflow": "TensorFlow",
}


def render(document: Document, policy: PolicyFile) -> str:
    """The SARIF log as JSON text."""
    results: list[dict[str, Any]] = []
    notifications: list[dict[str, Any]] = []
    explained: set[tuple[str, str, str]] = set()
    if isinstance(document, DriftDocument):
        for change in document.changes:
            results.append(_change(change, policy))
            explained |= {(e.plugin, e.rule, e.message) for e in change.effects}
        notifications += [_note(f"{u.what}: {u.why}") for u in document.unchecked]
        if document.error is not None:
            notifications.append(_note(document.error.message, level="error"))
    matrix = words.is_matrix(document.reports)
    for report in words.by_severity(document.reports):
        results += [
            _finding(finding, report, policy, words.against(report, matrix))
            for finding in words.findings_by_severity(report.findings)
            if (report.plugin.path, finding.rule, finding.message) not in explained
        ]
        notifications += [_note(f"{u.what}: {u.why}", report.plugin.path) for u in report.unchecked]
        if report.verdict is None:
            text = report.plugin.error or "it could not be read"
            notifications.append(_note(text, report.plugin.path, level="error"))
    ids = sorted({result["ruleId"] for result in results})
    for result in results:
        result["ruleIndex"] = ids.index(result["ruleId"])
    successful = all(note["level"] != "error" for note in notifications)
    run = {
        "tool": {
            "driver": {
                "name": "envlock",
                "semanticVersion": __version__,
                "rules": [_rule(identifier) for identifier in ids],
            }
        },
        "invocations": [
            {
                "executionSuccessful": successful,
                "toolExecutionNotifications": notifications,
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"version": "2.1.0", "$schema": SCHEMA, "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(identifier: str) -> dict[str, Any]:
    from ..rules.catalogue import all_rules

    for rule in all_rules():
        if rule.id == identifier:
            return {
                "id": identifier,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.why},
                "defaultConfiguration": {"level": _level(rule.severity, None)},
            }
    title = CHANGE_RULES.get(identifier) or _spelled(identifier)
    return {"id": identifier, "shortDescription": {"text": title}}


def _spelled(identifier: str) -> str:
    """The title of a rule that only a newer envlock knows, whose report is converted here."""
    first, *rest = (_NAMES.get(word, word) for word in identifier.split("-"))
    return " ".join([first if first in _NAMES.values() else first.capitalize(), *rest])


def _level(verdict: Verdict, policy: PolicyFile | None) -> str:
    if verdict == "incompatible" or (policy is not None and policy.fails(verdict)):
        return "error"
    return {"unsafe": "warning", "drifted": "note", "compatible": "none"}[verdict]


def _uri(path: str) -> str:
    # Escaped so that any name is a valid reference; a relative path must not look like a scheme.
    from urllib.parse import quote

    absolute = path.startswith("/")
    return ("file://" if absolute else "") + quote(_bytes(path))


def _bytes(text: str) -> bytes:
    """A path as the bytes it has on disk; text that no path can be, escaped."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _location(path: str) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(path)},
            # A binary has no lines, but code scanning drops results without one.
            "region": {"startLine": 1},
        }
    }


def _fingerprint(*parts: str) -> dict[str, str]:
    from hashlib import sha256

    return {"envlock/v1": sha256(b"\0".join(map(_bytes, parts))).hexdigest()}


def _finding(finding: Finding, report: Report, policy: PolicyFile, against: str) -> dict[str, Any]:
    text = finding.message + against
    if finding.why:
        text += f". Why it matters: {finding.why}"
    if finding.examples:
        rest = finding.count - len(finding.examples)
        text += f". For example: {', '.join(finding.examples)}"
        text += f" and {rest} more" if rest > 0 else ""
    if finding.remedy:
        text += f". What to do: {finding.remedy}"
    path = report.plugin.path
    return {
        "ruleId": finding.rule,
        "level": _level(finding.verdict, policy),
        "message": {"text": words.printable(text)},
        "locations": [_location(path)],
        "partialFingerprints": _fingerprint(
            finding.rule, finding.subject, path.rsplit("/", 1)[-1] + against
        ),
        "properties": {
            "verdict": finding.verdict,
            "subject": words.printable(finding.subject),
            "built": finding.built and words.printable(finding.built),
            "live": finding.live and words.printable(finding.live),
        },
    }


def _change(change: Change, policy: PolicyFile) -> dict[str, Any]:
    lines = [change.message, *change.details]
    for effect in change.effects:
        lines.append(f"{effect.plugin}: {effect.message}")
        if effect.remedy:
            lines.append(f"What to do: {effect.remedy}")
    plugins = list(dict.fromkeys(effect.plugin for effect in change.effects))
    manager = f"{change.manager}:" if change.manager else ""
    name = words.printable(f"{manager}{change.subject}")
    result: dict[str, Any] = {
        "ruleId": f"change-{change.part}",
        "level": _level(change.verdict, policy),
        "message": {"text": words.printable(". ".join(lines))},
        "partialFingerprints": _fingerprint(change.part, change.kind, name),
        "properties": {
            "verdict": change.verdict,
            "before": change.before and words.printable(change.before),
            "after": change.after and words.printable(change.after),
        },
    }
    logical = {"name": words.printable(change.subject), "fullyQualifiedName": name}
    if plugins:
        result["locations"] = [
            {**_location(plugin), "logicalLocations": [logical]} for plugin in plugins
        ]
    else:
        result["locations"] = [{"logicalLocations": [logical]}]
    return result


def _note(text: str, path: str | None = None, level: str = "note") -> dict[str, Any]:
    note: dict[str, Any] = {"level": level, "message": {"text": words.printable(text)}}
    if path is not None:
        note["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": _uri(path)}}}]
    return note
