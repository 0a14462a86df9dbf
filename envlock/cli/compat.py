"""`envlock compat`."""

from __future__ import annotations

from ..errors import EnvlockError
from .common import add_format, emit, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock compat`."""
    parser.add_argument("plugin", metavar="PLUGIN")
    parser.add_argument(
        "--distribution",
        choices=("tensorflow", "tensorflow-cpu"),
        default="tensorflow-cpu",
        help="which builds to judge where the two differ (default: tensorflow-cpu)",
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge every release; 0 when at least one takes the plugin, 1 when none does."""
    from ..compatibility import compat

    try:
        answer = compat(arguments.plugin, distribution=arguments.distribution)
    except EnvlockError as error:
        if arguments.format == "json":
            from ..models.compat import COMPAT_FORMAT, CompatDocument
            from ..models.report import PluginSummary

            failed = PluginSummary(path=arguments.plugin, stamped=False, error=error.message)
            emit(to_json(CompatDocument(format=COMPAT_FORMAT, plugin=failed)))
        raise
    if arguments.format == "json":
        emit(to_json(answer))
    else:
        from ..render.compat import compat_text

        emit(compat_text(answer))
    return int(not any(r.verdict in ("compatible", "drifted") for r in answer.releases))
