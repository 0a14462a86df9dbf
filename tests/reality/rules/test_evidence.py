"""A plugin's facts: its bytes alone decide them, and pickled they give the same verdicts."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import envlock
from envlock.actions.checking import Checker
from envlock.atlas.collection import open_atlas
from envlock.binary.elf import ElfFile
from envlock.inventory.recorded import RecordedSide
from envlock.inventory.sides import from_environment
from envlock.models.policy import DEFAULT
from envlock.plugin.facts import PluginFacts
from envlock.rules.evidence import Evidence
from envlock.rules.judge import judge
from envlock.rules.releases import ReleaseSide, lacking, release_answers
from tests.support.building import build
from tests.support.environments import TfEnvironment

BUILT, OTHER = "2.15.1", "2.18.1"
Envs = Callable[[str], TfEnvironment]


@pytest.fixture(params=["unstamped", "stamped", "debug information"])
def plugin(request: pytest.FixtureRequest, tf_env: Envs, tmp_path: Path) -> Path:
    flags = ("-g",) if request.param == "debug information" else ()
    copy = Path(shutil.copy(build("dataset", tf_env(BUILT), flags=flags), tmp_path / "dataset.so"))
    if request.param == "stamped":
        envlock.stamp(copy, env=tf_env(BUILT).prefix)
    return copy


def pickled(path: Path) -> bytes:
    with ElfFile.open(path) as elf:
        return pickle.dumps(PluginFacts.of(elf))


def test_pickled_facts_give_the_verdict_of_every_release(plugin: Path) -> None:
    atlas = open_atlas()
    with ElfFile.open(plugin) as elf:
        facts = PluginFacts.of(elf)
        expected = [
            (one.release.version, one.verdict, one.findings, one.unchecked)
            for one in release_answers(facts, atlas, "tensorflow-cpu")
        ]
        data = pickle.dumps(facts)
    plugin.unlink()
    again: PluginFacts = pickle.loads(data)
    answers = release_answers(again, atlas, "tensorflow-cpu")
    found = [(one.release.version, one.verdict, one.findings, one.unchecked) for one in answers]
    assert found == expected
    assert {verdict for _, verdict, _, _ in found} >= {"compatible", "incompatible"}


def test_pickled_facts_join_any_side(plugin: Path, tf_env: Envs) -> None:
    """A release, a recorded environment, and a live one with what the linker said of the file."""
    atlas = open_atlas()
    release = atlas.find(OTHER, "tensorflow-cpu")
    assert release is not None
    recorded = from_environment(str(tf_env(OTHER).prefix))
    assert recorded.tensorflow is not None

    def evidence(facts: PluginFacts) -> list[Evidence]:
        link = lacking(facts, atlas)[release.index]
        return [
            Evidence(facts, ReleaseSide(atlas, release, "tensorflow-cpu"), link),
            Evidence(facts, RecordedSide(recorded, recorded.tensorflow), link),
        ]

    with ElfFile.open(plugin) as elf, Checker.for_environment(tf_env(OTHER).prefix) as checker:
        facts = PluginFacts.of(elf)
        live = checker.collect(facts)
        data = pickle.dumps(facts)
        expected = [judge(one, DEFAULT) for one in evidence(facts)]
        asked = judge(Evidence(facts, live.side, live.link), DEFAULT)
        again: PluginFacts = pickle.loads(data)
        assert judge(Evidence(again, live.side, live.link), DEFAULT) == asked
    plugin.unlink()
    assert [judge(one, DEFAULT) for one in evidence(pickle.loads(data))] == expected
    assert {report.verdict for report in (*expected, asked)} == {"incompatible"}


def test_the_same_bytes_elsewhere_are_the_same_facts(plugin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    one = pickled(plugin)
    shutil.move(plugin, folder / plugin.name)
    two = pickled(folder / plugin.name)
    assert one.replace(str(plugin).encode(), b"") != one, "the path is in it"
    first, second = pickle.loads(one), pickle.loads(two)
    for facts in (first, second):
        facts.path = facts.file = ""
    read = [name for name in vars(first) if name not in ("interface", "derived", "signed", "wants")]
    assert {name: vars(first)[name] for name in read} == {n: vars(second)[n] for n in read}
    assert (first.wants.needed, first.wants.symbols) == (second.wants.needed, second.wants.symbols)
    assert first.interface.text == second.interface.text
    assert first.interface.kinds() == second.interface.kinds()
