"""With which releases an unstamped plugin can have been built.

A release qualifies when its libraries export what the plugin needs; where the plugin came in a
wheel, the wheel's own requirement on TensorFlow narrows it down. Such requirements are wrong about
what the plugin works with, but they name the release that it was built and tested with.
"""

from __future__ import annotations

import os

from ...environment.distributions import Distributions
from ...files import reading as files
from ...models.patterns import pattern
from ...models.versions import order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...atlas.format import Release

#: How far above a plugin its wheel's dist-info is looked for.
MAX_PARENTS = 12
MAX_METADATA = 1 << 20
_REQUIREMENT = pattern(
    r"(?im)^Requires-Dist:[ \t]*tensorflow(?:[-_]cpu)?(?:\[[^]\r\n]*\])?[ \t]*\(?[ \t]*"
    r"([~=<>!][^;()\r\n]*)"
)
_CLAUSE = pattern(r"^(~=|===?|!=|<=|>=|<|>)\s*v?([0-9]+(?:\.[0-9]+)*)(\.\*)?")


class Origin:
    """What is known of where a plugin comes from."""

    __slots__ = ("package", "requirement")

    def __init__(self, package: str | None, requirement: str | None) -> None:
        self.package = package  # "tensorflow_text 2.14.0"
        self.requirement = requirement  # "<2.15,>=2.14.0"


def find_origin(path: str) -> Origin:
    """The wheel that a plugin came in, unpacked or installed, and its requirement on TensorFlow."""
    folder = os.path.dirname(os.path.abspath(path))
    for _ in range(MAX_PARENTS):
        if any(name.endswith(".dist-info") for name in files.listing(folder)):
            owner = Distributions((folder,)).owner_of(path)
            if owner is None:
                return Origin(None, None)
            package = f"{owner.canonical_name} {owner.version}"
            try:
                raw = files.read(os.path.join(owner.path, "METADATA"), MAX_METADATA, head=True)
            except files.Unreadable:
                return Origin(package, None)
            found = _REQUIREMENT.search(raw.decode("utf-8", "replace"))
            return Origin(package, found[1].strip() if found else None)
        parent = os.path.dirname(folder)
        if parent == folder:
            break
        folder = parent
    return Origin(None, None)


def satisfies(version: str, requirement: str) -> bool:
    """Whether a release fulfils a requirement; clauses that cannot be read are passed over."""
    have = order(version)
    return all(_holds(have, clause.strip()) for clause in requirement.split(","))


def _holds(have: tuple[int, ...], clause: str) -> bool:
    found = _CLAUSE.match(clause)
    if found is None:
        return True
    operator, text, wild = found.groups()
    want = order(text)
    width = max(len(have), len(want))
    padded, wanted = have + (0,) * (width - len(have)), want + (0,) * (width - len(want))
    prefix = have[: len(want)] == want
    if operator == "~=":
        return padded >= wanted and have[: len(want) - 1] == want[:-1]
    if operator.startswith("=="):
        return prefix if wild else padded == wanted
    if operator == "!=":
        return not (prefix if wild else padded == wanted)
    if operator == ">=":
        return padded >= wanted
    if operator == "<=":
        return padded <= wanted
    return padded < wanted if operator == "<" else padded > wanted


def candidates(linking: Sequence[Release], origin: Origin) -> list[Release]:
    """The releases among those that link which the plugin can have been built with."""
    if origin.requirement is not None:
        narrowed = [r for r in linking if satisfies(r.version, origin.requirement)]
        if narrowed:
            return narrowed
    return list(linking)
