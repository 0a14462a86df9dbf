"""The quick reader of command lines gives argparse's answers, or none."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envlock.cli import COMMANDS, _parser
from envlock.cli.quick import read

WORDS = (
    "a.so", "b.so", "", "text", "json", "unsafe", "never", "-", "--", "-1", "-x", "x y", "-x y",
    "-h", "--help", "-o", "--output", "--outp", "--output=f", "--env", "--env=e", "--format", "--tensorflow",
    "--policy", "--fail-on", "--live-headers", "--compiler", "--trust", "--force", "--record-ops",
    "--compile-commands", "--compile-command", "--sign", "--all", "--no-progress", "--store",
    "--save", "--as", "--offline", "--minimal", "pip", "list", "add",
)  # fmt: skip


def by_argparse(command: str, words: list[str]) -> dict[str, Any] | None:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return vars(_parser(command).parse_args(words))
        except SystemExit:
            return None


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(sorted(COMMANDS)), st.lists(st.sampled_from(WORDS), max_size=7))
@example("check", ["--env", "e", "a.so", "b.so", "--format", "json"])
@example("check", ["a.so", "--trust", "k", "--trust", "l"])
@example("check", ["a.so", "--env", "e", "b.so"])
@example("stamp", ["a.so", "--compile-command", "x y", "--compile-command", ""])
@example("stamp", ["a.so", "b.so"])
@example("diff", ["a", "b", "--format", "xml"])
@example("recreate", ["a.so", "--as", "pip"])
def test_the_same_answer(command: str, words: list[str]) -> None:
    quick = read(import_module(f"envlock.cli.{COMMANDS[command][0]}").configure, words)
    if quick is not None:
        assert vars(quick) == by_argparse(command, words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("check", ["a.so"]),
        ("check", ["a.so", "b.so", "--env", "e", "--format", "json", "-o", "f"]),
        ("check", ["--policy", "strict", "--fail-on", "never", "--tensorflow", "2.15.1", "a.so"]),
        ("stamp", ["a.so", "-o", "b.so", "--env", "e", "--force"]),
        ("show", ["a.so", "--format", "json"]),
        ("compat", ["a.so"]),
        ("snapshot", ["--env", "e"]),
        ("scan", ["a", "b", "--all"]),
    ],
)
def test_usual_command_lines_need_no_argparse(command: str, words: list[str]) -> None:
    """Else the test above would pass with a reader that reads nothing."""
    quick = read(import_module(f"envlock.cli.{COMMANDS[command][0]}").configure, words)
    assert quick is not None
    assert vars(quick) == by_argparse(command, words)


def test_a_check_imports_no_argparse() -> None:
    code = (
        "import sys; from envlock.cli import main; main(['check', '/nonexistent.so']); "
        "print('argparse' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"
