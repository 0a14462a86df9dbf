"""Writing files so that there is always either the old one or the new one, whole.

`write_stamp` makes the stamped form of a library in a nameless file of the target's folder, reads
it back, and only then gives it the target's name. docs/stamping.md says what is promised.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat

from .copying import BodyCopy, Shrunk, copy_and_compare, mismatch, write_all
from .elf.append import Plan, body_size, plan_append
from .elf.file import ElfFile
from .elf.notes import APPENDED, find_stamp
from .errors import EnvlockError, FileAccessError, WriteError
from .scratch import CannotName, Scratch, close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Smaller libraries are copied faster than a thread is worth, in bytes.
AHEAD_FROM = 8 << 20
#: Signatures of the content, which is about to change.
_CONTENT_SIGNATURES = ("security.ima", "security.evm")
_ACL = "system.posix_acl_access"
_NO_ATTRIBUTES = (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS)


class StampResult:
    """What was written.

    `path`: the file that now holds the stamp (behind a symbolic link: the file it leads to).
    `bytes_added`: growth against the source, in bytes. `changed`: False when the file held exactly
    this stamp already and was left alone. `hard_links`: other names of the replaced file, which
    keep the old content. `notes`: sentences for the user about what could not be kept.
    """

    __slots__ = ("bytes_added", "changed", "hard_links", "notes", "path")

    def __init__(
        self,
        path: str,
        bytes_added: int,
        *,
        changed: bool = True,
        hard_links: int = 0,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.bytes_added = bytes_added
        self.changed = changed
        self.hard_links = hard_links
        self.notes = notes


class Ahead:
    """Copies the body of a large library while its manifest is being made; a context manager.

    `elf` is the open source, the other arguments are those of `write_stamp`, which takes this and
    uses what was copied if it still fits. Whatever stands in the way of an early copy is left to
    `write_stamp` to find and to name.
    """

    def __init__(
        self,
        elf: ElfFile,
        source: str | os.PathLike[str],
        destination: str | os.PathLike[str] | None,
    ) -> None:
        self.elf = elf
        self.source = os.fspath(source)
        self.target = os.path.realpath(source if destination is None else os.fspath(destination))
        self.keep = 0
        self.scratch: Scratch | None = None
        self.body: BodyCopy | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Ahead:
        if self.elf.size >= AHEAD_FROM:
            with contextlib.suppress(EnvlockError, OSError):
                self._begin()
            if self.body is None:
                self.__exit__()  # no scratch file in the way of the one to come
        return self

    def _begin(self) -> None:
        old = _existing(self.target)
        if old is not None:
            _require_writable(self.target, old)
        self.keep = body_size(self.elf)
        fd = _open_source(self.source, self.elf.status)
        self._open.callback(close, fd)
        self.scratch = self._open.enter_context(Scratch(self.target))
        if self.scratch.name is not None:
            return  # a killed stamp's child would hold on to it for a moment
        body = self._open.enter_context(BodyCopy(fd, self.scratch.fd, self.keep, self.target))
        self.body = body if body.begun else None

    def fits(self, target: str, plan: Plan) -> bool:
        """Whether a plan can be completed from what was copied."""
        return self.body is not None and self.target == target and self.keep == plan.keep

    def __exit__(self, *_: object) -> None:
        self.scratch = self.body = None
        self._open.close()


def write_stamp(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None,
    payload: bytes,
    *,
    signature: bytes | None = None,
    unchanged_since: os.stat_result | None = None,
    ahead: Ahead | None = None,
) -> StampResult:
    """Write `source` with `payload` as its appended manifest, in place or to `destination`.

    In place, the new file takes over mode, owner and extended attributes, and a symbolic link
    stays one: the file that it leads to is replaced. Of a hard-linked file only this name is
    replaced, the others keep the old content; that is what package caches (uv, conda) need, and
    the result says so. `signature` goes behind the manifest. `unchanged_since` is the status of
    the file that the manifest describes (`ElfFile.status`): a source that is another one by now
    is refused. `ahead` has copied its body already.

    Raises `FileAccessError` or `ElfError` for the source, `WriteError` for everything about the
    target, which then is as it was.
    """
    source = os.fspath(source)
    target = os.path.realpath(source if destination is None else os.fspath(destination))
    in_place = target == os.path.realpath(source)
    if in_place and destination is not None and os.path.islink(destination):
        raise WriteError(
            f"cannot write `{os.fspath(destination)}`: it leads to the plugin itself",
            hint="leave out `-o` to stamp the plugin in place",
        )
    with ElfFile.open(source) as elf:
        before = elf.status
        if unchanged_since is not None and not _same(before, unchanged_since):
            raise _changed(source)
        old = before if in_place else _existing(target)
        if old is not None:
            _require_writable(target, old)
        plan = plan_append(elf, payload, signature)
        if in_place and _is_already(elf, plan):
            return StampResult(target, 0, changed=False, hard_links=before.st_nlink - 1)
        fd = _open_source(source, before)
        try:
            notes = _replace(fd, source, target, plan, payload, old, before, ahead)
        finally:
            close(fd)
    links = old.st_nlink - 1 if old is not None else 0
    if links:
        notes.append(
            f"`{target}` was one of {links + 1} hard links to the same file; only this name was "
            "replaced, the others keep the old content"
        )
    return StampResult(target, plan.size - before.st_size, hard_links=links, notes=tuple(notes))


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a whole file atomically; a device or FIFO (`/dev/stdout`) is written to as it is.

    Raises `WriteError`, for a read-only file too; the old file is then as it was.
    """
    name = os.fspath(path)
    target = os.path.realpath(name)
    try:
        old: os.stat_result | None = os.stat(target)
    except OSError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode) and not stat.S_ISDIR(old.st_mode):
        try:
            with open(name, "wb", buffering=0) as out:
                write_all(out.fileno(), content)
        except OSError as error:
            raise _failed(name, error) from None
        return
    old = _existing(target)
    if old is not None:
        _require_writable(target, old)

    def fill(scratch: Scratch) -> None:
        write_all(scratch.fd, content)
        if old is not None:
            _take_over(scratch.fd, old, target)
        else:
            # What open() would have given: the umask is applied by making the file anew.
            os.fchmod(scratch.fd, 0o666 & ~_umask())
        os.fsync(scratch.fd)

    _make(target, fill)


