"""`envlock show`."""

from __future__ import annotations

from ..errors import EnvlockError
from .common import add_format, emit, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock show`."""
    parser.add_argument("plugin", metavar="PLUGIN")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show one plugin."""
    from ..models.shown import SHOW_FORMAT, ErrorInfo, ShownDocument
    from ..showing import show

    if arguments.format == "text":
        from ..render.manifest import shown_text

        emit(shown_text(show(arguments.plugin)))
        return 0
    try:
        shown = show(arguments.plugin)
    except EnvlockError as error:
        failed = ErrorInfo(message=error.message, hint=error.hint)
        emit(to_json(ShownDocument(format=SHOW_FORMAT, path=arguments.plugin, error=failed)))
        raise
    emit(to_json(shown))
    return 0
