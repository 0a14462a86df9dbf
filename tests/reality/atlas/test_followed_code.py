"""Following only the functions that can matter gives what following all of them gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from envlock.atlas.collection import open_atlas
from envlock.binary.elf import ElfFile
from envlock.models.dependencies import Dependencies
from envlock.plugin.dependencies.analyse import InterfaceFacts, dependencies
from envlock.plugin.dependencies.narrow import narrow
from envlock.plugin.facts import PluginFacts
from tests.campaigns.truth.wheels import unpacked
from tests.conftest import ABSENT_DATA
from tests.support.environments import CannotEnsure

WHEELS = {
    "tensorflow_text-2.8.2": "2.8.4",
    "tensorflow_text-2.15.0": "2.15.1",
    "tensorflow_text-2.20.1": "2.20.0",
    "tensorflow_addons-0.23.0": "2.14.1",
}
#: Every so many of a wheel's plugins, largest first; following all of a large one takes a second.
EVERY = 4


@pytest.fixture(scope="module", params=WHEELS)
def plugins(request: pytest.FixtureRequest) -> tuple[list[Path], str]:
    try:
        folder = unpacked(request.param)
    except CannotEnsure as problem:
        pytest.skip(f"{ABSENT_DATA}{problem}")
    found = sorted(folder.rglob("*.so"), key=lambda path: -path.stat().st_size)
    return found[::EVERY], WHEELS[request.param]


def origins(facts: InterfaceFacts, first: int = 0, last: int | None = None) -> list[str]:
    """The releases that fit best, of some that follow each other."""
    atlas = open_atlas()
    releases = [one for one in atlas.releases if one.distribution == "tensorflow-cpu"]
    return [one.version for one in narrow(facts, atlas, releases[first:last])]


def needed(facts: InterfaceFacts, version: str) -> Dependencies:
    atlas = open_atlas()
    release = atlas.find(version, "tensorflow-cpu")
    assert release is not None
    return dependencies(facts, atlas, release)


def test_the_same_dependencies_and_origins(plugins: tuple[list[Path], str]) -> None:
    paths, version = plugins
    followed = total = classes = 0
    for path in paths:
        with ElfFile.open(path) as elf:
            few, every = InterfaceFacts(elf), InterfaceFacts(elf)
            if few.machine is None or every.machine is None:
                assert few.doubts  # a stub without functions, and it is said
                continue
            every.machine.follow_all()
            assert needed(few, version) == needed(every, version), path.name
            followed += len(few.machine.covers)
            assert origins(few) == origins(every), path.name
            total += len(every.machine.covers)
            classes += len(needed(few, version).classes)
    # Neither of the two is empty, and something was left out.
    assert classes > 5
    assert 0 < followed < total


def test_the_same_origins_among_neighbours(plugins: tuple[list[Path], str]) -> None:
    """Few things differ between neighbours: there a single function that was left out decides."""
    told = 0
    for path in plugins[0][-3:]:
        with ElfFile.open(path) as elf:
            every = InterfaceFacts(elf)
            if every.machine is None:
                continue
            every.machine.follow_all()
            for first in range(0, 40, 3):
                few = origins(InterfaceFacts(elf), first, first + 8)
                assert few == origins(every, first, first + 8), (path.name, first)
                told += len(few) < 8
    assert told > 5


def test_pickled_facts_have_followed_everything(plugins: tuple[list[Path], str]) -> None:
    import pickle

    paths, version = plugins
    with ElfFile.open(paths[-1]) as elf:
        facts = PluginFacts.of(elf)
        kept = pickle.dumps(facts)
        wanted = needed(facts.interface, version)
        told = origins(facts.interface)
    again = pickle.loads(kept)
    assert needed(again.interface, version) == wanted
    assert origins(again.interface) == told
