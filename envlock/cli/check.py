"""`envlock check`, of which `scan` and `report` are other names."""

from __future__ import annotations

import os

from ..models.errors import UsageError
from .common import (
    add_cache,
    add_compiler,
    add_environment,
    heed_cache,
    policy_of,
    reports_status,
)
from .reports import add_report_options, failing_report, write_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..inventory.scan import Progress
    from ..models.errors import EnvlockError
    from ..models.policy import PolicyFile
    from ..models.report import Report, ReportDocument


def configure(
    parser: argparse.ArgumentParser,
    nargs: str = "+",
    paths: str = "a plugin, a folder, a wheel, or an environment: all plugins in it",
) -> None:
    """Arguments of `envlock check`."""
    parser.add_argument("paths", metavar="PATH", nargs=nargs, help=paths)
    add_environment(parser)
    parser.add_argument(
        "--root",
        metavar="FOLDER",
        help="another root file system (a container's), which the environment lies in: its own "
        "Python, or ENV as it is called there; its loader, its cache and its libraries count",
    )
    parser.add_argument(
        "--tensorflow",
        metavar="VERSION",
        action="append",
        help="check against this public release instead of an environment; it need not be "
        "installed; repeatable: every plugin against every release",
    )
    parser.add_argument(
        "--glibc",
        metavar="VERSION",
        action="append",
        help="check against this release of the C library (2.31) instead of an environment: what it "
        "would say of the plugin's file and of the versions it needs; repeatable, also beside "
        "--tensorflow",
    )
    parser.add_argument(
        "--live-headers",
        action="store_true",
        help="where no atlas knows the environment's TensorFlow, compile its headers to learn its "
        "class layouts (a minute; kept in the user's cache folder)",
    )
    add_compiler(parser)
    parser.add_argument(
        "--trust",
        metavar="KEYS",
        action="append",
        help="a file or folder of public keys, one of which has to have signed each plugin",
    )
    parser.add_argument(
        "--all", action="store_true", help="list harmless findings and what is unchecked, too"
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    add_cache(parser)
    add_report_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check all plugins; the exit status is the worst one's."""
    from ..models.report import REPORT_FORMAT, ReportDocument

    with failing_report(arguments, _failed(arguments)):
        policy = policy_of(arguments)
        if arguments.trust:
            policy = policy.replace(trust=tuple(arguments.trust))
        reports = _check(arguments, policy)
    write_document(ReportDocument(format=REPORT_FORMAT, reports=reports), arguments, policy)
    return reports_status(reports, policy)


def _failed(arguments: argparse.Namespace) -> Callable[[EnvlockError], ReportDocument]:
    def document(error: EnvlockError) -> ReportDocument:
        from .failing import failed_reports

        return failed_reports(labels(arguments), error)

    return document


def labels(arguments: argparse.Namespace) -> list[str]:
    """What a run that fails says of: the paths, or the environment whose plugins were meant."""
    return arguments.paths or [arguments.env or "the running environment"]


def _is(output: str) -> Callable[[str], bool]:
    def same(path: str) -> bool:
        import os

        try:
            return os.path.isfile(path) and os.path.samefile(path, output)
        except OSError:
            return False

    return same


def _check(arguments: argparse.Namespace, policy: PolicyFile) -> tuple[Report, ...]:
    from ..inventory.scan import check_many

    heed_cache(arguments)
    for option in ("tensorflow", "glibc"):
        if not getattr(arguments, option):
            continue
        for other in ("env", "root"):
            if getattr(arguments, other):
                raise UsageError(
                    f"`--{option}` and `--{other}` name two different things to check against"
                )
        if arguments.live_headers:
            raise UsageError(f"`--live-headers` reads an environment; `--{option}` names a release")
        if not arguments.paths:
            raise UsageError(f"`--{option}` checks only plugins that you name; name at least one")
    if arguments.output is not None and any(map(_is(arguments.output), arguments.paths)):
        raise UsageError(f"`-o {arguments.output}` would overwrite what is to be checked")
    env = arguments.env
    if arguments.root is not None:
        from ..environment.live import Environment

        env = Environment.open(arguments.env, arguments.root)

    def check(progress: Progress | None = None) -> tuple[Report, ...]:
        return check_many(
            arguments.paths,
            env=env,
            releases=tuple(dict.fromkeys(arguments.tensorflow or ())),
            glibc=tuple(dict.fromkeys(arguments.glibc or ())),
            policy=policy,
            live_headers=arguments.compiler if arguments.live_headers else None,
            progress=progress,
        )

    paths = arguments.paths
    if len(paths) == 1 and not os.path.isdir(paths[0]) and not paths[0].endswith(".whl"):
        return check()  # one plugin is checked before a progress bar is loaded
    from .progress import progress_bar

    with progress_bar(not arguments.no_progress) as progress:
        return check(progress)
