"""What predicting dlopen costs, beside `ldd -r`, auditwheel, abicheck and pyelftools, in one run.

    python -m benchmarks.linker [--runs N] [--plugins 400] [--tools]

Needs gcc and the test suite's TensorFlow environment (made at first use). `--tools` installs
auditwheel and abicheck into `build/benchmarks/tools` first; without it they are left out. Read the
figures as ratios: they are wall times of this machine, as busy as it is.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import HEADER, alternate, machine, median, ratio, row
from envlock.binary.elf.symbols import gnu_hash
from envlock.environment.live import Environment
from envlock.linker.library import open_plugin
from envlock.linker.lookup import LookupScope
from envlock.linker.prediction import Prediction
from envlock.linker.resolve import predict
from envlock.linker.scope import LiveScope
from envlock.linker.simulate import for_environment
from tests.support.environments import TfEnvironment, cache_root, ensure, uv

RELEASE = "2.21.0"
WORK = Path("build/benchmarks")
TOOLS = WORK / "tools"
#: An op library inside TensorFlow's own package: always there.
OWN = "lite/experimental/microfrontend/python/ops/_audio_microfrontend_op.so"


def published(limit: int) -> list[Path]:
    """Plugins of published wheels that the test suite has unpacked, if any."""
    found = sorted((cache_root() / "wheels").glob("*/**/*.so"))
    return found[:: max(len(found) // limit, 1)][:limit]


def scope_of(environment: TfEnvironment) -> LiveScope:
    """The scope of a new process of the environment."""
    return for_environment(Environment.open(str(environment.prefix)), {})


def best(function: Callable[[], object], runs: int) -> float:
    """The shortest of some runs, in seconds: the one that was disturbed least."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def inside(environment: TfEnvironment, plugins: list[Path], runs: int) -> None:
    """Scope and prediction in a process that has imported everything."""
    print("\nin one process, nothing kept between runs (best of the runs, ms)")
    print(f"{'plugin':<34}{'undefined':>10}{'libraries':>10}{'scope':>8}{'predict':>9}")
    for plugin in plugins:
        scope_time = best(lambda: scope_of(environment).close(), runs)
        times = []
        prediction: Prediction | None = None
        for _ in range(runs):
            scope = scope_of(environment)
            started = time.perf_counter()
            prediction = predict(str(plugin), scope)
            times.append(time.perf_counter() - started)
            scope.close()
        assert prediction is not None
        library = open_plugin(str(plugin))
        undefined = len(library.relocations.references)
        library.close()
        print(
            f"{plugin.name:<34}{undefined:>10}{len(prediction.closure):>10}"
            f"{1000 * scope_time:>8.1f}{1000 * min(times):>9.1f}"
        )


def processes(environment: TfEnvironment, plugin: Path, runs: int) -> None:
    """Whole processes, one plugin each."""
    elftools = Path(__file__).with_name("pyelftools_lookup.py")
    scope = scope_of(environment)
    closure = [item.path for item in scope.framework]
    commands: dict[str, list[str]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "ldd -r": ["ldd", "-r", str(plugin)],
        "envlock check": [
            *(sys.executable, "-m", "envlock", "check", str(plugin)),
            *("--env", str(environment.prefix)),
        ],
        "pyelftools, the same lookups": [sys.executable, str(elftools), str(plugin), *closure],
    }
    for name, arguments in {
        "auditwheel lddtree": ["python", "-c", AUDITWHEEL, str(plugin)],
        "abicheck deps tree": ["abicheck", "deps", "tree", str(plugin)],
    }.items():
        if (TOOLS / "bin" / arguments[0]).exists():
            commands[name] = [str(TOOLS / "bin" / arguments[0]), *arguments[1:]]
    times = alternate(commands, runs)
    print(f"\none plugin, whole processes: {plugin.name}\n{HEADER}")
    for name, values in times.items():
        note = f"{ratio(values, times['ldd -r']):.2f} x ldd -r"
        print(row(name, values, note))
    print(f"check / ldd -r = {ratio(times['envlock check'], times['ldd -r']):.2f} (at most 2.5)")


AUDITWHEEL = "import sys; from auditwheel.lddtree import ldd; ldd(sys.argv[1])"


