"""The commands of remedies: they change the environment that was checked, and they run."""

from __future__ import annotations

import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from envlock.environment.locate import locate
from envlock.rules.installing import Place, elsewhere, pythons
from tests.support import environments


def place(folder: Path, *, pip: bool, manager: str | None = "pip") -> Place:
    """A new virtual environment."""
    venv.create(folder, with_pip=pip, symlinks=True)
    return Place(manager, locate(folder))


def test_the_table_of_wheels_is_the_one_that_tests_run_by() -> None:
    for version in environments.NEWEST:
        minor = tuple(map(int, version.split(".")[:2]))
        row = next(row for first, row in environments._WHEELS if minor >= first)
        assert pythons(version) == row, version
    assert pythons("2.22.0") == pythons("2.21.0")
    assert pythons("1.15.0") == ()


def test_the_running_environment_is_not_named() -> None:
    for paths in (locate(), locate(sys.prefix)):
        command = Place("pip", paths).install("tensorflow-cpu", "==2.15.1")
        assert command == "pip install 'tensorflow-cpu==2.15.1'"


def test_another_environment_is_named_and_quoted(tmp_path: Path) -> None:
    one = place(tmp_path / "my env", pip=True)
    command = one.install("tensorflow", "==2.15.1")
    python = tmp_path / "my env" / "bin" / "python"
    assert command == f"'{python}' -m pip install 'tensorflow==2.15.1'"
    # With a package that is nowhere, pip itself says so: the words before it work.
    words = command.replace("tensorflow==2.15.1", "./nothing-here.whl")
    done = subprocess.run(words, shell=True, capture_output=True, text=True, check=False)
    assert "nothing-here.whl" in done.stderr
    assert "No module" not in done.stderr


def test_an_environment_without_pip_is_changed_by_another_pip(tmp_path: Path) -> None:
    one = place(tmp_path / "bare", pip=False)
    command = one.install("tensorflow", "==2.15.1")
    assert shlex.split(command) == [
        *("pip", "--python", f"{tmp_path}/bare/bin/python", "install", "tensorflow==2.15.1")
    ]


def test_another_distribution_replaces_the_installed_one(tmp_path: Path) -> None:
    command = Place("pip").install("tensorflow", "==2.15.1", instead_of="tensorflow-cpu")
    # Both have the same files: removing the old one afterwards would take those of the new.
    assert command == "pip uninstall -y tensorflow-cpu && pip install 'tensorflow==2.15.1'"
    same = Place("pip").install("tensorflow", "==2.15.1", instead_of="tensorflow")
    assert same == "pip install 'tensorflow==2.15.1'"


def test_the_same_release_is_installed_again() -> None:
    command = Place("pip").install("tensorflow", "==2.15.1", again=True)
    assert command == "pip install --force-reinstall --no-deps 'tensorflow==2.15.1'"


def test_conda_has_its_own_command(tmp_path: Path) -> None:
    assert Place("conda").install("tensorflow", "==2.15.*") == "conda install 'tensorflow=2.15.*'"
    one = place(tmp_path / "p", pip=False, manager="conda")
    command = one.install("tensorflow", "==2.15.1")
    assert command == f"conda install --prefix {tmp_path}/p 'tensorflow=2.15.1'"


@pytest.mark.parametrize(
    ("spec", "beside"),
    [
        ("==2.6.5", ""),  # it asks for a numpy of its own
        ("==2.8.4", " 'numpy<1.24'"),
        ("==2.11.*", " 'numpy<2'"),
        ("==2.12.1", ""),
    ],
)
def test_an_old_release_is_not_left_with_a_numpy_that_breaks_it(spec: str, beside: str) -> None:
    command = Place("pip").install("tensorflow", spec)
    assert command == f"pip install 'tensorflow{spec}'{beside}"


def test_a_new_environment_gets_the_newest_python_that_the_release_can_have() -> None:
    assert elsewhere("tensorflow-cpu", "2.13.1") == (
        "python3.11 -m venv tf2.13.1 && tf2.13.1/bin/python -m pip install 'tensorflow-cpu==2.13.1'"
    )
