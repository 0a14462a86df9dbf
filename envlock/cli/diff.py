"""`envlock diff`."""

from __future__ import annotations

from ..errors import EnvlockError
from .reports import add_report_options, add_store, format_of, policy_of, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..inventory.sides import Facts
    from ..inventory.store import Store
    from ..models.policy import PolicyFile

NAME = "diff"
HELP = "say what differs between two environments, and which plugins it breaks"


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
    policy = policy_of(arguments)
    store = open_store(arguments.store)
    return compare(arguments.before, arguments.after, arguments, policy, store)


def open_store(path: str | None) -> Store | None:
    """The history, if there is one; sqlite is not loaded where there is none."""
    import os

    from ..inventory.names import default_path

    place = path or default_path()
    if path is None and not os.path.lexists(place):
        return None
    from ..inventory.store import Store

    return Store(place)


def compare(
    before: str | Facts,
    after: str | Facts | None,
    arguments: argparse.Namespace,
    policy: PolicyFile,
    store: Store | None,
) -> int:
    """Compare two sides, write the report, return the exit status."""
    from ..inventory.diff import diff, failed

    try:
        document = diff(before, after, store=store, policy=policy)
    except EnvlockError as error:
        if format_of(arguments) != "text":
            labels = [_label(before), _label(after)]
            document = failed(labels[0], labels[1], error.message, error.hint)
            write_document(document, arguments, policy)
        raise
    text = None
    if format_of(arguments) == "text":
        from ..reporting.text import drift_text, output_style

        style = output_style(arguments.output)
        text = drift_text(document, everything=arguments.all, style=style)
    write_document(document, arguments, policy, text)
    if any(report.verdict is None for report in document.reports):
        return 3
    return int(policy.fails(document.verdict))


def _label(side: object) -> str:
    return side if isinstance(side, str) else "the environment"
