"""A new file that gets its name only when it is whole, and nothing left of one that never did.

Where the file system has O_TMPFILE the file has no name before, so a killed process leaves nothing
behind. Elsewhere, and for the moment between the two steps of giving it the target's name, it is
called `.envlock-<16 hex digits>.tmp` and locked (flock) by the process that makes it. Whoever
makes the next one in that folder removes those that no process holds any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat

_NAME = re.compile(r"\.envlock-[0-9a-f]{16}\.tmp")
#: What a file system or kernel without O_TMPFILE answers (EISDIR: a kernel; ENOENT: no /proc).
_NO_NAMELESS = frozenset(
    (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS, errno.EPERM)
)
#: And what one answers that has it, but cannot give such a file a name.
_NO_LINK = frozenset(
    (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS, errno.ENOENT)
    + (errno.EINVAL, errno.EMLINK)
)


class CannotName(Exception):
    """The nameless file cannot get a name here: make it again with one from the start."""


class Scratch:
    """A new, empty file in the target's folder, open as `fd`; gone at the end unless renamed.

    Raises `OSError` on entering, `CannotName` and `OSError` from `rename`.
    """

    def __init__(self, target: str, *, nameless: bool = True) -> None:
        self.target = target
        self.folder = os.path.dirname(target) or "."
        self.nameless = nameless
        self.fd = -1
        self.name: str | None = None

    def __enter__(self) -> Scratch:
        try:
            clear_abandoned(self.folder)
            if not (self.nameless and self._open_nameless()):
                self._open_named()
        except BaseException:
            self._remove()
            raise
        return self

    def _open_nameless(self) -> bool:
        try:
            self.fd = os.open(self.folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.stat(self._handle)
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
            self._close()
            return False
        _lock(self.fd)
        return True

    def _open_named(self) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | os.O_CLOEXEC
        while True:
            name = self._new_name()
            self.fd = os.open(name, flags, 0o600)
            self.name = name
            # Between the two lines another process may have taken it for abandoned.
            if _lock(self.fd) and os.fstat(self.fd).st_nlink:
                return
            self._remove()

    @property
    def _handle(self) -> str:
        return f"/proc/self/fd/{self.fd}"

    def _new_name(self) -> str:
        return os.path.join(self.folder, f".envlock-{os.urandom(8).hex()}.tmp")

    def rename(self) -> OSError | None:
        """Give the file the target's name, and make that last; what kept it from lasting."""
        if self.name is None:
            self.name = self._new_name()
            try:
                # Python follows the link in /proc only when it has a folder descriptor to pass on.
                os.link(self._handle, self.name, src_dir_fd=self.fd, follow_symlinks=True)
            except OSError as error:
                if error.errno in _NO_LINK:
                    raise CannotName from error
                raise
        try:
            os.rename(self.name, self.target)
        except OSError:
            # A server may have done it, and its answer got lost.
            if not self._has_arrived():
                raise
        self.name = None
        return sync_folder(self.folder)

    def _has_arrived(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self.target), os.fstat(self.fd))
        except OSError:
            return False

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close(fd)

    def _remove(self) -> None:
        # The name first: once the lock is gone, another process may clear it away.
        name, self.name = self.name, None
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        self._close()

    def __exit__(self, *_: object) -> None:
        self._remove()


def _lock(fd: int) -> bool:
    """False when another process has it; a file system without locks is not a reason to fail."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def clear_abandoned(folder: str) -> None:
    """Remove the files that a killed process of this user has left in a folder."""
    try:
        names = [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except OSError:
        return
    for name in names:
        _clear(os.path.join(folder, name))


def _clear(path: str) -> None:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            # NFS gives an exclusive lock only to who may write.
            fd = os.open(path, os.O_RDWR | flags)
        except PermissionError:
            fd = os.open(path, os.O_RDONLY | flags)
    except OSError:
        return
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and os.geteuid() in (0, status.st_uid):
            # Without a lock it is not known that no process writes it any more, so it stays.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.lstat(path), status):
                os.unlink(path)
    except OSError:
        pass
    finally:
        close(fd)


def close(fd: int) -> None:
    """Close a descriptor; what was written through it has been brought to the disk before."""
    with contextlib.suppress(OSError):
        os.close(fd)


def sync_folder(folder: str) -> OSError | None:
    """Make a rename last; the error, if the file system can do that and did not."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            close(fd)
    except OSError as error:
        return None if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS) else error
    return None
