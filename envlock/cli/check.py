"""`envlock check`."""

from __future__ import annotations

from ..models.errors import InputError, UsageError
from .common import (
    add_compiler,
    add_environment,
    add_format,
    add_output,
    add_policy,
    emit,
    policy_of,
    reports_status,
    to_json,
)
from .failing import failed_reports, failing_in_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.policy import PolicyFile
    from ..models.report import Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock check`."""
    parser.add_argument(
        "plugins", metavar="PLUGIN", nargs="+", help="a plugin, or a folder of them"
    )
    add_environment(parser)
    parser.add_argument(
        "--tensorflow",
        metavar="VERSION",
        help="check against this public release instead of an environment; it need not be installed",
    )
    add_policy(parser)
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
    add_format(parser)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check all plugins; the exit status is the worst one's."""
    with failing_in_json(
        arguments.format,
        lambda error: failed_reports(arguments.plugins, error),
        arguments.output,
    ):
        policy = policy_of(arguments)
        if arguments.trust:
            policy = policy.replace(trust=tuple(arguments.trust))
        reports = _check(arguments, policy)
    if arguments.format == "json":
        from ..models.report import REPORT_FORMAT, ReportDocument

        emit(to_json(ReportDocument(format=REPORT_FORMAT, reports=reports)), arguments.output)
    else:
        emit(_text(reports), arguments.output)
    return reports_status(reports, policy)


def _check(arguments: argparse.Namespace, policy: PolicyFile) -> tuple[Report, ...]:
    if not arguments.tensorflow:
        from ..inventory.scan import check_many

        headers = arguments.compiler if arguments.live_headers else None
        return check_many(arguments.plugins, env=arguments.env, policy=policy, live_headers=headers)
    if arguments.env:
        raise UsageError("`--tensorflow` and `--env` name two different things to check against")
    if arguments.live_headers:
        raise UsageError("`--live-headers` reads an environment's, `--tensorflow` names none")
    return _against_release(arguments, policy)


def _against_release(arguments: argparse.Namespace, policy: PolicyFile) -> tuple[Report, ...]:
    from ..actions.checking import unreadable_report
    from ..actions.compatibility import check_release
    from ..inventory.scan import expand
    from ..models.report import EnvironmentSummary

    environment = EnvironmentSummary(tensorflow=arguments.tensorflow)

    def one(path: str) -> Report:
        try:
            return check_release(path, arguments.tensorflow, policy=policy)
        except InputError as error:
            return unreadable_report(path, error, environment)

    paths, problems = expand(arguments.plugins)
    failed = (unreadable_report(path, error, environment) for path, error in problems)
    return (*map(one, paths), *failed)


def _text(reports: tuple[Report, ...]) -> str:
    from ..report.check_text import report_text

    return "\n".join(report_text(report) for report in reports)
