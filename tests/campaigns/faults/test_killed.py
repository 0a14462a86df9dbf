"""Killed before any of its system calls, a stamp has left the old file or the new one, whole."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.campaigns.faults.scene import FILE_SYSTEMS, LITTER, Scene
from tests.campaigns.faults.tracing import each_kill

pytestmark = pytest.mark.usefixtures("traced")

CASES = [
    ("in place", "this file system"),
    ("in place", "no links to nameless files"),
    ("in place, ahead", "this file system"),
    ("new output", "this file system"),
    ("replaced output", "no nameless files"),
    ("report", "this file system"),
    ("report", "no nameless files"),
]
#: What a kill must have hit for the test to have said anything.
STEPS = {"openat", "fsync", "rename", "fchmod"}


@pytest.mark.parametrize(("kind", "system"), CASES)
def test_at_every_step(kind: str, system: str, tmp_path: Path, library: Path) -> None:
    scene = Scene(kind, tmp_path / "scene", library)
    killed_before: set[str] = set()
    found: list[str] = []
    # Two processes do not take turns in the same way each time, so a round can miss a step.
    several = kind.endswith("ahead")
    rounds = (
        each_kill(scene.work, scene.prepare, scene.folder, FILE_SYSTEMS[system]) for _ in range(4)
    )
    for traced in itertools.chain.from_iterable(rounds if several else [next(rounds)]):
        killed_before.add(traced.calls[-1].name)
        state, litter = scene.state(), scene.litter()
        assert state in ("old", "new"), traced.calls[-1]
        found.append(state)
        assert scene.only_known_litter()
        # The next one in the folder clears away what the killed one left, and succeeds.
        if traced.said is None and litter:
            assert scene.work() == "written"
            assert scene.state() == "new"
            assert scene.litter() == []
        if system == "this file system":
            # Only between the two steps of giving the file its name.
            assert not litter or traced.calls[-1].name == "rename"
        if traced.said is not None:
            assert traced.said == "written"
            if killed_before >= STEPS:
                break
    assert traced.said == "written"
    assert killed_before >= STEPS
    if not several:
        # Old up to the rename, new from then on.
        assert found == sorted(found, reverse=True)
    assert set(found) == {"old", "new"}
    if kind != "report":
        assert len(found) > 50


def test_at_any_moment(tmp_path: Path, library: Path) -> None:
    """The kernel is in the middle of copying 40 MB, or of writing them to the disk."""
    with library.open("rb") as file:
        content = file.read()
    large = tmp_path / "large.so"
    large.write_bytes(content + os.urandom(1 << 20) * 40)
    scene = Scene("in place", tmp_path / "scene", large)
    code = (
        "import sys; from pathlib import Path; from tests.campaigns.faults.scene import PAYLOAD\n"
        "from envlock.actions.stamp_writing import write_stamp\n"
        "import envlock.binary.elf.dynamic\n"
        "print('ready', flush=True); write_stamp(Path(sys.argv[1]), None, PAYLOAD); print('done')"
    )
    states = set()
    chance = random.Random(7)
    for _ in range(6):
        scene.prepare()
        child = subprocess.Popen(
            [sys.executable, "-c", code, scene.source], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(chance.random() * 0.1)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        states.add(scene.state())
        assert states <= {"old", "new"}
        assert scene.only_known_litter()
    assert "old" in states


def test_what_others_are_making_is_left_alone(tmp_path: Path, library: Path) -> None:
    """Two files as a stamp makes them: one is being made, the other was abandoned."""
    import fcntl

    scene = Scene("in place", tmp_path / "scene", library)
    held, abandoned = (scene.folder / f".envlock-{i:016x}.tmp" for i in range(2))
    assert LITTER.fullmatch(held.name)
    abandoned.write_bytes(b"half")
    others = [".envlock-notes.tmp", f".envlock-{5:016x}.tmp.bak", f".envlock-{6:016x}.tmp"]
    for name in others[:2]:
        (scene.folder / name).write_bytes(b"mine")
    (scene.folder / others[2]).symlink_to(scene.source)
    with held.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert scene.work() == "written"
        assert sorted(scene.litter()) == sorted([held.name, *others])
    (scene.folder / others[2]).unlink()
    scene.work()  # changes nothing, so it makes no file
    other = Scene("new output", tmp_path / "scene2", library)
    os.rename(held, other.folder / held.name)
    assert other.work() == "written"
    assert other.litter() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
def test_what_another_user_left_is_not_ours_to_remove(tmp_path: Path, library: Path) -> None:
    scene = Scene("in place", tmp_path / "scene", library)
    left = scene.folder / f".envlock-{7:016x}.tmp"
    left.write_bytes(b"half")
    nobody = 65534
    scene.folder.chmod(0o777)
    for parent in (scene.folder, *scene.folder.parents):
        if parent != Path("/") and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o055)
    pid = os.fork()
    if pid == 0:
        from envlock.files.scratch import clear_abandoned

        os.setgroups([])
        os.setgid(nobody)
        os.setuid(nobody)
        clear_abandoned(str(scene.folder))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert left.exists()