def _open_source(source: str, before: os.stat_result) -> int:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            changed = not _same(os.fstat(fd), before)
        except OSError:
            close(fd)
            raise
    except OSError as error:
        raise FileAccessError(f"cannot open `{source}`: {error.strerror}") from None
    if changed:
        close(fd)
        raise _changed(source)
    return fd


def _replace(
    fd: int,
    source: str,
    target: str,
    plan: Plan,
    payload: bytes,
    old: os.stat_result | None,
    before: os.stat_result,
    ahead: Ahead | None,
) -> list[str]:
    notes: list[str] = []
    if ahead is not None and not ahead.fits(target, plan):
        ahead = None

    def fill(scratch: Scratch) -> None:
        if ahead is not None and ahead.body is not None and scratch is ahead.scratch:
            ahead.body.finish(plan)
        else:
            copy_and_compare(fd, scratch.fd, plan, target)
        _read_back(scratch.fd, payload, target)
        if old is None:
            os.fchmod(scratch.fd, stat.S_IMODE(before.st_mode) & 0o777)
        else:
            in_place = os.path.samestat(old, before)
            notes[:] = _take_over(scratch.fd, old, fd if in_place else target)
        os.fsync(scratch.fd)
        # ctime is left out: taking a hard link elsewhere changes it, and no byte.
        if not _same(os.fstat(fd), before):
            raise _changed(source)
        now = _existing(target)
        if (now is None) != (old is None) or (now and old and not _same(now, old)):
            raise _changed(target)

    try:
        unsynced = _make(target, fill, None if ahead is None else ahead.scratch)
    except Shrunk:
        raise _changed(source) from None
    if unsynced is not None:
        notes.append(
            f"`{target}` is in place, but its folder could not be brought to the disk "
            f"({unsynced.strerror}): after a power failure the old file may be there again"
        )
    return notes


def _make(
    target: str, fill: Callable[[Scratch], None], begun: Scratch | None = None
) -> OSError | None:
    """Make a file with `fill` and give it the target's name; what kept that from lasting.

    `begun` is an open scratch file to use instead of a new one; its owner closes it.
    """
    try:
        try:
            with Scratch(target) if begun is None else contextlib.nullcontext(begun) as scratch:
                fill(scratch)
                return scratch.rename()
        except CannotName:
            with Scratch(target, nameless=False) as scratch:
                fill(scratch)
                return scratch.rename()
    except OSError as error:
        raise _failed(target, error) from None


