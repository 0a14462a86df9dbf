"""Structure-aware damage to JSON, YAML, TOML and line-based texts.

JSON is parsed, one place of it is changed (another type, a boundary number, deep nesting, odd
text, a key twice, a key gone), and written again; the other formats are changed line by line and
token by token, with pieces that mean something to their readers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.campaigns.fuzz.elf_mutator import blunt

ODD_TEXTS = (
    "",
    " ",
    "\0",
    "\n",
    "\r\n",
    "a" * 300,
    "\u202e",
    "\ud800",
    "\U0001f4a9",
    "ß",
    "\u0130",
    "../..",
    "/",
    "//",
    "file:///etc/passwd",
    "http://[",
    "http://u:p@h/t/x/y",
    "https://h:x/",
    "-1",
    "0",
    "1e400",
    "NaN",
    "9" * 30,
    "9" * 5000,
    "true",
    "null",
    "{}",
    "[]",
    "%s",
    "${X}",
    "unknown",
    "1.0",
    "1!2.3rc4+x",
    "==",
    ">=1",
    "*",
    "sha256:" + "0" * 64,
    "x" * 64,
    "\u2028",
    "\x1b[31m",
    "'",
    '"',
    "\\",
    "C:\\",
    "a-b-c",
    "~",
    "envlock.manifest/2",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    1 << 31,
    1 << 63,
    -(1 << 63),
    (1 << 63) - 1,
    1 << 64,
    10**30,
    0.5,
    -0.0,
    1e308,
    [],
    {},
    "",
    [[]],
    [None],
    {"": None},
    [{}],
    {"a": []},
)


def json_mutator(data: bytes, chance: Random) -> bytes:
    """A JSON document with some places changed; what is not JSON is changed as bytes."""
    if chance.random() < 0.15:
        return blunt(data, chance)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return blunt(data, chance)
    try:
        for _ in range(chance.choice((1, 1, 2, 3))):
            value = _changed(value, chance)
        text = json.dumps(value, ensure_ascii=chance.random() < 0.5)
    except (RecursionError, ValueError):
        return blunt(data, chance)
    if chance.random() < 0.1:
        text = _raw_json(text, chance)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a document."""
    found = []
    pending = [value]
    while pending and len(found) < 2000:
        here = pending.pop()
        items = here.items() if isinstance(here, dict) else enumerate(here)
        for key, inner in items:
            found.append((here, key))
            if isinstance(inner, (dict, list)):
                pending.append(inner)
    return found


def _changed(value: Any, chance: Random) -> Any:
    if not isinstance(value, (dict, list)) or chance.random() < 0.02:
        return _another(value, chance)
    places = _places(value)
    if not places:
        return _another(value, chance)
    container, key = chance.choice(places)
    how = chance.random()
    if how < 0.1:
        del container[key]
    elif how < 0.2:
        source, other = chance.choice(places)
        try:
            container[key] = json.loads(json.dumps(source[other]))
        except (KeyError, IndexError):
            del container[key]
    elif how < 0.27:
        if isinstance(container, list):
            container[key:key] = [container[key]] * chance.choice((1, 2, 20))
        else:
            container[chance.choice(ODD_TEXTS)] = container[key]
    elif how < 0.3:
        deep: Any = container[key]
        for _ in range(chance.choice((2, 40, 70, 200))):
            deep = [deep] if chance.random() < 0.5 else {"a": deep}
        container[key] = deep
    else:
        container[key] = _another(container[key], chance)
    return value


def _another(old: Any, chance: Random) -> Any:
    how = chance.random()
    if how < 0.35:
        return chance.choice(ODD_VALUES)
    if how < 0.65:
        return chance.choice(ODD_TEXTS)
    if isinstance(old, str) and old:
        at = chance.randrange(len(old))
        return old[:at] + chance.choice((*ODD_TEXTS, old[at:] * 2, "")) + old[at + 1 :]
    if isinstance(old, int):
        return old + chance.choice((-1, 1, 1 << 32))
    return chance.getrandbits(chance.choice((1, 8, 32, 64, 70)))


def _raw_json(text: str, chance: Random) -> str:
    """What no JSON writer writes: a key twice, NaN, a long number, brackets without end."""
    at = chance.randrange(len(text) + 1)
    piece = chance.choice(
        (
            '"a":1,"a":2,',
            "NaN",
            "-Infinity",
            "1" * 5000,
            "[" * 3000,
            '{"a":' * 3000,
            "1e999",
            "\ufeff",
            "\\ud800",
            "//x",
            ",",
            ":",
            '"',
            "}",
            "]",
        )
    )
    return text[:at] + piece + text[at:]


_TOKEN = re.compile(r"[A-Za-z0-9_.+-]+|\s+|.", re.S)


def text_mutator(words: Sequence[str]) -> Callable[[bytes, Random], bytes]:
    """Damage to a text whose readers know these words."""

    def mutate(data: bytes, chance: Random) -> bytes:
        if chance.random() < 0.1:
            return blunt(data, chance)
        text = data.decode("utf-8", "surrogateescape")
        for _ in range(chance.choice((1, 1, 2, 3))):
            text = text[: 1 << 18]
            text = (
                _lines(text, words, chance)
                if chance.random() < 0.4
                else _tokens(text, words, chance)
            )
        return text.encode("utf-8", "surrogatepass" if chance.random() < 0.01 else "replace")

    return mutate


def _lines(text: str, words: Sequence[str], chance: Random) -> str:
    lines = text.splitlines(keepends=True)
    at = chance.randrange(len(lines) + 1)
    how = chance.random()
    if how < 0.2 and lines:
        del lines[at : at + chance.choice((1, 1, 3))]
    elif how < 0.45 and lines:
        lines[at:at] = [chance.choice(lines)] * chance.choice((1, 1, 2, 50))
    elif how < 0.6 and lines:
        source = chance.choice(lines)
        lines.insert(at, " " * chance.choice((1, 2, 4)) + source)
    elif how < 0.7 and len(lines) > 1:
        other = chance.randrange(len(lines))
        at = min(at, len(lines) - 1)
        lines[at], lines[other] = lines[other], lines[at]
    elif how < 0.8 and lines:
        at = min(at, len(lines) - 1)
        lines[at] = lines[at].rstrip("\r\n")
    else:
        lines.insert(at, chance.choice(words) + chance.choice(("\n", "", "\r", "\r\n", "\\\n")))
    return "".join(lines)


def _tokens(text: str, words: Sequence[str], chance: Random) -> str:
    tokens = _TOKEN.findall(text)
    if not tokens:
        return chance.choice(words)
    at = chance.randrange(len(tokens))
    how = chance.random()
    if how < 0.3:
        tokens[at] = chance.choice(words)
    elif how < 0.5:
        tokens[at] = chance.choice(ODD_TEXTS)
    elif how < 0.6:
        del tokens[at]
    elif how < 0.8:
        tokens[at] = chance.choice(tokens)
    else:
        tokens[at] = tokens[at][:5000] * chance.choice((2, 3, 100))
    return "".join(tokens)
