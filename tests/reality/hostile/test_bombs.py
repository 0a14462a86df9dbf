"""Files of a megabyte that ask for gigabytes or minutes: every command answers, within limits."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.plugin.manifest import encode_manifest
from tests.reality.hostile.manifests import manifest
from tests.support import bombs
from tests.support.elves import compile_library
from tests.support.environments import TfEnvironment

OK, FAILS, UNREADABLE = 0, 1, 3
#: TensorFlow's own libraries are mapped too; the bombs ask for ten times as much and more.
ADDRESS_SPACE = 4 << 30
RUN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from envlock.cli import main
raise SystemExit(main(sys.argv[2:]))
"""


def limited(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command with little memory; one that hangs fails the test."""
    return subprocess.run(
        [sys.executable, "-c", RUN, str(ADDRESS_SPACE), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )


def said(bomb: Callable[[], bytes], command: str, folder: Path, env: TfEnvironment) -> str:
    """What a command says of a bomb that it refuses."""
    path = folder / "bomb.so"
    path.write_bytes(bomb())
    options = ["--env", env.prefix] if command in ("check", "stamp") else []
    done = limited(command, *options, path)
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert done.returncode == UNREADABLE, done.stdout + done.stderr
    (line,) = (done.stdout + done.stderr).splitlines()
    assert str(path) in line
    return line


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat"])
@pytest.mark.parametrize("bomb", [bombs.sections_of_one_long_name, bombs.sections_of_ends_of_names])
def test_sections_that_share_a_long_name(
    bomb: Callable[[], bytes], command: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    """No section's name matters that is longer than those that are looked for."""
    path = tmp_path / "bomb.so"
    path.write_bytes(bomb())
    options = ["--env", environment.prefix] if command in ("check", "stamp") else []
    done = limited(command, *options, path)
    assert (done.returncode, "Traceback" in done.stderr) == (OK, False), done.stderr[-2000:]


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat"])
def test_needed_libraries_that_share_a_long_name(
    command: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    line = said(bombs.needed_of_one_name, command, tmp_path, environment)
    assert "the names of its needed libraries have more than 1048576 bytes in all" in line


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat"])
def test_more_needed_libraries_than_any_has(
    command: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    line = said(bombs.needed_beyond_number, command, tmp_path, environment)
    assert "60000 needed libraries are more than 4096" in line


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat"])
@pytest.mark.parametrize("bomb", [bombs.versions_of_one_name, bombs.version_needs_of_one_name])
def test_needed_versions_that_share_a_long_name(
    bomb: Callable[[], bytes], command: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    line = said(bomb, command, tmp_path, environment)
    assert "the names of its needed versions have more than 1048576 bytes in all" in line


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat"])
def test_as_many_and_as_long_names_as_are_read(
    command: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    path = tmp_path / "bomb.so"
    path.write_bytes(bombs.needed_at_the_limit())
    options = ["--env", environment.prefix] if command in ("check", "stamp") else []
    done = limited(command, *options, path)
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert done.returncode == {"check": FAILS, "stamp": FAILS}.get(command, OK)


@pytest.mark.parametrize("command", ["check", "stamp"])
@pytest.mark.parametrize("bomb", [bombs.hash_chain, bombs.classic_hash_chain])
def test_long_hash_chains(
    bomb: Callable[[], bytes], command: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    line = said(bomb, command, tmp_path, environment)
    assert "its hash chains have more than 64 entries" in line


def test_a_chain_of_nearly_one_long_name(tmp_path: Path, environment: TfEnvironment) -> None:
    """The length of the name counts, too."""
    stamped = functools.partial(bombs.hash_chain_of_nearly_one_name, encode_manifest(manifest()))
    line = said(stamped, "check", tmp_path, environment)
    assert "its hash chains have more than 64 entries" in line


def test_references_that_share_a_long_name(tmp_path: Path, environment: TfEnvironment) -> None:
    """Those of a stamped one are looked up; how an unstamped one was compiled is told by them."""
    line = said(bombs.references_with_long_names, "check", tmp_path, environment)
    assert "the names of its undefined symbols overlap each other" in line
    stamped = functools.partial(bombs.references_with_long_names, encode_manifest(manifest()))
    line = said(stamped, "check", tmp_path, environment)
    assert "the names of the symbols it needs overlap each other" in line


def test_many_libraries_in_many_folders(tmp_path: Path, environment: TfEnvironment) -> None:
    line = said(bombs.many_folders, "check", tmp_path, environment)
    assert "to look for what it needs in 100000 folders takes more than 524288 attempts" in line


def test_versions_with_a_gap(tmp_path: Path, environment: TfEnvironment) -> None:
    path = tmp_path / "bomb.so"
    path.write_bytes(bombs.versions_with_a_gap())
    done = limited("check", "--env", environment.prefix, path)
    assert (done.returncode, "Traceback" in done.stderr) == (FAILS, False), done.stderr[-2000:]


@pytest.mark.parametrize(
    "bomb", [bombs.manifest_of_kernels, bombs.manifest_of_one_op, bombs.manifest_of_ops]
)
def test_manifests_of_very_many_kernels(
    bomb: Callable[[], bytes], tmp_path: Path, environment: TfEnvironment
) -> None:
    path = compile_library(tmp_path / "bomb.so")
    write_stamp(path, None, bomb())
    done = limited("check", "--env", environment.prefix, path)
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert done.returncode in (OK, FAILS)
