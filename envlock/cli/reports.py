"""What the reporting commands share: formats, and where reports go."""

from __future__ import annotations

import os

from ..models.errors import printable
from ..models.policy import DEFAULT
from .common import add_output, add_policy, emit, talk, to_json
from .failing import Failing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..models.errors import EnvlockError
    from ..models.policy import PolicyFile
    from ..report.formats import Document

FORMATS = ("text", "json", "markdown", "sarif", "junit", "html")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """`--policy`, `--fail-on`, `--format`, `-o`; the format follows the file's suffix."""
    add_policy(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help=f"{', '.join(FORMATS)}; default: by the suffix of -o (.html, .md, .sarif, .xml, "
        ".json), else text",
    )
    add_output(parser)


def add_store(parser: argparse.ArgumentParser) -> None:
    """`--store FILE`."""
    parser.add_argument(
        "--store", metavar="FILE", help="the history's file (default: in the user's data folder)"
    )


def format_of(arguments: argparse.Namespace) -> str:
    """The output format: as asked for, else by the file's suffix."""
    if arguments.format:
        asked: str = arguments.format
        return asked
    if arguments.output:
        from ..report.formats import SUFFIXES

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
        from ..report.formats import render

        emit(render(document, chosen, policy), arguments.output)


def failing_report(
    arguments: argparse.Namespace, document: Callable[[EnvlockError], Document]
) -> Failing:
    """Write `document(error)` to where the report would have gone; not as text, which stderr has."""

    def write(error: EnvlockError) -> None:
        if format_of(arguments) != "text":
            write_document(document(error), arguments, DEFAULT)

    return Failing(write)


def say(text: str) -> None:
    """Talk: one line on stderr."""
    talk(f"envlock: {printable(text)}")
