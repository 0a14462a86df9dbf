"""The JSON reader beside the json module, with and without that module's part in C."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from envlock.files.json_text import JsonReader

TEXTS = (
    '{"a": [1, -2.5e3, true, null], "b": "\\u00e9\\n"}',
    " \t\r\n[] \n",
    '"text"',
    "NaN",
    "",
    " ",
    "[1, 2",
    "[1] 2",
    '{"a": 1,}',
    '"line\nbreak"',
    "\ufeff1",
    "\u00a01",
)


def outcome(read: Any, text: str) -> str:
    """The value, or the error with its words and place."""
    try:
        return repr(read(text))
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_what_the_json_module_reads(text: str) -> None:
    assert outcome(JsonReader().read, text) == outcome(json.JSONDecoder().decode, text)


def test_its_hooks_are_those_of_the_json_module() -> None:
    hooks: dict[str, Any] = {
        "object_pairs_hook": tuple,
        "parse_int": lambda text: f"int {text}",
        "parse_float": lambda text: f"float {text}",
        "parse_constant": lambda text: f"constant {text}",
    }
    text = '{"a": 1, "a": 2.0, "b": [NaN, -Infinity]}'
    assert JsonReader(**hooks).read(text) == json.JSONDecoder(**hooks).decode(text)


def test_it_reads_without_the_part_in_c() -> None:
    script = (
        "import sys; sys.modules['_json'] = None\n"
        "from envlock.files.json_text import JsonReader\n"
        "print(JsonReader(parse_int=str).read(' {\"a\": [1, 2.5]} '))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("{'a': ['1', 2.5]}\n", "")
