"""`envlock check`."""

from __future__ import annotations

from ..errors import EnvlockError, InputError, UsageError
from .common import add_compiler, add_environment, add_format, add_output, emit, to_json

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
    parser.add_argument(
        "--policy", metavar="FILE", help="a policy file, or strict, default, lenient"
    )
    parser.add_argument(
        "--fail-on",
        metavar="VERDICT",
        choices=("drifted", "unsafe", "incompatible", "never"),
        help="the mildest verdict that fails: drifted, unsafe (default), incompatible, never",
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
    add_format(parser)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check all plugins; the exit status is the worst one's."""
    from ..checking import check_many, unreadable_report
    from ..policies import resolve_policy

    policy = resolve_policy(arguments.policy)
    if arguments.fail_on:
        policy = policy.replace(fail_on=arguments.fail_on)
    if arguments.trust:
        policy = policy.replace(trust=tuple(arguments.trust))
    if arguments.tensorflow:
        if arguments.env:
            raise UsageError(
                "`--tensorflow` and `--env` name two different things to check against"
            )
        if arguments.live_headers:
            raise UsageError("`--live-headers` reads an environment's, `--tensorflow` names none")
        reports = _against_release(arguments, policy)
        _emit(reports, arguments)
        return exit_status(reports, policy)
    try:
        headers = arguments.compiler if arguments.live_headers else None
        reports = check_many(
            arguments.plugins, env=arguments.env, policy=policy, live_headers=headers
        )
    except EnvlockError as error:
        # The environment or an atlas cannot be read: JSON readers get a report on each plugin.
        if arguments.format == "json":
            failed = tuple(unreadable_report(path, error) for path in arguments.plugins)
            _emit(failed, arguments)
        raise
    _emit(reports, arguments)
    return exit_status(reports, policy)


def _against_release(arguments: argparse.Namespace, policy: PolicyFile) -> tuple[Report, ...]:
    from ..checking import expand, unreadable_report
    from ..compatibility import check_release
    from ..models.report import EnvironmentSummary

    def one(path: str) -> Report:
        try:
            return check_release(path, arguments.tensorflow, policy=policy)
        except InputError as error:
            environment = EnvironmentSummary(tensorflow=arguments.tensorflow)
            return unreadable_report(path, error, environment)

    return tuple(one(path) for path in expand(arguments.plugins))


def _emit(reports: tuple[Report, ...], arguments: argparse.Namespace) -> None:
    from ..models.report import REPORT_FORMAT, ReportDocument

    if arguments.format == "json":
        emit(to_json(ReportDocument(format=REPORT_FORMAT, reports=reports)), arguments.output)
    else:
        emit(_text(reports), arguments.output)


def exit_status(reports: tuple[Report, ...], policy: PolicyFile) -> int:
    """3 when an input could not be read, else 1 when a plugin fails, else 0."""
    if any(report.verdict is None for report in reports):
        return 3
    return int(any(refuses(policy, report) for report in reports))


def refuses(policy: PolicyFile, report: Report) -> bool:
    """Whether the policy refuses this plugin."""
    return policy.refuses(report)


def _text(reports: tuple[Report, ...]) -> str:
    from ..render.text import report_text

    return "\n".join(report_text(report) for report in reports)
