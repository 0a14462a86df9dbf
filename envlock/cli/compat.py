"""`envlock compat`."""

from __future__ import annotations

from ..report.formats import render
from .common import add_cache, add_format, emit, heed_cache
from .failing import failing_in_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.compat import CompatDocument
    from ..models.errors import EnvlockError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock compat`."""
    parser.add_argument("plugin", metavar="PLUGIN", help="the plugin's file (`.so`)")
    parser.add_argument(
        "--distribution",
        choices=("tensorflow", "tensorflow-cpu"),
        default="tensorflow-cpu",
        help="which builds to judge where the two differ (default: tensorflow-cpu)",
    )
    add_format(parser)
    add_cache(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge every release; 0 when at least one takes the plugin, 1 when none does."""
    from ..actions.compatibility import compat

    heed_cache(arguments)
    with failing_in_json(arguments.format, lambda error: _failed(arguments.plugin, error)):
        answer = compat(arguments.plugin, distribution=arguments.distribution)
    emit(render(answer, arguments.format))
    return int(not any(r.verdict.works for r in answer.releases))


def _failed(plugin: str, error: EnvlockError) -> CompatDocument:
    from ..actions.checking import unreadable_report
    from ..models.compat import COMPAT_FORMAT, CompatDocument

    return CompatDocument(format=COMPAT_FORMAT, plugin=unreadable_report(plugin, error).plugin)
