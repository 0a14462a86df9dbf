"""Copying a library with a changed tail, and reading the copy back while it is being made.

One thread lets the kernel copy (FICLONE, copy_file_range, sendfile, whatever the file systems
have), the other holds what has arrived against the source, byte for byte. Neither keeps more than
`BLOCK` bytes, so a library of any size takes the same memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading

from .errors import WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .elf.append import Plan

#: Bytes held in memory while comparing, and given to the kernel at once while copying.
BLOCK = 1 << 20
STEP = 4 << 20
#: ioctl FICLONE: share the blocks of the source (btrfs, xfs); linux/fs.h.
FICLONE = 0x40049409
#: A way of copying that these files do not have; the next one is tried.
_UNSUPPORTED = frozenset(
    (
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EBADF,
        errno.EPERM,
        errno.ETXTBSY,
    )
)


class Shrunk(Exception):
    """The source ended earlier than planned: somebody else writes to it."""


def mismatch(target: str, what: str) -> WriteError:
    """The error for a copy that does not read back as it was written."""
    return WriteError(
        f"cannot write `{target}`: read back, the new file is not what was written ({what}); "
        "the old one is as it was",
        hint="check the disk and the file system",
    )


def copy_and_compare(source: int, out: int, plan: Plan, target: str) -> None:
    """Write the planned file into the empty file `out`, read it back, and bring it to the disk.

    `source` and `out` are file descriptors; `target` names the file in errors. Raises `OSError`
    (disk full, input/output error), `Shrunk`, or `WriteError` when a byte reads back wrong.
    """
    copier = _Copier(source, out, plan)
    try:
        copier.start()
        _compare(source, out, plan, target, copier)
        copier.finish()
    finally:
        copier.stop = True


class _Copier:
    """Makes the copy in a thread of its own; `wait` for what another thread wants to read."""

    def __init__(self, source: int, out: int, plan: Plan) -> None:
        self.plan = plan
        self.stop = False
        self.done = 0
        self.ended = False
        self.error: BaseException | None = None
        self.news = threading.Condition()
        # Its own descriptors: an interrupted caller may close its ones before the thread ends.
        self.source = os.dup(source)
        self.out = os.dup(out)
        self.thread = threading.Thread(target=self._run, name="envlock-copy", daemon=True)

    def start(self) -> None:
        try:
            self.thread.start()
        except RuntimeError:
            self._run()  # no thread to be had: first all of the copy, then the comparison

    def wait(self, size: int) -> None:
        """Until `size` bytes of the copy are there; raises what the copying raised."""
        with self.news:
            self.news.wait_for(lambda: self.done >= size or self.ended)
        if self.error is not None:
            raise self.error

    def finish(self) -> None:
        """Until everything is on the disk."""
        with self.news:
            self.news.wait_for(lambda: self.ended)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._copy_all()
            if not self.stop:
                os.fsync(self.out)
        except BaseException as error:
            self.error = error
        finally:
            os.close(self.source)
            os.close(self.out)
            with self.news:
                self.ended = True
                self.news.notify_all()

    def _copy_all(self) -> None:
        plan = self.plan
        self._copy(0, plan.keep, plan.patches)
        for piece in plan.pieces:
            if isinstance(piece, bytes):
                write_all(self.out, piece)
                self._arrived(len(piece))
            else:
                self._copy(*piece)

    def _arrived(self, size: int) -> None:
        with self.news:
            self.done += size
            self.news.notify_all()

    def _copy(self, offset: int, size: int, patches: list[tuple[int, bytes]] | None = None) -> None:
        """Append `size` bytes of the source. The patches lie inside the first of them."""
        end = offset + size
        ways = [_copy_range, _send, _read_and_write]
        if patches and _clone(self.source, self.out, size):
            offset = end
            self._patch(patches)
            self._arrived(size)
        while offset < end and not self.stop:
            try:
                done = ways[0](self.source, offset, self.out, min(end - offset, STEP))
            except OSError as error:
                if len(ways) == 1 or error.errno not in _UNSUPPORTED:
                    raise
                done = 0
            if done:
                if patches:
                    # More than a header's bytes have arrived: a step never ends inside one.
                    self._patch(patches)
                    patches = None
                offset += done
                self._arrived(done)
            elif len(ways) == 1:
                raise Shrunk
            else:
                del ways[0]

    def _patch(self, patches: list[tuple[int, bytes]]) -> None:
        for offset, content in patches:
            os.pwrite(self.out, content, offset)


def _clone(source: int, out: int, size: int) -> bool:
    import fcntl

    try:
        fcntl.ioctl(out, FICLONE, source)
    except OSError:
        return False
    os.ftruncate(out, size)
    os.lseek(out, 0, os.SEEK_END)
    return True


def _copy_range(source: int, offset: int, out: int, size: int) -> int:
    return os.copy_file_range(source, out, size, offset_src=offset)


def _send(source: int, offset: int, out: int, size: int) -> int:
    return os.sendfile(out, source, offset, size)


def _read_and_write(source: int, offset: int, out: int, size: int) -> int:
    block = os.pread(source, min(size, BLOCK), offset)
    write_all(out, block)
    return len(block)


def write_all(fd: int, content: bytes) -> None:
    """Write all of it, however often the kernel takes a part only."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _compare(source: int, out: int, plan: Plan, target: str, copier: _Copier) -> None:
    at = plan.keep
    _compare_range(source, 0, out, 0, at, plan.patches, target, copier)
    for piece in plan.pieces:
        if isinstance(piece, bytes):
            copier.wait(at + len(piece))
            if os.pread(out, len(piece), at) != piece:
                raise mismatch(target, f"the tail at offset {at} differs")
            at += len(piece)
        else:
            _compare_range(source, piece[0], out, at, piece[1], [], target, copier)
            at += piece[1]
    copier.wait(at)
    size = os.fstat(out).st_size
    if size != plan.size:
        raise mismatch(target, f"it has {size} bytes, not {plan.size}")


def _compare_range(
    source: int,
    start: int,
    out: int,
    at: int,
    size: int,
    patches: list[tuple[int, bytes]],
    target: str,
    copier: _Copier,
) -> None:
    first, second = _buffer(min(BLOCK, size)), _buffer(min(BLOCK, size))
    for done in range(0, size, BLOCK):
        length = min(BLOCK, size - done)
        if length < len(first):
            first, second = _buffer(length), _buffer(length)
        copier.wait(at + done + length)
        if os.preadv(source, [first], start + done) != length:
            raise Shrunk
        os.preadv(out, [second], at + done)
        if done == 0:  # the header is smaller than a block
            for offset, content in patches:
                first[offset : offset + len(content)] = content
        if first != second:
            raise mismatch(target, f"a byte between {at + done} and {at + done + length} differs")


def _buffer(size: int) -> bytearray:
    """Memory to read into. A large allocation starts 16 bytes behind a page's start, and some
    processors copy whole pages to just there three times slower than to anywhere else."""
    buffer = bytearray(size + 48)
    del buffer[:48]  # moves the start, not the content
    return buffer


def sync_folder(folder: str) -> None:
    """Make a rename last; a folder that cannot be opened for that is no reason to fail."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
