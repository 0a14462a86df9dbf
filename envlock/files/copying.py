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

from ..models.errors import WriteError
from .parallel import Beside
from .plan import Plan
from .scratch import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes held in memory while comparing, and given to the kernel at once while copying.
BLOCK = 1 << 20
STEP = 4 << 20
#: Holes from this size on are not read to compare them: no linker makes one, and reading takes
#: half a second a GB. Those that a file system wrongly reports (it has happened) are small.
HUGE_HOLE = 64 << 20
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
        f"cannot write `{target}`: the new file, read back, is not what was written ({what}); "
        "the old one is unchanged",
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


class BodyCopy:
    """The part of a library that no manifest changes, copied and read back by a child process.

    A process, since threads would wait for the interpreter's lock at every block. A context
    manager; `begun` is False where no child could be had. `finish` completes the file by a plan
    that keeps exactly this part, and raises what `copy_and_compare` raises. The descriptors stay
    the caller's.
    """

    def __init__(self, source: int, out: int, size: int, target: str) -> None:
        self.source = source
        self.out = out
        self.size = size
        self.target = target
        self._beside = Beside(self._copy)

    def __enter__(self) -> BodyCopy:
        self._beside.__enter__()
        return self

    @property
    def begun(self) -> bool:
        """Whether somebody copies."""
        return self._beside.forked

    def finish(self, plan: Plan) -> None:
        """Wait for the body, then add what the plan has beyond it, read it back and sync."""
        self._beside.result()
        for offset, content in plan.patches:
            os.pwrite(self.out, content, offset)
            if os.pread(self.out, len(content), offset) != content:
                raise mismatch(self.target, f"the header at offset {offset} differs")
        rest = _Copier(self.source, self.out, plan)
        rest.done = plan.keep
        rest.copy_tail()
        _compare_tail(self.source, self.out, plan, self.target, rest)

    def _copy(self) -> bool:
        # Once more in this process, where the child failed: to raise what it met.
        os.ftruncate(self.out, 0)
        os.lseek(self.out, 0, os.SEEK_SET)
        copy_and_compare(self.source, self.out, Plan(self.size, [], []), self.target)
        return True

    def __exit__(self, *_: object) -> None:
        self._beside.__exit__()


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
            close(self.source)
            close(self.out)
            with self.news:
                self.ended = True
                self.news.notify_all()

    def _copy_all(self) -> None:
        self._copy(0, self.plan.keep, self.plan.patches)
        self._copy_pieces()

    def copy_tail(self) -> None:
        """What stands behind the kept part, in the calling thread, and all of it to the disk."""
        try:
            self._copy_pieces()
            os.fsync(self.out)
        finally:
            close(self.source)
            close(self.out)
            self.ended = True

    def _copy_pieces(self) -> None:
        for piece in self.plan.pieces:
            if isinstance(piece, bytes):
                write_all(self.out, piece)
                self._arrived(len(piece))
            else:
                self._copy(*piece)

    def _begin_writing_back(self, size: int) -> None:
        """Let the disk begin with the last `size` bytes, or fsync would wait for all of them."""
        # Dirty pages are not dropped by it, writing them is started (mm/fadvise.c).
        with contextlib.suppress(OSError):
            os.posix_fadvise(self.out, self.done, size, os.POSIX_FADV_DONTNEED)

    def _arrived(self, size: int) -> None:
        with self.news:
            self.done += size
            self.news.notify_all()

    def _copy(self, offset: int, size: int, patches: list[tuple[int, bytes]] | None = None) -> None:
        """Append `size` bytes of the source. The patches lie in its first block."""
        if patches and _clone(self.source, self.out, size):
            self._patch(patches, size)
            self._arrived(size)
            return
        at = offset
        for piece, is_hole in _extents(self.source, offset, size):
            if self.stop:
                return
            if is_hole:
                # Of whole length at once, for who compares; the kernel reads it as zeros.
                os.ftruncate(self.out, os.lseek(self.out, piece, os.SEEK_CUR))
                patches = self._patch(patches, at + piece - offset)
                self._arrived(piece)
            else:
                patches = self._copy_data(at, piece, patches, offset)
            at += piece

    def _copy_data(
        self, offset: int, size: int, patches: list[tuple[int, bytes]] | None, start: int
    ) -> list[tuple[int, bytes]] | None:
        """Returns the patches that wait for more bytes from `start` on."""
        end = offset + size
        ways = [_copy_range, _send, _read_and_write]
        while offset < end and not self.stop:
            try:
                done = ways[0](self.source, offset, self.out, min(end - offset, STEP))
            except OSError as error:
                if len(ways) == 1 or error.errno not in _UNSUPPORTED:
                    raise
                done = 0
            if done:
                offset += done
                patches = self._patch(patches, offset - start)
                self._begin_writing_back(done)
                self._arrived(done)
            elif len(ways) == 1:
                raise Shrunk
            else:
                del ways[0]
        return patches

    def _patch(
        self, patches: list[tuple[int, bytes]] | None, there: int
    ) -> list[tuple[int, bytes]] | None:
        """Apply patches to the `there` bytes that have arrived; those that lie behind them stay."""
        if not patches or any(offset + len(content) > there for offset, content in patches):
            return patches
        for offset, content in patches:
            os.pwrite(self.out, content, offset)
        return None


