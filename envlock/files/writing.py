"""Writing files so that there is always either the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ..models.errors import WriteError
from .copying import write_all
from .scratch import CannotName, Scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Signatures of the content, which is about to change.
_CONTENT_SIGNATURES = ("security.ima", "security.evm")
_ACL = "system.posix_acl_access"
_NO_ATTRIBUTES = (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS)


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a whole file atomically; a device or FIFO (`/dev/stdout`) is written to as it is.

    Raises `WriteError`, for a read-only file too; the old file is then as it was.
    """
    name = os.fspath(path)
    target = os.path.realpath(name)
    try:
        old: os.stat_result | None = os.stat(
            name
        )  # what a link in /proc leads to need have no name
    except OSError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode) and not stat.S_ISDIR(old.st_mode):
        try:
            with open(name, "wb", buffering=0) as out:
                write_all(out.fileno(), content)
        except OSError as error:
            raise failed(name, error) from None
        return
    old = existing(target)
    if old is not None:
        require_writable(target, old)

    def fill(scratch: Scratch) -> None:
        write_all(scratch.fd, content)
        if old is not None:
            take_over(scratch.fd, old, target)
        else:
            # What open() would have given: the umask is applied by making the file anew.
            os.fchmod(scratch.fd, 0o666 & ~_umask())
        os.fsync(scratch.fd)

    make(target, fill)


def make(
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
        raise failed(target, error) from None


def take_over(fd: int, old: os.stat_result, attributes_of: int | str) -> list[str]:
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


def existing(target: str) -> os.stat_result | None:
    """The status of a file that is to be replaced; None when there is none."""
    try:
        status = os.lstat(target)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise failed(target, error) from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise WriteError(f"cannot write `{target}`: it is {what}")
    return status


def require_writable(target: str, status: os.stat_result) -> None:
    # The rename would succeed; but who took the write permission away meant it, root too.
    if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
        from shlex import quote

        raise WriteError(
            f"cannot write `{target}`: it is read-only (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"`chmod u+w {quote(target)}`, or write another file with `-o`",
        )


def failed(target: str, error: Exception) -> WriteError:
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
