"""What this process holds of files: a call that leaves some open is found without waiting for any."""

from __future__ import annotations

import gc
import os
from typing import Callable

#: Calls after the first one.
AGAIN = 3


def held() -> tuple[int, int]:
    """How many descriptors are open, and how many pieces of files are mapped to be read."""
    with open("/proc/self/maps") as maps:
        mapped = sum(1 for line in maps if line.split()[1] == "r--s")
    return len(os.listdir("/proc/self/fd")), mapped


def gives_back(call: Callable[[], object]) -> None:
    """Fail if a call leaves more open than the call before did.

    The first one does not count: it imports, and the atlas stays open. What only the garbage
    collector would close is open.
    """
    gc.collect()
    gc.disable()
    try:
        call()
        before = held()
        for _ in range(AGAIN):
            call()
        now = held()
        assert now == before, f"{now} are held after {AGAIN} calls more, {before} before"
    finally:
        gc.enable()
