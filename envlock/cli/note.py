"""`envlock note`: the linked-in form, for builds that strip with llvm's defaults."""

from __future__ import annotations

from ..models.errors import UsageError
from .common import add_environment, add_output, emit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock note`."""
    add_environment(parser)
    add_output(parser)
    parser.add_argument(
        "--language", choices=("S", "c"), help="assembly or C (default: by OUTPUT's name, else S)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the note's source."""
    from ..actions.recording import note_payload
    from ..binary.elf.note_source import linked_note_source

    language = arguments.language or _by_name(arguments.output)
    emit(linked_note_source(note_payload(arguments.env), language), arguments.output)
    return 0


def _by_name(output: str | None) -> str:
    if output is None or output.endswith((".S", ".s")):
        return "S"
    if output.endswith(".c"):
        return "c"
    raise UsageError(f"`{output}` ends neither in .S nor in .c", hint="name the `--language`")
