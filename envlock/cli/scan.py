"""`envlock scan`."""

from __future__ import annotations

from .common import add_environment, policy_of, reports_status
from .failing import failed_reports
from .progress import progress_bar
from .reports import add_report_options, failing_report, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.report import Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock scan`."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="a folder, an environment, a wheel, or a plugin"
    )
    add_environment(parser)
    parser.add_argument("--all", action="store_true", help="tell of harmless findings too")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    add_report_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Scan, check, report."""
    from ..actions.checking import Checker
    from ..inventory.scan import scan
    from ..models.report import REPORT_FORMAT, ReportDocument

    with failing_report(arguments, lambda error: failed_reports(arguments.paths, error)):
        policy = policy_of(arguments)
        env = arguments.env or _only_environment(arguments.paths)
        shown = not arguments.no_progress
        with Checker.for_environment(env, policy) as checker, progress_bar(shown) as progress:
            reports = scan(arguments.paths, checker, progress)
    document = ReportDocument(format=REPORT_FORMAT, reports=reports)
    text = scan_text(reports, everything=arguments.all, output=arguments.output)
    write_document(document, arguments, policy, text)
    return reports_status(reports, policy)


def _only_environment(paths: list[str]) -> str | None:
    """A single path that is an environment is scanned against itself."""
    import os

    if len(paths) != 1 or not os.path.isdir(paths[0]):
        return None
    from ..environment.locate import locate
    from ..models.errors import EnvironmentUnreadable

    try:
        locate(paths[0])
    except EnvironmentUnreadable:
        return None
    return paths[0]


def scan_text(reports: tuple[Report, ...], *, everything: bool, output: str | None) -> str:
    """One line a plugin, with what is wrong below; the verdict over all first."""
    from ..report import words
    from ..report.check_text import findings_lines, report_text
    from ..report.drift_text import output_style

    if len(reports) == 1:
        return report_text(reports[0], verbose=everything)
    style = output_style(output)
    lines = [words.plugins_sentence(reports)]
    if reports:
        lines.append(f"checked against {words.environment_line(reports[0].environment)}")
    lines.append("")
    for report in words.by_severity(reports):
        verdict = report.verdict or words.UNREAD
        word = style(verdict, f"{words.LABELS[verdict].lower():<13}")
        lines.append(f"{word} {words.printable(report.plugin.path)}")
        if report.plugin.error:
            lines.append(f"    {words.printable(report.plugin.error)}")
        shown = [
            finding
            for finding in words.findings_by_severity(report.findings)
            if everything or finding.verdict in ("unsafe", "incompatible")
        ]
        lines += [words.printable(line) for line in findings_lines(shown)]
    return "\n".join(lines).rstrip() + "\n"
