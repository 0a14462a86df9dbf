"""The real paths of many files in few folders."""

from __future__ import annotations

import os
from pathlib import Path

from envlock.actions.registering import RealPaths


def test_they_are_what_realpath_says(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "file").touch()
    (tmp_path / "folder").symlink_to("a/b")
    (inside / "link").symlink_to("../../folder/file")
    (inside / "out").symlink_to("/usr/lib")
    (inside / "loop").symlink_to("loop")
    real = RealPaths()
    names = ("a/b/file", "folder/file", "folder/link", "folder/../x", "a/b/out/x", "a/b/loop")
    for name in (*names, "a/b/out/../lib", "a/./b/file", "a//b/file", "none/x", "a/b/"):
        path = f"{tmp_path}/{name}"
        assert real[path] == os.path.realpath(path)
    for path in ("/", "/usr", "relative/file", "file", ""):
        assert real[path] == os.path.realpath(path)
