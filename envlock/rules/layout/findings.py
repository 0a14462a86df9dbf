"""Drift as findings for people: which class, what changed, why it matters, what to do."""

from __future__ import annotations

from ...models.report import Finding, Unchecked
from ...models.verdict import Verdict
from .compare import Drift, drifts
from .texts import CLASS_LAYOUT, CLASS_SIZE, VIRTUAL_TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...atlas.format import Atlas, Release, Shape
    from ...models.dependencies import Dependencies
    from ..base import Rule

#: Virtual functions that TensorFlow calls only when a program asks for what they do. A plugin
#: whose slot of one of them moved works until then, so this alone is not `unsafe`.
OPTIONAL = {
    "tensorflow::ResourceBase": (
        "10MemoryUsedEv",
        "25MakeRefCountingHandleName",
        "10AsGraphDef",
    ),
}
#: Created, used and destroyed by the inline code of the side that owns the object; the other side
#: looks at it only through weak references, which plugins do not hand out.
WEAK = (
    "tensorflow::core::WeakRefCounted",
    "tensorflow::core::WeakRefCounted::WeakRefData",
)
_RULES = {
    "size": CLASS_SIZE,
    "member": CLASS_LAYOUT,
    "type": CLASS_LAYOUT,
    "form": CLASS_LAYOUT,
    "slot": VIRTUAL_TABLE,
    "table": VIRTUAL_TABLE,
    "appended": VIRTUAL_TABLE,
}


def compare(
    dependencies: Dependencies,
    atlas: Atlas,
    live: Release,
    built: str | None = None,
    origin: tuple[Atlas, Release] | None = None,
) -> tuple[list[Finding], list[Unchecked]]:
    """Findings of a plugin's dependencies against one release that the atlas knows.

    `built` is the release that the plugin was built with, where that is known, and `origin` where
    it is looked up, if that is another atlas.
    """
    found, unseen = drifts(dependencies, atlas, live.abi)
    groups: dict[tuple[str, Rule, Verdict], list[Drift]] = {}
    if origin is None and built is not None:
        same = atlas.find(built)
        origin = None if same is None else (atlas, same)
    for drift in found:
        verdict = severity(drift)
        if drift.kind == "size" and origin is not None and _weakly(drift, atlas, origin, live):
            verdict = Verdict.DRIFTED
        groups.setdefault((drift.cls, _RULES[drift.kind], verdict), []).append(drift)
    via = {use.name: use.via for use in dependencies.classes}
    findings = [
        _finding(cls, rule, verdict, group, atlas, origin, live, built, via.get(cls))
        for (cls, rule, verdict), group in groups.items()
    ]
    findings.sort(key=lambda f: (f.verdict != Verdict.UNSAFE, f.rule, f.subject))
    unchecked = []
    if unseen:
        unchecked.append(
            Unchecked(
                what=f"the layout of {len(unseen)} classes, among them `{unseen[0]}`",
                why=f"the atlas does not have them for TensorFlow {live.version}",
            )
        )
    unchecked += [
        Unchecked(what="part of the binary interface", why=t) for t in dependencies.limits
    ]
    return findings, unchecked


def severity(drift: Drift) -> Verdict:
    """`unsafe`, or `drifted` where TensorFlow does not reach the difference by itself."""
    if drift.kind in ("appended", "type") or drift.cls in WEAK:
        return Verdict.DRIFTED
    if drift.kind in ("slot", "table"):
        optional = OPTIONAL.get(drift.cls, ())
        if optional and drift.what.startswith(optional):
            return Verdict.DRIFTED
    return Verdict.UNSAFE


def _weakly(drift: Drift, atlas: Atlas, origin: tuple[Atlas, Release], live: Release) -> bool:
    """Whether a class differs in size only because weak references to it came or went."""
    before = _Parts(drift.cls, origin[0], origin[1].abi)
    after = _Parts(drift.cls, atlas, live.abi)
    if before.size != int(drift.built) or before.unknown or after.unknown:
        return False
    return before.weak != after.weak and before.strong == after.strong


class _Parts:
    """All members of a class, inherited ones too, without those that only weak references need."""

    def __init__(self, cls: str, atlas: Atlas, abi: int) -> None:
        shape = atlas.shape(cls, abi)
        self.size = -1 if shape is None else shape.size
        self.unknown = False
        self.weak = False
        self.strong: set[tuple[int, str, str]] = set()
        self._add(cls, 0, atlas, abi, 0)

    def _add(self, cls: str, at: int, atlas: Atlas, abi: int, depth: int) -> None:
        shape = atlas.shape(cls, abi)
        if shape is None or shape.virtual_bases or depth > 16:
            self.unknown = True
            return
        if cls in WEAK:
            self.weak = True
        else:
            self.strong |= {(at + m[0], name, m[2]) for name, m in shape.members.items()}
        for base, place in shape.bases:
            self._add(base, at + place, atlas, abi, depth + 1)


