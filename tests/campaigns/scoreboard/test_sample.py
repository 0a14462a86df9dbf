"""A sample of the scoreboard on every run of the tests; `make scoreboard` takes everything.

Real plugins, stamped for real, against what really happened when they were loaded.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.campaigns.scoreboard import judge, pairs, report
from tests.campaigns.scoreboard.judge import Judged
from tests.campaigns.scoreboard.pairs import DANGEROUS, WORKS, Plugin
from tests.campaigns.scoreboard.report import Row
from tests.campaigns.truth import records
from tests.conftest import ABSENT_DATA
from tests.support import environments
from tests.support.environments import CannotEnsure

BOARD = Path(__file__).resolve().parents[3] / "docs" / "scoreboard.json"

# What the conformance tests build and load anyway: one release and one live release for each way
# in which a plugin dies.
OWN = {
    "inline_readers": ("2.16.2", "2.18.1"),
    "resource": ("2.13.1", "2.15.1"),
    "lookup": ("2.13.1", "2.15.1"),
    "minimal": ("2.8.4", "2.6.5"),
    "eigen_pool": ("2.16.2", "2.18.1"),
    "protobuf": ("2.13.1", "2.15.1"),
}
# A crash in the first call, one inside the load, a layout of re2's, and plugins that work far off.
PUBLISHED = {
    ("tensorflow_text-2.13.0", "_regex_split_ops.so"),
    ("tensorflow_text-2.14.0", "_wordpiece_tokenizer.so"),
    ("tensorflow_text-2.16.1", "_mst_ops.so"),
    ("tensorflow_text-2.16.1", "_text_similarity_metric_ops.so"),
    ("tensorflow_text-2.8.2", "_mst_ops.so"),
    ("tensorflow_addons-0.14.0", "_skip_gram_ops.so"),
    ("tensorflow_addons-0.15.0", "_distort_image_ops.so"),
    ("tensorflow_addons-0.15.0", "_skip_gram_ops.so"),
}


def known_wrong() -> set[tuple[str, str, str]]:
    """(class, plugin, live release) of the verdicts that the committed scoreboard owns up to."""
    raw = json.loads(BOARD.read_text())
    return {(one["class"], one["plugin"], one["live"]) for one in raw["wrong"]}


def assert_no_worse(plugins: list[tuple[Plugin, Judged]], source: str) -> None:
    verdicts = [(plugin, verdict) for plugin, judged in plugins for verdict in judged.verdicts]
    missed = [
        f"{verdict.form}: {plugin.name} on {verdict.load.release}: {verdict.verdict}"
        for plugin, verdict in verdicts
        if verdict.load.result == DANGEROUS and not verdict.refused
    ]
    assert not missed, "\n".join(missed)
    refused = [
        f"{verdict.form}: {plugin.name} on {verdict.load.release}: {verdict.reasons}"
        for plugin, verdict in verdicts
        if verdict.load.result == WORKS
        and verdict.refused
        and (verdict.form, plugin.name, verdict.load.release) not in known_wrong()
    ]
    assert not refused, "\n".join(refused)
    board = report.score([Row(source, plugin, verdict) for plugin, verdict in verdicts])
    for count in board.counts.values():
        assert count.dangerous > 0
        assert count.working > count.dangerous


@pytest.mark.parametrize("op", list(OWN))
def test_own_ops_are_judged_as_they_behave(op: str, tmp_path: Path) -> None:
    versions = OWN[op]
    try:
        plugins = list(pairs.own_plugins([op], versions, versions, runs=1, debug=False))
    except CannotEnsure as problem:
        pytest.skip(str(problem))
    judged = [
        (plugin, judge.judge_own(plugin, tmp_path / str(number)))
        for number, plugin in enumerate(plugins)
    ]
    loads = {load.result for plugin, _ in judged for load in plugin.loads}
    assert WORKS in loads
    for plugin, answer in judged:
        assert not answer.forced
        for verdict in answer.verdicts:
            dangerous = verdict.load.result == DANGEROUS
            assert verdict.refused == dangerous, (plugin.name, verdict)


def test_debug_information_that_was_stripped_after_stamping_still_counts(tmp_path: Path) -> None:
    versions = OWN["inline_readers"]
    try:
        plugins = pairs.own_plugins(["inline_readers"], versions[:1], versions, runs=1)
        (plugin,) = plugins
    except CannotEnsure as problem:
        pytest.skip(str(problem))
    path, forced = judge.make(plugin, "stamped_dwarf", tmp_path)
    assert not forced
    assert path.stat().st_size < plugin.debug.stat().st_size / 4  # type: ignore[union-attr]
    verdicts = {v: judge.checker(v).check(str(path)) for v in versions}
    assert verdicts["2.16.2"].verdict == "compatible"
    assert verdicts["2.18.1"].verdict == "unsafe"
    (first, *_) = [f for f in verdicts["2.18.1"].findings if f.verdict == "unsafe"]
    assert first.subject == "tensorflow::OpKernelContext::Params"
    assert first.remedy is not None
    assert " install 'tensorflow-cpu==2.16.2'  # fits: " in first.remedy


def test_published_wheels_are_judged_as_they_behave(tmp_path: Path) -> None:
    if records.path() is None:
        pytest.skip(f"{ABSENT_DATA}name the folder of the recorded loads in ENVLOCK_TRUTH")
    plugins = [
        plugin
        for plugin in pairs.published_plugins()
        if (plugin.group, plugin.file.name) in PUBLISHED
    ]
    assert len(plugins) == len(PUBLISHED)
    try:
        for version in {plugin.built for plugin in plugins}:
            environments.ensure(version)
    except CannotEnsure as problem:
        pytest.skip(str(problem))
    judged = [
        (plugin, judge.judge_published(plugin, tmp_path / str(number)))
        for number, plugin in enumerate(plugins)
    ]
    assert_no_worse(judged, "published")


def test_the_committed_page_reaches_every_target() -> None:
    raw = json.loads(BOARD.read_text())
    assert {(one["class"], one["plugins"]) for one in raw["envlock"]} == set(report.TARGETS)
    for one in raw["envlock"]:
        assert one["caught"] == one["dangerous"] > 50, one
        share = one["refused"] / one["working"]
        assert share <= report.TARGETS[one["class"], one["plugins"]], one
