"""What stands in a mangled name's scope: its classes, and the name without template arguments.

A plugin instantiates templates with types of its own; what the probe's instantiations of the same
template need is then the best knowledge there is. Follows the Itanium C++ ABI, 5.1, as far as a few
characters tell; `demangle` reads names whole.
"""

from __future__ import annotations

from ...models.patterns import pattern

_HEAD = pattern(r"_ZN[rVKRO]*")
_LENGTH = pattern(r"[0-9]{1,9}")
_NUMBER = pattern(r"[0-9]+")
_SPECIAL = pattern(r"([CD])[0-9][EI]")
_STANDARD = ("St", "Sa", "Ss", "Sb", "Si", "So", "Sd")
_OPENERS = frozenset("INXJF")


def source_names(name: str, at: int) -> tuple[list[str], int]:
    """The names with their lengths before them that start at a place, and the place behind them.

    One that is empty or longer than what is left counts as none.
    """
    found: list[str] = []
    while True:
        start, end = _past(name, at)
        if not start < end <= len(name):
            return found, at
        found.append(name[start:end])
        at = end


def _past(name: str, at: int) -> tuple[int, int]:
    """Where the source name whose length stands at a place begins, and the place behind it."""
    length = _LENGTH.match(name, at)
    return (at, at) if length is None else (length.end(), length.end() + int(length[0]))


def components(name: str) -> list[str]:
    """Everything in a mangled name that can be read as a source name: `9Allocator`, and what else
    stands behind a digit."""
    found = []
    for match in _NUMBER.finditer(name):
        end = match.end()
        for begin in range(match.start(), end):
            length = name[begin:end]
            if len(length) < 4:
                found.append(name[begin : end + int(length)])
    return found


def plain_class(mangled: str) -> str:
    """`N10tensorflow8OpKernelE` as `tensorflow::OpKernel`; empty for templates and the like."""
    parts, at = source_names(mangled, int(mangled.startswith("N")))
    return _spelled(parts) if mangled[at:] in ("", "E") else ""


def method_class(name: str) -> str:
    """The plain class of a mangled member function, or the namespace of a free one."""
    head = _HEAD.match(name)
    if head is None:
        return ""
    parts, at = source_names(name, head.end())
    return _spelled(parts if name.startswith(("C", "D"), at) else parts[:-1])


def special_member(name: str) -> tuple[str, str] | None:
    """(class, "C" or "D") of a mangled constructor or destructor."""
    head = _HEAD.match(name)
    if head is None:
        return None
    parts, at = source_names(name, head.end())
    kind = _SPECIAL.match(name, at)
    return (_spelled(parts), kind[1]) if parts and kind is not None else None


def _spelled(parts: list[str]) -> str:
    """A scope as the atlas has it: without absl's release, `tsl` as `tensorflow`."""
    name = "::".join(part for part in parts if not part.startswith("lts_"))
    return "tensorflow::" + name[5:] if name.startswith("tsl::") else name


def erase(name: str) -> str | None:
    """`_ZN10tensorflow6Tensor4flatIfEEv` as `_ZN10tensorflow6Tensor4flatI`.

    None for names without template arguments in their scope or own name, and for those that this
    small reader does not understand.
    """
    head = _HEAD.match(name)
    if head is None:
        return None
    kept = at = head.end()
    out = [name[:at]]
    while at < len(name):
        _, at = source_names(name, at)
        char, two = name[at : at + 1], name[at : at + 2]
        if char == "I":
            out.append(name[kept : at + 1])
            following = _skip_arguments(name, at)
            if following is None:
                return None
            kept = at = following
        elif (
            two in _STANDARD
            or (char in ("C", "D") and two[1:].isdigit())
            or (char.islower() and two[1:].isalpha())  # an operator
        ):
            at += 2
        elif char == "B":  # an ABI tag: a source name follows
            at += 1
        elif char == "E":
            return "".join([*out, name[kept:at]]) if len(out) > 1 else None
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
            start, end = _past(name, at)
            if start == at:
                return None
            at = end
        elif char == "L":
            behind = _skip_literal(name, at)
            if behind is None:
                return None
            at = behind
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
    if name.startswith("_Z", at):
        return None
    if name.startswith("N", at):
        at += 1
        while at < len(name) and name[at] != "E":
            start, end = _past(name, at)
            if start == at:
                end = name.find("_", at) + 1
                if name[at] != "S" or not end:
                    return None
            at = end
        at += 1
    else:
        _, at = _past(name, at)
    end = name.find("E", at)
    return None if end < 0 else end + 1
