"""Read inputs under the limits of fuzzing: `python -m tests.campaigns.fuzz.replay TARGET FILE...`.

`--seeds` reads every committed input, `--taken` names the readers that take one of their seeds.
What goes wrong is said on stdout and gives exit status 1; an input that never ends is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

from tests.campaigns.fuzz.guard import Target, check, limit_memory
from tests.campaigns.fuzz.targets import TARGETS

#: A kernel timer, because a C library does not return to Python's own; in seconds.
ALARM = 60
#: A machine may be busy: ten times what fuzzing allows.
PATIENCE = 10.0


def wrong(target: Target, path: Path) -> str | None:
    """What is wrong with how an input is read, in one line."""
    signal.alarm(ALARM)
    try:
        check(target, path.read_bytes(), PATIENCE)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {os.path.basename(where.filename)}: {error!s:.200}"
    finally:
        signal.alarm(0)
    return None


def main(arguments: list[str]) -> int:
    """The command line."""
    limit_memory()
    if arguments == ["--taken"]:
        taken = (t for t in TARGETS.values() if any(_takes(t, path) for path in t.seeds()))
        print("\n".join(sorted(target.name for target in taken)))
        return 0
    if arguments == ["--seeds"]:
        pairs = [(target, path) for target in TARGETS.values() for path in target.seeds()]
    else:
        pairs = [(TARGETS[arguments[0]], Path(name)) for name in arguments[1:]]
    status = 0
    for target, path in pairs:
        said = wrong(target, path)
        if said is not None:
            status = 1
            print(f"{target.name} {path}: {said}")
    return status


def _takes(target: Target, path: Path) -> bool:
    try:
        return check(target, path.read_bytes())
    except AssertionError:
        return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