def many(environment: TfEnvironment, plugins: list[Path], wanted: int, runs: int) -> None:
    """Hundreds of plugins in one run of the command, beside as many runs of `ldd -r`."""
    from envlock.actions.stamping import stamp
    from envlock.inventory.scan import check_many

    folder = WORK / "many"
    shutil.rmtree(folder, ignore_errors=True)
    reports = check_many(map(str, plugins), env=environment.prefix)
    accepted = [r.plugin.path for r in reports if r.verdict in ("compatible", "drifted")]
    accepted = sorted(accepted, key=os.path.getsize)[:40]
    refused = [r.plugin.path for r in reports if r.verdict == "incompatible"]
    kinds = {"stamped": accepted, "refused, unstamped": refused, "accepted, unstamped": accepted}
    for kind, sources in kinds.items():
        if not sources:
            continue
        place = folder / kind.partition(",")[0]
        place.mkdir(parents=True)
        for index in range(wanted):
            target = place / f"plugin{index:03}.so"
            if kind == "stamped" and index >= len(sources):
                shutil.copy(place / f"plugin{index % len(sources):03}.so", target)
                continue
            shutil.copy(sources[index % len(sources)], target)
            if kind == "stamped":
                stamp(target, env=environment.prefix)
        check = ["-m", "envlock", "check", str(place), "--env", str(environment.prefix)]
        paths = sorted(map(str, place.iterdir()))
        loop = ["sh", "-c", 'for p in "$@"; do ldd -r "$p"; done', "sh", *paths]
        times = alternate({"ldd -r": loop, "check": [sys.executable, *check]}, max(runs // 5, 1))
        print(f"\n{wanted} plugins, {kind} ({len(sources)} different ones)\n{HEADER}")
        for name, values in times.items():
            print(row(name, values, f"{1000 * median(values) / wanted:.2f} ms a plugin"))
    paths = sorted(map(str, (folder / "stamped").iterdir()))
    scope = scope_of(environment)
    predict(paths[0], scope)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    for path in paths:
        predict(path, scope)
    elapsed = time.perf_counter() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"\n{'predictions alone, one process':<44}{1000 * elapsed / wanted:>9.2f} ms a plugin")
    print(f"peak memory grew by {grown / 1024:.1f} MB over {wanted} plugins")


def exporting(names: int) -> Path:
    """A library that exports that many functions."""
    path = WORK / f"libexports{names}.so"
    if not path.exists():
        lines = [
            f".globl _ZN10tensorflow8Function{i}Ev\n_ZN10tensorflow8Function{i}Ev: ret"
            for i in range(names)
        ]
        types = [f".type _ZN10tensorflow8Function{i}Ev, @function" for i in range(names)]
        subprocess.run(
            ["gcc", "-shared", "-nostdlib", "-x", "assembler", "-", "-o", str(path)],
            input="\n".join([".text", *types, *lines, ""]),
            text=True,
            check=True,
        )
    return path


def per_lookup(lookup: LookupScope, names: list[bytes], runs: int) -> float:
    """Seconds of one lookup."""
    return best(lambda: [lookup.find(name) for name in names], 3 * runs) / len(names)


def growth(environment: TfEnvironment, runs: int) -> None:
    """One lookup in libraries of growing size: hits, and misses that the filter answers."""
    print(
        f"\none lookup in libraries of growing size (best of the runs, microseconds)\n"
        f"{'library':<34}{'exports':>10}{'MB':>8}{'hit':>8}{'miss':>8}"
    )
    libraries = [exporting(size) for size in (100, 1_000, 10_000, 100_000)]
    libraries += [
        environment.tensorflow / "libtensorflow_framework.so.2",
        environment.tensorflow / "libtensorflow_cc.so.2",
    ]
    first = None
    for path in libraries:
        library = open_plugin(str(path))
        table = library.symbols
        count = len(table)
        present: list[bytes] = []
        for index in range(count - 1, 0, -max(count // 300, 1)):
            symbol = table.symbol(index)
            if symbol.defined and symbol.binding and len(present) < 200:
                present.append(symbol.name)
        absent = [name + b"_absent" for name in present]
        lookup = LookupScope([library])
        hit = per_lookup(lookup, present, runs)
        miss = per_lookup(lookup, absent, runs)
        hashing = statistics.fmean(
            best(lambda name=name: gnu_hash(name), 20) for name in present[:20]
        )
        first = first or (hit - hashing)
        print(
            f"{path.name:<34}{count:>10}{path.stat().st_size / 1e6:>8.1f}"
            f"{1e6 * hit:>8.1f}{1e6 * miss:>8.1f}"
            f"   without hashing the name: {(hit - hashing) / first:.2f} x the smallest"
        )
        library.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--plugins", type=int, default=400)
    parser.add_argument("--tools", action="store_true")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    WORK.mkdir(parents=True, exist_ok=True)
    if options.tools and not (TOOLS / "bin" / "python").exists():
        subprocess.run([*uv(), "venv", "--quiet", str(TOOLS)], check=True)
        target = ["--python", str(TOOLS / "bin" / "python")]
        subprocess.run(
            [*uv(), "pip", "install", "--quiet", *target, "auditwheel", "abicheck"], check=True
        )
    environment = ensure(RELEASE)
    own = environment.tensorflow / OWN
    several = published(options.plugins) or [own]
    print(machine())
    print(f"TensorFlow {RELEASE}; published plugins at hand: {len(several)}")
    inside(environment, [own, *several[:: max(len(several) // 5, 1)]][:7], options.runs)
    processes(environment, own, options.runs)
    many(environment, several, options.plugins, options.runs)
    growth(environment, options.runs)


if __name__ == "__main__":
    main()
