"""Many plugins on all cores: forked children that share what the parent has parsed.

Children inherit the scope, its libraries and their mappings, so nothing is parsed twice and nothing
is sent but the results. A child that dies (a file truncated while it is read is a SIGBUS) costs
the one item it was at.
"""

from __future__ import annotations

import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    T = TypeVar("T")
    R = TypeVar("R")

#: Below this many items for each child, forking costs more than it saves.
FEWEST_EACH = 8
_HEADER = struct.Struct("=IQ")


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
    todo = [list(range(start, len(items), count)) for start in range(count)]
    while todo:
        children = [_start(function, items, indices) for indices in todo]
        todo = [rest for child in children if (rest := _collect(child, results))]
    return [results[index] for index in range(len(items))]


class _Child:
    __slots__ = ("indices", "pid", "pipe")

    def __init__(self, pid: int, pipe: int, indices: list[int]) -> None:
        self.pid = pid
        self.pipe = pipe
        self.indices = indices


def _start(function: Callable[[T], R], items: Sequence[T], indices: list[int]) -> _Child:
    import pickle

    reader, writer = os.pipe()
    # What is still buffered must not be written twice.
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return _Child(pid, reader, indices)
    status = 1
    try:
        os.close(reader)
        with os.fdopen(writer, "wb") as out:
            for index in indices:
                data = pickle.dumps(function(items[index]), pickle.HIGHEST_PROTOCOL)
                out.write(_HEADER.pack(index, len(data)) + data)
                # What is done must not be lost with what comes next.
                out.flush()
        status = 0
    finally:
        # Not `sys.exit`: the parent's cleanup is not the child's to do.
        os._exit(status)


def _collect(child: _Child, results: dict[int, R | Died]) -> list[int]:
    """Take one child's results; the indices that are left over when it died."""
    import pickle

    with os.fdopen(child.pipe, "rb") as stream:
        while True:
            header = stream.read(_HEADER.size)
            if len(header) < _HEADER.size:
                break
            index, size = _HEADER.unpack(header)
            data = stream.read(size)
            if len(data) < size:
                break
            results[index] = pickle.loads(data)
    _, status = os.waitpid(child.pid, 0)
    left = [index for index in child.indices if index not in results]
    if left:
        # Results are written as they come, so the first one left is what it was at.
        code = os.waitstatus_to_exitcode(status)
        results[left[0]] = Died(-code if code < 0 else code)
    return left[1:]
