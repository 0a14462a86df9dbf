"""Mode, owner, times, extended attributes and access lists are what docs/reference/stamping.md says."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import time
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.files.writing import write_file
from envlock.models.errors import WriteError
from tests.campaigns.faults.scene import PAYLOAD, Scene

NOBODY = 65534
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 16, 32
NO_ID = 0xFFFFFFFF


def access_list(user: int, permissions: int, *, group: int = 4, other: int = 0) -> bytes:
    """acl(5) as the kernel stores it: the owner may all, one more user `permissions`."""
    entries = (
        (USER_OBJ, 7, NO_ID), (USER, permissions, user), (GROUP_OBJ, group, NO_ID),
        (MASK, permissions | group, NO_ID), (OTHER, other, NO_ID),
    )  # fmt: skip
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def lists(path: Path) -> bytes | None:
    try:
        return os.getxattr(path, ACCESS)
    except OSError:
        return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose file system keeps access lists."""
    found = tmp_path / "listed"
    found.mkdir()
    try:
        os.setxattr(found, ACCESS, access_list(NOBODY, 7))
    except OSError as error:
        pytest.skip(f"the temporary folder's file system keeps no access lists: {error}")
    os.removexattr(found, ACCESS)
    found.chmod(0o755)
    return found


def plugin_in(folder: Path, library: Path) -> Path:
    plugin = folder / "plugin.so"
    plugin.write_bytes(library.read_bytes())
    return plugin


def test_an_access_list_stays(folder: Path, library: Path) -> None:
    plugin = plugin_in(folder, library)
    wanted = access_list(NOBODY, 6)
    os.setxattr(plugin, ACCESS, wanted)
    before = plugin.stat()
    assert write_stamp(plugin, None, PAYLOAD).notes == ()
    assert lists(plugin) == wanted
    assert plugin.stat().st_mode == before.st_mode


def test_the_folders_default_list_lets_nobody_in(folder: Path, library: Path) -> None:
    """A private file must not become readable for others because it is made anew."""
    plugin = plugin_in(folder, library)
    plugin.chmod(0o600)
    os.setxattr(folder, DEFAULT, access_list(NOBODY, 7, group=7, other=5))
    assert lists(plugin) is None
    assert write_stamp(plugin, None, PAYLOAD).notes == ()
    assert lists(plugin) is None
    assert stat.S_IMODE(plugin.stat().st_mode) == 0o600


def test_a_new_output_gets_the_folders_default_list(folder: Path, library: Path) -> None:
    """As every new file in that folder does."""
    plugin = plugin_in(folder, library)
    plugin.chmod(0o750)
    os.setxattr(folder, DEFAULT, access_list(NOBODY, 5, group=5))
    output = folder / "out.so"
    write_stamp(plugin, output, PAYLOAD)
    found = lists(output)
    assert found is not None
    assert struct.pack("<HHI", USER, 5, NOBODY) in found
    assert stat.S_IMODE(output.stat().st_mode) == 0o750


@pytest.mark.parametrize("listed", [True, False])
def test_a_replaced_output_or_report_keeps_its_list_and_no_more(
    listed: bool, folder: Path, library: Path
) -> None:
    plugin = plugin_in(folder, library)
    outputs = [folder / "out.so", folder / "report.json"]
    for output in outputs:
        output.write_text("old")
        output.chmod(0o640)
        os.setxattr(output, "user.origin", b"the old content")
        if listed:
            os.setxattr(output, ACCESS, access_list(NOBODY, 4))
    before = [(lists(output), output.stat().st_mode) for output in outputs]
    assert (before[0][0] is not None) == listed
    os.setxattr(folder, DEFAULT, access_list(NOBODY, 7, group=7, other=7))
    write_stamp(plugin, outputs[0], PAYLOAD)
    write_file(outputs[1], b"new")
    assert [(lists(output), output.stat().st_mode) for output in outputs] == before
    # What else was attached spoke of another content.
    for output in outputs:
        assert "user.origin" not in os.listxattr(output)


def test_the_times_are_those_of_the_stamp(tmp_path: Path, library: Path) -> None:
    """It is new content: make and package caches have to see that."""
    plugin = plugin_in(tmp_path, library)
    long_ago = 1_000_000_000
    os.utime(plugin, (long_ago, long_ago))
    before = time.time()
    write_stamp(plugin, None, PAYLOAD)
    assert plugin.stat().st_mtime >= before - 1
    # The same stamp again is no new content.
    os.utime(plugin, (long_ago, long_ago))
    write_stamp(plugin, None, PAYLOAD)
    assert plugin.stat().st_mtime == long_ago


