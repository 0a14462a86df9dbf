"""The body of a large library is copied while its manifest is made; nobody can tell from outside."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from envlock.actions import stamp_writing as writing
from envlock.actions.stamp_writing import Ahead, write_stamp
from envlock.binary.elf import ElfFile
from envlock.models.errors import WriteError

PAYLOAD = b'{"format":"envlock.manifest/1"}'
OTHER = b'{"format":"envlock.manifest/1","more":"' + b"x" * 5000 + b'"}'


@pytest.fixture(autouse=True)
def _every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "AHEAD_FROM", 0)


def stamp_ahead(source: Path, target: Path | None, payload: bytes) -> None:
    with ElfFile.open(source) as elf, Ahead(elf, source, target) as ahead:
        assert ahead.body is not None
        write_stamp(source, target, payload, unchanged_since=elf.status, ahead=ahead)


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".envlock")]


@pytest.mark.parametrize("first", [None, PAYLOAD, OTHER])
def test_same_bytes_as_in_one_go(plugin: Path, tmp_path: Path, first: bytes | None) -> None:
    if first is not None:
        write_stamp(plugin, None, first)
    plain, ahead = tmp_path / "plain.so", tmp_path / "ahead.so"
    write_stamp(plugin, plain, OTHER)
    stamp_ahead(plugin, ahead, OTHER)
    assert ahead.read_bytes() == plain.read_bytes()
    stamp_ahead(plugin, None, OTHER)
    assert plugin.read_bytes() == plain.read_bytes()
    assert plugin.stat().st_mode == plain.stat().st_mode
    assert not leftovers(tmp_path)


def test_nothing_is_left_when_no_stamp_follows(plugin: Path, tmp_path: Path) -> None:
    before = plugin.read_bytes()
    names = sorted(os.listdir(tmp_path))
    with ElfFile.open(plugin) as elf, Ahead(elf, plugin, None) as ahead:
        assert ahead.body is not None
    assert plugin.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == names
    assert not [t for t in threading.enumerate() if t.name.startswith("envlock")]


def test_a_source_that_changes_meanwhile_is_refused(plugin: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.so"
    with ElfFile.open(plugin) as elf, Ahead(elf, plugin, target) as ahead:
        with plugin.open("r+b") as file:
            file.seek(100)
            file.write(b"!")
        os.utime(plugin, ns=(1, 1))
        with pytest.raises(WriteError, match="was changed by another program"):
            write_stamp(plugin, target, PAYLOAD, unchanged_since=elf.status, ahead=ahead)
    assert not target.exists()
    assert not leftovers(tmp_path)


def test_a_target_that_cannot_be_written_is_named_by_the_stamp(
    plugin: Path, tmp_path: Path
) -> None:
    target = tmp_path / "missing" / "out.so"
    with ElfFile.open(plugin) as elf, Ahead(elf, plugin, target) as ahead:
        assert ahead.body is None
        with pytest.raises(WriteError, match="No such file"):
            write_stamp(plugin, target, PAYLOAD, ahead=ahead)


def test_what_was_copied_for_another_target_is_not_used(plugin: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.so", tmp_path / "other.so"
    with ElfFile.open(plugin) as elf, Ahead(elf, plugin, one) as ahead:
        write_stamp(plugin, other, PAYLOAD, ahead=ahead)
    assert other.exists()
    assert not one.exists()


def test_a_file_system_that_cannot_name_files(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the early file gets no name, everything is copied once more into one that has a name."""
    plain = tmp_path / "plain.so"
    write_stamp(plugin, plain, PAYLOAD)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = Path(shutil.copy(plugin, tmp_path / "target.so"))
    stamp_ahead(plugin, target, PAYLOAD)
    assert target.read_bytes() == plain.read_bytes()
    assert not leftovers(tmp_path)
