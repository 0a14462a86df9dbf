"""The target is either as it was or complete, whatever happens; and what a user expects is kept."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envlock.actions import stamp_writing as writing
from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile, append
from envlock.binary.elf.append import plan_append
from envlock.binary.elf.notes import find_stamp
from envlock.files import copying
from envlock.files.writing import write_file
from envlock.models.errors import FileAccessError, WriteError
from tests.support.elves import PEAK, run

PAYLOAD = b'{"format":"envlock.manifest/1"}'
#: An unprivileged user on every Linux system.
NOBODY = 65534


def stamped(path: Path) -> bool:
    with ElfFile.open(path) as elf:
        stamp = find_stamp(elf)
    return stamp is not None and stamp.payload == PAYLOAD


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".envlock")]


def test_mode_and_owner_stay(plugin: Path) -> None:
    plugin.chmod(0o4751)
    if os.geteuid() == 0:
        os.chown(plugin, NOBODY, NOBODY)
        plugin.chmod(0o4751)
    before = plugin.stat()
    result = write_stamp(plugin, None, PAYLOAD)
    after = plugin.stat()
    assert stamped(plugin)
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid,
    )  # fmt: skip
    assert result.notes == ()
    assert result.bytes_added == after.st_size - before.st_size


def test_extended_attributes_stay(plugin: Path) -> None:
    try:
        os.setxattr(plugin, "user.origin", b"build 7")
    except OSError as error:
        pytest.skip(f"the temporary folder's file system keeps no attributes: {error}")
    write_stamp(plugin, None, PAYLOAD)
    assert os.getxattr(plugin, "user.origin") == b"build 7"


@pytest.mark.skipif(os.geteuid() != 0, reason="file capabilities need root")
def test_capabilities_stay(plugin: Path) -> None:
    # struct vfs_cap_data, revision 2: effective CAP_NET_RAW.
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(plugin, "security.capability", value)
    write_stamp(plugin, None, PAYLOAD)
    assert os.getxattr(plugin, "security.capability") == value


def test_behind_a_symbolic_link_the_file_is_replaced(plugin: Path) -> None:
    link = plugin.parent / "sub" / "link.so"
    link.parent.mkdir()
    link.symlink_to("../plugin.so")
    result = write_stamp(link, None, PAYLOAD)
    assert link.is_symlink()
    assert not plugin.is_symlink()
    assert stamped(plugin)
    assert result.path == str(plugin.resolve())


def test_of_hard_links_only_the_named_one_is_replaced_and_it_says_so(plugin: Path) -> None:
    """Package caches (uv, conda) hard-link what they install: the cache has to stay as it is."""
    cached = plugin.parent / "cache.so"
    os.link(plugin, cached)
    before = cached.read_bytes()
    result = write_stamp(plugin, None, PAYLOAD)
    assert stamped(plugin)
    assert cached.read_bytes() == before
    assert result.hard_links == 1
    (note,) = result.notes
    assert "one of 2 hard links" in note
    assert "the others keep the old content" in note


def test_another_file_is_written_with_o(plugin: Path) -> None:
    before = plugin.read_bytes()
    plugin.chmod(0o755)
    output = plugin.parent / "out.so"
    result = write_stamp(plugin, output, PAYLOAD)
    assert plugin.read_bytes() == before
    assert stamped(output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o755
    assert result.path == str(output)


def test_an_existing_output_is_replaced_and_keeps_its_mode(plugin: Path) -> None:
    output = plugin.parent / "out.so"
    output.write_text("old")
    output.chmod(0o640)
    write_stamp(plugin, output, PAYLOAD)
    assert stamped(output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o640


def test_output_named_as_the_input_means_in_place(plugin: Path) -> None:
    same = plugin.parent / "." / "x" / ".." / "plugin.so"
    (plugin.parent / "x").mkdir()
    write_stamp(plugin, same, PAYLOAD)
    assert stamped(plugin)


def test_an_output_link_to_the_input_is_refused(plugin: Path) -> None:
    before = plugin.read_bytes()
    link = plugin.parent / "out.so"
    link.symlink_to(plugin)
    with pytest.raises(WriteError, match=r"`.*out\.so`: it leads to the plugin itself"):
        write_stamp(plugin, link, PAYLOAD)
    assert plugin.read_bytes() == before


def test_an_output_hard_linked_to_the_input_leaves_the_input_alone(plugin: Path) -> None:
    before = plugin.read_bytes()
    output = plugin.parent / "out.so"
    os.link(plugin, output)
    write_stamp(plugin, output, PAYLOAD)
    assert plugin.read_bytes() == before
    assert stamped(output)


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_outputs_that_are_no_files_are_left_alone(kind: str, plugin: Path) -> None:
    output = plugin.parent / "out"
    if kind == "folder":
        output.mkdir()
    elif kind == "fifo":
        os.mkfifo(output)
    else:
        output = Path("/dev/null")
    before = output.stat()
    with pytest.raises(WriteError, match="cannot write"):
        write_stamp(plugin, output, PAYLOAD)
    assert (output.stat().st_ino, output.stat().st_mode) == (before.st_ino, before.st_mode)


def test_a_missing_folder(plugin: Path) -> None:
    with pytest.raises(WriteError, match="No such file or directory"):
        write_stamp(plugin, plugin.parent / "none" / "out.so", PAYLOAD)


def test_a_read_only_file_stays_even_for_root(plugin: Path) -> None:
    before = plugin.read_bytes()
    plugin.chmod(0o555)
    with pytest.raises(WriteError, match=r"it is read-only \(mode 0555\)") as caught:
        write_stamp(plugin, None, PAYLOAD)
    assert caught.value.hint is not None
    assert "chmod u+w" in caught.value.hint
    assert plugin.read_bytes() == before


STAMP = """
import sys
from envlock.models.errors import EnvlockError
from envlock.actions.stamp_writing import write_stamp
try:
    write_stamp(sys.argv[1], None, b'{"format":"envlock.manifest/1"}')