def _is_already(elf: ElfFile, plan: Plan) -> bool:
    """Whether the file is byte for byte what the plan would make of it."""
    if plan.size != elf.size:
        return False
    at = plan.keep
    parts: list[tuple[int, bytes | tuple[int, int]]] = [*plan.patches]
    for piece in plan.pieces:
        parts.append((at, piece))
        at += len(piece) if isinstance(piece, bytes) else piece[1]
    for at, piece in parts:
        if isinstance(piece, bytes):
            if elf.data[at : at + len(piece)] != piece:
                return False
        elif piece[0] != at:
            return False
    return True


def _read_back(out: int, payload: bytes, target: str) -> None:
    """The manifest has to come out of the new file as it comes out of any plugin."""
    with mmap.mmap(out, 0, access=mmap.ACCESS_READ) as data:
        stamp = find_stamp(ElfFile(target, data, os.fstat(out)))
    if stamp is None or stamp.kind != APPENDED or stamp.payload != payload:
        raise mismatch(target, "the manifest is not the one that was to be embedded")


def _take_over(fd: int, old: os.stat_result, attributes_of: int | str) -> list[str]:
    """Owner, mode and attributes of the replaced file; says what could not be kept.

    Of another file at `-o` (a path) only the access control list is kept: it belongs to the name,
    whereas capabilities and the like belong to the content.
    """
    notes = []
    mode = stat.S_IMODE(old.st_mode)
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(fd, old.st_uid, old.st_gid)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.fchown(fd, -1, old.st_gid)
            got = os.fstat(fd)
            notes.append(
                f"the owner is {got.st_uid}:{got.st_gid} now, it was {old.st_uid}:{old.st_gid} "
                f"({error.strerror}; only root can give files away)"
            )
            mode &= ~(stat.S_ISUID | stat.S_ISGID)  # they would speak for somebody else
        mine = os.fstat(fd)
    # After the owner: changing it clears the set-user-ID bit and capabilities.
    if stat.S_IMODE(mine.st_mode) != mode:
        os.fchmod(fd, mode)
    return notes + _copy_attributes(attributes_of, fd)


def _copy_attributes(source: int | str, fd: int) -> list[str]:
    try:
        names = set(os.listxattr(source))
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
        names = set()
    if isinstance(source, str):
        names &= {_ACL}
    lost = []
    for name in sorted(names):
        if name in _CONTENT_SIGNATURES:
            lost.append(name)
            continue
        try:
            value = os.getxattr(source, name)
            if _attribute(fd, name) != value:
                os.setxattr(fd, name, value)
        except OSError:
            lost.append(name)
    notes = []
    if lost:
        notes.append("extended attributes that the new file does not have: " + ", ".join(lost))
    if _ACL not in names and _attribute(fd, _ACL) is not None:
        # The folder's default list, which would let more people in than the old file did.
        try:
            os.removexattr(fd, _ACL)
        except OSError as error:
            notes.append(f"the folder's access control list holds for it now ({error.strerror})")
    return notes


def _attribute(fd: int, name: str) -> bytes | None:
    try:
        return os.getxattr(fd, name)
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
        return None


def _existing(target: str) -> os.stat_result | None:
    """The status of a file that is to be replaced; None when there is none."""
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _failed(target, error) from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise WriteError(f"cannot write `{target}`: it is {what}")
    return status


def _require_writable(target: str, status: os.stat_result) -> None:
    # The rename would succeed; but who took the write permission away meant it, root too.
    if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
        from shlex import quote

        raise WriteError(
            f"cannot write `{target}`: it is read-only (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"`chmod u+w {quote(target)}`, or write another file with `-o`",
        )


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_dev,
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


def _changed(path: str) -> WriteError:
    return WriteError(
        f"`{path}` was changed by another program while it was being stamped; nothing was written",
        hint="stamp it when the build has ended",
    )


def _failed(target: str, error: Exception) -> WriteError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = None
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        hint = "write to a folder of your own with `-o`"
    return WriteError(f"cannot write `{target}`: {reason}", hint=hint)


def _umask() -> int:
    """The umask, read without changing it for other threads."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    return 0o022
