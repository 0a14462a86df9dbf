"""Mangled names as C++ writes them, and names made to cost much."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from envlock.binary.names import symbols, texts
from envlock.binary.names.demangle import demangle

#: Names from TensorFlow's libraries and some of our own, each with what `c++filt -i` prints.
TABLE = (Path(__file__).parent / "demangled.txt").read_text().splitlines()
PAIRS = [(name, text.strip()) for name, text in zip(TABLE[::2], TABLE[1::2])]


@pytest.mark.parametrize(("name", "text"), PAIRS, ids=[name[:60] for name, _ in PAIRS])
def test_names_as_binutils_writes_them(name: str, text: str) -> None:
    assert demangle(name) == text


def test_the_standard_library_is_written_short() -> None:
    string = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
    names = [f"_Z1f{string}", "_Z1gSt17basic_string_viewIcSt11char_traitsIcEE", "TF_NewStatus"]
    assert symbols.demangle(names) == ["f(std::string)", "g(std::string_view)", "TF_NewStatus"]


def digits(number: int) -> str:
    found = ""
    while number:
        number, rest = divmod(number, 36)
        found = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[rest] + found
    return found or "0"


def doubling(levels: int) -> Iterator[str]:
    """Each type holds the one before it twice."""
    yield "_Z1f1a"
    yield "St4pairIS_S_E"
    for level in range(1, levels):
        yield f"St4pairIS{digits(level)}_S{digits(level)}_E"


def nested(levels: int) -> str:
    """Template arguments that refer to each other, each of them twice."""

    def back(index: int) -> str:
        return f"S{digits(index - 1)}_"

    types, last = f"T_1aI{back(2)}{back(2)}T_E", 5
    for _ in range(levels):
        types += f"{back(3)}I{back(last)}{back(last)}T_E"
        last += 2
    return f"_Z1gIL_Z1fIJEEv{types}EEv{back(last)}"


EXPENSIVE = {
    "nested": nested(12),
    "deeply nested": nested(45),
    "doubling": "".join(doubling(60)),
    "functions": "_Z1f1a" + "".join(f"PFS{digits(n)}_S{digits(n)}_E" for n in range(0, 60, 2)),
    "empty packs": f"_Z1fIJ{'JE' * 4000}EEv{'DpT_' * 4000}",
    "packs": f"_Z1fIJ{'i' * 4000}EEv{'DpT_' * 3000}",
    "packs of templates": f"_Z1fIJ{'i' * 4000}EEv{'DpSt4pairIT_T_E' * 1000}",
    "pointers": f"_Z1f{'P' * 30000}i",
    "scopes": f"_Z1f{'N1aI' * 5000}{'iE' * 5000}",
    "local names": "_Z" + "Z" * 5000,
    "digits": "_Z" + "9" * 32000,
    "array": f"_Z1fA{'9' * 30000}_i",
    "literal": f"_Z1fILi{'9' * 30000}EEvv",
    "long": "_Z40000" + "a" * 40000,
}


@pytest.mark.parametrize("name", EXPENSIVE.values(), ids=EXPENSIVE)
def test_what_costs_too_much_comes_back_as_it_is(name: str) -> None:
    tracemalloc.start()
    try:
        found = demangle(name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == name or len(found) <= texts.MAX_TEXT
    assert peak < 8 << 20


@pytest.mark.parametrize("name", EXPENSIVE.values(), ids=EXPENSIVE)
def test_the_steps_of_an_expensive_name_are_counted(name: str) -> None:
    """Calls of functions, Python's own included: some million would be seconds."""
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        demangle(name)
    finally:
        sys.setprofile(None)
    assert steps < 400_000


def test_damaged_names_raise_nothing_and_stay_small() -> None:
    chance = random.Random(7)
    letters = "NSTIJXLEPRKOFCDZUMABGv_0123456789abcdilstnr\u0663\u00b2\0"
    for _ in range(20_000):
        name = list(chance.choice(PAIRS)[0])
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(name) + 1)
            how = chance.randrange(3)
            if how == 0:
                name[at : at + 1] = chance.choice(letters)
            elif how == 1:
                name[at:at] = chance.choice(letters)
            else:
                start = chance.randrange(len(name) + 1)
                name[at:at] = name[start : start + chance.randrange(1, 40)]
        mangled = "".join(name)
        assert len(demangle(mangled)) <= max(texts.MAX_TEXT, len(mangled))


def test_a_deep_stack_of_the_caller_s_costs_no_more_than_the_text() -> None:
    name = "_Z1f" + "St6vectorI" * 80 + "i" + "E" * 80

    def sink(levels: int) -> str:
        return demangle(name) if levels == 0 else sink(levels - 1)

    assert demangle(name).count("std::vector") == 80
    assert sink(sys.getrecursionlimit() - 250) == name