except EnvlockError as error:
    print(type(error).__name__, error)
else:
    print("written")
"""


def stamp_in_child(plugin: Path, *, before: str = "", as_nobody: bool = False) -> str:
    """Stamp in another process, optionally as an unprivileged user; what it says."""
    drop = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    # Everything is imported before the privileges go: the checkout may be readable for root only.
    head = "import envlock.actions.stamp_writing, envlock.binary.elf.dynamic, threading, fcntl, shlex\n"
    code = head + (drop if as_nobody else "") + before + STAMP
    return run(sys.executable, "-c", code, str(plugin)).strip()


def open_up(folder: Path) -> None:
    """Let other users reach a temporary folder."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_permission_for_the_folder_or_the_file(plugin: Path) -> None:
    open_up(plugin.parent)
    before = plugin.read_bytes()
    plugin.chmod(0o666)
    assert "Permission denied" in stamp_in_child(plugin, as_nobody=True)
    plugin.chmod(0o600)
    said = stamp_in_child(plugin, as_nobody=True)
    assert said.startswith("FileAccessError cannot open")
    plugin.parent.chmod(0o777)
    plugin.chmod(0o644)
    assert "it is read-only (mode 0644)" in stamp_in_child(plugin, as_nobody=True)
    assert plugin.read_bytes() == before
    assert leftovers(plugin.parent) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_belongs_to_somebody_else_is_said_to_change_hands(plugin: Path) -> None:
    open_up(plugin.parent)
    plugin.parent.chmod(0o777)
    plugin.chmod(0o666)
    child = STAMP.replace(
        "    write_stamp(", "    result = write_stamp("
    ).replace('print("written")', "print(result.notes)")  # fmt: skip
    drop = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    head = "import envlock.actions.stamp_writing, envlock.binary.elf.dynamic, threading, fcntl, shlex\n"
    said = run(sys.executable, "-c", head + drop + child, str(plugin))
    assert f"the owner is {NOBODY}:{NOBODY} now, it was 0:0" in said
    assert plugin.stat().st_uid == NOBODY


