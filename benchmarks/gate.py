"""What the gate costs: `check` beside `ldd -r` and a real load, `import envlock`, `load`'s share,
many symbols, many plugins, and all of it without byte code.

    python -m benchmarks.gate [--runs N]

Needs g++ and the test suite's TensorFlow environment (made at first use).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.growth import WORK, with_symbols
from benchmarks.timing import HEADER, alternate, machine, median, ratio, row
from tests.support.building import build
from tests.support.environments import TfEnvironment, ensure

RELEASE = "2.15.1"
QUIET = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
QUIET.pop("PYTHONDONTWRITEBYTECODE", None)  # users have their byte code cached

# What the first plugin of a process waits for, and what a check costs once envlock is warm.
LOAD = """\
import sys, time
import tensorflow as tf
started = time.perf_counter()
tf.load_op_library(sys.argv[1])
print(time.perf_counter() - started)
"""
CHECKED_LOAD = """\
import sys, time
import tensorflow as tf
begun = time.perf_counter()
import envlock
started = time.perf_counter()
envlock.load(sys.argv[1])
print(time.perf_counter() - started)
print(time.perf_counter() - begun)
from envlock.actions.checking import Checker
from envlock.rules.policy import resolve_policy
started = time.perf_counter()
Checker.for_process(resolve_policy(None)).check_for_load(sys.argv[1])
print(time.perf_counter() - started)
"""
# What one of many plugins costs, processor seconds: the file is opened and read anew each time.
MANY = """\
import sys, time
from envlock.actions.checking import Checker
with Checker.for_environment() as checker:
    checker.check(sys.argv[1])
    started = time.process_time()
    for _ in range(10_000):
        checker.check(sys.argv[1])
    print((time.process_time() - started) / 10_000)
"""
SYMBOLS = 10_000


def inside(python: str, script: str, plugin: str, env: dict[str, str] | None = None) -> list[float]:
    """The seconds that a script prints, one a line."""
    command = [python, "-c", script, plugin]
    run = subprocess.run(command, env=env or QUIET, check=True, capture_output=True, text=True)
    return [float(value) for value in run.stdout.split()]


def without_byte_code() -> dict[str, str]:
    """The environment of a process that finds envlock's source only; all else is compiled."""
    folder = Path("build/benchmarks/source").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("envlock", folder / "envlock", ignore=shutil.ignore_patterns("__pycache__"))
    return {**QUIET, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def stamped_example(environment: TfEnvironment) -> str:
    """A stamped copy of the example op."""
    copy = Path("build/benchmarks/zero_out.so")
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(build(Path("examples/zero_out/zero_out.cc").resolve(), environment), copy)
    command = ["envlock", "stamp", str(copy), "--env", str(environment.python)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return str(copy.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    environment = ensure(RELEASE)
    python = str(environment.python)
    plugin = stamped_example(environment)
    # As users install it, but beside the test suite's environment, which stays as it is.
    installed = Path("build/benchmarks/installed").resolve()
    shutil.rmtree(installed, ignore_errors=True)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--python", python]
    subprocess.run([*uv, "--target", str(installed), "."], check=True)
    command = [python, str(installed / "bin" / "envlock")]
    QUIET["PYTHONPATH"] = str(installed)
    load = f"import tensorflow as tf; tf.load_op_library({plugin!r})"
    # ldd must find the framework library, or it does none of the work that is compared.
    folder = next((environment.site_packages / "tensorflow").glob("libtensorflow_framework.so.2"))
    ldd = ["env", f"LD_LIBRARY_PATH={folder.parent}", "ldd", "-r", plugin]
    times = alternate(
        {
            "envlock check": [*command, "check", plugin],
            "ldd -r": ldd,
            "python -c pass": [python, "-c", "pass"],
            "import envlock": [python, "-c", "import envlock"],
        },
        runs,
        QUIET,
    )
    slow = alternate({"load": [python, "-c", load], "check": [*command, "check", plugin]}, 3, QUIET)
    WORK.mkdir(parents=True, exist_ok=True)
    symbols = alternate({**with_symbols(environment, SYMBOLS)}, runs, QUIET)
    source = without_byte_code()
    bare, checked, compiling = [], [], []
    for _ in range(runs):
        bare.append(inside(python, LOAD, plugin))
        checked.append(inside(python, CHECKED_LOAD, plugin))
        compiling.append(inside(python, CHECKED_LOAD, plugin, source))
    (each,) = inside(python, MANY, plugin)
    alone = median([values[0] for values in bare])
    first = median([values[0] for values in checked]) - alone
    whole = median([values[1] for values in checked]) - alone
    uncompiled = median([values[1] for values in compiling]) - alone
    print(f"# {machine()}; TensorFlow {RELEASE}; {runs} runs\n{HEADER}")
    for name, values in times.items():
        print(row(name, values))
    print(row("import tensorflow + load_op_library", slow["load"]))
    added = median(times["import envlock"]) - median(times["python -c pass"])
    print()
    figures = (
        ("check / ldd -r", ratio(times["envlock check"], times["ldd -r"]), "at most 2.5"),
        ("import tensorflow + load / check", ratio(slow["load"], slow["check"]), "at least 40"),
        ("import envlock over bare, ms", added * 1000, "at most 10"),
        ("envlock.load - tf.load_op_library, ms", first * 1000, "at most 15"),
        ("the same with import envlock, ms", whole * 1000, ""),
        ("the same without byte code, ms", uncompiled * 1000, ""),
        ("a later check in that process, ms", 1000 * median([v[2] for v in checked]), ""),
        ("tf.load_op_library alone, ms", 1000 * alone, ""),
        (f"check of {SYMBOLS} symbols / ldd -r", ratio(*symbols.values()), ""),
        ("one of 10,000 plugins, processor ms", 1000 * each, ""),
    )
    for name, value, limit in figures:
        print(f"{name:<40}{value:>8.2f}  {limit}")


if __name__ == "__main__":
    main()
