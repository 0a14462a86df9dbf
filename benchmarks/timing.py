"""Timing of whole processes side by side: A B A B ..., medians and the ratio pair by pair."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


def machine() -> str:
    """One line about this machine."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{os.cpu_count()} cores of {model}, Linux {os.uname().release}"


def once(command: Sequence[str], env: dict[str, str] | None = None) -> float:
    """Wall seconds of one run; its output is thrown away, its exit status is not judged."""
    started = time.perf_counter()
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, check=False
    )
    return time.perf_counter() - started


def alternate(
    commands: dict[str, Sequence[str]], runs: int, env: dict[str, str] | None = None
) -> dict[str, list[float]]:
    """Run the commands in turn, `runs` times each after one warm-up; wall seconds by name."""
    for command in commands.values():
        once(command, env)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(once(command, env))
    return times


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """The median of the pairwise ratios first / second."""
    return statistics.median(a / b for a, b in zip(first, second))


def row(name: str, values: Sequence[float], note: str = "") -> str:
    """One line of a table: minimum, median, maximum in milliseconds."""
    low, mid, high = min(values), median(values), max(values)
    return f"{name:<44}{low * 1000:>9.1f}{mid * 1000:>9.1f}{high * 1000:>9.1f}  {note}"


HEADER = f"{'':<44}{'min ms':>9}{'median':>9}{'max':>9}"
