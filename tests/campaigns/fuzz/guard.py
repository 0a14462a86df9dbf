"""What every input is held to: documented errors only, one line each, bounded time and memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from envlock.models.errors import DependencyMissing, EnvlockError

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
REGRESSIONS = HERE / "regressions"

#: Processor time that an input may cost: a fixed part, and one for its size.
SECONDS = 0.5
SECONDS_PER_BYTE = 20e-6
#: Address space that a process of fuzzing may use beyond what it has after its imports.
MEMORY = 384 << 20


class Finding(AssertionError):
    """An input that costs too much, or an answer that contradicts itself."""


class Target:
    """One reader: `call` reads an input and may raise what is `documented`, `mutate` makes new
    inputs out of old ones. `slow` scales the time limit, for what does more than read; readers of
    one `family` share its corpus."""

    def __init__(
        self,
        name: str,
        call: Callable[[bytes], object],
        mutate: Callable[[bytes, Random], bytes],
        *,
        largest: int = 8 << 10,
        documented: tuple[type[Exception], ...] = (EnvlockError,),
        slow: float = 1.0,
        family: str = "",
    ) -> None:
        self.name = name
        self.call = call
        self.mutate = mutate
        self.largest = largest
        self.documented = documented
        self.slow = slow
        self.folders = [name] if not family else [family, name]

    def seeds(self) -> list[Path]:
        """The committed inputs, those of former findings last."""
        return [
            path
            for root in (CORPUS, REGRESSIONS)
            for folder in (root / name for name in self.folders)
            if folder.is_dir()
            for path in sorted(folder.iterdir())
        ]


def check(target: Target, data: bytes, patience: float = 1.0) -> bool:
    """Let a reader read one input; whether it took it. Raises what it must not raise.

    `patience` scales the time limit, for interpreters that trace.
    """
    start = time.thread_time()
    taken = True
    try:
        target.call(data)
    except target.documented as error:
        taken = False
        presentable(error)
    spent = time.thread_time() - start
    limit = (SECONDS + SECONDS_PER_BYTE * len(data)) * target.slow * patience
    if spent > limit:
        raise Finding(f"{len(data)} bytes took {spent:.2f} s, more than {limit:.2f}")
    return taken


def presentable(error: Exception) -> None:
    """A documented error is one printable line."""
    if isinstance(error, DependencyMissing):
        raise Finding(f"fuzzing needs what is not installed: {error.message}") from None
    if isinstance(error, EnvlockError):
        text = error.message
        if not text.isprintable() or not text or len(text) > 4096:
            raise Finding(f"not a line to show: {text[:200]!r}") from None


def either(call: Callable[[], object]) -> None:
    """An answer or the documented error; what follows is tried in either case."""
    try:
        call()
    except EnvlockError as error:
        presentable(error)


def limit_memory(more: int = MEMORY) -> None:
    """From here on, memory beyond the limit is a MemoryError, and that is no documented error."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.RLIM_INFINITY))
