"""What all tests share: real TensorFlow environments, and the rule that nothing is left out quietly.

A test that this machine cannot run is skipped with its reason. With `ENVLOCK_TESTS_INSIST=1`, as
in continuous integration, such a skip is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.support import environments
from tests.support.environments import TfEnvironment

pytest_plugins = ["tests.support.rule_examples"]

INSIST = os.environ.get("ENVLOCK_TESTS_INSIST") == "1"

# Skips that start so are allowed even then: data that is not part of the checkout, hardware.
ABSENT_DATA = "absent data: "
ALLOWED = (ABSENT_DATA, "this processor ")


@pytest.fixture(scope="session")
def tf_env() -> Callable[[str], TfEnvironment]:
    """`tf_env("2.15.1")`: that environment, made if need be; the test is skipped without it."""

    def get(version: str, package: str = "tensorflow-cpu") -> TfEnvironment:
        try:
            return environments.ensure(version, package)
        except environments.CannotEnsure as problem:
            pytest.skip(str(problem))

    return get


@pytest.fixture(scope="session")
def tf_envs() -> list[TfEnvironment]:
    """The environments of `make test` that this machine can have, oldest release first."""
    wanted, left_out = environments.for_tests()
    if not wanted:
        pytest.skip("; ".join(left_out.values()))
    return [environments.ensure(version) for version in wanted]


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """`tool("eu-strip")`: the path of a program; the test is skipped without it."""

    def get(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"`{name}` is not installed")
        return found

    return get


# Fixtures that tell which tests `make test-quick` leaves out. `releases` compiles two releases of
# the small framework of tests/unit/atlas.
MARKED = {"tf_env": "tensorflow", "tf_envs": "tensorflow", "releases": "slow"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in MARKED.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKED[fixture])


def pytest_report_header(config: pytest.Config) -> list[str]:
    if "not tensorflow" in config.option.markexpr:
        return []
    wanted, left_out = environments.for_tests()
    lines = [f"TensorFlow: {', '.join(wanted) or 'none'} (in {environments.cache_root()})"]
    return lines + [f"left out: TensorFlow {v}: {reason}" for v, reason in left_out.items()]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    outcome = yield
    _insist(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, None]:
    outcome = yield
    _insist(outcome.get_result())


def _insist(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not INSIST or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"everything is insisted on, but this was skipped: {reason}"
