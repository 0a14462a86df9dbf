"""`envlock drift`: `diff` of an environment and what was saved of it."""

from __future__ import annotations

from ..inventory.names import default_path
from ..models.errors import InputError
from .common import add_environment
from .diff import add_options, compare

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..inventory.diff import Reference
    from ..inventory.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock drift`."""
    parser.add_argument(
        "since",
        metavar="NAME",
        nargs="?",
        help="a saved snapshot, a snapshot's file, a stamped plugin or a lock file "
        "(default: the last one saved of this environment)",
    )
    add_environment(parser)
    parser.add_argument(
        "--integrity",
        choices=("none", "quick", "full"),
        default="quick",
        help="how installed files are compared with their records",
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare the environment with what it was."""
    labels = (arguments.since or "the last snapshot", arguments.env or "the running environment")
    return compare(arguments, labels, lambda store: _sides(arguments, store))


def _sides(arguments: argparse.Namespace, store: Store | None) -> tuple[Reference, Reference]:
    from ..environment.live import Environment
    from ..inventory.sides import from_environment

    environment = Environment.open(arguments.env)
    since = arguments.since
    if since is None:
        prefix = environment.paths.prefix
        saved = [] if store is None else store.list(environment=prefix)
        if not saved:
            raise InputError(
                f"no snapshot of `{prefix}` was saved in `{arguments.store or default_path()}`",
                hint="save one while it works: `envlock snapshot --save NAME`",
            )
        since = f"@{saved[0].id}"
    after = from_environment(environment, arguments.integrity)
    if arguments.env is not None:
        after.side = after.side.replace(label=arguments.env)
    return since, after
