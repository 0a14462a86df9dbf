"""The verdict on a plugin's signature, where a policy requires one."""

from __future__ import annotations

from ...models.report import Finding
from ...plugin.signature.keys import fingerprint, read_trusted, require_cryptography, verify
from ...plugin.signature.statement import EDITED as EDITED_STATE
from ...plugin.signature.statement import INTACT, Outcome
from .texts import BROKEN, EDITED, MISSING, UNTRUSTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...plugin.signature.signed import Signed
    from ..base import Rule

_SIGN = "envlock stamp --sign KEY {}"


class Word:
    """What is said about a plugin: findings, and the trusted key that signed it if one did."""

    __slots__ = ("findings", "signed_by")

    def __init__(self, findings: tuple[Finding, ...], signed_by: str | None = None) -> None:
        self.findings = findings
        self.signed_by = signed_by


class Verifier:
    """The keys that are trusted, and what they say about plugins."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Read the keys; raises `KeyFileError`, `FileAccessError`, `DependencyMissing`."""
        require_cryptography()
        self.keys = read_trusted(paths)

    def judge(self, signed: Signed, name: str) -> Word:
        """What the trusted keys say about one plugin; no finding: they signed all it loads."""
        note = signed.note
        if signed.problem is not None:
            return Word((_broken(name, signed.problem),))
        if note is None:
            missing = "the policy requires a signature; the plugin has none"
            why = "it can come from anyone"
            return Word((_finding(MISSING, name, missing, why=why, remedy=_SIGN.format(name)),))
        by = fingerprint(note.key)
        if note.key not in self.keys:
            return Word((_untrusted(name, by, len(self.keys)),))
        if not verify(note.key, note.signature, note.message):
            return Word((_broken(name, f"the signature was not made with the key {by}", built=by),))
        outcome = signed.outcome
        if isinstance(outcome, str):
            return Word((_broken(name, outcome, built=by),))
        if outcome.kind == INTACT:
            return Word((), by)
        if outcome.kind == EDITED_STATE:
            return Word((_edited(name, outcome, by),), by)
        return Word((_broken(name, f"not what {by} signed: {outcome.changes[0].what}", built=by),))


def _untrusted(name: str, by: str, count: int) -> Finding:
    others = "the one key that is" if count == 1 else f"any of the {count} keys that are"
    return _finding(
        UNTRUSTED,
        name,
        f"it is signed with the key {by}, not with {others} trusted",
        live=by,
        why="the policy does not trust this key",
        remedy="if you know whose it is, add its public key to those that you trust",
    )


def _edited(name: str, outcome: Outcome, by: str) -> Finding:
    shown = [change for change in outcome.changes if change.built is not None]
    if shown:
        what = "; ".join(f"{c.what} `{c.built}` became `{c.live}`" for c in shown)
        why = "these names decide which other libraries are loaded"
    else:
        what = f"{outcome.changes[0].what} were moved or rewritten, though they say the same"
        why = "the signature does not cover it in this form"
    return _finding(
        EDITED,
        name,
        f"it was edited after {by} signed it: {what}",
        built="; ".join(f"{c.what}: {c.built}" for c in shown) or None,
        live="; ".join(f"{c.what}: {c.live}" for c in shown) or None,
        why=why,
        remedy=_SIGN.format(name) + "  # after the last tool that edits it",
    )


def _broken(name: str, message: str, *, built: str | None = None) -> Finding:
    return _finding(
        BROKEN,
        name,
        message,
        built=built,
        why="what would run is not what was signed",
        remedy="get the plugin again from whoever signed it",
    )


def _finding(
    rule: Rule,
    name: str,
    message: str,
    *,
    built: str | None = None,
    live: str | None = None,
    why: str,
    remedy: str,
) -> Finding:
    return rule.finding(
        subject=name,
        built=built,
        live=live,
        message=message,
        why=why,
        remedy=remedy,
    )
