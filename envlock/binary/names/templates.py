"""Mangled names without their template arguments, so that instantiations can be compared.

A plugin instantiates templates with types of its own; what the probe's instantiations of the same
template need is then the best knowledge there is. Follows the Itanium C++ ABI, 5.1.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+")
_OPENERS = frozenset("INXJF")


def erase(name: str) -> str | None:
    """`_ZN10tensorflow6Tensor4flatIfEEv` as `_ZN10tensorflow6Tensor4flatI`.

    None for names without template arguments in their scope or own name, and for those that this
    small reader does not understand.
    """
    match = re.match(r"_ZN[rVKRO]*", name)
    if match is None:
        return None
    at = match.end()
    out = [name[:at]]
    erased = False
    while at < len(name):
        char = name[at]
        if char.isdigit():
            number = _NUMBER.match(name, at)
            assert number is not None
            end = number.end() + int(number[0])
            out.append(name[at:end])
            at = end
        elif char == "I":
            following = _skip_arguments(name, at)
            if following is None:
                return None
            out.append("I")
            erased = True
            at = following
        elif (char == "S" and name[at : at + 2] in ("St", "Sa", "Ss", "Sb", "Si", "So", "Sd")) or (
            char in "CD" and name[at + 1 : at + 2].isdigit()
        ):
            out.append(name[at : at + 2])
            at += 2
        elif char == "B":  # an ABI tag: a source name follows
            out.append("B")
            at += 1
        elif char.islower() and name[at + 1 : at + 2].isalpha():  # an operator
            out.append(name[at : at + 2])
            at += 2
        elif char == "E":
            return "".join(out) if erased else None
        else:
            return None
    return None


def _skip_arguments(name: str, at: int) -> int | None:
    """The place behind the template arguments that start at an `I`."""
    depth = 0
    while at < len(name):
        char = name[at]
        if char in _OPENERS:
            depth += 1
            at += 1
        elif char == "E":
            depth -= 1
            at += 1
            if depth == 0:
                return at
        elif char.isdigit():
            number = _NUMBER.match(name, at)
            assert number is not None
            at = number.end() + int(number[0])
        elif char == "L":
            end = _skip_literal(name, at)
            if end is None:
                return None
            at = end
        elif char in "ST":
            end = name.find("_", at)
            if char == "S" and name[at + 1 : at + 2].islower():
                at += 2
            elif end < 0:
                return None
            else:
                at = end + 1
        elif char == "D" and name[at + 1 : at + 2] in "TtO":
            depth += 1  # decltype and noexcept run to an E of their own
            at += 2
        else:
            at += 1
    return None


def _skip_literal(name: str, at: int) -> int | None:
    """The place behind a literal, `L` type value `E`; the value's digits are no length."""
    at += 1
    if name[at : at + 2] == "_Z":
        return None
    if name[at : at + 1].isdigit():
        number = _NUMBER.match(name, at)
        assert number is not None
        at = number.end() + int(number[0])
    elif name[at : at + 1] == "N":
        at += 1
        while at < len(name) and name[at] != "E":
            number = _NUMBER.match(name, at)
            if number is not None:
                at = number.end() + int(number[0])
            elif name[at] == "S":
                end = name.find("_", at)
                if end < 0:
                    return None
                at = end + 1
            else:
                return None
        at += 1
    end = name.find("E", at)
    return None if end < 0 else end + 1
