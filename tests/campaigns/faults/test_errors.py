"""An error of any system call leaves the file as it was, or does not matter and the stamp is made.

The calls are answered by ptrace instead of the kernel; what runs is a real process.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaigns.faults.scene import FILE_SYSTEMS, Scene, nameless
from tests.campaigns.faults.tracing import Call, Fail, Order, Shorten, Traced, trace

pytestmark = pytest.mark.usefixtures("traced")

DISK = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "ESTALE", "EACCES", "ENOMEM", "ENOTCONN")
#: Calls without which there is no new file that could be trusted.
NEEDED = ("copy_file_range", "pwrite64", "write", "preadv2", "pread64", "fsync", "rename", "mmap")
#: Errors that say "not in this way", for the calls that have another one.
OTHER_WAY = {
    "copy_file_range": ("ENOSYS", "EXDEV", "EINVAL", "EOPNOTSUPP", "EBADF", "EPERM", "ETXTBSY"),
    "linkat": ("EPERM", "EXDEV", "EOPNOTSUPP", "ENOSYS", "ENOENT", "EACCES", "EMLINK"),
    "flock": ("ENOLCK", "ENOSYS", "EOPNOTSUPP"),
    "lseek": ("EINVAL", "EOPNOTSUPP"),
    "flistxattr": ("EOPNOTSUPP", "ENOSYS"),
}


class Nth:
    """`answer` for the n-th call of a name (from 1) that touches what matters."""

    def __init__(
        self, name: str, number: int, answer: Order, also: Callable[[Call], Order]
    ) -> None:
        self.wanted = (name, number)
        self.answer = answer
        self.also = also
        self.counted: Counter[str] = Counter()
        self.hit: Call | None = None

    def __call__(self, call: Call) -> Order:
        self.counted[call.name] += 1
        if (call.name, self.counted[call.name]) == self.wanted:
            self.hit = call
            return self.answer
        return self.also(call)


def injected(scene: Scene, name: str, number: int, answer: Order, system: str) -> Traced:
    scene.prepare()
    decide = Nth(name, number, answer, FILE_SYSTEMS[system])
    traced = trace(scene.work, decide)
    # What a child process says comes in one piece or in several.
    heard = name == "read" and scene.kind.endswith("ahead")
    assert heard or decide.hit is not None, f"there is no {name} number {number}"
    return traced


def the_rule(scene: Scene, traced: Traced, what: object) -> str:
    """What holds after any error; the state of the target."""
    said, state = traced.said, scene.state()
    assert said is not None, what
    assert said.split(":")[0].split("\n")[0] in ("written", "WriteError", "FileAccessError"), (
        f"{what}: {said}"
    )
    assert state == ("new" if said.startswith("written") else "old"), f"{what}: {said}"
    assert scene.litter() == [], what
    return state


@pytest.mark.parametrize(
    ("kind", "system"),
    [
        ("in place", "this file system"),
        ("in place", "no nameless files"),
        ("in place, ahead", "no links to nameless files"),
        ("report", "no nameless files"),
    ],
)
def test_every_call_fails_once(kind: str, system: str, tmp_path: Path, library: Path) -> None:
    scene = Scene(kind, tmp_path / "scene", library)
    clean = trace(scene.work, FILE_SYSTEMS[system])
    assert clean.said == "written"
    counts = Counter(call.name for call in clean.calls)
    states = Counter()  # type: Counter[str]
    for name, count in counts.items():
        for number in range(1, count + 1):
            traced = injected(scene, name, number, Fail(errno.EIO), system)
            states[the_rule(scene, traced, (name, number))] += 1
    # Both ends were reached, so the test can tell them apart.
    assert states["old"] > 5
    assert states["new"] > 5


@pytest.mark.parametrize("error", DISK)
def test_what_is_needed_fails(error: str, tmp_path: Path, library: Path) -> None:
    """Each call that brings bytes to the disk, reads them back or names the file."""
    scene = Scene("in place", tmp_path / "scene", library)
    counts = Counter(call.name for call in trace(scene.work).calls)
    number = getattr(errno, error)
    last_sync = counts["fsync"]
    for name in NEEDED:
        traced = injected(scene, name, 1, Fail(number), "this file system")
        assert the_rule(scene, traced, (name, error)) == "old"
        assert os.strerror(number) in (traced.said or "") or "read back" in (traced.said or "")
    traced = injected(scene, "fsync", last_sync, Fail(number), "this file system")
    assert the_rule(scene, traced, "the folder") == "new"
    assert "its folder could not be flushed to disk" in (traced.said or "")


@pytest.mark.parametrize(("name", "error"), [(n, e) for n, es in OTHER_WAY.items() for e in es])
def test_a_way_that_is_not_there_is_not_taken(
    name: str, error: str, tmp_path: Path, library: Path
) -> None:
    """Always, and not only for the first call."""
    scene = Scene("in place", tmp_path / "scene", library)
    answer = Fail(getattr(errno, error))
    traced = trace(scene.work, lambda call: answer if call.name == name else None)
    assert traced.said == "written"
    assert scene.state() == "new"
    assert scene.litter() == []


@pytest.mark.parametrize("error", ["EXDEV", "EBUSY", "ESTALE", "EIO", "EPERM", "ENOTEMPTY"])
@pytest.mark.parametrize("system", ["this file system", "no nameless files"])
def test_a_rename_that_is_refused(error: str, system: str, tmp_path: Path, library: Path) -> None:
    scene = Scene("in place", tmp_path / "scene", library)
    answer = Fail(getattr(errno, error))
    traced = injected(scene, "rename", 1, answer, system)
    assert the_rule(scene, traced, error) == "old"
    assert os.strerror(answer.errno) in (traced.said or "")


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "ENOENT", "ETIMEDOUT"])
@pytest.mark.parametrize("kind", ["in place", "new output", "report"])
def test_a_rename_whose_answer_got_lost(
    error: str, kind: str, tmp_path: Path, library: Path
) -> None:
    """A network file system repeats the call, and the second time the old name is gone."""
    scene = Scene(kind, tmp_path / "scene", library)
    answer = Fail(getattr(errno, error), done=True)
    traced = injected(scene, "rename", 1, answer, "no nameless files")
    assert the_rule(scene, traced, error) == "new"


def test_a_link_whose_answer_got_lost(tmp_path: Path, library: Path) -> None:
    scene = Scene("in place", tmp_path / "scene", library)
    for error in (errno.EIO, errno.EPERM):
        traced = injected(scene, "linkat", 1, Fail(error, done=True), "this file system")
        the_rule(scene, traced, error)


@pytest.mark.parametrize("limit", [1, 45, 63, 4096])
def test_a_kernel_that_copies_less_than_asked_for(
    limit: int, tmp_path: Path, library: Path
) -> None:
    """Also less than the header, whose fields are changed afterwards."""
    scene = Scene("in place", tmp_path / "scene", library)
    shortened = [0]

    def decide(call: Call) -> Order:
        if call.name == "copy_file_range" and shortened[0] < 15:
            shortened[0] += 1
            return Shorten(4, limit)
        return None

    traced = trace(scene.work, decide)
    assert traced.said == "written"
    assert scene.state() == "new"
    lengths = [call.result for call in traced.named("copy_file_range")]
    assert lengths[:15] == [limit] * 15


def test_writes_that_take_a_part_only(tmp_path: Path, library: Path) -> None:
    scene = Scene("report", tmp_path / "scene", library)

    def decide(call: Call) -> Order:
        return Shorten(2, max(1, call.arguments[2] // 2)) if call.name == "write" else None

    traced = trace(scene.work, decide)
    assert traced.said == "written"
    assert scene.state() == "new"
    assert len(traced.named("write")) > 10


def test_locks_that_are_not_there_lead_to_no_removal(tmp_path: Path, library: Path) -> None:
    """Where nothing tells whether somebody writes a file, it stays."""
    scene = Scene("in place", tmp_path / "scene", library)
    other = scene.folder / f".envlock-{3:016x}.tmp"
    other.write_bytes(b"half")

    def decide(call: Call) -> Order:
        return Fail(errno.ENOLCK) if call.name == "flock" else None

    assert trace(scene.work, decide).said == "written"
    assert scene.litter() == [other.name]


def test_a_name_that_was_taken_for_abandoned_is_given_up(tmp_path: Path, library: Path) -> None:
    """Another stamp removes the new file between its creation and its locking."""
    scene = Scene("in place", tmp_path / "scene", library)
    removed = []

    def decide(call: Call) -> Order:
        if nameless(call):
            return Fail(errno.EOPNOTSUPP)
        if call.name == "flock" and not removed:
            removed.extend(scene.litter())
            (scene.folder / removed[0]).unlink()
        return None

    traced = trace(scene.work, decide)
    assert len(removed) == 1
    assert traced.said == "written"
    assert scene.state() == "new"
    assert scene.litter() == []
    assert len(traced.named("flock")) == 2
