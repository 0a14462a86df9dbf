"""What is kept of a plugin saves work and changes no answer: real wheels, cold, warm and without."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import envlock
from envlock.files import kept
from envlock.models.record import encode
from envlock.plugin import memory
from tests.campaigns.truth.wheels import unpacked
from tests.conftest import ABSENT_DATA
from tests.support.environments import CannotEnsure, TfEnvironment

WHEELS = ("tensorflow_text-2.14.0", "tensorflow_addons-0.23.0")
RELEASES = ("2.15.1", "2.21.0")


@pytest.fixture(scope="module", params=WHEELS)
def plugins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Plugins as their wheel has them, and copies without the wheel's metadata."""
    try:
        folder = unpacked(request.param)
    except CannotEnsure as problem:
        pytest.skip(f"{ABSENT_DATA}{problem}")
    found = sorted(folder.rglob("*.so"), key=lambda path: path.stat().st_size)[:6:2]
    bare = tmp_path_factory.mktemp("bare")
    return [*found, *(Path(shutil.copy(path, bare)) for path in found)]


@pytest.fixture(scope="module")
def envs(tf_env: Callable[[str], TfEnvironment]) -> dict[str, TfEnvironment]:
    """The environments, found before the cache folder is another one."""
    return {release: tf_env(release) for release in RELEASES}


@pytest.fixture
def cache(envs: dict[str, TfEnvironment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(kept.SWITCH, raising=False)
    return tmp_path / "envlock" / "facts"


def answers(plugins: list[Path], env: TfEnvironment) -> list[object]:
    """All that is said of the plugins, as JSON."""
    said: list[object] = []
    for path in plugins:
        said += [encode(envlock.check(path, env=env.prefix)), encode(envlock.compat(path))]
    return said


@pytest.mark.parametrize("release", RELEASES)
def test_answers_are_the_same_with_and_without(
    plugins: list[Path],
    release: str,
    envs: dict[str, TfEnvironment],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = envs[release]
    cold = answers(plugins, env)
    documents = [path for path in cache.rglob("*/*") if path.is_file()]
    assert len(documents) == len({path.read_bytes() for path in plugins})
    assert answers(plugins, env) == cold
    monkeypatch.setenv(kept.SWITCH, "1")
    assert answers(plugins, env) == cold


def test_a_second_check_reads_no_machine_code(
    plugins: list[Path],
    envs: dict[str, TfEnvironment],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from envlock.binary.code import functions

    env = envs[RELEASES[0]]
    cold = answers(plugins, env)

    def refuse(*_: object) -> None:
        raise AssertionError("machine code was read again")

    monkeypatch.setattr(functions.Functions, "__init__", refuse)
    assert answers(plugins, env) == cold


def test_another_version_of_the_readers_begins_anew(
    plugins: list[Path],
    envs: dict[str, TfEnvironment],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = envs[RELEASES[0]]
    wanted = answers(plugins[:1], env)
    (document,) = [path for path in cache.rglob("*/*") if path.is_file()]
    digest = document.parent.name + document.name
    entry = kept.read(digest)
    assert entry is not None
    assert entry["answers"]
    kept.write(digest, {**entry, "reader": "another", "answers": {"registrations": {"source": 3}}})
    assert answers(plugins[:1], env) == wanted
    again = kept.read(digest)
    assert again is not None
    assert again["reader"] == memory.reader()


def test_answers_of_the_wrong_form_are_found_again(
    plugins: list[Path], envs: dict[str, TfEnvironment], cache: Path
) -> None:
    env = envs[RELEASES[0]]
    wanted = answers(plugins[:1], env)
    (document,) = [path for path in cache.rglob("*/*") if path.is_file()]
    digest = document.parent.name + document.name
    entry = kept.read(digest)
    assert entry is not None
    kept.write(digest, {**entry, "answers": {key: [3] for key in entry["answers"]}})
    assert answers(plugins[:1], env) == wanted


def test_the_switch_leaves_nothing_behind(
    plugins: list[Path],
    envs: dict[str, TfEnvironment],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(kept.SWITCH, "1")
    envlock.check(plugins[0], env=envs[RELEASES[0]].prefix)
    assert not cache.exists()
