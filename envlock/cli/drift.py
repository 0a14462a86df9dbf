"""`envlock drift`."""

from __future__ import annotations

from ..models.errors import InputError
from .common import add_environment, policy_of
from .diff import write_drift
from .failing import error_info
from .reports import add_report_options, add_store, failing_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.drift import DriftDocument
    from ..models.policy import PolicyFile


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
    from ..inventory.diff import failed

    labels = (arguments.since or "the last snapshot", arguments.env or "the running environment")
    with failing_report(arguments, lambda error: failed(*labels, error_info(error))):
        policy = policy_of(arguments)
        document = _compare(arguments, policy)
    return write_drift(document, arguments, policy)


def _compare(arguments: argparse.Namespace, policy: PolicyFile) -> DriftDocument:
    from ..environment.live import Environment
    from ..inventory.diff import diff
    from ..inventory.sides import from_environment
    from ..inventory.store import Store

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
        return diff(since, after, store=store, policy=policy)
