"""A check report as text: the verdict first, then cause, both values, reason and remedy."""

from __future__ import annotations

from ..models.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..models.report import Finding, Report

LABEL = {
    "compatible": "ok",
    "drifted": "note",
    "unsafe": "unsafe",
    "incompatible": "error",
}


def headline(report: Report) -> str:
    """`zero_out.so: compatible with TensorFlow 2.15.1 (tensorflow-cpu)`."""
    environment = report.environment
    target = f"TensorFlow {environment.tensorflow}" if environment.tensorflow else "no TensorFlow"
    if environment.distribution and environment.distribution != "tensorflow":
        target += f" ({environment.distribution})"
    if report.verdict is None:
        return f"{report.plugin.path}: not checked: {report.plugin.error}"
    decisive = [f.rule for f in report.findings if f.verdict == report.verdict]
    if decisive and all(rule.startswith("signature-") for rule in decisive):
        return f"{report.plugin.path}: {report.verdict}: no trusted key vouches for what it loads"
    if decisive == ["stamp-missing"]:
        return f"{report.plugin.path}: {report.verdict}: the policy demands a stamp"
    phrase = {
        "compatible": f"compatible with {target}",
        "drifted": f"drifted, but fine with {target}",
        "unsafe": f"unsafe with {target}: it would load, and can then crash or compute garbage",
        "incompatible": f"incompatible with {target}: it would not load",
    }[report.verdict]
    return f"{report.plugin.path}: {phrase}"


def finding_lines(finding: Finding, *, remedy: bool = True) -> list[str]:
    """One finding: what is wrong, why it matters, examples, what to do."""
    lines = [f"  {LABEL[finding.verdict]}[{finding.rule}]: {finding.message}"]
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


def report_text(report: Report, *, verbose: bool = True) -> str:
    """A whole report; ends with a newline. Harmless findings come last."""
    from ..models.verdict import VERDICTS

    lines = [headline(report)]
    if report.plugin.signed_by is not None:
        lines.append(f"  signed by {report.plugin.signed_by}")
    lines += findings_lines(sorted(report.findings, key=lambda f: -VERDICTS.index(f.verdict)))
    if verbose:
        lines += [f"  unchecked: {u.what}: {u.why}" for u in report.unchecked]
    return "".join(printable(line) + "\n" for line in lines)


def summary(report: Report) -> str:
    """The findings that decide, as the text of an exception: cause, both values, remedy."""
    decisive = [
        f for f in report.findings if f.verdict == report.verdict or f.rule.startswith("signature-")
    ]
    lines = [headline(report), *findings_lines(decisive)]
    return "\n".join(printable(line) for line in lines)
