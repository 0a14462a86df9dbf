"""From access windows in machine code to the members that they mean in one release."""

from __future__ import annotations

import re

from ...binary.names.templates import method_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ...atlas.format import Atlas, Fact
    from ...binary.code.accesses import Witness
    from ...binary.code.functions import Functions
    from .usage import Usage


def place(step: tuple[Fact, ...], atlas: Atlas, abi: int) -> int | None:
    """The displacement that a step of an access path has in a release, None where it has none."""
    total = 0
    for kind, cls, member in step:
        if kind == "k":
            total += int(member)
        elif kind == "m":
            shape = atlas.shape(cls, abi)
            found = shape.members.get(member) if shape is not None else None
            if found is None:
                return None
            total += found[0]
        elif kind == "v":
            slot = atlas.slots(cls, abi).get(member)
            if slot is None:
                return None
            total += 8 * slot
    return total


def member_kind(step: tuple[Fact, ...], atlas: Atlas, abi: int) -> str | None:
    """The type of the member that a step ends in, None where it ends in no member."""
    kind, cls, member = step[-1]
    shape = atlas.shape(cls, abi) if kind == "m" else None
    place = shape.members.get(member) if shape is not None else None
    return None if place is None else place[2]


def widths_fit(widths: set[int], step: tuple[Fact, ...], atlas: Atlas, abi: int) -> bool:
    """Whether a member can have been accessed with one of these widths, in bytes."""
    kind = member_kind(step, atlas, abi)
    return kind is None or any(fits(width, kind) for width in widths)


def is_pointer(step: tuple[Fact, ...], atlas: Atlas, abi: int) -> bool:
    """Whether a step ends in a member that is a pointer in a release."""
    kind = member_kind(step, atlas, abi)
    return kind is not None and kind.endswith(("*", "&"))


def fits(width: int, kind: str) -> bool:
    """Whether an access of so many bytes can be to a member of a type.

    A number may be read in part, a pointer never is; vector instructions copy several members.
    """
    size = kind_size(kind)
    if size is None or width >= 16:
        return True
    return width == size if kind.endswith(("*", "&")) else width <= size


def kind_size(kind: str) -> int | None:
    """The bytes that a member of a type takes, None where the atlas does not say."""
    if kind.endswith(("*", "&")):
        return 8
    _, colon, number = kind.rpartition(":")
    return int(number) if colon and number.isdigit() else None


def component(cls: str) -> str:
    """The class's own name as it stands in mangled names."""
    last = cls.split("<", 1)[0].rsplit("::", 1)[-1]
    return f"{len(last)}{last}"


def mentions(names: str, cls: str) -> bool:
    """Whether a class's name stands in mangled names; one of the standard library's is another."""
    return re.search(rf"(?<!St)(?<!\d){re.escape(component(cls))}", names) is not None


def supports(witnesses: frozenset[Witness], cls: str) -> bool:
    """Whether a pointer's witnesses say that it points to an object of a class."""
    wanted = component(cls)
    for name, argument in witnesses:
        owner = method_class(name)
        if argument == 0 and owner:
            if owner == cls:
                return True
        elif wanted in name:
            return True
    return False


def collect(
    machine: Functions,
    atlas: Atlas,
    abi: int,
    usage: Usage,
    wanted: Callable[[Fact], bool],
    roots: Collection[str] | None = None,
) -> None:
    """Add the facts of every inline accessor all of whose windows stand in the plugin's code.

    `wanted` tells which facts matter: accessors without any are not looked for. `roots` restricts
    it to accessors that start from an object of one of these classes.
    """
    accessors = [
        windows
        for windows in atlas.windows(abi)
        if any(wanted(fact) for steps in windows for step in steps for fact in step)
        and (roots is None or any(first[0][1] in roots for first, _ in windows))
    ]
    classes = {first[0][1] for windows in accessors for first, _ in windows}
    machine.follow_mentions({component(cls) for cls in classes})
    code = machine.code
    for windows in accessors:
        places = []
        for first, second in windows:
            a, b = place(first, atlas, abi), place(second, atlas, abi)
            if a is None or b is None or (a, b) not in code.windows:
                break
            if not widths_fit(code.widths[a, b], second, atlas, abi):
                break
            if first[-1][0] == "p":
                continue
            if not any(supports(w, first[0][1]) for w in code.windows[a, b]):
                break
            places.append(((a, b), first, second))
        else:
            for at, first, second in places:
                for fact in (*first, *second):
                    if fact[0] in "mv" and fact[2]:
                        usage.add(fact, f"machine code reads through offsets {at[0]} and {at[1]}")


def mentioned(names: str, atlas: Atlas) -> list[str]:
    """Classes with moving virtual tables that a plugin's symbol names mention."""
    found = []
    for cls in atlas.moving_tables:
        parts = cls.split("::")
        if "<" in cls:
            continue
        wanted = "".join(f"{len(part)}{part}" for part in parts[-2:]) if len(parts) > 2 else ""
        if (wanted or component(cls)) in names:
            found.append(cls)
    return found


def collect_calls(
    machine: Functions | None,
    classes: Iterable[str],
    atlas: Atlas,
    abi: int,
    usage: Usage,
    wanted: Callable[[Fact], bool],
) -> None:
    """Add the virtual functions that the plugin can call through pointers to some classes, as far
    as they are `wanted`.

    With machine code, those whose slot is called anywhere; without, all that a class declares.
    """
    moving = set(atlas.moving_tables)
    called: list[tuple[Fact, int]] = []
    for cls in sorted(classes):
        shape = atlas.shape(cls, abi) if cls in moving else None
        if shape is None or _is_message(cls, atlas, abi):
            continue
        facts: list[tuple[Fact, int]] = [
            (("v", cls, text), slot) for text, slot in shape.own_slots.items() if text != "~"
        ]
        called += [(fact, slot) for fact, slot in facts if wanted(fact)]
    if machine is not None:
        _follow_calls(machine, {8 * slot for _, slot in called})
    for fact, slot in called:
        if machine is None:
            usage.add(fact, f"uses {fact[1]}")
        elif (0, 8 * slot) in machine.code.pointers:
            usage.add(fact, f"machine code calls slot {slot}")


def _follow_calls(machine: Functions, offsets: set[int]) -> None:
    """Follow functions until each of these places of a virtual table was seen in use, if one is."""
    known = machine.code.pointers
    missing = {offset for offset in offsets if (0, offset) not in known}
    for start in machine.through(missing):
        machine.follow((start,))
        missing = {offset for offset in missing if (0, offset) not in known}
        if not missing:
            break


def _is_message(cls: str, atlas: Atlas, abi: int) -> bool:
    """Whether a class is a protobuf message: plugins use those through their own functions."""
    for _ in range(8):
        if cls.startswith("google::protobuf::Message"):
            return True
        shape = atlas.shape(cls, abi)
        primary = [base for base, offset in shape.bases if offset == 0] if shape else []
        if not primary:
            return False
        cls = primary[0]
    return False
