"""How cost grows: with a plugin's size, its symbols, the number of plugins and of packages.

    python -m benchmarks.growth [--runs N] [--write]

Whole processes beside the tool that does the nearest thing, in turn, in one run; medians of wall
time. `--write` puts the numbers and the plot into docs/benchmarks.md and docs/images/growth.svg.
Needs gcc and the test suite's TensorFlow environment (made at first use).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.plotting import Curve, Panel, draw
from benchmarks.snapshot import many_distributions
from benchmarks.timing import alternate, machine, median
from tests.support.environments import TfEnvironment, ensure

RELEASE = "2.21.0"
WORK = Path("build/benchmarks/growth")
PAGE, PLOT = Path("docs/benchmarks.md"), Path("docs/images/growth.svg")
ENVIRON = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
ENVLOCK = [sys.executable, "-m", "envlock"]
Commands = dict[str, list[str]]
NO_STACK = '.section .note.GNU-stack,"",@progbits'


def stamped(environment: TfEnvironment, path: Path) -> Path:
    """Stamped in place, once."""
    done = path.with_suffix(".stamped")
    if not done.exists():
        command = [*ENVLOCK, "stamp", str(path), "--env", str(environment.prefix)]
        subprocess.run(command, env=ENVIRON, check=True, stdout=subprocess.DEVNULL)
        done.touch()
    return path


def library(path: Path, source: str, *flags: str, language: str = "c") -> Path:
    """A shared library made from text on the spot."""
    if not path.exists():
        command = ["gcc", "-shared", "-fPIC", "-x", language, "-", "-o", str(path), *flags]
        subprocess.run(command, input=source, text=True, check=True)
    return path


def with_symbols(environment: TfEnvironment, count: int) -> Commands:
    """A plugin that calls so many functions of another library."""
    names = [f"function_of_the_other_library_{number}" for number in range(count)]
    other = library(
        WORK / f"libother{count}.so",
        "\n".join(
            [NO_STACK, ".text", *(f".globl {n}\n.type {n}, @function\n{n}: ret" for n in names), ""]
        ),
        language="assembler",
    )
    calls = "\n".join(f"void {n}(void);" for n in names)
    table = ", ".join(names)
    plugin = library(
        WORK / f"symbols{count}.so",
        f"{calls}\nvoid (*const table[])(void) = {{{table}}};\n",
        *("-x", "none", str(other), "-Wl,-rpath,$ORIGIN"),
    )
    return compared(environment, stamped(environment, plugin))


def of_size(environment: TfEnvironment, megabytes: int) -> Commands:
    """A plugin with so much constant data."""
    path = sized(megabytes)
    return compared(environment, stamped(environment, path))


def sized(megabytes: int) -> Path:
    """A library with so much constant data."""
    path = WORK / f"size{megabytes}.so"
    if not path.exists():
        block = WORK / "block.bin"
        block.write_bytes(os.urandom(1 << 20) * megabytes)
        text = f'__asm__(".section .rodata\\n.incbin \\"{block.resolve()}\\"\\n.text");\n'
        library(path, text + "int answer(void) { return 42; }\n")
        block.unlink()
    return path


def stamped_size(environment: TfEnvironment, megabytes: int) -> Commands:
    """The same, stamped and copied."""
    path, copy = sized(megabytes), WORK / "copied.so"
    stamp = [*ENVLOCK, "stamp", str(path), "-o", str(WORK / "stamped.so"), "--force"]
    return {
        "envlock stamp": [*stamp, "--env", str(environment.prefix)],
        "cp + fsync": [
            "sh",
            "-c",
            'rm -f "$2"; cp "$1" "$2" && sync "$2"',
            "sh",
            str(path),
            str(copy),
        ],
    }


def plugins(environment: TfEnvironment, count: int) -> Commands:
    """So many stamped plugins in one run."""
    folder = WORK / f"many{count}"
    if not folder.exists():
        with_symbols(environment, 100)
        first = WORK / "symbols100.so"
        folder.mkdir()
        shutil.copy(WORK / "libother100.so", folder)
        for number in range(count):
            shutil.copy(first, folder / f"plugin{number}.so")
    files = sorted(map(str, folder.glob("plugin*.so")))
    return {
        "envlock check": [*ENVLOCK, "check", *files, "--env", str(environment.prefix)],
        "ldd -r": ["sh", "-c", 'for p in "$@"; do ldd -r "$p"; done', "sh", *files],
    }


def packages(environment: TfEnvironment, count: int) -> Commands:
    """An environment with so many distributions."""
    full = many_distributions()
    prefix = WORK / f"packages{count}"
    if not prefix.exists():
        shutil.copytree(full, prefix, symlinks=True)
        (site,) = prefix.glob("lib/python3*/site-packages")
        for info in sorted(site.glob("bench_*.dist-info"))[count:]:
            shutil.rmtree(site / info.name.split("-")[0])
            shutil.rmtree(info)
    pip = [sys.executable, "-m", "pip", "--python", str(prefix / "bin" / "python")]
    return {
        "envlock snapshot": [*ENVLOCK, "snapshot", "--env", str(prefix)],
        "pip inspect": [*pip, "inspect"],
    }


def compared(environment: TfEnvironment, plugin: Path) -> Commands:
    """`check` beside `ldd -r`."""
    return {
        "envlock check": [*ENVLOCK, "check", str(plugin), "--env", str(environment.prefix)],
        "ldd -r": ["ldd", "-r", str(plugin)],
    }


Maker = Callable[[TfEnvironment, int], Commands]
CURVES: tuple[tuple[str, str, Maker, tuple[int, ...]], ...] = (
    ("check: undefined symbols", "symbols", with_symbols, (10, 100, 1000, 10000)),
    ("check: size of the plugin", "MB", of_size, (1, 10, 100, 400)),
    ("stamp: size of the plugin", "MB", stamped_size, (1, 10, 100, 400)),
    ("check: stamped plugins in one run", "plugins", plugins, (1, 10, 100, 400)),
    ("snapshot: packages", "packages", packages, (10, 50, 200, 500)),
)


def measure(environment: TfEnvironment, runs: int) -> list[Panel]:
    """All curves."""
    panels = []
    for title, unit, make, sizes in CURVES:
        found: dict[str, list[tuple[int, float]]] = {}
        for size in sizes:
            commands: dict[str, Sequence[str]] = {**make(environment, size)}
            for name, times in alternate(commands, runs, ENVIRON).items():
                found.setdefault(name, []).append((size, 1000 * median(times)))
        panels.append(Panel(title, unit, [Curve(name, points) for name, points in found.items()]))
        print(table(panels[-1]), flush=True)
    return panels


def table(panel: Panel) -> str:
    """One panel's numbers, as Markdown."""
    first = panel.curves[0]
    names = " | ".join(f"{curve.name}, ms" for curve in panel.curves)
    lines = [f"### {panel.title}", "", f"| {panel.unit} | {names} | ratio |"]
    lines.append("|" + " ---: |" * (len(panel.curves) + 2))
    for index, (size, value) in enumerate(first.points):
        others = [curve.points[index][1] for curve in panel.curves]
        cells = " | ".join(f"{other:.0f}" for other in others)
        lines.append(f"| {size} | {cells} | {value / others[-1]:.2f} |")
    return "\n".join([*lines, ""])


