"""What the command does when nobody takes its output."""

from __future__ import annotations

import subprocess
import sys


def run(*arguments: str, shell: str) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -m envlock "$@" {shell}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments], capture_output=True, text=True
    )


def test_a_full_disk_is_told_in_one_line() -> None:
    answer = run("atlas", "list", shell=">/dev/full")
    assert answer.returncode not in (0, 1)
    assert answer.stderr == "envlock: cannot write the output: No space left on device\n"


def test_a_reader_that_went_away_is_no_error() -> None:
    answer = run("atlas", "list", shell="| true; exit 0")
    assert answer.stderr == ""


def test_everything_is_out_when_the_process_ends() -> None:
    answer = run("atlas", "list", shell="")
    assert answer.returncode == 0
    assert answer.stdout.endswith("\n")
    assert answer.stdout.count("2.15.") >= 1
