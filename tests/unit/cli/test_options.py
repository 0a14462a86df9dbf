"""Command lines that are read without argparse mean what argparse says they mean."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envlock.cli import COMMANDS
from envlock.cli.options import read

NAMES = sorted(set(COMMANDS) - {"atlas"})
#: Words that mean something to one of the commands, and some that look as if they did.
WORDS = (
    *("a.so", "b", "", "-", "--", "-1", "x=y", "--env", "--env=e", "--env=", "--en", "-o", "-oF"),
    *("--format", "--format=json", "json", "text", "html", "--all", "--all=x", "--no-progress"),
    *("--tensorflow", "2.15.1", "--trust", "--policy", "strict", "--fail-on", "never", "unsafe"),
    *("--force", "--save", "--minimal", "--offline", "--language", "S", "--forget", "-h", "--help"),
    *("--compiler", "--live-headers", "--compile-command", "--output", "none", "quick", "full"),
)


def declarations(command: str) -> Callable[[Any], object]:
    module = importlib.import_module(f"envlock.cli.{COMMANDS[command][0]}")
    configure: Callable[[Any], object] = module.configure
    return configure


def argparse_reads(command: str, words: list[str]) -> dict[str, Any] | None:
    parser = argparse.ArgumentParser(command)
    declarations(command)(parser)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return vars(parser.parse_args(words))
        except SystemExit:
            return None


@given(st.sampled_from(NAMES), st.lists(st.sampled_from(WORDS), max_size=6))
def test_what_is_read_is_what_argparse_reads(command: str, words: list[str]) -> None:
    found = read(declarations(command), words)
    if found is not None:
        assert vars(found) == argparse_reads(command, words)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("check", "a.so"),
        ("check", "a.so b.so --env e --format json -o out --all"),
        ("check", "--tensorflow 2.15.1 --tensorflow=2.16.2 a.so"),
        ("report", ""),
        ("stamp", "a.so --env e -o b.so --force"),
        ("diff", "a b --all"),
        ("history", "name"),
        ("history", ""),
        ("snapshot", "--env e"),
    ],
)
def test_plain_lines_need_no_argparse(command: str, line: str) -> None:
    found = read(declarations(command), line.split())
    assert found is not None
    assert vars(found) == argparse_reads(command, line.split())


@pytest.mark.parametrize(
    "line", ["--help", "-h", "a.so --en e", "-oout a.so", "a.so --all b.so", ""]
)
def test_all_else_is_left_to_argparse(line: str) -> None:
    assert read(declarations("check"), line.split()) is None


def test_commands_within_commands_are_left_to_argparse() -> None:
    assert read(declarations("atlas"), ["list"]) is None


def test_no_default_is_shared() -> None:
    def configure(parser: Any) -> None:
        parser.add_argument("--one", action="append", default=shared)

    shared: list[str] = []
    first = read(configure, ["--one", "a"])
    assert first is not None
    assert vars(first) == {"one": ["a"]}
    assert shared == []
