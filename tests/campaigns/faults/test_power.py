"""Order of what reaches the disk: after a power failure the name leads to a whole file.

A file system may bring a rename to the disk before the bytes of the file, unless they were synced
before. So: every change of the new file, then its fsync, then the rename, then the folder's fsync.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.campaigns.faults.scene import FILE_SYSTEMS, Scene
from tests.campaigns.faults.tracing import Call, Order, trace

pytestmark = pytest.mark.usefixtures("traced")

CHANGES = ("copy_file_range", "sendfile", "write", "pwrite64", "pwritev", "ftruncate", "fallocate")
ATTRIBUTES = ("fchmod", "fchown", "fsetxattr", "fremovexattr")
NAMING = ("linkat", "rename", "renameat", "renameat2")


@pytest.mark.parametrize(
    "kind", ["in place", "in place, ahead", "new output", "replaced output", "report"]
)
@pytest.mark.parametrize("system", FILE_SYSTEMS)
def test_what_is_synced_when(kind: str, system: str, tmp_path: Path, library: Path) -> None:
    scene = Scene(kind, tmp_path / "scene", library)
    traced = trace(scene.work, FILE_SYSTEMS[system])
    assert traced.said == "written"
    new, folder = scene.target.stat().st_ino, scene.folder.stat().st_ino
    changed = [c.index for c in traced.named(*CHANGES, *ATTRIBUTES) if c.inode == new]
    synced = [c.index for c in traced.named("fsync") if c.inode == new and c.result == 0]
    named = [c.index for c in traced.named(*NAMING) if c.result == 0]
    last = [c.index for c in traced.named("fsync") if c.inode == folder and c.result == 0]
    (rename,) = (c for c in traced.named("rename") if c.paths[1] == str(scene.target))
    assert changed
    assert max(changed) < max(synced) < min(named)
    assert len(last) == 1
    assert rename.index == max(named) < last[0]


@pytest.mark.parametrize("kind", ["in place", "replaced output"])
def test_the_old_file_is_never_opened_for_writing(kind: str, tmp_path: Path, library: Path) -> None:
    scene = Scene(kind, tmp_path / "scene", library)
    old = scene.target.stat().st_ino
    traced = trace(scene.work)
    opened = [c for c in traced.named("openat", "open") if c.paths[0] == str(scene.target)]
    assert all(c.arguments[2] & os.O_ACCMODE == os.O_RDONLY for c in opened if c.name == "openat")
    touched = [c for c in traced.named(*CHANGES, *ATTRIBUTES) if c.inode == old]
    assert touched == []
    names = traced.named("unlink", "unlinkat", "truncate", "chmod", "chown", "setxattr")
    assert [c for c in names if str(scene.target) in c.paths] == []


def test_the_test_sees_a_missing_sync(tmp_path: Path, library: Path) -> None:
    """The same question about a careless program, so that the answer above means something."""
    target = tmp_path / "plain"

    def careless() -> str:
        fd = os.open(tmp_path / "new", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"content")
        os.rename(tmp_path / "new", target)
        os.fchmod(fd, 0o644)
        return "written"

    seen: list[Call] = []

    def decide(call: Call) -> Order:
        seen.append(call)
        return None

    traced = trace(careless, decide)
    assert traced.said == "written"
    assert [c.name for c in seen] == ["openat", "write", "rename", "fchmod"]
    assert traced.named("fsync") == []
    assert traced.named("write")[0].inode == target.stat().st_ino
