"""How a run that fails answers: with the command's own document, as one that succeeds does."""

from __future__ import annotations

from .common import Failing, emit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..models.errors import EnvlockError
    from ..models.record import Record
    from ..models.report import ReportDocument
    from ..models.shown import ErrorInfo


def failing_in_json(
    form: str, document: Callable[[EnvlockError], Record], output: str | None = None
) -> Failing:
    """Write `document(error)` to where the answer would have gone, if `form` is JSON."""

    def write(error: EnvlockError) -> None:
        if form == "json":
            from ..report.json import render as to_json

            emit(to_json(document(error)), output)

    return Failing(write)


def failed_reports(paths: Iterable[str], error: EnvlockError) -> ReportDocument:
    """A report without a verdict on each of the plugins: what was to be checked was not."""
    from ..actions.checking import unreadable_report
    from ..models.report import REPORT_FORMAT, ReportDocument

    reports = tuple(unreadable_report(path, error) for path in paths)
    return ReportDocument(format=REPORT_FORMAT, reports=reports)


def error_info(error: EnvlockError) -> ErrorInfo:
    """An error as documents hold it."""
    from ..models.shown import ErrorInfo

    return ErrorInfo(message=error.message, hint=error.hint)
