"""`snapshot`, `history`, `diff`, `drift`, `recreate`, `scan` and `report` as users call them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from envlock.inventory.collect import snapshot
from tests.unit.inventory.packaging_world import (
    environ,
    make_wheel,
    new_venv,
    site_packages,
    uv_install,
)

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envlock", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ(**more), cwd="/")
    assert "Traceback" not in done.stderr, done.stderr
    return done


def valid(text: str, name: str) -> Any:
    document = json.loads(text)
    schema = json.loads((ROOT / "schemas" / f"{name}-v1.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    return document


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "1.1"):
        make_wheel(folder, "alpha", version)
    make_wheel(folder, "beta", "2.0")
    return folder


@pytest.fixture
def env(wheels: Path, tmp_path: Path) -> Path:
    made = new_venv(tmp_path / "env")
    uv_install(made, "--find-links", wheels, "alpha==1.0", "beta")
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.sqlite3"


def test_snapshot_json_validates(env: Path) -> None:
    done = run("snapshot", "--env", env)
    assert (done.returncode, done.stderr) == (0, "")
    document = valid(done.stdout, "snapshot")
    assert document["fingerprint"] == snapshot(env, environ=environ()).fingerprint


def test_snapshot_to_a_file_and_as_text(env: Path, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    assert run("snapshot", "--env", env, "-o", target).stdout == ""
    valid(target.read_text(), "snapshot")
    text = run("snapshot", "--env", env, "--format", "text").stdout
    assert text.splitlines()[0].endswith("2 packages")
    assert "fingerprint sha256:" in text


def test_a_failed_snapshot_is_valid_json(tmp_path: Path) -> None:
    done = run("snapshot", "--env", tmp_path)
    assert done.returncode == 3
    document = valid(done.stdout, "snapshot")
    assert "is not a Python environment" in document["error"]["message"]
    assert done.stderr.startswith("envlock: ")


@pytest.mark.slow
def test_history_and_drift(env: Path, wheels: Path, store: Path) -> None:
    place = ("--store", store)
    empty = run("history", *place)
    assert (empty.returncode, empty.stdout) == (0, f"nothing is saved in `{store}`\n")
    none = run("drift", "--env", env, *place)
    assert none.returncode == 3
    assert "was saved" in none.stderr
    saved = run("snapshot", "--env", env, "--save", "good", *place)
    assert saved.returncode == 0
    assert saved.stderr == f"envlock: saved as `good` (@1) in `{store}`\n"
    same = run("drift", "--env", env, *place)
    assert same.returncode == 0
    assert same.stdout.startswith("Nothing that matters changed\n")

    uv_install(env, "--find-links", wheels, "alpha==1.1")
    changed = run("drift", "good", "--env", env, *place)
    assert changed.returncode == 0
    assert "`alpha` 1.0 -> 1.1" in changed.stdout
    assert run("drift", "--env", env, *place, "--fail-on", "drifted").returncode == 1
    document = valid(run("drift", "--env", env, *place, "--format", "json").stdout, "drift")
    assert document["changes"][0]["kind"] == "upgraded"
    assert document["verdict"] == "drifted"

    run("snapshot", "--env", env, "--save", "later", *place)
    listed = valid(run("history", *place, "--format", "json").stdout, "history")
    assert [s["name"] for s in listed["snapshots"]] == ["later", "good"]
    table = run("history", *place).stdout.splitlines()
    assert table[0].split()[:2] == ["id", "name"]
    assert table[1].startswith("@2  later  ")
    between = run("diff", "good", "later", *place)
    assert between.returncode == 0
    assert "`alpha` 1.0 -> 1.1" in between.stdout
    assert run("diff", "@2", "@1", *place).stdout.count("1.1 -> 1.0") == 1
    assert run("history", "--forget", "good", *place).returncode == 0
    assert run("diff", "good", env, *place).returncode == 3
    assert run("history", "--forget", *place).returncode == 2


def test_the_store_is_in_the_users_data_folder(env: Path, tmp_path: Path) -> None:
    done = run("snapshot", "--env", env, "--save", "x", XDG_DATA_HOME=str(tmp_path / "xdg"))
    assert done.returncode == 0
    assert (tmp_path / "xdg/envlock/history.sqlite3").is_file()
    listed = run("history", XDG_DATA_HOME=str(tmp_path / "xdg"))
    assert "@1  x " in listed.stdout


def test_drift_against_a_lock_file(env: Path, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("alpha==1.0\nbeta>=1\ngamma==3\n")
    done = run("drift", lock, "--env", env)
    assert done.returncode == 0
    assert "`gamma` 3 is gone" in done.stdout
    assert "alpha" not in done.stdout.partition("unchecked")[0].split("\n\n", 1)[1]
    document = valid(run("diff", lock, env, "--format", "json").stdout, "drift")
    assert [c["subject"] for c in document["changes"]] == ["gamma"]
    assert document["before"]["kind"] == "lock-file"


@pytest.mark.parametrize("form", ["json", "markdown", "sarif", "junit", "html"])
def test_every_format_of_a_drift(env: Path, wheels: Path, tmp_path: Path, form: str) -> None:
    run("snapshot", "--env", env, "-o", tmp_path / "a.json")
    uv_install(env, "--find-links", wheels, "alpha==1.1")
    done = run("diff", tmp_path / "a.json", env, "--format", form)
    assert done.returncode == 0, done.stderr
    assert "alpha" in done.stdout
    suffix = {"markdown": "md", "junit": "xml"}.get(form, form)
    target = tmp_path / f"out.{suffix}"
    assert run("diff", tmp_path / "a.json", env, "-o", target).returncode == 0
    assert target.read_text() == done.stdout
    if form == "json":
        again = run("report", target, "-o", tmp_path / "again.html")
        assert again.returncode == 0
        assert "<!doctype html>" in (tmp_path / "again.html").read_text()


@pytest.mark.parametrize(
    ("side", "status", "text"),
    [
        ("/nowhere/at/all", 3, "no such file or folder"),
        ("/proc/sys", 3, "is not a Python environment"),
        ("/etc/hostname", 3, "is not a lock file of a known kind"),
        ("/dev/null", 3, "cannot be read"),
    ],
)
def test_sides_that_are_none(env: Path, side: str, status: int, text: str) -> None:
    for arguments in ((side, env), (env, side)):
        done = run("diff", *arguments)
        assert (done.returncode, done.stdout) == (status, "")
        assert text in done.stderr
        done = run("diff", *arguments, "--format", "json")
        assert done.returncode == status
        document = valid(done.stdout, "drift")
        assert document["verdict"] is None
        assert text in document["error"]["message"]


def test_an_unstamped_plugin_as_a_side(env: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "plain.so"
    (tmp_path / "p.c").write_text("int x;\n")
    subprocess.run(["gcc", "-shared", "-o", plugin, tmp_path / "p.c"], check=True)
    done = run("diff", plugin, env)
    assert done.returncode == 3
    assert "carries no manifest" in done.stderr


def test_report_without_tensorflow(env: Path) -> None:
    done = run("report", "--env", env, "--format", "json")
    assert done.returncode == 3
    valid(done.stdout, "report")
    assert "no TensorFlow" in done.stderr


def test_scan_without_tensorflow(env: Path) -> None:
    done = run("scan", env, "--format", "json")
    assert done.returncode == 3
    document = valid(done.stdout, "report")
    assert document["reports"][0]["verdict"] is None


@pytest.mark.parametrize("content", ["{", "{}", '{"format": "envlock.report/1", "reports": 5}'])
def test_report_of_a_damaged_report(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    done = run("report", path, "--format", "html")
    assert done.returncode == 3
    assert ">unreadable<" in done.stdout
    (line,) = done.stderr.splitlines()
    assert str(path) in line


def test_recreate_needs_what_the_format_can_hold(env: Path) -> None:
    done = run("recreate", env, "--as", "conda-explicit")
    assert done.returncode == 2
    assert "no conda package" in done.stderr
    assert "hint: " in done.stderr
    assert run("recreate", env, "--as", "pip", "--offline", "--hashes").returncode == 2
    assert run("recreate", env).returncode == 2


def test_names_that_cannot_name_a_snapshot(env: Path, store: Path) -> None:
    done = run("snapshot", "--env", env, "--save", "../x", "--store", store)
    assert done.returncode == 2
    assert not store.exists()


def test_a_store_that_cannot_be_written(env: Path) -> None:
    done = run("snapshot", "--env", env, "--save", "x", "--store", "/proc/none/history")
    assert done.returncode == 3
    assert "cannot make the folder" in done.stderr


def test_a_name_of_a_terminal_escape(env: Path, wheels: Path, tmp_path: Path) -> None:
    """What stands in an environment cannot move the cursor of whoever looks at the report."""
    run("snapshot", "--env", env, "-o", tmp_path / "a.json")
    info = site_packages(env) / "alpha-1.0.dist-info"
    os.rename(info, site_packages(env) / "al\x1b[2Jpha-1.0.dist-info")
    done = run("diff", tmp_path / "a.json", env, "--all")
    assert "\x1b" not in done.stdout


def test_snapshot_and_diff_need_only_the_standard_library(env: Path, tmp_path: Path) -> None:
    """They run in an interpreter that has nothing but envlock's sources."""
    bare = new_venv(tmp_path / "bare")
    (site_packages(bare) / "envlock.pth").write_text(f"{ROOT}\n")
    python = bare / "bin/python"
    for arguments in (
        ("snapshot", "--env", env, "-o", tmp_path / "a.json"),
        ("diff", tmp_path / "a.json", env),
        ("diff", tmp_path / "a.json", env, "--format", "html"),
        ("recreate", tmp_path / "a.json", "--as", "pip"),
    ):
        done = subprocess.run(
            [python, "-I", "-m", "envlock", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environ(),
        )
        assert done.returncode == 0, done.stderr
    lock = tmp_path / "requirements.txt"
    lock.write_text("alpha==1.0\n")
    done = subprocess.run(
        [python, "-I", "-m", "envlock", "diff", lock, env], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert "needs the Python package `packaging`" in done.stderr
    assert "pip install 'tf-envlock[locks]'" in done.stderr
