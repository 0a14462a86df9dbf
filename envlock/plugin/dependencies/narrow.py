"""Which of several releases an unstamped plugin was really built with, by its own code.

What would differ between the releases stands in the plugin as one of them has it: the inline
functions it carries, the slots of its virtual tables, the layouts in its debug information, the
offsets in its machine code. The releases that contradict it least remain.
"""

from __future__ import annotations

from ...binary.debug.classes import normalise
from ...binary.names.templates import method_class, plain_class, special_member
from . import code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ...atlas.format import Atlas, Release, Window
    from ...binary.code.accesses import Code
    from .analyse import InterfaceFacts
    from .debuginfo import DebugFacts
    from .imports import Symbols


def narrow(evidence: InterfaceFacts, atlas: Atlas, releases: Sequence[Release]) -> list[Release]:
    """Those of the releases that fit the plugin's code best; all of them where nothing differs."""
    tables = sorted({release.abi for release in releases})
    if len(tables) < 2:
        return list(releases)
    unknown = _unknown_functions(evidence.symbols, atlas, tables)
    against = {abi: unknown[abi] + contradictions(evidence, atlas, abi) for abi in tables}
    least = min(against.values())
    tables = [abi for abi in tables if against[abi] == least]
    if len(tables) > 1 and evidence.code is not None:
        found = evidence.code
        told = {
            abi: explained(found, atlas.windows(abi), atlas, abi)
            + _explained_members(found, atlas, abi)
            for abi in tables
        }
        most = max(told.values())
        tables = [abi for abi in tables if told[abi] == most]
    return [release for release in releases if release.abi in tables]


def contradictions(evidence: InterfaceFacts, atlas: Atlas, abi: int) -> int:
    """How many places of a plugin are otherwise in a release."""
    count = _misplaced(evidence.symbols, atlas, abi)
    if evidence.debug is not None:
        count += _other_layouts(evidence.debug, atlas, abi)
    if evidence.code is not None:
        count += _other_offsets(evidence.code, atlas, abi)
        count += _other_sizes(evidence.code, atlas, abi)
    return count


def _other_sizes(found: Code, atlas: Atlas, abi: int) -> int:
    """Objects for which the plugin allocates less than they, or other than they alone, take here."""
    count = 0
    for maker, size in found.allocated:
        special = special_member(maker)
        cls = special[0] if special is not None else plain_class(maker[4:])
        shape = atlas.shape(cls, abi) if cls else None
        if shape is not None:
            count += size != shape.size if "C1E" in maker else size < shape.size
    return count


def _other_offsets(found: Code, atlas: Atlas, abi: int) -> int:
    """Members that the plugin's copies of inline functions should touch here, and do not."""
    count = 0
    for name, offsets in found.own.items():
        owner = method_class(name)
        shape = atlas.shape(owner, abi) if owner else None
        if shape is None:
            continue
        for kind, cls, member in atlas.facts(name, abi) or ():
            if kind == "m" and cls == owner and member in shape.members:
                count += shape.members[member][0] not in offsets
        count += _foreign_windows(found.own_windows[name], name, owner, atlas, abi)
    return count


def _foreign_windows(
    windows: Collection[tuple[int, int]], name: str, owner: str, atlas: Atlas, abi: int
) -> int:
    """What a copy of an inline function reads behind a member that it has no business with here."""
    facts = [fact for fact in atlas.facts(name, abi) or () if fact[0] == "m"]
    starts, ranges = set(), []
    for _, cls, member in facts:
        shape = atlas.shape(cls, abi)
        if shape is None or member not in shape.members:
            continue
        start = shape.members[member][0]
        later = [place for place, _, _ in shape.members.values() if place > start]
        if cls == owner:
            starts.add(start)
        else:
            ranges.append((start, min(later, default=shape.size)))
    if not ranges:
        return 0
    return sum(
        a in starts and not any(start <= b < end for start, end in ranges) for a, b in windows
    )


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


def explained(found: Code, accessors: Sequence[tuple[Window, ...]], atlas: Atlas, abi: int) -> int:
    """How many of the code's access windows the accessors account for at a release's offsets."""
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


def _explained_members(found: Code, atlas: Atlas, abi: int) -> int:
    """How many direct accesses are to the beginning of a member of the object's class.

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
        count += any(_begins(cls, offset, width, atlas, abi) for cls in classes if cls)
    return count


def _begins(cls: str, offset: int, width: int, atlas: Atlas, abi: int) -> bool:
    shape = atlas.shape(cls, abi)
    return shape is not None and any(
        place == offset and code.fits(width, kind) for place, _, kind in shape.members.values()
    )
