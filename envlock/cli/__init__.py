"""The command line: an explicit table of commands, one error boundary, nothing else.

Each command is a module with `configure(parser)` and `run(arguments) -> exit status`; what it does
stands in `COMMANDS`. Only the module of the command that was asked for is imported, so a gate does
not pay for reports.
"""

from __future__ import annotations

import sys

from ..models.errors import EnvlockError, printable
from .options import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType
    from typing import NoReturn

    from .options import Arguments

#: command -> (module, one line of help), in the order of `envlock --help`
COMMANDS = {
    "stamp": ("stamp", "embed the manifest of the build environment into a plugin"),
    "show": ("show", "show a plugin's manifest and what its binary reveals"),
    "check": ("check", "say whether plugins fit an environment, without loading anything"),
    "compat": (
        "compat",
        "say which TensorFlow releases would take a plugin, and why not the others",
    ),
    "atlas": ("atlas", "list the TensorFlow releases that are known, or add one's own"),
    "note": ("note", "write the manifest as source, to be linked into a plugin"),
    "scan": ("check", "another name for `check`"),
    "report": ("report", "another name for `check`, which also converts a JSON report"),
    "snapshot": ("snapshot", "record the state of an environment"),
    "history": ("history", "list the saved snapshots"),
    "diff": ("diff", "say what differs between two environments, and which plugins it breaks"),
    "drift": ("drift", "say what changed in an environment since it was saved, as `diff` does"),
    "recreate": ("recreate", "write a file from which an environment can be made again"),
}

WIDTH = 96
ENVIRONMENT = (
    "ENV is a virtual environment's or conda prefix's folder, or a Python executable in it; "
    "default: the environment that envlock itself runs in. "
)
STATUS = "Exit status: 0 all fine, 1 a plugin fails, 2 wrong usage, 3 an input could not be read."


def _module(command: str) -> ModuleType:
    name = f"{__name__}.{COMMANDS[command][0]}"
    __import__(name)  # importlib is one more import
    return sys.modules[name]


def _parser(command: str) -> argparse.ArgumentParser:
    import argparse

    from .common import emit, talk

    class Parser(argparse.ArgumentParser):
        """Writes where and as all else is written."""

        def print_help(self, file: object = None) -> None:
            emit(self.format_help())

        def error(self, message: str) -> NoReturn:
            talk(f"{self.format_usage()}{self.prog}: error: {printable(message)}")
            raise SystemExit(2)

    text = COMMANDS[command][1]
    parser = Parser(
        prog=f"envlock {command}",
        description=text[0].upper() + text[1:],
        # A width of its own keeps argparse from importing shutil to ask the terminal.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=WIDTH),
    )
    _module(command).configure(parser)
    parser.epilog = (ENVIRONMENT if "ENV" in parser.format_usage() else "") + STATUS
    return parser


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = ["usage: envlock COMMAND ...", ""]
    lines += [f"  {name:<{width}}{text}" for name, (_, text) in COMMANDS.items()]
    lines += ["", "`envlock COMMAND --help` explains one. `envlock --version` prints the version."]
    return "\n".join(lines)


def script() -> None:
    """The `envlock` command: `main` for a process that does nothing else.

    Without collecting garbage rarely, and leaving without taking the interpreter apart, a check of
    a stamped plugin takes 1.13 times as long (`python -m benchmarks.startup`).
    """
    import gc
    import os

    gc.set_threshold(50_000)
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _occupy()
    os._exit(main())


def _occupy() -> None:
    """Open what was closed at the start, so that no file of ours gets its number: what a child
    writes to its stdout must not end up there."""
    import os

    opened = 0
    while opened < 3:
        opened = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(opened, opened < 3)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the contract's exit status and never raises for bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except EnvlockError as error:
        from .common import complain

        complain(error)
        return error.exit_status
    except KeyboardInterrupt:
        from .common import talk

        talk("envlock: interrupted")
        return 2


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help", "help"):
        from .common import emit

        emit(_overview() + "\n")
        return 0 if arguments else 2
    if first in ("-V", "--version"):
        from ..models.version import __version__
        from .common import emit

        emit(f"envlock {__version__}\n")
        return 0
    if first not in COMMANDS:
        from .common import talk

        talk(f"envlock: no command `{printable(first)}`\n\n{_overview()}")
        return 2
    module = _module(first)
    parsed: Arguments | argparse.Namespace | None = read(module.configure, arguments[1:])
    if parsed is None:
        try:
            parsed = _parser(first).parse_args(arguments[1:])
        except SystemExit as leaving:
            return int(leaving.code or 0)
    status: int = module.run(parsed)
    return status
