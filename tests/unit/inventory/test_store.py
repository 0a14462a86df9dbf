"""The history: two writers at once, a killed one, damaged files, names and ids."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envlock.inventory.collect import snapshot
from envlock.inventory.store import Store
from envlock.models.errors import InputError, UsageError
from envlock.models.snapshot import Snapshot
from tests.unit.inventory.packaging_world import environ, make_wheel, new_venv, uv_install

SAVE = """
import sys
from envlock.inventory.files import read_snapshot
from envlock.inventory.store import Store
taken = read_snapshot(sys.argv[2])
for number in range(int(sys.argv[4])):
    with Store(sys.argv[1], create=True) as store:
        saved = store.save(f"{sys.argv[3]}-{number}", "/env", taken)
    print(saved.id, flush=True)
"""


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("env")
    make_wheel(folder, "alpha", "1.0")
    env = new_venv(folder / "env")
    uv_install(env, "--find-links", folder, "alpha")
    return snapshot(env)


@pytest.fixture
def file(taken: Snapshot, tmp_path: Path) -> Path:
    from envlock.inventory.files import snapshot_text

    path = tmp_path / "taken.json"
    path.write_text(snapshot_text(taken))
    return path


def test_what_is_saved_comes_back(taken: Snapshot, tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "er" / "history.sqlite3")
    with Store(path, create=True) as store:
        first = store.save("good", "/env", taken)
        second = store.save("good", "/other", taken.replace(fingerprint="sha256:" + "0" * 64))
    with Store(path) as store:
        assert [entry.id for entry in store.list()] == [2, 1]
        found = store.find("good")
        assert found == second
        assert store.load(second).fingerprint == "sha256:" + "0" * 64
        assert store.find("@1") == first
        assert store.load(first) == taken
        assert [e.id for e in store.list(environment="/env")] == [1]
        assert store.find("bad") is None
        assert store.find("@99999999999999999999999") is None
        store.forget([first])
        assert [e.id for e in store.list()] == [2]
    assert oct(os.stat(tmp_path / "deep" / "er").st_mode & 0o777) == "0o700"


def test_no_store_is_an_empty_history(tmp_path: Path) -> None:
    with Store(str(tmp_path / "none.sqlite3")) as store:
        assert store.list() == []
        assert store.find("x") is None
    assert list(tmp_path.iterdir()) == []


def test_two_processes_write_at_once(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    command = [sys.executable, "-c", SAVE, str(path), str(file)]
    writers = [
        subprocess.Popen([*command, name, "25"], env=environ(), stdout=subprocess.PIPE)
        for name in ("a", "b", "c")
    ]
    for writer in writers:
        assert writer.wait() == 0
        assert writer.stdout is not None
        writer.stdout.close()
    with Store(str(path)) as store:
        names = sorted(entry.name for entry in store.list())
    assert names == sorted(f"{name}-{n}" for name in ("a", "b", "c") for n in range(25))


def test_a_killed_writer_loses_nothing_that_was_saved(file: Path, tmp_path: Path) -> None:
    """Killed at many moments: every save that had been reported is there, whole."""
    path = tmp_path / "history.sqlite3"
    reported: set[int] = set()
    for moment in range(6):
        command = [sys.executable, "-c", SAVE, str(path), str(file), f"k{moment}", "100000"]
        writer = subprocess.Popen(command, env=environ(), stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(2 + 7 * moment):
            reported.add(int(writer.stdout.readline()))
        time.sleep(0.003 * moment)
        writer.send_signal(signal.SIGKILL)
        reported |= {int(line) for line in writer.stdout.read().splitlines()}
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
    with Store(str(path)) as store:
        entries = {entry.id: entry for entry in store.list()}
        assert reported <= set(entries)
        # One save may have been finished and not yet reported in each round.
        assert len(entries) <= len(reported) + 6
        for entry in entries.values():
            assert store.load(entry).fingerprint == entry.fingerprint
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("name", ["", "@1", "a/b", "-x", "a b", "x" * 101, "a\n"])
def test_bad_names_are_refused(taken: Snapshot, tmp_path: Path, name: str) -> None:
    path = tmp_path / "history.sqlite3"
    with Store(str(path), create=True) as store, pytest.raises(UsageError):
        store.save(name, "/env", taken)


@pytest.mark.parametrize(
    "content",
    [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000, b"\0" * 4096],
    ids=["text", "damaged", "zeros"],
)
def test_a_damaged_store_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.sqlite3"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Store(str(path)).list()
    assert "\n" not in caught.value.message
    assert path.read_bytes() == content


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    connection.close()
    content = path.read_bytes()
    for create in (False, True):
        with pytest.raises(InputError, match="not an envlock history"):
            Store(str(path), create=create)
    assert path.read_bytes() == content


def test_a_newer_layout_is_refused(taken: Snapshot, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    with Store(str(path), create=True) as store:
        store.save("x", "/env", taken)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(InputError, match="layout 99"):
        Store(str(path))


def test_a_file_that_is_no_store_is_not_to_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0:root:/root:/bin/bash\n")
    with pytest.raises(
        InputError, match="is not an envlock history: file is not a database"
    ) as caught:
        Store(str(path))
    assert "mv " not in (caught.value.hint or "")


def test_a_damaged_store_is_moved_away_by_the_command_in_the_hint(
    taken: Snapshot, tmp_path: Path
) -> None:
    path = tmp_path / "a history.sqlite3"
    with Store(str(path), create=True) as store:
        store.save("x", "/env", taken)
    raw = bytearray(path.read_bytes())
    raw[:16] = bytes(16)
    path.write_bytes(raw)
    with pytest.raises(InputError, match="is damaged") as caught:
        Store(str(path))
    _, _, command = (caught.value.hint or "").partition(": ")
    subprocess.run(command, shell=True, check=True)
    assert Path(f"{path}.damaged").read_bytes() == raw
    assert not path.exists()


def test_the_users_own_history_is_one_whatever_is_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENVLOCK_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = tmp_path / "envlock/history.sqlite3"
    path.parent.mkdir()
    path.write_bytes(bytes(4096))
    with pytest.raises(InputError, match="is damaged") as caught:
        Store()
    assert "mv " in (caught.value.hint or "")


@pytest.mark.parametrize("blob", [b"", b"garbage", None, 7])
def test_a_damaged_entry_is_one_line(taken: Snapshot, tmp_path: Path, blob: object) -> None:
    path = tmp_path / "history.sqlite3"
    with Store(str(path), create=True) as store:
        entry = store.save("x", "/env", taken)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE snapshots SET document = ?", (blob if blob is not None else "",))
    connection.close()
    with Store(str(path)) as store, pytest.raises(InputError, match="damaged"):
        store.load(entry)


def test_a_compressed_bomb_is_refused(
    taken: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zlib

    from envlock.inventory import store as module

    monkeypatch.setattr(module, "SIZE_LIMIT", 100_000)
    path = tmp_path / "history.sqlite3"
    with Store(str(path), create=True) as store:
        entry = store.save("x", "/env", taken)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE snapshots SET document = ?", (zlib.compress(b" " * 10**7),))
    connection.close()
    with Store(str(path)) as store, pytest.raises(InputError, match="larger than 100000 bytes"):
        store.load(entry)


def test_a_fifo_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(InputError, match="not a regular file"):
        Store(str(path), create=True)