def _extents(fd: int, start: int, size: int) -> Iterator[tuple[int, bool]]:
    """Sizes of the data and holes in a range; all is data where the file system does not say."""
    at, end = start, start + size
    while at < end:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
            hole = os.lseek(fd, data, os.SEEK_HOLE)
        except OSError as error:
            # Behind the last data; also in a file that is shorter by now, which comparing shows.
            yield end - at, error.errno == errno.ENXIO
            return
        if data > at:
            yield min(data, end) - at, True
        if data < end:
            yield min(hole, end) - max(data, at), False
        at = hole


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
    _compare_range(source, 0, out, 0, plan.keep, plan.patches, target, copier)
    _compare_tail(source, out, plan, target, copier)


def _compare_tail(source: int, out: int, plan: Plan, target: str, copier: _Copier) -> None:
    at = plan.keep
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
    first, second = bytearray(), bytearray()
    for done, end in _worth_comparing(source, start, out, at, size, copier):
        length = min(BLOCK, end - done)
        if length != len(first):
            first, second = _buffer(length), _buffer(length)
        copier.wait(at + done + length)
        if os.preadv(source, [first], start + done) != length:
            raise Shrunk
        got = os.preadv(out, [second], at + done)
        if done == 0:  # the header is smaller than a block
            for offset, content in patches:
                first[offset : offset + len(content)] = content
        if got != length or first != second:
            raise mismatch(target, f"a byte between {at + done} and {at + done + length} differs")


def _worth_comparing(
    source: int, start: int, out: int, at: int, size: int, copier: _Copier
) -> Iterator[tuple[int, int]]:
    """The blocks of a range, each with the range's end; none in a huge hole that is one in both."""
    done = 0
    for piece, is_hole in _extents(source, start, size):
        end = done + piece
        if is_hole and piece >= HUGE_HOLE:
            copier.wait(at + end)
            if _is_hole(out, at + done, piece):
                done = end
                continue
        for block in range(done, end, BLOCK):
            yield block, end
        done = end


def _is_hole(out: int, at: int, size: int) -> bool:
    try:
        # With an offset of its own: at the one of `out` the copier writes.
        fd = os.open(f"/proc/self/fd/{out}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return list(_extents(fd, at, size)) == [(size, True)]
    finally:
        close(fd)


def _buffer(size: int) -> bytearray:
    """Memory to read into. A large allocation starts 16 bytes behind a page's start, and some
    processors copy whole pages to just there three times slower than to anywhere else."""
    buffer = bytearray(size + 48)
    del buffer[:48]  # moves the start, not the content
    return buffer