def test_a_new_output_has_permissions_and_nothing_else(tmp_path: Path, library: Path) -> None:
    plugin = plugin_in(tmp_path, library)
    plugin.chmod(0o6754)
    try:
        os.setxattr(plugin, "user.origin", b"build 7")
    except OSError as error:
        pytest.skip(f"the temporary folder's file system keeps no attributes: {error}")
    output = tmp_path / "out.so"
    write_stamp(plugin, output, PAYLOAD)
    assert stat.S_IMODE(output.stat().st_mode) == 0o754
    assert (output.stat().st_uid, output.stat().st_gid) == (os.geteuid(), os.getegid())
    assert "user.origin" not in os.listxattr(output)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
def test_whose_owner_is_lost_does_not_run_as_the_new_one(tmp_path: Path, library: Path) -> None:
    """A set-user-ID bit that came along would hand out the rights of who stamped."""
    scene = Scene("in place", tmp_path / "scene", library)
    scene.folder.chmod(0o777)
    scene.source.chmod(0o6777)
    for parent in scene.folder.parents:
        if parent != Path("/") and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o055)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(writer, scene.work().encode())
        os._exit(0)
    os.close(writer)
    assert os.waitpid(pid, 0)[1] == 0
    said = os.read(reader, 4096).decode()
    os.close(reader)
    assert f"the owner is {NOBODY}:{NOBODY} now, it was 0:0" in said
    assert stat.S_IMODE(scene.source.stat().st_mode) == 0o777


@pytest.mark.skipif(os.geteuid() != 0, reason="file capabilities need root")
def test_capabilities_do_not_move_to_another_content(tmp_path: Path, library: Path) -> None:
    plugin = plugin_in(tmp_path, library)
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    output = tmp_path / "out.so"
    output.write_text("old")
    for path in (plugin, output):
        os.setxattr(path, "security.capability", value)
    write_stamp(plugin, output, PAYLOAD)
    assert "security.capability" not in os.listxattr(output)
    write_stamp(plugin, None, PAYLOAD)
    assert os.getxattr(plugin, "security.capability") == value


@pytest.mark.skipif(os.geteuid() != 0, reason="security attributes need root")
def test_labels_stay_and_signatures_of_the_old_content_go(tmp_path: Path, library: Path) -> None:
    plugin = plugin_in(tmp_path, library)
    label = b"system_u:object_r:lib_t:s0\0"
    try:
        os.setxattr(plugin, "security.selinux", label)
        os.setxattr(plugin, "security.ima", b"\x04\x04" + bytes(32))
    except OSError as error:
        pytest.skip(f"the temporary folder's file system keeps no such attributes: {error}")
    (note,) = write_stamp(plugin, None, PAYLOAD).notes
    assert note == "extended attributes that the new file does not have: security.ima"
    assert os.getxattr(plugin, "security.selinux") == label
    assert "security.ima" not in os.listxattr(plugin)


def flags(path: Path) -> str:
    done = subprocess.run(["lsattr", "-d", path], capture_output=True, text=True)
    return done.stdout.split()[0] if done.returncode == 0 else done.stderr.strip()


def test_inode_flags_are_those_that_the_folder_gives(tmp_path: Path, library: Path) -> None:
    plugin = plugin_in(tmp_path, library)
    done = subprocess.run(["chattr", "+d", plugin], capture_output=True, text=True)
    if done.returncode != 0 or "d" not in flags(plugin):
        pytest.skip(f"the temporary folder's file system has no such flag: {done.stderr.strip()}")
    write_stamp(plugin, None, PAYLOAD)
    assert "d" not in flags(plugin)
    subprocess.run(["chattr", "+d", tmp_path], check=True)
    write_stamp(plugin, None, PAYLOAD + b" ")
    assert "d" in flags(plugin)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
def test_an_immutable_file(tmp_path: Path, library: Path) -> None:
    plugin = plugin_in(tmp_path, library)
    before = plugin.read_bytes()
    done = subprocess.run(["chattr", "+i", plugin], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"the temporary folder's file system has no such flag: {done.stderr.strip()}")
    try:
        with pytest.raises(WriteError, match=r"Operation not permitted|it is read-only"):
            write_stamp(plugin, None, PAYLOAD)
        assert plugin.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["plugin.so"]
    finally:
        subprocess.run(["chattr", "-i", plugin], check=True)
