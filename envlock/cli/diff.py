"""`envlock diff`."""

from __future__ import annotations

import contextlib
import os

from ..inventory.names import default_path
from .common import policy_of
from .failing import error_info
from .reports import add_report_options, add_store, failing_report, format_of, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ..inventory.store import Store
    from ..models.drift import DriftDocument
    from ..models.policy import PolicyFile


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock diff`."""
    kinds = "a snapshot (file, or name in the history), a stamped plugin, a lock file, or an ENV"
    parser.add_argument("before", metavar="A", help=kinds)
    parser.add_argument("after", metavar="B", help=kinds)
    parser.add_argument("--all", action="store_true", help="list harmless changes in full")
    add_store(parser)
    add_report_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare and write the report; the exit status is that of the plugins."""
    from ..inventory.diff import diff, failed

    before, after = arguments.before, arguments.after
    with failing_report(arguments, lambda error: failed(before, after, error_info(error))):
        policy = policy_of(arguments)
        with open_store(arguments.store) as store:
            document = diff(before, after, store=store, policy=policy)
    return write_drift(document, arguments, policy)


@contextlib.contextmanager
def open_store(path: str | None) -> Iterator[Store | None]:
    """The history, if there is one; sqlite is not loaded where there is none."""
    place = path or default_path()
    if path is None and not os.path.lexists(place):
        yield None
        return
    from ..inventory.store import Store

    with Store(place) as store:
        yield store


def write_drift(document: DriftDocument, arguments: argparse.Namespace, policy: PolicyFile) -> int:
    """Write what a comparison found; gives the exit status."""
    text = None
    if format_of(arguments) == "text":
        from ..report.drift_text import drift_text, output_style

        style = output_style(arguments.output)
        text = drift_text(document, everything=arguments.all, style=style)
    write_document(document, arguments, policy, text)
    if any(report.verdict is None for report in document.reports):
        return 3
    return int(policy.fails(document.verdict))
