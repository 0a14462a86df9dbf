"""`make demo`: envlock's main job on a real TensorFlow op, from nothing, saying what it does.

Needs Python 3.9 to 3.13 with its `venv` module, g++ and make. Everything it makes goes into
`build/demo/` of the checkout; a second run reuses the virtual environment.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLE = CHECKOUT / "examples" / "zero_out"
WORK = CHECKOUT / "build" / "demo"
VENV = WORK / "venv"
PYTHON = VENV / "bin" / "python"
ENVLOCK = VENV / "bin" / "envlock"
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
STEP = itertools.count(1)
WIDTH = min(shutil.get_terminal_size((100, 24)).columns, 120)

USE_IT = """\
import envlock
zero_out = envlock.load("zero_out.so")
print(zero_out.zero_out([5, 4, 3, 2, 1]).numpy(), zero_out.zero_out([5, 4, 3, 2, 1], keep=2).numpy())
"""
TRY_IT = """\
import tensorflow as tf
try:
    tf.load_op_library("./zero_out_other_abi.so")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
else:
    print("loaded")
"""


class DemoError(Exception):
    """The demo cannot go on; the text says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description="envlock on a real TensorFlow op, from nothing")
    parser.add_argument("--fresh", action="store_true", help="make the virtual environment anew")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        look_around()
        if options.fresh:
            shutil.rmtree(VENV, ignore_errors=True)
        prepare()
        the_good_case()
        the_bad_case()
    except DemoError as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        return 1
    print(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {shown(WORK)}/")
    return 0


def look_around() -> None:
    if not (3, 9) <= sys.version_info[:2] <= (3, 13):
        raise DemoError(
            f"TensorFlow has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}; "
            "run `make demo PYTHON=python3.11` (3.9 to 3.13)"
        )
    for tool in ("g++", "make"):
        if shutil.which(tool) is None:
            raise DemoError(f"`{tool}` not found; `apt-get install g++ make` brings both")


def prepare() -> None:
    title("A virtual environment with envlock and TensorFlow")
    ready = VENV / ".ready"
    if ready.is_file() and PYTHON.exists():
        say("made by an earlier run; `examples/demo.py --fresh` makes it anew")
    else:
        WORK.mkdir(parents=True, exist_ok=True)
        make_venv()
        run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
        # uv links the files of a wheel out of its cache instead of copying them.
        install = [VENV / "bin" / "uv", "pip", "install", "--quiet", "--link-mode=hardlink"]
        run([*install, "--python", PYTHON, "--editable", ".", "tensorflow-cpu"], cwd=CHECKOUT)
        ready.touch()
    run([PYTHON, "-c", "import tensorflow as tf; print(tf.__version__)"])


def make_venv() -> None:
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    print_command(command)
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode == 0 and (VENV / "bin" / "pip").exists():
        return
    said = (answer.stdout + answer.stderr).strip()
    if "ensurepip" in said or "No module named venv" in said:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise DemoError(
            "this Python cannot make virtual environments; on Debian "
            f"`apt-get install python{version}-venv` (or python3-venv) brings what is missing"
        )
    raise DemoError(f"`python -m venv` failed:\n{said}")


def the_good_case() -> None:
    title("Compile the op with TensorFlow's own flags")
    compile_op("zero_out.so")
    title("Stamp it: write into the plugin what it was built against")
    run([ENVLOCK, "stamp", "zero_out.so"])
    title("Show the stamp")
    run([ENVLOCK, "show", "zero_out.so"])
    title("Check it against this environment; nothing is loaded")
    run([ENVLOCK, "check", "zero_out.so"])
    title("Load it through the gate and run the op")
    for line in USE_IT.splitlines():
        say(f">>> {line}")
    run([PYTHON, "-c", USE_IT], silent=True)


def the_bad_case() -> None:
    probe = "import tensorflow as tf; print(tf.sysconfig.CXX11_ABI_FLAG)"
    other = 1 - int(capture([PYTHON, "-c", probe])[1])
    title(f"The same op, compiled with -D_GLIBCXX_USE_CXX11_ABI={other}: the wrong one")
    compile_op("zero_out_other_abi.so", f"-D_GLIBCXX_USE_CXX11_ABI={other}")
    title("What one is told about it")
    for line in TRY_IT.splitlines():
        if "load_op_library" in line:
            say(f">>> {line.strip()}")
    _, loaded, load_time = timed([PYTHON, "-c", TRY_IT])
    status, checked, check_time = timed([ENVLOCK, "check", "zero_out_other_abi.so"])
    side_by_side(
        [f"tf.load_op_library says, after {load_time:.1f} s:", "", loaded],
        [f"envlock check says, after {check_time:.2f} s (exit status {status}):", "", checked],
    )
    if status != 1:
        raise DemoError(f"`envlock check` ended with {status} where it must end with 1")


def compile_op(name: str, *flags: str) -> None:
    """Build the example through its Makefile, and show the compiler's command line."""
    make = ["make", "--no-print-directory", "-C", EXAMPLE, "--always-make"]
    variables = [f"PYTHON={PYTHON}", f"OUT={WORK / name}", f"EXTRA_CXXFLAGS={' '.join(flags)}"]
    status, said = capture([*make, *variables])
    if status != 0:
        raise DemoError(f"compiling failed:\n{said}")
    print_command(said.splitlines()[0].split())


def title(text: str) -> None:
    line = f"{next(STEP)}. {text}"
    if sys.stdout.isatty():
        line = f"\033[1m{line}\033[0m"
    print(f"\n{line}", flush=True)


def say(text: str) -> None:
    print(f"   {text}", flush=True)


def shown(path: object) -> str:
    """A path as one would type it in the checkout."""
    text = str(path).replace(sys.executable, Path(sys.executable).name)
    return text.replace(f"{WORK}/", "").replace(f"{CHECKOUT}/", "")


def print_command(command: list[object] | list[str]) -> None:
    words = [shlex.quote(shown(word)) for word in command]
    print(textwrap.fill(" ".join(words), WIDTH, initial_indent="   $ ", subsequent_indent="     ",
                        break_long_words=False, break_on_hyphens=False), flush=True)  # fmt: skip


def capture(command: list[object], cwd: Path = WORK) -> tuple[int, str]:
    words = [str(word) for word in command]
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environ.pop("MAKEFLAGS", None)
    answer = subprocess.run(
        words,
        cwd=cwd,
        env={**environ, **QUIET},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return answer.returncode, answer.stdout.strip()


def timed(command: list[object]) -> tuple[int, str, float]:
    if command[1] != "-c":
        print_command(command)
    started = time.monotonic()
    status, said = capture(command)
    return status, said, time.monotonic() - started


def run(command: list[object], *, cwd: Path = WORK, silent: bool = False) -> None:
    """Print a command, run it, print what it says; a failure ends the demo."""
    if not silent:
        print_command(command)
    status, said = capture(command, cwd)
    if status != 0:
        raise DemoError(f"`{shown(command[0])}` ended with {status}:\n{said}")
    if "install" in command:
        return  # the notes of an installer are of no interest while it succeeds
    for line in said.splitlines():
        say(shown(line))


def side_by_side(left: list[str], right: list[str]) -> None:
    column = (WIDTH - 7) // 2
    rows = [wrapped(left, column), wrapped(right, column)]
    height = max(len(row) for row in rows)
    for index in range(height):
        cells = [row[index] if index < len(row) else "" for row in rows]
        say(f"{cells[0]:<{column}} | {cells[1]}".rstrip())


def wrapped(paragraphs: list[str], width: int) -> list[str]:
    lines = []
    for paragraph in paragraphs:
        for line in paragraph.splitlines() or [""]:
            indent = line[: len(line) - len(line.lstrip())] + "  "
            lines += textwrap.wrap(line, width, subsequent_indent=indent) or [""]
    return lines


if __name__ == "__main__":
    sys.exit(main())
