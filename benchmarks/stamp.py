"""What stamping costs: `envlock stamp` of large libraries beside `cp` followed by fsync.

    python -m benchmarks.stamp [--runs N] [--made | --library FILE...]

Both write a new file from the same cached source, in turn. The libraries are TensorFlow's own
(65 MB and 780 MB); where its environment cannot be made, two of that size are compiled on the spot.
The last figure is the largest memory that the process had. Processor seconds tell what a busy
machine hides: copying and reading back run beside each other where two processors are free.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import HEADER, machine, median, ratio, row
from tests.support.elves import C_SOURCE, compile_library
from tests.support.environments import CannotEnsure, TfEnvironment, ensure

RELEASE = "2.21.0"
FALLBACK = "2.15.1"
FOLDER = Path("build/benchmarks")
ENVIRON = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

COPY = 'cp "$1" "$2" && sync "$2"'
WRITE = """\
import sys, time
from envlock.actions.stamp_writing import write_stamp
payload = b'{"x":"' + b"y" * 8000 + b'"}'
write_stamp(sys.argv[1], sys.argv[2], payload)
"""


def measured(command: Sequence[str]) -> tuple[float, float, int]:
    """Wall seconds, processor seconds and peak MiB of one process, which has to succeed."""
    started = time.perf_counter()
    with open(os.devnull, "w") as nothing:
        child = subprocess.Popen(command, stdout=nothing, env=ENVIRON)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    wall = time.perf_counter() - started
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10


def libraries(own: bool) -> tuple[TfEnvironment, list[Path]]:
    """An environment to record, and one library of 65 MB and one of 780 MB."""
    if own:
        return ensure(FALLBACK), [made(65), made(780)]
    try:
        environment = ensure(RELEASE)
    except CannotEnsure as problem:
        print(f"{problem}; measuring libraries made for this instead")
        return ensure(FALLBACK), [made(65), made(780)]
    names = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
    return environment, [environment.tensorflow / name for name in names]


def made(megabytes: int) -> Path:
    """A library of that size, filled with constants."""
    path = FOLDER.resolve() / f"made{megabytes}.so"
    if not path.exists():
        block = path.with_suffix(".bin")
        with block.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1_000_000))
        # No processor's assembler is needed for this: the data is only included.
        include = f'__asm__(".section .rodata\\n.incbin \\"{block}\\"\\n.text");\n'
        compile_library(path, source=include + C_SOURCE)
        block.unlink()
    return path


def compare(library: Path, environment: TfEnvironment, runs: int) -> None:
    """Measure one library and print its lines."""
    # A copy of its own, on the file system that is written to, and not hard-linked anywhere.
    source = FOLDER / "source.so"
    subprocess.run(["cp", str(library), str(source)], check=True)
    size = source.stat().st_size
    copied, stamped = FOLDER / "copied.so", FOLDER / "stamped.so"
    env = ["--env", str(environment.prefix), "--force"]
    commands = {
        "cp + fsync": ["sh", "-c", COPY, "sh", str(source), str(copied)],
        "envlock stamp -o": [
            sys.executable, "-m", "envlock", "stamp", str(source), "-o", str(stamped), *env
        ],
        "write_stamp alone": [sys.executable, "-c", WRITE, str(source), str(stamped)],
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in commands}
    worked: dict[str, list[float]] = {name: [] for name in commands}
    memory = dict.fromkeys(commands, 0)
    for number in range(runs + 1):
        for name, command in commands.items():
            for output in (copied, stamped):
                output.unlink(missing_ok=True)
            seconds, processor, peak = measured(command)
            if number:  # the first round only warms up
                times[name].append(seconds)
                worked[name].append(processor)
            memory[name] = max(memory[name], peak)
    print(f"\n{library.name}, {size / 1e6:.0f} MB, {runs} runs in turn")
    print(HEADER)
    for name, values in times.items():
        against = ratio(values, times["cp + fsync"])
        cpu = median(worked[name])
        note = f"{against:.2f} x cp + fsync, {cpu:.2f} s of processor, {memory[name]} MiB"
        print(row(name, values, note))
    rate = size / median(times["cp + fsync"]) / 1e6
    print(f"cp + fsync wrote {rate:.0f} MB/s, load average {os.getloadavg()[0]:.1f}")
    for path in (source, copied, stamped):
        path.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--library", type=Path, action="append", help="measure these instead")
    parser.add_argument("--made", action="store_true", help="measure libraries made for this")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    environment, found = libraries(arguments.made)
    print(machine())
    for library in arguments.library or found:
        compare(library, environment, arguments.runs)


if __name__ == "__main__":
    main()
