"""Environments in another root file system, seen from outside."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from envlock.environment.locate import locate
from envlock.environment.platform import read_platform
from envlock.files.roots import MAX_LINKS, Root, root_of
from envlock.linker.simulate import start_process
from envlock.models.errors import EnvironmentUnreadable
from tests.unit.linker.workshop import Workshop

LOADER = "lib64/ld-linux-x86-64.so.2"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small root: a Python, a virtual environment made there, and another ld.so and libc."""
    root = tmp_path.resolve() / "root"
    for folder in ("etc", "usr/bin", "usr/lib/python3.9", "usr/lib64", "opt/venv/bin"):
        (root / folder).mkdir(parents=True)
    # As merged systems have it, and with absolute links, which lead out of the root from here.
    (root / "lib64").symlink_to("/usr/lib64")
    (root / "bin").symlink_to("usr/bin")
    program = Workshop(tmp_path.resolve() / "build")
    program.folder.mkdir()
    shutil.copy(program.host(f"-Wl,--dynamic-linker=/{LOADER}"), root / "usr/bin/python3.9")
    (root / "usr/bin/python3").symlink_to("/usr/bin/python3.9")
    (root / "usr/lib/python3.9/os.py").write_text("")
    (root / "usr/lib64/ld-2.31.so").write_bytes(b"an ld.so without a banner")
    (root / "usr/lib64/ld-linux-x86-64.so.2").symlink_to("/usr/lib64/ld-2.31.so")
    (root / "opt/venv/bin/python").symlink_to("/usr/bin/python3")
    (root / "opt/venv/pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.2\n")
    site = root / "opt/venv/lib/python3.9/site-packages"
    site.mkdir(parents=True)
    (root / "srv/extra").mkdir(parents=True)
    (site / "extra.pth").write_text("/srv/extra\n")
    return root


@pytest.mark.parametrize("named", ["opt/venv", "opt/venv/bin/python", "/opt/venv"])
def test_a_virtual_environment_in_a_root(root: Path, named: str) -> None:
    """Named from here or as it is called inside; `bin/python` leads to the root's own Python."""
    paths = locate(named if named.startswith("/") else root / named, root)
    assert paths.real_executable == str(root / "usr/bin/python3.9")
    assert (paths.prefix, paths.base_prefix) == (str(root / "opt/venv"), str(root / "usr"))
    assert (paths.version, paths.kind) == ((3, 9), "venv")
    assert paths.search_path == (
        str(root / "opt/venv/lib/python3.9/site-packages"),
        str(root / "srv/extra"),
    )


def test_a_root_is_recognised_by_its_looks(root: Path) -> None:
    found = locate(root / "opt/venv")
    assert found.root is not None
    assert found.root.folder == str(root)
    assert found.real_executable == str(root / "usr/bin/python3.9")


def test_without_an_environment_it_is_the_systems_python(root: Path) -> None:
    assert locate(None, root).executable == str(root / "usr/bin/python3")
    shutil.rmtree(root / "usr/bin")
    with pytest.raises(EnvironmentUnreadable, match=r"no Python in /usr/local/bin or /usr/bin"):
        locate(None, root)
    with pytest.raises(EnvironmentUnreadable, match="no root file system"):
        locate(None, root / "nowhere")


def test_what_is_set_here_does_not_reach_a_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "srv"))
    assert str(root / "srv") not in locate(root / "opt/venv").search_path


def test_its_c_library_is_its_own(root: Path) -> None:
    found = Root(str(root))
    program = str(root / "usr/bin/python3.9")
    facts = read_platform(program, found)
    assert (facts.libc, facts.libc_version) == ("glibc", "2.31")
    scope = start_process(program, {}, root=found)
    assert scope.interpreter.traits.release == (2, 31)
    assert scope.interpreter.path == str(root / LOADER)
    assert all(folder.startswith(str(root)) for folder in scope.interpreter.system_dirs)
    # Its libc is not there, and this machine's does not stand in for it.
    assert any("libc.so.6" in text for text in scope.unchecked)


def test_this_systems_root_is_none() -> None:
    assert locate(sys.prefix).root is None
    assert locate(sys.prefix, "/").root is None
    assert root_of("/usr/bin") is None


def test_links_lead_where_they_would_inside(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    root = Root(str(folder))
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").write_text("")
    (folder / "up").symlink_to("../../../../a")
    (folder / "absolute").symlink_to("/up/b")
    (folder / "a/loop").symlink_to("/a/loop")
    assert root.real(f"{folder}/absolute/file") == f"{folder}/a/b/file"
    assert root.real(f"{folder}/absolute/../nothing/x") == f"{folder}/a/nothing/x"
    assert root.real("/etc/passwd") == "/etc/passwd"
    assert root.real(f"{folder}/a/loop") == f"{folder}/a/loop"
    assert root.outside("/up") == f"{folder}/up"
    assert root.inside(f"{folder}/up") == "/up"
    for number in range(MAX_LINKS + 5):
        (folder / f"link{number}").symlink_to(f"link{number + 1}")
    assert not os.path.exists(root.real(f"{folder}/link0"))
