"""`envlock history`."""

from __future__ import annotations

from ..models.errors import InputError, printable
from ..report.json import render as to_json
from .common import add_format, add_output, emit
from .failing import error_info, failing_in_json
from .reports import add_store, say
from .tables import drawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..inventory.store import Store
    from ..models.shown import ErrorInfo
    from ..models.snapshot import HistoryDocument, SavedSnapshot


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock history`."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="only the snapshots of this name")
    parser.add_argument(
        "--forget", action="store_true", help="remove what is listed; needs NAME or @ID"
    )
    add_store(parser)
    add_format(parser)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, or remove."""
    from ..inventory.names import default_path

    path = arguments.store or default_path()
    with failing_in_json(
        arguments.format,
        lambda error: _document(path, [], error_info(error)),
        arguments.output,
    ):
        found = _found(arguments, path)
    if arguments.format == "json":
        emit(to_json(_document(path, found)), arguments.output)
    else:
        emit(_text(path, found, arguments.output), arguments.output)
    return 0


def _found(arguments: argparse.Namespace, path: str) -> list[SavedSnapshot]:
    from ..inventory.store import Store

    if arguments.forget and not arguments.name:
        from ..models.errors import UsageError

        raise UsageError("`--forget` needs the name, or the `@ID`, of what to remove")
    with Store(path) as store:
        found = _entries(store, arguments.name)
        if arguments.forget:
            store.forget(found)
            say(f"removed {len(found)} from `{path}`")
        return found


def _entries(store: Store, name: str | None) -> list[SavedSnapshot]:
    if name is None:
        return store.list()
    if name.startswith("@"):
        one = store.find(name)
        found = [] if one is None else [one]
    else:
        found = store.list(name=name)
    if not found:
        raise InputError(f"no snapshot `{name}` in `{store.path}`")
    return found


def _document(
    path: str, found: list[SavedSnapshot], error: ErrorInfo | None = None
) -> HistoryDocument:
    from ..models.snapshot import HISTORY_FORMAT, HistoryDocument

    return HistoryDocument(format=HISTORY_FORMAT, store=path, snapshots=tuple(found), error=error)


def _text(path: str, found: list[SavedSnapshot], output: str | None) -> str:
    if not found:
        return f"nothing is saved in `{printable(path)}`\n"
    rows: list[tuple[str, ...]] = [
        ("id", "name", "saved (UTC)", "fingerprint", "packages", "environment")
    ]
    rows += [
        (
            f"@{one.id}",
            one.name,
            one.saved.replace("T", " ").rstrip("Z"),
            one.fingerprint.partition(":")[2][:12],
            str(one.packages),
            one.environment,
        )
        for one in found
    ]
    table = drawn(rows[0], rows[1:], output)
    if table is not None:
        return table
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[5]]) + "\n"
        for row in rows
    )
