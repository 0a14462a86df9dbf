"""The plugins of these tests: one source, told by macros what to register."""

from __future__ import annotations

from pathlib import Path

from tests.support.building import build
from tests.support.environments import TfEnvironment

SOURCE = Path(__file__).with_name("registering.cc")

MACROS: dict[str, dict[str, object]] = {
    "first": {"FIRST": '"EnvlockTwice"', "KERNEL": '"EnvlockTwice"', "VALUE": 1},
    "second": {
        "FIRST": '"EnvlockTwice"',
        "OTHER": '"EnvlockOther"',
        "KERNEL": '"EnvlockTwice"',
        "VALUE": 100,
    },
    "addv2": {"TYPED": '"AddV2"', "VALUE": 7, "PRIORITY": 0},
    "priority": {"TYPED": '"AddV2"', "VALUE": 7, "PRIORITY": 1},
    "builtin": {"FIRST": '"AddV2"', "OTHER": '"EnvlockOther"'},
    "same_twice": {"FIRST": '"EnvlockOther"', "OTHER": '"EnvlockOther"'},
}


def plugin(name: str, env: TfEnvironment) -> Path:
    """One of them, built against a release; shared by all tests."""
    return build(SOURCE, env, flags=[f"-DREG_{key}={value}" for key, value in MACROS[name].items()])