def _finding(
    cls: str,
    rule: Rule,
    verdict: Verdict,
    group: Sequence[Drift],
    atlas: Atlas,
    origin: tuple[Atlas, Release] | None,
    live: Release,
    built: str | None,
    via: str | None,
) -> Finding:
    before = origin[0].shape(cls, origin[1].abi) if origin is not None else None
    after = atlas.shape(cls, live.abi)
    short = cls.removeprefix("tensorflow::") if hasattr(str, "removeprefix") else cls
    then = f"TensorFlow {built}" if built else "the build"
    now = f"TensorFlow {live.version}"
    if rule is CLASS_SIZE:
        drift = group[0]
        text = f"`{short}` is {drift.built} bytes in {then} and {drift.live} in {now}"
        why = (
            "the plugin allocates such objects itself, and TensorFlow's code writes as many bytes "
            "as its own size has"
        )
        values = drift.built, drift.live
    elif rule is CLASS_LAYOUT:
        text = _layout_text(short, group, before, after, then, now)
        why = "the offset is compiled into the plugin, so it reads or writes another member"
        values = _places(group, "built"), _places(group, "live")
    else:
        names = [_plain(drift.what) for drift in group]
        text = (
            f"the virtual table of `{short}` differs between {then} and {now}: "
            f"`{names[0]}` was in slot {group[0].built}, now {_slot_text(group[0])}"
        )
        if len(group) > 1:
            text += f" ({len(group)} functions moved)"
        why = "a virtual call goes by slot number, so another function is called"
        values = _places(group, "built"), _places(group, "live")
    return rule.finding(
        verdict=verdict,
        subject=cls,
        built=values[0],
        live=values[1],
        message=text,
        why=why,
        remedy=f"rebuild the plugin against {now}",
        count=len(group),
        examples=(via,) if via else (),
    )


def _slot_text(drift: Drift) -> str:
    """Where the function is now, or what is in its place: "absent", "nothing" or a signature."""
    if drift.live.isdigit():
        return f"in slot {drift.live}"
    if drift.live in ("absent", "nothing"):
        return drift.live
    name = _plain(drift.live)
    other = "with other arguments " if name == _plain(drift.what) else ""
    return f"`{name}` {other}is there"


def _plain(signature: str) -> str:
    """The function's own name out of a mangled signature."""
    digits = ""
    for char in signature:
        if not char.isdigit():
            break
        digits += char
    if not digits:
        return "destructor" if signature == "~" else signature
    return signature[len(digits) : len(digits) + int(digits)]


def _places(group: Sequence[Drift], side: str) -> str:
    parts = []
    for drift in group[:4]:
        place = getattr(drift, side)
        if drift.kind in ("member", "type", "form"):
            parts.append(f"{drift.what}@{place}")
        else:
            parts.append(f"{_plain(drift.what)}@{place if place.isdigit() else _plain(place)}")
    return ", ".join(parts) + (", ..." if len(group) > 4 else "")


def _layout_text(
    short: str,
    group: Sequence[Drift],
    before: Shape | None,
    after: Shape | None,
    then: str,
    now: str,
) -> str:
    drift = group[0]
    if drift.live == "absent":
        return f"`{short}` has no member `{drift.what}` in {now}; the plugin uses it"
    if drift.kind in ("type", "form"):
        return f"the member `{drift.what}` of `{short}` has another type in {now}: `{drift.live}`"
    moved = f"`{drift.what}` was at offset {drift.built} in {then} and is at {drift.live} in {now}"
    if before is not None and after is not None and before.size != after.size:
        by = _shift(group)
        tail = f", {len(group)} members that the plugin uses moved by {by}" if by else ""
        return f"`{short}`: {before.size} to {after.size} bytes; {moved}{tail}"
    return f"`{short}`: {moved}"


def _shift(group: Sequence[Drift]) -> str:
    shifts = set()
    for drift in group:
        if drift.kind == "member" and drift.built.isdigit() and drift.live.isdigit():
            shifts.add(int(drift.live) - int(drift.built))
        else:
            return ""
    return f"{shifts.pop():+d}" if len(shifts) == 1 and len(group) > 1 else ""
