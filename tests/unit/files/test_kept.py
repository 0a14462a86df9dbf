"""Documents in the user's cache folder: never needed, never trusted unless they are one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envlock.files import kept

DIGEST = "ab" * 16


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(kept.SWITCH, raising=False)
    return tmp_path / "envlock" / "facts"


def only_file(cache: Path) -> Path:
    (found,) = [path for path in cache.rglob("*") if path.is_file()]
    return found


def test_what_was_written_is_read(cache: Path) -> None:
    assert kept.read(DIGEST) is None
    kept.write(DIGEST, {"a": [1, "ä"]})
    assert kept.read(DIGEST) == {"a": [1, "ä"]}
    file = only_file(cache)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    kept.write(DIGEST, {"b": 2})
    assert kept.read(DIGEST) == {"b": 2}
    assert only_file(cache) == file


@pytest.mark.parametrize("at", [0, 10, 34, -1])
def test_a_damaged_document_is_absent(cache: Path, at: int) -> None:
    kept.write(DIGEST, {"a": 1})
    file = only_file(cache)
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    assert kept.read(DIGEST) is None
    file.write_bytes(b"")
    assert kept.read(DIGEST) is None


def test_a_document_of_another_digest_is_absent(cache: Path) -> None:
    other = "ab" + "cd" * 15
    kept.write(DIGEST, {"a": 1})
    file = only_file(cache)
    file.rename(file.with_name(other[2:]))
    assert kept.read(other) is None


def test_what_others_could_have_written_is_absent(cache: Path, tmp_path: Path) -> None:
    kept.write(DIGEST, {"a": 1})
    file = only_file(cache)
    file.chmod(0o622)
    assert kept.read(DIGEST) is None
    file.chmod(0o600)
    assert kept.read(DIGEST) == {"a": 1}
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert kept.read(DIGEST) is None
    file.unlink()
    os.mkfifo(file)
    assert kept.read(DIGEST) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_document_is_absent(cache: Path) -> None:
    kept.write(DIGEST, {"a": 1})
    file = only_file(cache)
    os.chown(file, 12345, 12345)
    assert kept.read(DIGEST) is None
    os.chown(file, 0, 0)
    assert kept.read(DIGEST) == {"a": 1}


def test_nothing_is_kept_where_nothing_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envlock").write_text("a file where the folder should be")
    kept.write(DIGEST, {"a": 1})
    assert kept.read(DIGEST) is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self/fd")
    kept.write(DIGEST, {"a": 1})
    assert kept.read(DIGEST) is None


def test_large_documents_are_not_kept(cache: Path) -> None:
    kept.write(DIGEST, {"a": "x" * kept.LIMIT})
    assert not cache.exists()


def test_folders_stay_small_and_clean(cache: Path) -> None:
    for number in range(kept.IN_FOLDER + 5):
        kept.write(f"ab{number:030x}", {"n": number})
        newest = cache / "ab" / f"{number:030x}"
        os.utime(newest, (1000 + number, 1000 + number))
    abandoned = cache / "ab" / ".1-2"
    abandoned.write_text("half")
    os.utime(abandoned, (1, 1))
    fresh = cache / "ab" / ".3-4"
    fresh.write_text("being written")
    kept.write(DIGEST, {"last": True})
    names = {path.name for path in (cache / "ab").iterdir()}
    assert ".1-2" not in names
    assert ".3-4" in names
    assert len(names) == kept.IN_FOLDER + 1
    assert kept.read(DIGEST) == {"last": True}
    assert kept.read(f"ab{0:030x}") is None


def test_writers_at_the_same_time_leave_one_whole_document(cache: Path) -> None:
    script = f"""
import sys
from envlock.files import kept
for number in range(200):
    kept.write({DIGEST!r}, {{"who": sys.argv[1], "filling": sys.argv[1] * number}})
    found = kept.read({DIGEST!r})
    assert found is not None and set(found["filling"]) <= {{found["who"]}}, found
"""
    running = [subprocess.Popen([sys.executable, "-c", script, who]) for who in "abc"]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert kept.read(DIGEST) is not None
    assert len(list(cache.rglob("*/*"))) == 1


def test_the_digest_is_that_of_blake2b() -> None:
    from hashlib import blake2b

    for data in (b"", b"abc", bytes(100_000)):
        assert kept.digest_of(data) == blake2b(data, digest_size=16).hexdigest()


def test_the_option_turns_it_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_off", [])
    assert kept.is_on()
    kept.turn_off()
    assert not kept.is_on()
