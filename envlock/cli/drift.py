"""`envlock drift`."""

from __future__ import annotations

from ..errors import InputError
from .common import add_environment
from .diff import compare
from .reports import add_report_options, add_store, policy_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

NAME = "drift"
HELP = "say what changed in an environment since it was saved, and which plugins that breaks"


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
    parser.add_argument("--all", action="store_true", help="list harmless changes in full")
    parser.add_argument(
        "--integrity",
        choices=("none", "quick", "full"),
        default="quick",
        help="how installed files are compared with their records",
    )
    add_store(parser)
    add_report_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare the environment with what it was."""
    from ..environment.live import Environment
    from ..inventory.sides import from_environment
    from ..inventory.store import Store

    policy = policy_of(arguments)
    environment = Environment.open(arguments.env)
    with Store(arguments.store) as store:
        since = arguments.since
        if since is None:
            prefix = environment.paths.prefix
            saved = store.list(environment=prefix)
            if not saved:
                raise InputError(
                    f"no snapshot of `{prefix}` was saved in `{store.path}`",
                    hint="save one while it works: `envlock snapshot --save NAME`",
                )
            since = f"@{saved[0].id}"
        after = from_environment(environment, arguments.integrity)
        if arguments.env is not None:
            after.side = after.side.replace(label=arguments.env)
        return compare(since, after, arguments, policy, store)
