"""envlock's verdict on our own ops is what `tf.load_op_library` does in a child process.

Every op is built on releases of four generations and tried on all releases that the tests use.
"""

from __future__ import annotations

import collections
import os
import shutil
from pathlib import Path

import pytest

import envlock
from tests.campaigns.conformance import matrix
from tests.campaigns.conformance.matrix import Pair
from tests.support import building, reality
from tests.support.environments import FOR_TESTS, TfEnvironment, ensure, for_tests

# ABI without the C++11 strings; absl in the framework; statuses in absl and tsl; today's.
BUILDERS = ("2.8.4", "2.13.1", "2.16.2", "2.20.0")


def here(versions: tuple[str, ...]) -> list[TfEnvironment]:
    wanted, _ = for_tests()
    return [ensure(version) for version in versions if version in wanted]


@pytest.fixture(scope="module")
def plugins() -> list[tuple[str, TfEnvironment, Path]]:
    builders = here(BUILDERS)
    assert builders, "none of the releases that build can be had here"
    return list(matrix.build_all(builders))


# What is known about one live release is worked out once, so its tests stay together.
LIVE = [pytest.param(v, marks=pytest.mark.xdist_group(f"live-{v}"), id=v) for v in FOR_TESTS]


@pytest.fixture(scope="module", params=LIVE)
def live(request: pytest.FixtureRequest) -> TfEnvironment:
    _, left_out = for_tests()
    if request.param in left_out:
        pytest.skip(left_out[request.param])
    return ensure(request.param)


@pytest.fixture(scope="module")
def pairs(plugins: list[tuple[str, TfEnvironment, Path]], live: TfEnvironment) -> list[Pair]:
    return matrix.pairs(plugins, live)


class TestEveryPair:
    def test_verdict_is_what_happens(self, pairs: list[Pair]) -> None:
        wrong = [str(pair) for pair in pairs if not pair.verdict_is_right]
        assert not wrong, "\n".join(wrong)

    def test_error_is_the_dynamic_linkers(self, pairs: list[Pair]) -> None:
        wrong = [str(pair) for pair in pairs if not pair.error_is_right]
        assert not wrong, "\n".join(wrong)

    def test_both_answers_occur(self, pairs: list[Pair]) -> None:
        assert {pair.outcome.accepted for pair in pairs} == {True, False}

    def test_ops_work_on_the_release_they_were_built_for(
        self, pairs: list[Pair], live: TfEnvironment
    ) -> None:
        own = {pair.op: pair.outcome for pair in pairs if pair.built == live.version}
        if live.version not in BUILDERS:
            assert not own
            return
        for op in ("dependency_absent", "other_abi"):
            assert own.pop(op).outcome == "load_error"
        assert own.pop("dataset_debug").accepted
        assert {op: outcome for op, outcome in own.items() if not outcome.works} == {}
        assert len(own) == len(building.RECIPES) - 3


def test_each_refusal_names_a_cause(live: TfEnvironment, pairs: list[Pair]) -> None:
    for pair in pairs:
        if pair.outcome.accepted:
            continue
        worst = [f for f in pair.report.findings if f.verdict == "incompatible"]
        assert worst, str(pair)
        assert all(finding.message and finding.remedy for finding in worst), str(pair)


def test_other_abi_is_named_as_the_cause(live: TfEnvironment, pairs: list[Pair]) -> None:
    rules = collections.Counter(
        finding.rule
        for pair in pairs
        if pair.op == "other_abi" and pair.built == live.version
        for finding in pair.report.findings
    )
    if live.version in BUILDERS:
        assert any("abi" in rule for rule in rules), rules


def test_absent_library_is_named_and_found_again(live: TfEnvironment, tmp_path: Path) -> None:
    if live.version not in BUILDERS:
        plugin = building.build("dependency_present", here(BUILDERS)[-1])
    else:
        plugin = building.build("dependency_present", live)
    moved = tmp_path / plugin.name
    shutil.copy(plugin, moved)
    report = envlock.check(moved, env=live.prefix)
    assert report.verdict == "incompatible"
    assert any("libenvlock_extra.so" in finding.message for finding in report.findings)
    outcome = reality.judge([reality.Trial(moved)], live)[0]
    assert outcome.outcome == "load_error"

    shutil.copy(plugin.parent / "libenvlock_extra.so", tmp_path)
    again = envlock.check(moved, env=os.fspath(live.prefix))
    assert not any("libenvlock_extra.so" in finding.message for finding in again.findings)
    loaded = reality.judge([reality.Trial(moved)], live)[0]
    assert loaded.accepted == (again.verdict != "incompatible")
