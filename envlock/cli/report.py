"""`envlock report`: another name for `check`, which also writes a JSON report in another format."""

from __future__ import annotations

import os

from ..models.errors import InputError
from . import check
from .common import policy_of, reports_status
from .failing import failed_reports
from .reports import failing_report, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.drift import DriftDocument
    from ..models.report import ReportDocument

#: Bytes; a report on 10,000 plugins has 20 MB.
_LIMIT = 1 << 27


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock report`."""
    paths = (
        "plugins, folders, wheels or environments; or one JSON report of `check`, `diff` or "
        "`drift`, to be written in another format; default: every plugin of the environment"
    )
    check.configure(parser, "*", paths)


def run(arguments: argparse.Namespace) -> int:
    """Write the report that is named, or check what is."""
    with failing_report(arguments, lambda error: failed_reports(check.labels(arguments), error)):
        policy = policy_of(arguments)
        document = _stored(arguments.paths)
    if document is None:
        return check.run(arguments)
    write_document(document, arguments, policy)
    return reports_status(document.reports, policy)


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
    import json

    from ..models.drift import DRIFT_FORMAT, DriftDocument
    from ..models.record import ValidationError, decode
    from ..models.report import REPORT_FORMAT, ReportDocument

    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"`{path}` is not JSON: {error!s:.150}") from None
    found = value.get("format") if isinstance(value, dict) else None
    try:
        if found == REPORT_FORMAT:
            return decode(ReportDocument, value)
        if found == DRIFT_FORMAT:
            return decode(DriftDocument, value)
    except ValidationError as problem:
        raise InputError(f"`{path}` does not validate: {problem}") from None
    raise InputError(
        f"`{path}` is not a report: its format is neither `{REPORT_FORMAT}` nor `{DRIFT_FORMAT}`"
    )
