"""`envlock recreate`."""

from __future__ import annotations

from ..inventory.recreating import FORMATS, make_plan, write
from ..inventory.sides import resolve
from ..models.errors import UsageError
from .common import add_output, emit
from .diff import open_store
from .reports import add_store, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..inventory.index import PackageIndex


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock recreate`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a snapshot (file, or name in the history), a stamped plugin, or an ENV",
    )
    parser.add_argument(
        "--as",
        dest="form",
        required=True,
        choices=FORMATS,
        help="requirements.txt, pylock.toml, environment.yml, a conda explicit list, a Dockerfile",
    )
    parser.add_argument(
        "--minimal", action="store_true", help="only what the plugins need, not the whole"
    )
    parser.add_argument(
        "--hashes",
        action="store_true",
        help="ask the package index for the digests (pip and dockerfile; pylock always does)",
    )
    parser.add_argument(
        "--index",
        metavar="URL",
        help="the package index to ask (default: PIP_INDEX_URL, UV_DEFAULT_INDEX, else PyPI)",
    )
    parser.add_argument("--offline", action="store_true", help="ask no index")
    add_store(parser)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; what it leaves out is said on stderr too."""
    if arguments.offline and (arguments.hashes or arguments.index):
        raise UsageError("`--offline` contradicts `--hashes` and `--index`")
    with open_store(arguments.store) as store:
        facts = resolve(arguments.source, store)
    plan = make_plan(facts, minimal=arguments.minimal)
    result = write(plan, arguments.form, _index(arguments))
    emit(result.text, arguments.output)
    for one in result.left_out:
        say(f"left out: {one.what}: {one.why}")
    return 0


def _index(arguments: argparse.Namespace) -> PackageIndex | None:
    wanted = arguments.hashes or arguments.index or arguments.form == "pylock"
    if arguments.offline or not wanted:
        return None
    from ..inventory.index import PackageIndex

    index = PackageIndex(arguments.index)
    say(f"asking {index.shown} for files and digests")
    return index
