"""`envlock report`."""

from __future__ import annotations

import os

from ..models.errors import InputError
from .common import add_environment, policy_of, reports_status
from .failing import failed_reports
from .reports import add_report_options, failing_report, format_of, write_document
from .scan import scan_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.drift import DriftDocument
    from ..models.policy import PolicyFile
    from ..models.report import ReportDocument

#: Bytes; a report on 10,000 plugins has 20 MB.
_LIMIT = 1 << 27


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock report`."""
    parser.add_argument(
        "plugins",
        metavar="PLUGIN",
        nargs="*",
        help="plugins, folders or wheels; or one JSON report of `check`, `scan`, `diff` or "
        "`drift`, to be written in another format; default: every plugin of the environment",
    )
    add_environment(parser)
    parser.add_argument("--all", action="store_true", help="tell of harmless findings too")
    add_report_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check what is named, or read the report that is, and write it."""
    labels = arguments.plugins or [arguments.env or "the running environment"]
    with failing_report(arguments, lambda error: failed_reports(labels, error)):
        policy = policy_of(arguments)
        document = _stored(arguments.plugins) or _checked(arguments, policy)
    text = None
    if format_of(arguments) == "text":
        text = _text(document, arguments)
    write_document(document, arguments, policy, text)
    return reports_status(document.reports, policy)


def _checked(arguments: argparse.Namespace, policy: PolicyFile) -> ReportDocument:
    from ..actions.checking import Checker
    from ..inventory.plugins import environment_plugins
    from ..inventory.scan import scan
    from ..models.report import REPORT_FORMAT, ReportDocument

    with Checker.for_environment(arguments.env, policy) as checker:
        if arguments.plugins:
            reports = scan(arguments.plugins, checker)
        else:
            found = environment_plugins(checker.environment)
            reports = tuple(checker.check(path) for path in found)
    return ReportDocument(format=REPORT_FORMAT, reports=reports)


def _stored(paths: list[str]) -> ReportDocument | DriftDocument | None:
    """The report in the one JSON file that is named; None where plugins are."""
    if len(paths) != 1 or not os.path.isfile(paths[0]):
        return None
    from ..files import reading as files

    path = paths[0]
    try:
        if not files.read(path, 64, head=True).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return None
        raw = files.read(path, _LIMIT)
    except files.Unreadable as problem:
        raise InputError(f"`{path}` cannot be read: {problem}") from None
    return parse_document(raw, path)


def parse_document(raw: bytes, path: str) -> ReportDocument | DriftDocument:
    """A check or drift report from its JSON. Raises `InputError`."""
    from ..models.documents import read_document
    from ..models.drift import DriftDocument
    from ..models.report import ReportDocument

    kinds: tuple[type[ReportDocument | DriftDocument], ...] = (ReportDocument, DriftDocument)
    return read_document(kinds, raw, f"`{path}`", "report")


def _text(document: ReportDocument | DriftDocument, arguments: argparse.Namespace) -> str:
    from ..models.drift import DriftDocument
    from ..report.drift_text import drift_text, output_style

    if isinstance(document, DriftDocument):
        style = output_style(arguments.output)
        return drift_text(document, everything=arguments.all, style=style)
    return scan_text(document.reports, everything=arguments.all, output=arguments.output)