def test_a_full_disk(plugin: Path, tmp_path: Path) -> None:
    """A real small file system, in a name space of its own where that is permitted."""
    script = (
        'mount -t tmpfs -o size=48k none "$1" && cp "$2" "$1/plugin.so" && '
        '"$3" -c "$4" "$1/plugin.so"; cmp "$2" "$1/plugin.so" && ls -A "$1"'
    )
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    # The original takes 20 of the 48 KiB, a copy with its tail does not fit any more.
    big = tmp_path / "big.so"
    shutil.copy(plugin, big)
    with big.open("ab") as file:
        file.write(b"\0" * 9000)
    done = subprocess.run(
        [*command, folder, big, sys.executable, STAMP], capture_output=True, text=True
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no name spaces here: {done.stderr.strip()}")
    lines = done.stdout.strip().splitlines()
    assert lines[0].startswith("WriteError cannot write")
    assert lines[0].endswith("No space left on device")
    assert lines[1:] == ["plugin.so"]


def test_a_file_size_limit(plugin: Path) -> None:
    before = plugin.read_bytes()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
    said = stamp_in_child(plugin, before=limit)
    assert said.startswith("WriteError cannot write")
    assert said.endswith("File too large")
    assert plugin.read_bytes() == before
    assert leftovers(plugin.parent) == []


def test_a_plugin_that_is_no_longer_the_one_that_was_read(plugin: Path) -> None:
    with ElfFile.open(plugin) as elf:
        status = elf.status
    with plugin.open("ab") as file:
        file.write(b"more")
    before = plugin.read_bytes()
    with pytest.raises(WriteError, match="changed by another program while it was being stamped"):
        write_stamp(plugin, None, PAYLOAD, unchanged_since=status)
    assert plugin.read_bytes() == before


class Meddler:
    """Lets something happen right after the copy has been made, before it gets its name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, action: object) -> None:
        real = copying.copy_and_compare

        def meddled(*arguments: object) -> None:
            real(*arguments)  # type: ignore[arg-type]
            assert callable(action)
            action()

        monkeypatch.setattr(writing, "copy_and_compare", meddled)


@pytest.mark.parametrize("how", ["grown", "rewritten", "replaced", "gone"])
def test_a_plugin_that_changes_meanwhile(
    how: str, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = plugin.with_name("other.so")
    shutil.copy(plugin, other)

    def act() -> None:
        if how == "grown":
            with plugin.open("ab") as file:
                file.write(b"new")
        elif how == "rewritten":
            time.sleep(0.02)  # more than the clock's step for modification times
            plugin.write_bytes(plugin.read_bytes())
        elif how == "replaced":
            other.rename(plugin)
        else:
            plugin.unlink()

    Meddler(monkeypatch, act)
    with pytest.raises(WriteError, match="changed by another program"):
        write_stamp(plugin, None, PAYLOAD)
    assert not plugin.exists() or not stamped(plugin)
    assert leftovers(plugin.parent) == []


def test_a_plugin_that_shrinks_while_it_is_copied(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = copying._Copier.start

    def shrink(self: copying._Copier) -> None:
        os.truncate(plugin, 5000)
        real(self)

    monkeypatch.setattr(copying._Copier, "start", shrink)
    with pytest.raises(WriteError, match="changed by another program"):
        write_stamp(plugin, None, PAYLOAD)
    assert plugin.stat().st_size == 5000
    assert leftovers(plugin.parent) == []


def test_a_disk_that_returns_other_bytes_is_noticed(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flipped bit in the middle of the copy."""
    before = plugin.read_bytes()
    real = copying._Copier._copy_all

    def flip(self: copying._Copier) -> None:
        real(self)
        os.pwrite(self.out, bytes([before[4321] ^ 1]), 4321)

    monkeypatch.setattr(copying._Copier, "_copy_all", flip)
    # The comparison runs beside the copy; here it has to see the end of it.
    monkeypatch.setattr(copying._Copier, "wait", lambda self, size: self.finish())
    with pytest.raises(WriteError, match="the new file, read back, is not what was written"):
        write_stamp(plugin, None, PAYLOAD)
    assert plugin.read_bytes() == before


def test_what_only_our_own_reader_finds_is_not_written(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer's mistake that our reader forgives: the section is not marked as one of notes."""
    before = plugin.read_bytes()
    monkeypatch.setattr(append, "SHT_NOTE", 1)
    with pytest.raises(WriteError) as caught:
        write_stamp(plugin, None, PAYLOAD)
    assert "envlock reads the new stamp back, but pyelftools finds none" in caught.value.message
    assert plugin.read_bytes() == before
    assert leftovers(plugin.parent) == []


def test_without_pyelftools_the_stamp_is_written_and_it_says_so(plugin: Path) -> None:
    code = (
        "import sys; sys.modules['elftools'] = None\n"
        "from envlock.actions.stamp_writing import write_stamp\n"
        f"print(*write_stamp(sys.argv[1], None, {PAYLOAD!r}).notes)"
    )
    told = run(sys.executable, "-c", code, plugin)
    assert "pyelftools, the second one, cannot be imported here" in told
    assert stamped(plugin)


@pytest.mark.parametrize("step", ["copy", "rename"])
@pytest.mark.parametrize("nameless", [True, False])
def test_an_interrupt_leaves_nothing_behind(
    step: str, nameless: bool, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plugin.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if not nameless:
        without_nameless_files(monkeypatch)
    if step == "copy":
        Meddler(monkeypatch, interrupt)
    else:
        monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_stamp(plugin, None, PAYLOAD)
    monkeypatch.undo()
    assert plugin.read_bytes() == before
    assert leftovers(plugin.parent) == []


def without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has no O_TMPFILE (NFS, older overlays)."""
    import errno

    real = os.open

    def open_(path: str, flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_)


def test_a_file_system_without_nameless_files(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_nameless_files(monkeypatch)
    write_stamp(plugin, None, PAYLOAD)
    monkeypatch.undo()
    assert stamped(plugin)
    assert leftovers(plugin.parent) == []


@pytest.mark.parametrize("missing", [1, 2])
def test_kernels_that_copy_nothing_themselves(
    missing: int, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    if missing == 2:
        monkeypatch.setattr(os, "sendfile", refuse)
    write_stamp(plugin, None, PAYLOAD)
    monkeypatch.undo()
    assert stamped(plugin)


def test_being_killed_leaves_nothing_behind(plugin: Path) -> None:
    """SIGKILL while the copy is complete and has no name yet."""
    before = plugin.read_bytes()
    probe = plugin.parent / "probe"
    try:
        os.close(os.open(plugin.parent, os.O_TMPFILE | os.O_RDWR, 0o600))
    except OSError:
        pytest.skip("the temporary folder's file system has no nameless files")
    hold = (
        "import time, envlock.actions.stamp_writing as w\n"
        "w._read_back = lambda *_: (open(sys.argv[1] + '.ready', 'w').close(), time.sleep(60))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys\n" + hold + STAMP, str(plugin)],
        stdout=subprocess.DEVNULL,
    )
    ready = Path(f"{plugin}.ready")
    for _ in range(1000):
        if ready.exists():
            break
        time.sleep(0.02)
    assert ready.exists(), "the child never got so far"
    child.send_signal(signal.SIGKILL)
    child.wait()
    ready.unlink()
    assert plugin.read_bytes() == before
    assert os.listdir(plugin.parent) == ["plugin.so"]
    assert not probe.exists()


def test_a_large_file_takes_little_memory(plugin: Path) -> None:
    """200 MB of sparse file behind the library: more than the whole allowance of 40 MB."""
    os.truncate(plugin, 200 << 20)
    said, peak = run(sys.executable, "-c", f"import sys\n{STAMP}\n{PEAK}", str(plugin)).split()
    assert said == "written"
    assert int(peak) < 40 << 10
    assert stamped(plugin)


def test_the_source_errors_are_the_readers(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match="No such file"):
        write_stamp(tmp_path / "none.so", None, PAYLOAD)
    with pytest.raises(FileAccessError, match="is a folder, not a file"):
        write_stamp(tmp_path, None, PAYLOAD)


def test_a_plan_leaves_the_mapped_file_alone(plugin: Path) -> None:
    before = plugin.read_bytes()
    with ElfFile.open(plugin) as elf:
        plan_append(elf, PAYLOAD)
    assert plugin.read_bytes() == before


# write_file: any other file that envlock writes.


def test_write_file_makes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    write_file(target, b"one")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    target.chmod(0o600)
    write_file(target, b"two")
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert leftovers(tmp_path) == []


def test_write_file_leaves_a_read_only_file(tmp_path: Path) -> None:
    """As `write_stamp` does, and for root too."""
    target = tmp_path / "a report.json"
    target.write_bytes(b"kept")
    target.chmod(0o444)
    with pytest.raises(WriteError, match=r"it is read-only \(mode 0444\)") as caught:
        write_file(target, b"new")
    assert f"`chmod u+w '{target}'`" in (caught.value.hint or "")
    assert target.read_bytes() == b"kept"
    assert leftovers(tmp_path) == []
    link = tmp_path / "link.json"
    link.symlink_to(target)
    with pytest.raises(WriteError, match="read-only"):
        write_file(link, b"new")
    assert target.read_bytes() == b"kept"


def test_write_file_writes_into_devices_and_says_when_it_cannot(tmp_path: Path) -> None:
    write_file("/dev/null", b"anything")
    with pytest.raises(WriteError, match="`/dev/full`: No space left on device"):
        write_file("/dev/full", b"anything")
    with pytest.raises(WriteError, match="it is a folder"):
        write_file(tmp_path, b"anything")
