"""Collecting a plugin's facts about classes and giving them the values of a release."""

from __future__ import annotations

from binascii import crc32

from ...binary.names.types import own_name
from ...models.dependencies import ClassUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ...atlas.format import Atlas, Fact
    from ...binary.debug.classes import Layout


#: How the evidence for a base class begins.
BASE_OF = "base class of "


def type_digest(kind: str) -> str:
    """A member's type: `p` for pointers and references or `v` for values, and four hex digits."""
    form = "p" if kind.endswith(("*", "&")) else "v"
    return f"{form}{crc32(own_name(kind).encode()) & 0xFFFF:04x}"


def member_value(offset: int, bits: str, kind: str) -> str:
    """A member's place and kind as the manifest records it, `184:3@12/v1f3a`."""
    return f"{offset}{bits}/{type_digest(kind)}"


def resolve_members(atlas: Atlas, name: str, abi: int) -> dict[str, str]:
    """Every member's value of a class in one ABI table."""
    shape = atlas.shape(name, abi)
    if shape is None:
        return {}
    return {
        member: member_value(offset, bits, kind)
        for member, (offset, bits, kind) in shape.members.items()
    }


class Differences:
    """Which facts are otherwise in some interfaces than in a plugin's own: no other one matters.

    `tables` are the numbers of the ABI tables that it is going to be compared with.
    """

    def __init__(self, atlas: Atlas, abi: int, tables: Iterable[int]) -> None:
        self._atlas = atlas
        self._tables = (abi, *tables)
        self._known: dict[Fact, bool] = {}
        self._same: dict[str, bool] = {}

    def __contains__(self, fact: Fact) -> bool:
        if fact not in self._known:
            self._known[fact] = self._differs(fact)
        return self._known[fact]

    def _differs(self, fact: Fact) -> bool:
        kind, cls, _ = fact
        if kind == "m" and self._is_same(cls):
            return False
        values = [self._value(fact, abi) for abi in self._tables]
        return any(value != values[0] for value in values)

    def _is_same(self, cls: str) -> bool:
        """Whether a class itself is the same in all tables, told without reading its layouts."""
        if cls not in self._same:
            self._same[cls] = self._atlas.is_same(cls, self._tables)
        return self._same[cls]

    def _value(self, fact: Fact, abi: int) -> object:
        kind, cls, member = fact
        if kind == "v":
            return self._atlas.slots(cls, abi).get(member)
        shape = self._atlas.shape(cls, abi) if kind == "m" else None
        return None if shape is None else shape.members.get(member)


class Usage:
    """Facts by class, with a few examples of what shows them."""

    def __init__(self) -> None:
        self.facts: dict[str, dict[tuple[str, str], list[str]]] = {}

    def add(self, fact: Fact, shown_by: str) -> None:
        """Note one fact: kinds m, v and s of the atlas, and "t" for the whole virtual table."""
        kind, cls, member = fact
        seen = self.facts.setdefault(cls, {}).setdefault((kind, member), [])
        if len(seen) < 3 and shown_by not in seen:
            seen.append(shown_by)

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Forget the classes that are not wanted."""
        self.facts = {name: facts for name, facts in self.facts.items() if wanted(name)}

    def forget_sizes(self, wanted: Callable[[str], bool]) -> None:
        """Forget the sizes of classes that are not wanted, unless classes are derived from them."""
        for name, facts in self.facts.items():
            shown = facts.get(("s", ""), ())
            if shown and not any(text.startswith(BASE_OF) for text in shown) and not wanted(name):
                del facts["s", ""]

    def uses(
        self, atlas: Atlas, abi: int, own: Mapping[str, Layout] | None = None
    ) -> tuple[ClassUse, ...]:
        """The facts with the values of an ABI table.

        `own` are the layouts in the plugin's debug information: where they differ from the
        table's, the plugin was compiled with other headers, and its own values count.
        """
        found = []
        for name in sorted(self.facts):
            use = self._use(atlas, abi, name, own.get(name) if own else None)
            if use is not None:
                found.append(use)
        return tuple(found)

    def _use(self, atlas: Atlas, abi: int, name: str, own: Layout | None) -> ClassUse | None:
        shape = atlas.shape(name, abi)
        if shape is None and own is None:
            return None
        values = resolve_members(atlas, name, abi)
        slots = atlas.slots(name, abi)
        if own is not None:
            for part in own.members:
                place = f"{part.offset}{part.bits}"
                if values.get(part.name, "").split("/")[0] != place:
                    values[part.name] = place
        size: int | None = None
        members: list[str] = []
        called: list[str] = []
        table: tuple[str, ...] = ()
        via: list[str] = []
        for (kind, member), shown in sorted(self.facts[name].items()):
            if kind == "m" and member in values:
                members.append(f"{member}={values[member]}")
            elif kind == "v" and member in slots:
                called.append(f"{member}={slots[member]}")
            elif kind == "s":
                size = own.size if own is not None else shape.size if shape is not None else None
            elif kind == "t":
                table = tuple(sorted(slots, key=lambda text: slots[text]))
            else:
                continue
            via += [text for text in shown if text not in via]
        if size is None and not members and not called and not table:
            return None
        return ClassUse(
            name=name,
            size=size,
            members=tuple(members),
            slots=tuple(called),
            table=table,
            via=min(via, key=lambda text: (len(text), text)) if via else None,
        )
