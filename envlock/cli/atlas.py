"""`envlock atlas list` and `envlock atlas add`."""

from __future__ import annotations

from ..models.errors import printable
from ..report.json import render as to_json
from .common import add_compiler, add_environment, add_format, emit
from .failing import error_info, failing_in_json
from .tables import drawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..atlas.format import Atlas
    from ..models.atlas import AtlasRelease


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock atlas`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="the releases that the atlases at hand know")
    add_format(listing)
    adding = verbs.add_parser("add", help="write an atlas of an environment's own TensorFlow")
    add_environment(adding)
    adding.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the atlas to write (default: one of its own in the user's data folder, where every "
        "later check finds it)",
    )
    add_compiler(adding)


def run(arguments: argparse.Namespace) -> int:
    """List the atlases or write one."""
    if arguments.verb == "add":
        return _add(arguments)
    return _list(arguments)


def _add(arguments: argparse.Namespace) -> int:
    import os

    from ..atlas.adding import add
    from ..atlas.collection import added_files
    from ..environment.live import Environment

    added = add(Environment.open(arguments.env), arguments.output, arguments.compiler)
    path = os.path.abspath(added.path)
    text = f"{printable(added.path)}: {added.distribution} {added.version}, {added.size:,} bytes\n"
    if path not in map(os.path.abspath, added_files()):
        import shlex

        text += f"to use it: export ENVLOCK_ATLAS={printable(shlex.quote(path))}\n"
    emit(text)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from ..models.atlas import ATLAS_FORMAT, AtlasDocument

    with failing_in_json(
        arguments.format,
        lambda error: AtlasDocument(format=ATLAS_FORMAT, error=error_info(error)),
    ):
        found = _known()
    if arguments.format == "json":
        releases = tuple(release for _, entries in found for release in entries)
        emit(to_json(AtlasDocument(format=ATLAS_FORMAT, releases=releases)))
    else:
        emit(_text(found))
    return 0


def _known() -> list[tuple[Atlas, list[AtlasRelease]]]:
    """Every atlas at hand with what it holds, the added ones first."""
    from ..atlas.collection import open_added, open_atlas

    return [(atlas, _entries(atlas)) for atlas in (*open_added(), open_atlas())]


def _entries(atlas: Atlas) -> list[AtlasRelease]:
    from ..models.atlas import AtlasRelease
    from ..models.documents import validate
    from ..models.record import ValidationError

    found = []
    for one in atlas.releases:
        own = {"tensorflow": one.version, "shipped": atlas.shipped, "interface": one.abi}
        try:
            found.append(validate(AtlasRelease, {**one.facts, **own}))
        except ValidationError as problem:
            raise atlas.damaged(f"its list of releases, {one.version}: {problem}") from None
    return found


def _text(found: list[tuple[Atlas, list[AtlasRelease]]]) -> str:
    text = ""
    libraries = ("absl", "eigen", "protobuf")
    for atlas, entries in found:
        if len(found) > 1:
            whose = "shipped with envlock:" if atlas.shipped else f"{atlas.path}:"
            text += printable(whose) + "\n"
        rows = [
            (e.tensorflow, e.distribution, *(getattr(e.headers, name) or "" for name in libraries))
            for e in entries
        ]
        table = drawn(("TensorFlow", "distribution", *libraries), rows)
        if table is not None:
            text += table
            continue
        for tensorflow, distribution, *versions in rows:
            shown = [f"{name} {one}" for name, one in zip(libraries, versions) if one]
            text += printable(f"{tensorflow:12} {distribution:15} {', '.join(shown)}") + "\n"
    return text
