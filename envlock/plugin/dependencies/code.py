"""From access windows in machine code to the members that they mean in one release."""

from __future__ import annotations

import re

from ...binary.names.templates import method_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ...atlas.format import Atlas, Fact
    from ...binary.code.accesses import Code, Witness
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


def widths_fit(widths: set[int], step: tuple[Fact, ...], atlas: Atlas, abi: int) -> bool:
    """Whether a member can have been accessed with one of these widths, in bytes."""
    kind, cls, member = step[-1]
    shape = atlas.shape(cls, abi) if kind == "m" else None
    place = shape.members.get(member) if shape is not None else None
    if place is None:
        return True
    return any(fits(width, place[2]) for width in widths)


def is_pointer(step: tuple[Fact, ...], atlas: Atlas, abi: int) -> bool:
    """Whether a step ends in a member that is a pointer in a release."""
    kind, cls, member = step[-1]
    shape = atlas.shape(cls, abi) if kind == "m" else None
    place = shape.members.get(member) if shape is not None else None
    return place is not None and place[2].endswith(("*", "&"))


def fits(width: int, kind: str) -> bool:
    """Whether an access of so many bytes can be to a member of a type.

    A number may be read in part, a pointer never is; vector instructions copy several members.
    """
    size = _size(kind)
    if size is None or width >= 16:
        return True
    return width == size if kind.endswith(("*", "&")) else width <= size


def _size(kind: str) -> int | None:
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
    code: Code, atlas: Atlas, abi: int, usage: Usage, roots: Collection[str] | None = None
) -> None:
    """Add the facts of every inline accessor all of whose windows stand in the plugin's code.

    `roots` restricts it to accessors that start from an object of one of these classes.
    """
    for windows in atlas.windows(abi):
        if roots is not None and not any(first[0][1] in roots for first, _ in windows):
            continue
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
    code: Code | None, classes: Iterable[str], atlas: Atlas, abi: int, usage: Usage
) -> None:
    """Add the virtual functions that the plugin can call through pointers to some classes.

    With machine code, those whose slot is called anywhere; without, all that a class declares.
    """
    moving = set(atlas.moving_tables)
    for cls in sorted(classes):
        if cls not in moving:
            continue
        shape = atlas.shape(cls, abi)
        if shape is None or _is_message(cls, atlas, abi):
            continue
        for signature, slot in shape.own_slots.items():
            if signature == "~":
                continue
            if code is None:
                usage.add(("v", cls, signature), f"uses {cls}")
            elif (0, 8 * slot) in code.windows:
                usage.add(("v", cls, signature), f"machine code calls slot {slot}")


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
