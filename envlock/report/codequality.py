"""GitLab's Code Quality report: a JSON array of issues, a subset of Code Climate's specification.

An issue a finding, and one for each plugin that could not be read; in a drift report one a change.
"""

from __future__ import annotations

import json
from hashlib import sha256

from ..models.drift import DriftDocument
from ..models.verdict import Verdict
from . import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..models.policy import PolicyFile
    from .formats import Document

#: GitLab's severities, in rising order: info, minor, major, critical, blocker.
SEVERITIES = {
    "compatible": "info",
    "drifted": "minor",
    "unsafe": "critical",
    "incompatible": "blocker",
    words.UNREAD: "blocker",
}


def render(document: Document, policy: PolicyFile) -> str:
    """The array as JSON text; empty where there is nothing to report."""
    issues: list[dict[str, Any]] = []
    alike: dict[tuple[str, ...], int] = {}

    def add(path: str, rule: str, verdict: str, subject: str, text: str) -> None:
        severity = SEVERITIES[verdict]
        if severity in ("info", "minor") and policy.fails(Verdict(verdict)):
            severity = "major"
        # The folder is left out, so that an issue stays the same where a checkout moves.
        parts = (rule, subject, path.rsplit("/", 1)[-1])
        alike[parts] = alike.get(parts, 0) + 1
        issues.append(
            {
                "description": words.printable(f"{verdict}: {text}"),
                "check_name": rule,
                "fingerprint": _fingerprint(*parts, str(alike[parts])),
                "severity": severity,
                # A binary has no lines, but an issue without one is not shown.
                "location": {"path": words.printable(path), "lines": {"begin": 1}},
            }
        )

    if isinstance(document, DriftDocument):
        place = document.after.label
        if document.error is not None:
            add(place, "drift", words.UNREAD, "", document.error.message)
        for change in document.changes:
            plugin = change.effects[0].plugin if change.effects else place
            rule = f"change-{change.part}"
            add(plugin, rule, change.verdict, f"{change.kind} {change.subject}", change.message)
    matrix = words.is_matrix(document.reports)
    for report in words.by_severity(document.reports):
        path, against = report.plugin.path, words.against(report, matrix)
        if report.verdict is None:
            text = report.plugin.error or "it could not be read"
            add(path, words.UNREAD, words.UNREAD, against, text + against)
        for finding in words.findings_by_severity(report.findings):
            text = finding.message + against + (f". {finding.remedy}" if finding.remedy else "")
            add(path, finding.rule, finding.verdict, finding.subject + against, text)
    return json.dumps(issues, indent=2, ensure_ascii=False) + "\n"


def _fingerprint(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
