"""`envlock stamp`."""

from __future__ import annotations

from ..models.errors import EnvlockError, StampRefused, printable
from ..report.json import render as to_json
from .common import add_environment, add_format, emit
from .failing import error_info, failing_in_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.shown import StampDocument


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock stamp`."""
    parser.add_argument("plugin", metavar="PLUGIN", help="the plugin's file (`.so`)")
    parser.add_argument("-o", "--output", metavar="OUT", help="write there, leave PLUGIN as it is")
    add_environment(parser)
    parser.add_argument(
        "--force", action="store_true", help="record an environment that could not load it"
    )
    parser.add_argument(
        "--record-ops",
        action="store_true",
        help="load the plugin in a process of its own to record the ops and kernels it registers",
    )
    parser.add_argument(
        "--compile-commands",
        metavar="FILE",
        help="a compile_commands.json: RUNS its compiler to compile the plugin's sources once more "
        "with -g, into a temporary folder, and records what they show the plugin to depend on",
    )
    parser.add_argument(
        "--compile-command",
        metavar="'CXX ...'",
        action="append",
        default=[],
        help="the same for one command line of the build, as typed in this folder; repeatable",
    )
    parser.add_argument(
        "--sign",
        metavar="KEY",
        help="sign plugin and manifest with this Ed25519 private key (PEM or OpenSSH)",
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stamp one plugin."""
    # `-o` is the stamped plugin; the document goes to stdout.
    with failing_in_json(arguments.format, lambda error: _failed(arguments.plugin, error)):
        result = _stamp(arguments)
    emit(to_json(result) if arguments.format == "json" else _text(result))
    return 0


def _failed(plugin: str, error: EnvlockError) -> StampDocument:
    from ..models.shown import STAMP_FORMAT, StampDocument

    return StampDocument(
        format=STAMP_FORMAT,
        path=plugin,
        written=False,
        findings=error.report.findings if isinstance(error, StampRefused) else (),
        error=error_info(error),
    )


def _stamp(arguments: argparse.Namespace) -> StampDocument:
    from ..actions.stamping import stamp

    return stamp(
        arguments.plugin,
        output=arguments.output,
        env=arguments.env,
        force=arguments.force,
        record_ops=arguments.record_ops,
        sign=arguments.sign,
        compile_commands=arguments.compile_commands,
        compile_command=arguments.compile_command,
    )


def _text(result: StampDocument) -> str:
    from ..report.check_text import findings_lines

    assert result.manifest is not None
    tensorflow = result.manifest.tensorflow
    target = f"TensorFlow {tensorflow.version}" if tensorflow else "no TensorFlow"
    verb = "stamped again" if result.replaced else "stamped"
    lines = [f"{result.path}: {verb} for {target} ({result.bytes_added} bytes added)"]
    if result.signed_by is not None:
        lines.append(f"signed by {result.signed_by}")
    needs = result.runtime.sentence() if result.runtime is not None else None
    lines += [needs] if needs else []
    lines += [f"note: {note}" for note in result.notes]
    if result.findings:
        lines.append("forced, although the environment could not load it:")
        lines += findings_lines(result.findings)
    return "".join(printable(line) + "\n" for line in lines)
