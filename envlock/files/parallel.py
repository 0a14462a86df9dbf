"""Many plugins on all cores: forked children that share what the parent has parsed.

Children inherit the scope, its libraries and their mappings, so nothing is parsed twice and nothing
is sent but the results. A child that dies (a file truncated while it is read is a SIGBUS) costs
the one item it was at.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from io import RawIOBase
    from typing import Any, TypeVar

    T = TypeVar("T")
    R = TypeVar("R")

#: Below this many items for each child, forking costs more than it saves.
FEWEST_EACH = 8
#: Index of an item, and the size of its pickled result; `_BEGUN` announces it.
_HEADER = struct.Struct("=IQ")
_BEGUN = (1 << 64) - 1
_TOKEN = struct.Struct("=I")
#: Tokens for items to do. All are written before one is read, and a pipe may have room for 4 KiB
#: only: the kernel gives no more to a user whose pipes fill pipe-user-pages-soft.
MAX_TOKENS = 4096 // _TOKEN.size


class Died(Exception):
    """The child that worked at this item died; the argument is the signal or exit status, None
    where the host's handling of SIGCHLD loses it."""

    def __str__(self) -> str:
        return "the reason is not known" if self.args[0] is None else super().__str__()


def workers_for(items: int) -> int:
    """How many children are worth it: at most the cores this process may use.

    One in a process with threads, which a fork would leave behind.
    """
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        return 1
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cores = os.cpu_count() or 1
    return max(min(cores, items // FEWEST_EACH), 1)


def map_forked(
    function: Callable[[T], R],
    items: Sequence[T],
    workers: int | None = None,
    begun: Callable[[int], object] | None = None,
) -> list[R | Died]:
    """`[function(item) for item in items]` in forked children, in the order of the items.

    `function` must not raise; its results must be picklable. `workers` defaults to what
    `workers_for` says; one worker means no fork, and so does a system that allows no more processes
    or pipes. An item whose child died has a `Died`. `begun` is given, in this process, the index of
    each item that is begun.
    """
    begun = begun or _untold
    count = workers_for(len(items)) if workers is None else max(min(workers, len(items)), 1)
    results: dict[int, R | Died] = {}
    waiting = list(range(len(items)))
    while waiting:
        try:
            if count == 1:
                raise _NoChild
            status = _work(function, items, waiting, count, results, begun)
        except _NoChild:
            for index in waiting:
                begun(index)
                results[index] = function(items[index])
            break
        left = [index for index in waiting if index not in results]
        if len(left) == len(waiting):
            results.update(dict.fromkeys(left, Died(status)))
            left = []
        waiting = left  # what a child that died had taken and not begun
    return [results[index] for index in range(len(items))]


class _NoChild(Exception):
    """No process or no pipe is to be had, or none is wanted."""


def _untold(index: int) -> None:
    pass


def _work(
    function: Callable[[T], R],
    items: Sequence[T],
    waiting: Sequence[int],
    count: int,
    results: dict[int, R | Died],
    begun: Callable[[int], object],
) -> int | None:
    """Let children answer what is waiting; gives the signal or status of one that died, or 0.

    Raises `_NoChild` where none could be started.
    """
    import select

    each = -(-len(waiting) // MAX_TOKENS)
    tokens = _tokens(range(0, len(waiting), each))
    children: dict[int, _Child] = {}
    failed: int | None = 0
    # Not `select.select`: it takes no descriptors from 1024 on, and the host may have as many.
    poll = select.poll()
    try:
        for _ in range(min(count, len(waiting))):
            try:
                child = _start(function, items, waiting, each, tokens)
            except _NoChild:
                if not children:
                    raise
                break
            children[child.pipe] = child
            poll.register(child.pipe, select.POLLIN)
        # All at once: a child whose pipe is full would wait while another is listened to.
        while children:
            for pipe, _ in poll.poll():
                child = children[pipe]
                if not child.read(results, begun):
                    poll.unregister(pipe)
                    del children[pipe]
                    failed = child.end(results) or failed
    finally:
        os.close(tokens)
        for child in children.values():  # only where this process was interrupted
            child.end(results)
    return failed


def _tokens(numbers: Iterable[int]) -> int:
    """The reading end of a pipe that holds these; raises `_NoChild`."""
    try:
        tokens, writer = os.pipe()
    except OSError:
        raise _NoChild from None
    os.write(writer, b"".join(map(_TOKEN.pack, numbers)))
    os.close(writer)
    return tokens


class _Child:
    """One child: its pipe's reading end, what came and is not complete, the item it is at."""

    __slots__ = ("at", "pending", "pid", "pipe")

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.pending = bytearray()
        self.at: int | None = None

    def read(self, results: dict[int, R | Died], begun: Callable[[int], object] = _untold) -> bool:
        """Take in what came; False at the end."""
        import pickle

        data = os.read(self.pipe, 1 << 16)
        self.pending += data
        done = 0
        while len(self.pending) - done >= _HEADER.size:
            index, size = _HEADER.unpack_from(self.pending, done)
            if size == _BEGUN:
                self.at = index
                begun(index)
                done += _HEADER.size
                continue
            end = done + _HEADER.size + size
            if len(self.pending) < end:
                break
            results[index] = pickle.loads(memoryview(self.pending)[done + _HEADER.size : end])
            self.at = None
            done = end
        del self.pending[:done]
        return bool(data)

    def end(self, results: dict[int, R | Died]) -> int | None:
        """Wait for the child; the item it died at has a `Died`. Gives its signal or status.

        What counts is whether a result arrived whole: a host that ignores SIGCHLD, or waits for
        all children itself, leaves no status.
        """
        os.close(self.pipe)
        code: int | None = None
        with contextlib.suppress(ChildProcessError):
            code = abs(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))
        if self.at is not None:
            results[self.at] = Died(code)
        return code

    def kill(self) -> None:
        """End the child, if it has not ended: its number may be another process's by then."""
        import select

        poll = select.poll()
        poll.register(self.pipe, select.POLLIN)
        if not any(event & select.POLLHUP for _, event in poll.poll(0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _start(
    function: Callable[[T], R], items: Sequence[T], waiting: Sequence[int], each: int, tokens: int
) -> _Child:
    import pickle

    # What is still buffered must not be written twice.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # that is for who wrote it
                stream.flush()
    try:
        reader, writer = os.pipe()
    except OSError:
        raise _NoChild from None
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise _NoChild from None
    if pid:
        os.close(writer)
        return _Child(pid, reader)
    status = 1
    try:
        os.close(reader)
        with os.fdopen(writer, "wb", buffering=0) as out:
            # Whoever is free takes the next token; the kernel hands out each one once.
            while token := os.read(tokens, _TOKEN.size):
                (first,) = _TOKEN.unpack(token)
                for index in waiting[first : first + each]:
                    out.write(_HEADER.pack(index, _BEGUN))
                    data = pickle.dumps(function(items[index]), pickle.HIGHEST_PROTOCOL)
                    _write_all(out, _HEADER.pack(index, len(data)) + data)
        status = 0
    finally:
        # Not `sys.exit`: the parent's cleanup is not the child's to do.
        os._exit(status)


def _write_all(out: RawIOBase, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) or 0 :]


class Beside:
    """One function in a forked child while this process does something else; a context manager.

    Where forking does not pay (one core, threads) or fails, there is no child: `forked` is False,
    and `result` calls the function here and then. Leaving without `result` ends the child.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._child: _Child | None = None

    def __enter__(self) -> Beside:
        if workers_for(2 * FEWEST_EACH) > 1:
            with contextlib.suppress(_NoChild):
                tokens = _tokens((0,))
                try:
                    self._child = _start(lambda _: self._function(), [None], [0], 1, tokens)
                finally:
                    os.close(tokens)
        return self

    @property
    def forked(self) -> bool:
        """Whether a child works on it."""
        return self._child is not None

    def result(self) -> Any:
        """What the function gives or raises; computed here where a child died or raised."""
        results: dict[int, Any] = {}
        child, self._child = self._child, None
        if child is not None:
            while child.read(results):
                pass
            child.end(results)
        answer = results.get(0)
        return self._function() if answer is None or isinstance(answer, Died) else answer

    def __exit__(self, *_: object) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.end({})
