"""Whoever calls envlock in a long-lived process gets every file descriptor and mapping back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Callable

import pytest

import envlock
from envlock.actions.checking import Checker
from envlock.actions.recording import note_payload
from envlock.models.errors import FileAccessError
from envlock.models.policy import PolicyFile
from tests.support.building import build
from tests.support.descriptors import gives_back, held
from tests.support.environments import QUIET, TfEnvironment, clean_environ

CHECKOUT = Path(__file__).resolve().parents[3]
VERSION = "2.15.1"


@pytest.fixture
def env(tf_env: Callable[[str], TfEnvironment]) -> TfEnvironment:
    return tf_env(VERSION)


@pytest.fixture
def plugin(tmp_path: Path, env: TfEnvironment) -> Path:
    copy = tmp_path / "minimal.so"
    shutil.copy(build("minimal", env), copy)
    return copy


def test_check(plugin: Path, env: TfEnvironment) -> None:
    gives_back(lambda: envlock.check(plugin, env=env.prefix))


def test_stamp(plugin: Path, env: TfEnvironment) -> None:
    gives_back(lambda: envlock.stamp(plugin, env=env.prefix))


def test_a_stamp_that_is_refused(env: TfEnvironment, tmp_path: Path) -> None:
    plugin = tmp_path / "dependency.so"
    shutil.copy(build("dependency_present", env), plugin)  # without the library beside it

    def refused() -> None:
        with pytest.raises(envlock.StampRefused):
            envlock.stamp(plugin, env=env.prefix)

    gives_back(refused)


def test_the_payload_of_a_linked_in_note(env: TfEnvironment) -> None:
    gives_back(lambda: note_payload(env.prefix))


def test_compat(plugin: Path) -> None:
    gives_back(lambda: envlock.compat(plugin))


def test_snapshot(env: TfEnvironment) -> None:
    gives_back(lambda: envlock.snapshot(env.prefix, integrity="none"))


def test_diff(plugin: Path, env: TfEnvironment) -> None:
    envlock.stamp(plugin, env=env.prefix)
    gives_back(lambda: envlock.diff(plugin, env.prefix, integrity="none"))


def test_a_checker_that_cannot_be_made(env: TfEnvironment) -> None:
    policy = PolicyFile(trust=("/nonexistent.pub",))

    def refused() -> None:
        with pytest.raises(FileAccessError):
            Checker.for_environment(env.prefix, policy)

    gives_back(refused)


LOADING = """
import sys
import envlock
from tests.support.descriptors import gives_back
def load():
    envlock.load(sys.argv[1])
    envlock.check(sys.argv[1])
gives_back(load)
"""


def test_load(plugin: Path, env: TfEnvironment) -> None:
    envlock.stamp(plugin, env=env.prefix)
    done = subprocess.run(
        [env.python, "-c", LOADING, plugin],
        capture_output=True,
        text=True,
        env={**clean_environ(), **QUIET, "PYTHONPATH": str(CHECKOUT)},
    )
    assert done.returncode == 0, done.stderr


def test_the_measure_sees_a_checker_that_stays_open(env: TfEnvironment) -> None:
    """Else the tests above would pass whatever is left open."""
    before = held()
    checker = Checker.for_environment(env.prefix)
    assert held()[0] > before[0]
    assert held()[1] > before[1]
    checker.close()
    assert held() == before
