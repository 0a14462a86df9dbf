"""What the reporting commands share: formats, policies, exit status."""

from __future__ import annotations

import os
import sys

from .common import emit, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.policy import PolicyFile
    from ..models.report import Report
    from ..reporting import Document

FORMATS = ("text", "json", "markdown", "sarif", "junit", "html")
VERDICTS = ("drifted", "unsafe", "incompatible", "never")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """`--policy`, `--fail-on`, `--format`, `-o`; the format follows the file's suffix."""
    parser.add_argument(
        "--policy", metavar="FILE", help="a policy file, or strict, default, lenient"
    )
    parser.add_argument(
        "--fail-on",
        metavar="VERDICT",
        choices=VERDICTS,
        help="the mildest verdict that fails: drifted, unsafe (default), incompatible, never",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help=f"{', '.join(FORMATS)}; default: by the suffix of -o (.html, .md, .sarif, .xml, "
        ".json), else text",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of stdout")


def add_store(parser: argparse.ArgumentParser) -> None:
    """`--store FILE`."""
    parser.add_argument(
        "--store", metavar="FILE", help="the history's file (default: in the user's data folder)"
    )


def policy_of(arguments: argparse.Namespace) -> PolicyFile:
    """The policy that the options name."""
    from ..models.policy import DEFAULT

    policy = DEFAULT
    if arguments.policy:
        from ..policies import resolve_policy

        policy = resolve_policy(arguments.policy)
    if arguments.fail_on:
        policy = policy.replace(fail_on=arguments.fail_on)
    return policy


def format_of(arguments: argparse.Namespace) -> str:
    """The output format: as asked for, else by the file's suffix."""
    if arguments.format:
        asked: str = arguments.format
        return asked
    if arguments.output:
        from ..reporting import SUFFIXES

        suffix = os.path.splitext(arguments.output)[1].lower()
        return SUFFIXES.get(suffix, "text")
    return "text"


def write_document(
    document: Document, arguments: argparse.Namespace, policy: PolicyFile, text: str | None = None
) -> None:
    """Write a report in the format asked for; `text` is its terminal form."""
    chosen = format_of(arguments)
    if chosen == "json":
        emit(to_json(document), arguments.output)
    elif chosen == "text":
        assert text is not None
        emit(text, arguments.output)
    else:
        from ..reporting import render

        emit(render(document, chosen, policy), arguments.output)


def refuses(policy: PolicyFile, report: Report) -> bool:
    """Whether the policy refuses this plugin."""
    return policy.refuses(report)


def reports_status(reports: tuple[Report, ...], policy: PolicyFile) -> int:
    """3 when an input could not be read, else 1 when a plugin fails, else 0."""
    if any(report.verdict is None for report in reports):
        return 3
    return int(any(refuses(policy, report) for report in reports))


def say(text: str) -> None:
    """Talk: one line on stderr."""
    from ..render.text import printable

    print(f"envlock: {printable(text)}", file=sys.stderr)
