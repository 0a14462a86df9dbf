"""What leaving without taking the interpreter apart is worth: a stamped `check` with and without it.

    python -m benchmarks.startup [--runs N]

`envlock.cli.script` collects garbage rarely and ends with `os._exit`. Without the two, a check of a
stamped plugin took 1.13 times as long by the clock and 1.22 times the processor's time (2 cores of
AMD EPYC, medians of 30 and 50 runs). Most of it is `os._exit`.
"""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks.gate import QUIET, RELEASE, stamped_example
from benchmarks.timing import HEADER, alternate, machine, ratio, row
from tests.support.environments import ensure

RUN = "import sys; from envlock.cli import {}; sys.argv[0] = 'envlock'; {}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=40)
    runs = parser.parse_args().runs
    environment = ensure(RELEASE)
    plugin = stamped_example(environment)
    check = ["check", plugin, "--env", str(environment.prefix)]
    folder = environment.site_packages / "tensorflow"
    times = alternate(
        {
            "as it is": [sys.executable, "-c", RUN.format("script", "script()"), *check],
            "as a function": [
                *(sys.executable, "-c", RUN.format("main", "sys.exit(main())")),
                *check,
            ],
            "ldd -r": ["env", f"LD_LIBRARY_PATH={folder}", "ldd", "-r", plugin],
        },
        runs,
        {**QUIET, "PYTHONPATH": os.getcwd()},
    )
    print(f"# {machine()}; TensorFlow {RELEASE}; {runs} runs\n{HEADER}")
    for name, values in times.items():
        print(row(name, values, f"{ratio(values, times['ldd -r']):.2f} x ldd -r"))
    print(f"without / with the exit = {ratio(times['as a function'], times['as it is']):.2f}")


if __name__ == "__main__":
    main()
