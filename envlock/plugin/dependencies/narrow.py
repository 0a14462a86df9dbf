"""Which of several releases an unstamped plugin was really built with, by its own code.

What would differ between the releases stands in the plugin as one of them has it: the inline
functions it carries, the slots of its virtual tables, the layouts in its debug information, the
offsets in its machine code. The releases that contradict it least remain.
"""

from __future__ import annotations

from ...binary.code.accesses import NEW
from ...binary.debug.classes import normalise
from ...binary.names.templates import method_class, plain_class, special_member
from . import code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...atlas.format import Atlas, Release, Window
    from ...binary.code.accesses import Code
    from ...binary.code.functions import Functions
    from .analyse import InterfaceFacts
    from .debuginfo import DebugFacts
    from .imports import Symbols


def narrow(evidence: InterfaceFacts, atlas: Atlas, releases: Sequence[Release]) -> list[Release]:
    """Those of the releases that fit the plugin's code best; all of them where nothing differs."""
    tables = sorted({release.abi for release in releases})
    if len(tables) < 2:
        return list(releases)
    unknown = _unknown_functions(evidence.symbols, atlas, tables)
    if evidence.machine is not None:
        _follow_differing(evidence.machine, atlas, tables)
    against = {abi: unknown[abi] + _contradictions(evidence, atlas, abi) for abi in tables}
    least = min(against.values())
    tables = [abi for abi in tables if against[abi] == least]
    if len(tables) > 1 and evidence.machine is not None:
        machine = evidence.machine
        machine.follow_mentions({code.component(cls) for cls in _telling(atlas, tables)})
        moved = _Moved(atlas, tables)
        machine.follow_users(lambda name: moved.includes(method_class(name)))
        told = {
            abi: _told(machine.code, atlas.windows(abi), atlas, abi)
            + _explained_members(machine.code, moved, abi)
            for abi in tables
        }
        most = max(told.values())
        tables = [abi for abi in tables if told[abi] == most]
    return [release for release in releases if release.abi in tables]


def contradictions(evidence: InterfaceFacts, atlas: Atlas, abi: int) -> int:
    """How many places of a plugin are otherwise in a release."""
    if evidence.machine is not None:
        _follow_differing(evidence.machine, atlas, (abi,))
    return _contradictions(evidence, atlas, abi)


def _contradictions(evidence: InterfaceFacts, atlas: Atlas, abi: int) -> int:
    count = _misplaced(evidence.symbols, atlas, abi)
    if evidence.debug is not None:
        count += _other_layouts(evidence.debug, atlas, abi)
    if evidence.machine is not None:
        count += _other_offsets(evidence.machine.code, atlas, abi)
        count += _other_sizes(evidence.machine.code, atlas, abi)
    return count


def _follow_differing(machine: Functions, atlas: Atlas, tables: Sequence[int]) -> None:
    """Follow the functions that can contradict some of the tables and not the others; with one
    table, those that can contradict it. Any other function counts the same in all of them."""

    def differs(values: list[Any]) -> bool:
        return any(value != values[0] for value in values[1:]) or len(tables) == 1

    def copied(name: str) -> bool:
        owner = method_class(name)
        return bool(owner) and differs([_expected(name, owner, atlas, abi) for abi in tables])

    def resized(name: str) -> bool:
        cls = _made(name)
        return bool(cls) and differs([_size(cls, atlas, abi) for abi in tables])

    machine.follow(sorted(machine.named(copied)))
    slots = machine.names.slots
    makers = machine.callers(lambda name: ("C1E" in name or "C2E" in name) and resized(name))
    makers |= machine.readers(
        {p for p, name in slots.items() if name[:4] == "_ZTV" and resized(name)}
    )
    if makers:
        machine.follow(sorted(makers & machine.callers(NEW.__eq__)))


def _made(maker: str) -> str:
    """The class of a constructor or of a virtual table, by its mangled name."""
    special = special_member(maker)
    return special[0] if special is not None else plain_class(maker[4:])


def _size(cls: str, atlas: Atlas, abi: int) -> int | None:
    shape = atlas.shape(cls, abi)
    return None if shape is None else shape.size


def _telling(atlas: Atlas, tables: Sequence[int]) -> set[str]:
    """The classes of accessors that some windows are told by, of those windows that are not told
    by the same accessors in all of the tables."""
    seen: list[dict[tuple[int, int], set[tuple[str, object, bool]]]] = []
    for abi in tables:
        places: dict[tuple[int, int], set[tuple[str, object, bool]]] = {}
        for windows in atlas.windows(abi):
            for first, second in windows:
                a, b = code.place(first, atlas, abi), code.place(second, atlas, abi)
                if first[-1][0] == "p" or a is None or b is None:
                    continue
                kind = code.member_kind(second, atlas, abi)
                pointer = kind is not None and kind.endswith(("*", "&"))
                width = None if kind is None else code.kind_size(kind)
                places.setdefault((a, b), set()).add((first[0][1], width, pointer))
        seen.append(places)
    every = {pair for places in seen for pair in places}
    differing = {p for p in every if any(one.get(p) != seen[0].get(p) for one in seen)}
    return {cls for places in seen for pair in differing for cls, _, _ in places.get(pair, ())}


class _Moved:
    """Which classes have other members, or the same ones elsewhere, in some of the tables."""

    def __init__(self, atlas: Atlas, tables: Sequence[int]) -> None:
        self.atlas = atlas
        self.tables = tables
        self._known: dict[str, bool] = {"": False}

    def includes(self, cls: str) -> bool:
        """Whether it is one of them."""
        if cls not in self._known:
            shapes = [self.atlas.shape(cls, abi) for abi in self.tables]
            members = [None if shape is None else shape.members for shape in shapes]
            self._known[cls] = any(one != members[0] for one in members)
        return self._known[cls]


