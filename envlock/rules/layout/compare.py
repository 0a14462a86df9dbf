"""What a plugin relies on against what a release has: pure, and all that the gate needs.

Nothing is guessed: a class that the atlas does not see in the live release gives no drift, it is
listed as not compared.
"""

from __future__ import annotations

from ...plugin.dependencies.usage import type_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...atlas.format import Atlas
    from ...models.dependencies import ClassUse, Dependencies


class Drift:
    """One difference in one class: `what` is "size", a member, or a virtual function.

    `kind`: size; member (its place), type (of the same form), form (a pointer became a value or
    the reverse); slot, table, appended.
    """

    __slots__ = ("built", "cls", "kind", "live", "what")

    def __init__(self, cls: str, kind: str, what: str, built: str, live: str) -> None:
        self.cls = cls
        self.kind = kind
        self.what = what
        self.built = built
        self.live = live

    def __repr__(self) -> str:
        return f"Drift({self.cls}: {self.kind} {self.what} {self.built} -> {self.live})"


def drifts(dependencies: Dependencies, atlas: Atlas, abi: int) -> tuple[list[Drift], list[str]]:
    """All differences that touch the plugin, and the classes that could not be compared."""
    found: list[Drift] = []
    unseen: list[str] = []
    for use in dependencies.classes:
        if atlas.shape(use.name, abi) is None:
            unseen.append(use.name)
        else:
            found += _class_drifts(use, atlas, abi)
    return found, unseen


def _class_drifts(use: ClassUse, atlas: Atlas, abi: int) -> list[Drift]:
    shape = atlas.shape(use.name, abi)
    assert shape is not None
    found = []
    if use.size is not None and use.size != shape.size:
        found.append(Drift(use.name, "size", "size", str(use.size), str(shape.size)))
    for text in use.members:
        member, _, value = text.partition("=")
        live = shape.members.get(member)
        place, _, digest = value.partition("/")
        if live is None:
            found.append(Drift(use.name, "member", member, place, "absent"))
            continue
        offset, bits, kind = live
        if place != f"{offset}{bits}":
            found.append(Drift(use.name, "member", member, place, f"{offset}{bits}"))
        elif digest and digest != type_digest(kind):
            other = "type" if digest[:1] == type_digest(kind)[:1] else "form"
            found.append(Drift(use.name, other, member, "another type", kind))
    slots = atlas.slots(use.name, abi) if use.slots or use.table else {}
    for text in use.slots:
        signature, _, slot = text.rpartition("=")
        now = str(slots[signature]) if signature in slots else "absent"
        if now != slot:
            found.append(Drift(use.name, "slot", signature, slot, now))
    if use.table:
        live_table = sorted(slots, key=lambda text: slots[text])
        for number, signature in enumerate(use.table):
            if number >= len(live_table) or live_table[number] != signature:
                now_there = live_table[number] if number < len(live_table) else "nothing"
                found.append(Drift(use.name, "table", signature, str(number), now_there))
                break
        else:
            found += [
                Drift(use.name, "appended", signature, "absent", str(slots[signature]))
                for signature in live_table[len(use.table) :]
            ]
    return found
