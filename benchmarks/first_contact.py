"""What a check of an unstamped published plugin costs beside `ldd -r`, the first time and again.

    python -m benchmarks.first_contact [--plugins N] [--runs N]

CPU and wall time of whole processes, in turn on the same file. The plugins are those of published
wheels, as `tests/campaigns/truth` unpacks them, on releases that they were built for and others.
Needs those wheels and the test suite's TensorFlow environments (made at first use), and valgrind
for nothing: where the machine is noisy, the ratios of one run still hold.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import machine, median
from tests.campaigns.truth.wheels import unpacked
from tests.support.environments import TfEnvironment, ensure

RELEASES = ("2.14.1", "2.18.1", "2.21.0")
WHEELS = (
    "tensorflow_text-2.14.0",
    "tensorflow_text-2.18.1",
    "tensorflow_text-2.21.1",
    "tensorflow_addons-0.23.0",
    "tensorflow_io_gcs_filesystem-0.37.1",
)
ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
ENVIRON.pop("PYTHONDONTWRITEBYTECODE", None)  # users have their byte code cached


def cost(command: Sequence[str], environ: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of one run and of all processes that it waits for."""
    started = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        child = subprocess.Popen(command, env=environ, stdout=nowhere, stderr=nowhere)
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0  # it has been waited for
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def least(command: Sequence[str], environ: dict[str, str], runs: int) -> tuple[float, float]:
    """The least CPU and the least wall time of some runs."""
    measured = [cost(command, environ) for _ in range(runs)]
    return min(cpu for cpu, _ in measured), min(wall for _, wall in measured)


def pairs(count: int) -> list[tuple[Path, TfEnvironment]]:
    """That many plugins with an environment each, spread evenly over wheels and releases."""
    every = [
        (plugin, ensure(release))
        for wheel in WHEELS
        for plugin in sorted(unpacked(wheel).rglob("*.so"))
        for release in RELEASES
    ]
    return [every[number * len(every) // count] for number in range(min(count, len(every)))]


def ldd(plugin: Path, environment: TfEnvironment) -> list[str]:
    # ldd must find the framework library, or it does none of the work that is compared.
    folder = environment.site_packages / "tensorflow"
    return ["env", f"LD_LIBRARY_PATH={folder}", "ldd", "-r", str(plugin)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plugins", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"# {machine()}; {options.plugins} plugins, least of {options.runs} runs each")
    rows = []
    with tempfile.TemporaryDirectory(prefix="envlock-bench-") as folder:
        environ = {**ENVIRON, "XDG_CACHE_HOME": folder}
        for plugin, environment in pairs(options.plugins):
            check = [sys.executable, "-m", "envlock", "check", str(plugin)]
            check += ["--env", str(environment.python)]
            cost(check, environ)  # byte code, the page cache
            first = []
            for _ in range(options.runs):
                shutil.rmtree(os.path.join(folder, "envlock"), ignore_errors=True)
                first.append(cost(check, environ))
            again = least(check, environ, options.runs)
            linker = least(ldd(plugin, environment), environ, options.runs)
            stamped = min(cpu for cpu, _ in first), min(wall for _, wall in first)
            rows.append((plugin, environment.version, stamped, again, linker))
    for kind, at in (("CPU", 0), ("wall", 1)):
        print(
            f"\n{kind} time, ms{'':<35}{'median':>9}{'worst':>9}{'beside ldd -r: median':>24}{'worst':>8}"
        )
        for name, column in (("first check", 2), ("second check", 3), ("ldd -r", 4)):
            times = [row[column][at] for row in rows]
            ratios = [row[column][at] / row[4][at] for row in rows]
            print(
                f"{name:<45}{median(times) * 1000:>9.1f}{max(times) * 1000:>9.1f}"
                f"{median(ratios):>24.2f}{max(ratios):>8.2f}"
            )
    print("\nThe five slowest first checks, CPU ms")
    for plugin, version, first_cost, _, linker in sorted(rows, key=lambda row: -row[2][0])[:5]:
        print(
            f"{plugin.name:<50} on {version:<8}{first_cost[0] * 1000:>9.1f}{linker[0] * 1000:>9.1f}"
        )


if __name__ == "__main__":
    main()