def _other_sizes(found: Code, atlas: Atlas, abi: int) -> int:
    """Objects for which the plugin allocates less than they, or other than they alone, take here."""
    count = 0
    for maker, size in found.allocated:
        cls = _made(maker)
        there = _size(cls, atlas, abi) if cls else None
        if there is not None:
            count += size != there if "C1E" in maker else size < there
    return count


def _other_offsets(found: Code, atlas: Atlas, abi: int) -> int:
    """Members that the plugin's copies of inline functions should touch here, and do not, and what
    they read behind a member that they have no business with here."""
    count = 0
    for name, offsets in found.own.items():
        owner = method_class(name)
        expected = _expected(name, owner, atlas, abi) if owner else None
        if expected is None:
            continue
        touched, starts, ranges = expected
        count += sum(offset not in offsets for offset in touched)
        if ranges:
            count += sum(
                a in starts and not any(start <= b < end for start, end in ranges)
                for a, b in found.own_windows[name]
            )
    return count


def _expected(
    name: str, owner: str, atlas: Atlas, abi: int
) -> tuple[list[int], set[int], list[tuple[int, int]]] | None:
    """What a copy of an inline function of class `owner` touches in a release.

    Offsets of members of its own object, once for each use; the same where it goes on through
    the member; and where in the other objects it may read then, each from an offset to another.
    None where the atlas does not know the class.
    """
    if atlas.shape(owner, abi) is None:
        return None
    touched: list[int] = []
    ranges: list[tuple[int, int]] = []
    for kind, cls, member in atlas.facts(name, abi) or ():
        shape = atlas.shape(cls, abi) if kind == "m" else None
        if shape is None or member not in shape.members:
            continue
        start = shape.members[member][0]
        if cls == owner:
            touched.append(start)
        else:
            later = [place for place, _, _ in shape.members.values() if place > start]
            ranges.append((start, min(later, default=shape.size)))
    return touched, set(touched), ranges


def _unknown_functions(symbols: Symbols, atlas: Atlas, tables: Sequence[int]) -> dict[int, int]:
    """For each table: inline functions in the plugin that its headers lack and another's have."""
    lacking = dict.fromkeys(tables, 0)
    for name in symbols.defined:
        having = [abi for abi in tables if atlas.has_function(name, abi)]
        if having:
            for abi in tables:
                lacking[abi] += abi not in having
    return lacking


def _misplaced(symbols: Symbols, atlas: Atlas, abi: int) -> int:
    """Entries of the plugin's virtual tables that this release has in another slot."""
    count = 0
    for table in symbols.virtual_tables:
        for slot, name in table:
            slots = atlas.slots(method_class(name), abi)
            places = [s for text, s in slots.items() if text != "~" and name.endswith(text)]
            if places and slot not in places:
                count += 1
    for cls, length in symbols.tables.items():
        slots = atlas.slots(cls, abi)
        if slots and length != _length(slots):
            count += 1
    return count


def _length(slots: dict[str, int]) -> int:
    """The number of entries of a virtual table; a destructor has two."""
    return max(slot + (2 if text == "~" else 1) for text, slot in slots.items())


def _other_layouts(debug: DebugFacts, atlas: Atlas, abi: int) -> int:
    """Classes in the plugin's debug information that are laid out otherwise in this release."""
    count = 0
    for raw, layout in debug.layouts.items():
        shape = atlas.shape(normalise(raw), abi)
        if shape is None:
            continue
        places = {member.name: member.offset for member in layout.members}
        known = {name: place[0] for name, place in shape.members.items()}
        if layout.size != shape.size or places != known:
            count += 1
    return count


def explained(
    machine: Functions, accessors: Sequence[tuple[Window, ...]], atlas: Atlas, abi: int
) -> int:
    """How many of the code's access windows the accessors account for at a release's offsets."""
    classes = {first[0][1] for windows in accessors for first, _ in windows}
    machine.follow_mentions({code.component(cls) for cls in classes})
    return _told(machine.code, accessors, atlas, abi)


def _told(found: Code, accessors: Sequence[tuple[Window, ...]], atlas: Atlas, abi: int) -> int:
    told = set()
    for windows in accessors:
        for first, second in windows:
            if first[-1][0] == "p":
                continue
            a, b = code.place(first, atlas, abi), code.place(second, atlas, abi)
            if a is None or b is None or (a, b) not in found.windows:
                continue
            if (a, b) in found.numbers and code.is_pointer(second, atlas, abi):
                continue
            if code.widths_fit(found.widths[a, b], second, atlas, abi) and any(
                code.supports(seen, first[0][1]) for seen in found.windows[a, b]
            ):
                told.add((a, b))
    return len(told)


def _explained_members(found: Code, moved: _Moved, abi: int) -> int:
    """How many direct accesses are to the beginning of a member of the object's class, of the
    classes in which members moved.

    The class is that of the member functions that are called for it: their first argument, or the
    second one where the first is the place for what they give back.
    """
    count = 0
    for (offset, width), occurrences in found.direct.items():
        classes = {
            method_class(name)
            for witnesses in occurrences
            for name, argument in witnesses
            if argument in (0, 1)
        }
        count += any(
            moved.includes(cls) and _begins(cls, offset, width, moved.atlas, abi) for cls in classes
        )
    return count


def _begins(cls: str, offset: int, width: int, atlas: Atlas, abi: int) -> bool:
    shape = atlas.shape(cls, abi)
    return shape is not None and any(
        place == offset and code.fits(width, kind) for place, _, kind in shape.members.values()
    )
