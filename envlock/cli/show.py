"""`envlock show`."""

from __future__ import annotations

from ..report.formats import render
from .common import add_format, emit
from .failing import error_info, failing_in_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.errors import EnvlockError
    from ..models.shown import ShownDocument


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock show`."""
    parser.add_argument("plugin", metavar="PLUGIN", help="the plugin's file (`.so`)")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show one plugin."""
    from ..actions.showing import show

    with failing_in_json(arguments.format, lambda error: _failed(arguments.plugin, error)):
        shown = show(arguments.plugin)
    emit(render(shown, arguments.format))
    return 0


def _failed(plugin: str, error: EnvlockError) -> ShownDocument:
    from ..models.shown import SHOW_FORMAT, ShownDocument

    return ShownDocument(format=SHOW_FORMAT, path=plugin, error=error_info(error))
