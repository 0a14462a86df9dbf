"""What the reporting commands share: formats, and where reports go."""

from __future__ import annotations

import os
import sys

from ..models.errors import printable
from ..models.policy import DEFAULT
from ..report.formats import FORMATS, SUFFIXES, render
from .common import Failing, add_output, add_policy, emit, talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from ..models.errors import EnvlockError
    from ..models.policy import PolicyFile
    from ..report.formats import Document


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """`--policy`, `--fail-on`, `--format`, `-o`; the format follows the file's suffix."""
    add_policy(parser)
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
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
        suffix = os.path.splitext(arguments.output)[1].lower()
        return SUFFIXES.get(suffix, "text")
    return "text"


def write_document(document: Document, arguments: argparse.Namespace, policy: PolicyFile) -> None:
    """Write a report in the format asked for, to where it is asked for."""
    chosen = format_of(arguments)
    options: dict[str, Any] = {}
    if chosen == "text":
        stream = sys.stdout if arguments.output is None else None
        options = {"everything": arguments.all, "stream": stream}
    emit(render(document, chosen, policy, **options), arguments.output)


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
