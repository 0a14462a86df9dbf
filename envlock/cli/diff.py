"""`envlock diff`, and what `drift` shares with it."""

from __future__ import annotations

import contextlib
import os

from ..inventory.names import default_path
from .common import policy_of
from .failing import error_info
from .reports import add_report_options, add_store, failing_report, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from ..inventory.diff import Reference
    from ..inventory.store import Store

    #: The two sides, which may stand in the history.
    Sides = Callable[["Store | None"], "tuple[Reference, Reference]"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock diff`."""
    kinds = "a snapshot (file, or name in the history), a stamped plugin, a lock file, or an ENV"
    parser.add_argument("before", metavar="A", help=kinds)
    parser.add_argument("after", metavar="B", help=kinds)
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `diff` and `drift` have in common."""
    parser.add_argument("--all", action="store_true", help="list harmless changes in full")
    add_store(parser)
    add_report_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare what is named."""
    sides = (arguments.before, arguments.after)
    return compare(arguments, sides, lambda _: sides)


def compare(arguments: argparse.Namespace, labels: tuple[str, str], sides: Sides) -> int:
    """Compare and write the report; the exit status is that of the plugins.

    `labels` name the sides where they cannot be read.
    """
    from ..inventory.diff import diff, failed

    with failing_report(arguments, lambda error: failed(*labels, error_info(error))):
        policy = policy_of(arguments)
        with open_store(arguments.store) as store:
            document = diff(*sides(store), store=store, policy=policy)
    write_document(document, arguments, policy)
    if any(report.verdict is None for report in document.reports):
        return 3
    return int(policy.fails(document.verdict))


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
