"""Which of two versions is newer, for versions of pip and conda packages alike.

A lean counterpart of packaging.version (whose import costs more than a whole diff may): release
numbers, then a pre-release before the release, and a post-release after it (PEP 440).
"""

from __future__ import annotations

import re

_PIECE = re.compile(r"\d+|[a-z]+")
_EARLIER = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "rc": -1, "c": -1, "pre": -1}


def version_key(version: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], str]:
    """Compares as the versions do."""
    text = version.lower().strip()
    epoch, mark, rest = text.partition("!")
    if not mark:
        epoch, rest = "0", text
    public, _, local = rest.partition("+")
    pieces = _PIECE.findall(public)
    release: list[int] = [int(epoch[:9]) if epoch.isdecimal() else 0]
    while pieces and pieces[0].isdecimal():
        release.append(int(pieces.pop(0)[:18]))
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    tail: list[tuple[int, int]] = []
    index = 0
    while index < len(pieces):
        piece = pieces[index]
        number = 0
        if index + 1 < len(pieces) and pieces[index + 1].isdecimal():
            number = int(pieces[index + 1][:18])
        if not piece.isdecimal():
            tail.append((_EARLIER.get(piece, 1), number))
            index += 1 + (index + 1 < len(pieces) and pieces[index + 1].isdecimal())
        else:
            tail.append((1, int(piece[:18])))
            index += 1
    # The end of a version stands between its pre-releases and its post-releases.
    tail.append((0, 0))
    return tuple(release), tuple(tail), local


def direction(before: str, after: str) -> str:
    """ "upgraded", "downgraded", or "changed" where the order cannot tell."""
    first, second = version_key(before), version_key(after)
    if first < second:
        return "upgraded"
    return "downgraded" if first > second else "changed"
