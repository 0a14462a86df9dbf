"""Pieces that several commands share: options, output, JSON."""

from __future__ import annotations

import sys

from ..models.errors import EnvlockError, WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TextIO

    from ..models.policy import PolicyFile
    from ..models.report import Report

VERDICTS = ("drifted", "unsafe", "incompatible", "never")


class Failing:
    """The part of a command that works out its answer, and writes none of it yet.

    An error of envlock's is handed to `write`, for who reads documents, and goes on to `main`,
    which tells people and knows the exit status.
    """

    def __init__(self, write: Callable[[EnvlockError], None]) -> None:
        self.write = write

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not isinstance(error, EnvlockError):
            return
        try:
            self.write(error)
        except WriteError as second:
            complain(second)  # the first one counts, and is reported after it


def add_environment(parser: argparse.ArgumentParser) -> None:
    """`--env ENV`."""
    parser.add_argument("--env", metavar="ENV", help="the environment (default: envlock's own)")


def add_compiler(parser: argparse.ArgumentParser) -> None:
    """`--compiler CXX`."""
    parser.add_argument(
        "--compiler",
        metavar="CXX",
        default="g++",
        help="the g++ that compiles TensorFlow's headers (default: g++)",
    )


def add_format(parser: argparse.ArgumentParser, *more: str) -> None:
    """`--format text|json|...`."""
    note = "how to write the result (default: text)"
    parser.add_argument("--format", choices=("text", "json", *more), default="text", help=note)


def add_output(parser: argparse.ArgumentParser) -> None:
    """`-o FILE`."""
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of stdout")


def add_policy(parser: argparse.ArgumentParser) -> None:
    """`--policy FILE`, `--fail-on VERDICT`."""
    parser.add_argument(
        "--policy", metavar="FILE", help="a policy file, or strict, default, lenient"
    )
    parser.add_argument(
        "--fail-on",
        metavar="VERDICT",
        choices=VERDICTS,
        help="the mildest verdict that fails: drifted, unsafe (default), incompatible, never",
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """`--no-cache`."""
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="work everything out again: neither read nor write what the user's cache folder keeps "
        "about a plugin's bytes ($ENVLOCK_NO_CACHE does the same)",
    )


def heed_cache(arguments: argparse.Namespace) -> None:
    """Do what `--no-cache` asks for."""
    if arguments.no_cache:
        from ..files.kept import turn_off

        turn_off()


def policy_of(arguments: argparse.Namespace) -> PolicyFile:
    """The policy that the options name. Raises `PolicyError`."""
    from ..rules.policy import resolve_policy

    policy = resolve_policy(arguments.policy)
    if arguments.fail_on:
        policy = policy.replace(fail_on=arguments.fail_on)
    return policy


def reports_status(reports: tuple[Report, ...], policy: PolicyFile) -> int:
    """3 when an input could not be read, else 1 when a plugin fails, else 0."""
    if any(report.verdict is None for report in reports):
        return 3
    return int(any(map(policy.refuses, reports)))


def _escaped(text: str) -> str:
    """Text in ASCII, by escapes that JSON knows too: `backslashreplace` would write `\\xe9`."""
    import json

    return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)


def emit(text: str, output: str | None = None) -> None:
    """Write to stdout, or whole or not at all to a file; raises `WriteError`.

    A reader that went away (head, less) is not an error, and what it did not read still counts.
    """
    if output is not None:
        from ..files.writing import write_file

        write_file(output, text.encode("utf-8", "backslashreplace"))
        return
    stream = sys.stdout
    if stream is None or stream.closed:
        raise WriteError(
            "cannot write the output: stdout is closed",
            hint="send it somewhere (`>FILE`), or to `/dev/null`",
        )
    try:
        _put(stream, text)
    except BrokenPipeError:
        import os

        # Python would try again at exit, and complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except OSError as error:
        raise WriteError(f"cannot write the output: {error.strerror}") from None


def talk(text: str) -> None:
    """Say something to people, on stderr; where that takes nothing, the exit status has to do."""
    stream = sys.stderr
    if stream is None or stream.closed:
        return
    try:
        _put(stream, text + "\n")
    except OSError:
        return


def complain(error: EnvlockError) -> None:
    """The one place that turns an error into text for people, on stderr."""
    talk(f"envlock: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""))


def _put(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(_escaped(text))
    stream.flush()