def floor(runs: int) -> str:
    """Where the time of a small check goes."""
    times = alternate(
        {
            "`python -c pass`": [sys.executable, "-c", "pass"],
            "and `import envlock`": [sys.executable, "-c", "import envlock"],
            "and importing what a check needs": [
                *(sys.executable, "-c", "import envlock.cli.check, envlock.actions.checking")
            ],
        },
        runs,
        ENVIRON,
    )  # fmt: skip
    return "\n".join(f"- {name}: {1000 * median(values):.0f} ms" for name, values in times.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    environment = ensure(RELEASE)
    print(machine())
    panels = measure(environment, options.runs)
    below = floor(2 * options.runs)
    print(below)
    if options.write:
        parts = [
            "# How cost grows",
            f"`python -m benchmarks.growth --write` made this page on {machine()}, TensorFlow "
            f"{RELEASE}. Wall time of whole processes, medians of {options.runs} runs in turn; "
            "compare the columns, not the milliseconds. `make bench` prints all other figures.",
            "The plugins here need no TensorFlow: `ldd -r` maps two small files for them, while envlock "
            "works out what a TensorFlow process has mapped. On a real op `ldd -r` has to map the "
            "framework too; `python -m benchmarks.gate` compares that.",
            "![growth](images/growth.svg)",
            *(table(panel).rstrip() for panel in panels),
            "## The floor",
            "What a check of a small plugin costs before it looks at anything:",
            below,
            "The rest is reading the environment's TensorFlow (which version, what its import "
            "loads) and the plugin's own tables; exporting libraries cost a hash lookup for each "
            "symbol, whatever their size.",
        ]
        PAGE.write_text("\n\n".join(parts) + "\n")
        PLOT.write_text(draw(panels))


if __name__ == "__main__":
    main()
