"""Many plugins on all cores: forked children that share what the parent has parsed.

Children inherit the scope, its libraries and their mappings, so nothing is parsed twice and nothing
is sent but the results. A child that dies (a file truncated while it is read is a SIGBUS) costs
the one item it was at.
"""

from __future__ import annotations

import os
import signal
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
#: Tokens for items to do; a pipe holds 64 KiB of them at least.
MAX_TOKENS = 8192


class Died(Exception):
    """The child that worked at this item died; the argument is the signal or exit status."""


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
    function: Callable[[T], R], items: Sequence[T], workers: int | None = None
) -> list[R | Died]:
    """`[function(item) for item in items]` in forked children, in the order of the items.

    `function` must not raise; its results must be picklable. `workers` defaults to what
    `workers_for` says; one worker means no fork. An item whose child died has a `Died`.
    """
    count = workers_for(len(items)) if workers is None else max(min(workers, len(items)), 1)
    if count == 1:
        return [function(item) for item in items]
    results: dict[int, R | Died] = {}
    waiting = list(range(len(items)))
    while waiting:
        status = _work(function, items, waiting, count, results)
        left = [index for index in waiting if index not in results]
        if len(left) == len(waiting):
            results.update(dict.fromkeys(left, Died(status)))
            left = []
        waiting = left  # what a child that died had taken and not begun
    return [results[index] for index in range(len(items))]


def _work(
    function: Callable[[T], R],
    items: Sequence[T],
    waiting: Sequence[int],
    count: int,
    results: dict[int, R | Died],
) -> int:
    """Let children answer what is waiting; gives the signal or status of one that died, or 0."""
    import select

    tokens, writer = os.pipe()
    each = -(-len(waiting) // MAX_TOKENS)
    os.write(writer, b"".join(map(_TOKEN.pack, range(0, len(waiting), each))))
    os.close(writer)
    children: dict[int, _Child] = {}
    failed = 0
    try:
        for _ in range(min(count, len(waiting))):
            child = _start(function, items, waiting, each, tokens)
            children[child.pipe] = child
        # All at once: a child whose pipe is full would wait while another is listened to.
        while children:
            for pipe in select.select(list(children), [], [])[0]:
                child = children[pipe]
                if not child.read(results):
                    del children[pipe]
                    failed = child.end(results) or failed
    finally:
        os.close(tokens)
        for child in children.values():  # only where this process was interrupted
            child.end(results)
    return failed


class _Child:
    """One child: its pipe's reading end, what came and is not complete, the item it is at."""

    __slots__ = ("at", "pending", "pid", "pipe")

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.pending = bytearray()
        self.at: int | None = None

    def read(self, results: dict[int, R | Died]) -> bool:
        """Take in what came; False at the end."""
        import pickle

        data = os.read(self.pipe, 1 << 16)
        self.pending += data
        done = 0
        while len(self.pending) - done >= _HEADER.size:
            index, size = _HEADER.unpack_from(self.pending, done)
            if size == _BEGUN:
                self.at = index
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

    def end(self, results: dict[int, R | Died]) -> int:
        """Wait for the child; the item it died at has a `Died`. Gives its signal or status."""
        os.close(self.pipe)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        code = -code if code < 0 else code
        if self.at is not None:
            results[self.at] = Died(code)
        return code


def _start(
    function: Callable[[T], R], items: Sequence[T], waiting: Sequence[int], each: int, tokens: int
) -> _Child:
    import pickle

    reader, writer = os.pipe()
    # What is still buffered must not be written twice.
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
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

    Where forking does not pay (one core, threads) there is no child: `forked` is False, and
    `result` calls the function here and then. Leaving without `result` ends the child.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._child: _Child | None = None

    def __enter__(self) -> Beside:
        if workers_for(2 * FEWEST_EACH) > 1:
            tokens, writer = os.pipe()
            os.write(writer, _TOKEN.pack(0))
            os.close(writer)
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
            os.kill(child.pid, signal.SIGKILL)
            child.end({})
