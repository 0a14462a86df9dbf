"""Files of a megabyte that ask for gigabytes or minutes: every command answers, within limits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import bombs
from tests.support.environments import TfEnvironment

OK = 0
#: TensorFlow's own libraries are mapped too; the bombs ask for ten times as much and more.
ADDRESS_SPACE = 4 << 30
RUN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from envlock.cli import main
raise SystemExit(main(sys.argv[2:]))
"""


def limited(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command with little memory; one that hangs fails the test."""
    return subprocess.run(
        [sys.executable, "-c", RUN, str(ADDRESS_SPACE), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat"])
@pytest.mark.parametrize("bomb", [bombs.sections_of_one_long_name, bombs.sections_of_ends_of_names])
def test_sections_that_share_a_long_name(
    bomb: Callable[[], bytes], command: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    """No section's name matters that is longer than those that are looked for."""
    path = tmp_path / "bomb.so"
    path.write_bytes(bomb())
    options = ["--env", environment.prefix] if command in ("check", "stamp") else []
    done = limited(command, *options, path)
    assert (done.returncode, "Traceback" in done.stderr) == (OK, False), done.stderr[-2000:]
