"""Types and the gate on every supported Python that is found: `make pythons`.

For each one a bare virtual environment is made in `build/pythons/`. First envlock is installed
alone, without its dependencies, and the gate must work: import, a check that passes, one that
fails, unreadable input. Then mypy runs under that Python with all dependencies present.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import building, environments
from tests.support.environments import Minor

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "build" / "pythons"

BARE = """\
import importlib.util, sys
assert importlib.util.find_spec("pydantic") is None, "the environment is not bare"
import envlock
for name in ("load", "check", "IncompatiblePluginError"):
    getattr(envlock, name)
heavy = {"tensorflow", "pydantic", "packaging", "elftools"} & set(sys.modules)
assert not heavy, heavy
"""


class Failed(Exception):
    """One step failed; the text is what it said."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--insist", default="", help="Pythons that must be there, as in `3.9 3.14`")
    options = parser.parse_args()
    found = environments.available_interpreters()
    for wanted in options.insist.split():
        major, minor = wanted.split(".")
        if (int(major), int(minor)) not in found:
            found = _obtain(wanted)
    failed = False
    for minor_version, interpreter in sorted(found.items()):
        name = f"{minor_version[0]}.{minor_version[1]}"
        try:
            _one(name, interpreter)
        except Failed as problem:
            failed = True
            print(f"Python {name}: FAILED\n{problem}", flush=True)
        else:
            print(
                f"Python {name}: the gate works without dependencies, types are right", flush=True
            )
    for absent in sorted({(3, minor) for minor in range(9, 15)} - set(found)):
        print(f"Python {absent[0]}.{absent[1]}: not found here, left out")
    return 1 if failed else 0


def _obtain(wanted: str) -> dict[Minor, Path]:
    """An interpreter that was insisted on and is not installed: uv may have one to offer."""
    answer = subprocess.run(
        [*environments.uv(), "python", "install", wanted], capture_output=True, text=True
    )
    if answer.returncode != 0:
        raise SystemExit(f"no Python {wanted} found, and uv cannot get it:\n{answer.stderr}")
    environments.forget_interpreters()
    found = environments.available_interpreters()
    if not any(f"{major}.{minor}" == wanted for major, minor in found):
        raise SystemExit(f"uv installed Python {wanted}, but it was not found afterwards")
    return found


def _one(name: str, interpreter: Path) -> None:
    prefix = FOLDER / name
    shutil.rmtree(prefix, ignore_errors=True)
    python = prefix / "bin" / "python"
    uv = environments.uv()
    _run(*uv, "venv", "--quiet", "--no-project", "--python", str(interpreter), str(prefix))
    pip = [*uv, "pip", "install", "--quiet", "--python", str(python)]
    _run(*pip, "--no-deps", "--editable", str(CHECKOUT))
    _gate(prefix)
    _run(*pip, "--editable", f"{CHECKOUT}[all]", "--group", f"{CHECKOUT}/pyproject.toml:lint")
    # In a cache of its own: the one in the checkout belongs to another version of mypy.
    _run(
        str(python), "-m", "mypy", "--python-version", name, f"--cache-dir={prefix}/mypy", "envlock"
    )


def _gate(prefix: Path) -> None:
    python, envlock = str(prefix / "bin" / "python"), str(prefix / "bin" / "envlock")
    _run(python, "-c", BARE)
    wanted, left_out = environments.for_tests()
    if len(wanted) < 2:
        raise Failed("; ".join(left_out.values()))
    newest, oldest = environments.ensure(wanted[-1]), environments.ensure(wanted[0])
    plugin = building.build("minimal", newest)
    _run(envlock, "check", str(plugin), "--env", str(newest.prefix))
    _run(envlock, "check", str(plugin), "--env", str(oldest.prefix), status=1)
    _run(envlock, "check", str(CHECKOUT / "pyproject.toml"), "--env", str(newest.prefix), status=3)
    _run(envlock, "check", status=2)


def _run(*command: str, status: int = 0) -> None:
    answer = subprocess.run(
        command, capture_output=True, text=True, cwd=CHECKOUT, env=environments.clean_environ()
    )
    if answer.returncode != status:
        said = (answer.stdout + answer.stderr).strip()
        raise Failed(f"`{' '.join(command)}` ended with {answer.returncode}, not {status}:\n{said}")


if __name__ == "__main__":
    sys.exit(main())
