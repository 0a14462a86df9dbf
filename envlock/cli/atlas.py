"""`envlock atlas list` and `envlock atlas add`."""

from __future__ import annotations

from .common import add_environment, add_format, emit, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..atlas.format import Atlas, Release
    from ..models.atlas import AtlasRelease


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock atlas`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="the releases that the atlases at hand know")
    add_format(listing)
    adding = verbs.add_parser("add", help="write an atlas of an environment's own TensorFlow")
    add_environment(adding)
    adding.add_argument("-o", "--output", metavar="FILE", required=True, help="the atlas to write")
    adding.add_argument(
        "--compiler", metavar="CXX", default="g++", help="the g++ that compiles its headers"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the atlases or write one."""
    if arguments.verb == "add":
        return _add(arguments)
    return _list(arguments)


def _add(arguments: argparse.Namespace) -> int:
    from ..atlas.adding import add
    from ..environment.live import Environment

    added = add(Environment.open(arguments.env), arguments.output, arguments.compiler)
    emit(
        f"{added.path}: {added.distribution} {added.version}, {added.size:,} bytes\n"
        f"To use it: export ENVLOCK_ATLAS={added.path}\n"
    )
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from ..atlas.collection import added_files, open_atlas
    from ..atlas.format import Atlas

    atlases = [*map(Atlas.open, added_files()), open_atlas()]
    if arguments.format == "json":
        from ..models.atlas import ATLAS_FORMAT, AtlasDocument

        found = tuple(_entry(atlas, one) for atlas in atlases for one in atlas.releases)
        emit(to_json(AtlasDocument(format=ATLAS_FORMAT, releases=found)))
        return 0
    lines = []
    for atlas in atlases:
        for release in atlas.releases:
            headers = release.facts["headers"]
            versions = ", ".join(f"{name} {text}" for name, text in headers.items() if text)
            lines.append(f"{release.version:12} {release.distribution:15} {versions}")
    emit("\n".join(lines) + "\n")
    return 0


def _entry(atlas: Atlas, release: Release) -> AtlasRelease:
    from ..models.atlas import AtlasRelease
    from ..models.manifest import HeaderVersions, LibraryIdentity

    facts = release.facts
    return AtlasRelease(
        tensorflow=release.version,
        distribution=release.distribution,
        shipped=atlas.shipped,
        interface=release.abi,
        global_scope=release.global_scope,
        git_version=facts["git_version"],
        compiler=facts["compiler"],
        cxx11_abi=facts["cxx11_abi"],
        headers=HeaderVersions(**facts["headers"]),
        libraries=tuple(
            LibraryIdentity(
                name=one["name"], soname=one["soname"], build_id=one["build_id"], size=one["size"]
            )
            for one in release.libraries
        ),
        probe=facts["probe"],
    )
