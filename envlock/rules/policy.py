"""Reading policies and applying them: to findings, and what else they require."""

from __future__ import annotations

import os

from ..models.errors import PolicyError
from ..models.policy import NAMED, PolicyFile, breaks_trust
from ..models.record import ValidationError, decode
from ..models.verdict import Verdict, worst

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..models.report import Finding
    from ..plugin.facts import PluginFacts
    from .signature.verify import Verifier

MAX_POLICY = 1 << 20


def resolve_policy(policy: PolicyFile | str | os.PathLike[str] | None) -> PolicyFile:
    """A policy from its name ("default", "strict", "lenient"), its file, or None for the default.

    Raises `PolicyError` when the file cannot be read, is not JSON, or names an unknown rule.
    """
    if policy is None:
        return NAMED["default"]
    if isinstance(policy, PolicyFile):
        return policy
    name = os.fspath(policy)
    if name in NAMED:
        return NAMED[name]
    try:
        with open(name, "rb") as file:
            raw = file.read(MAX_POLICY + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PolicyError(
            f"cannot read the policy `{name}`: {reason}",
            hint=f"it is a JSON file, or one of {', '.join(NAMED)}",
        ) from None
    if len(raw) > MAX_POLICY:
        raise PolicyError(f"the policy `{name}` is larger than {MAX_POLICY} bytes")
    import json

    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"the policy `{name}` is not JSON: {error}") from None
    try:
        found = _beside(_decode(value), name)
    except ValidationError as error:
        raise PolicyError(f"the policy `{name}` is not valid: {error}") from None
    _check_rules(found, name)
    return found


def _decode(value: object) -> PolicyFile:
    """The gate reads policies too: what is faulty is asked of pydantic only when something is."""
    try:
        found = decode(PolicyFile, value)
    except ValidationError:
        from ..models.documents import validate

        return validate(PolicyFile, value)
    # Other documents may grow keys; a policy with a mistyped one would check less than it says.
    assert isinstance(value, dict)
    for key in value:
        if key not in PolicyFile.record_fields:
            known = ", ".join(PolicyFile.record_fields)
            raise ValidationError(f"$.{key:.80}", f"there is no such key; there are {known}")
    return found


def _beside(policy: PolicyFile, name: str) -> PolicyFile:
    """Keys are named as seen from the policy's folder, wherever it is used from."""
    if not policy.trust:
        return policy
    folder = os.path.dirname(os.path.abspath(name))
    return policy.replace(trust=tuple(os.path.join(folder, path) for path in policy.trust))


def _check_rules(policy: PolicyFile, name: str) -> None:
    if not policy.rules:
        return
    from .catalogue import rule_ids

    known = rule_ids()
    for setting in policy.rules:
        if setting.rule not in known:
            raise PolicyError(
                f"the policy `{name}` names the rule `{setting.rule:.100}`, which does not exist",
                hint="docs/reference/rules.md lists the rules",
            )


def apply_policy(findings: tuple[Finding, ...], policy: PolicyFile) -> tuple[Finding, ...]:
    """The findings with the policy's verdicts; those that it ignores are left out."""
    settings = {setting.rule: setting.verdict for setting in policy.rules}
    if not settings:
        return findings
    kept = []
    for finding in findings:
        verdict = settings.get(finding.rule, finding.verdict)
        if verdict != "ignore":
            kept.append(finding.replace(verdict=Verdict(verdict)))
    return tuple(kept)


def verdict_of(findings: tuple[Finding, ...]) -> Verdict:
    """The worst verdict among findings; "compatible" where there are none."""
    return worst(finding.verdict for finding in findings)


def trusted_keys(policy: PolicyFile) -> Verifier | None:
    """The keys that a policy trusts, None where it requires no signature.

    Raises `KeyFileError`, `FileAccessError`, and `DependencyMissing` without `cryptography`.
    """
    if not policy.trust:
        return None
    from .signature.verify import Verifier

    return Verifier(policy.trust)


def settle(
    plugin: PluginFacts,
    findings: Iterable[Finding],
    policy: PolicyFile,
    trusted: Verifier | None,
) -> tuple[tuple[Finding, ...], str | None]:
    """The findings with what else the policy requires, as the policy counts them; and the key
    that signed the plugin, None where none does or the policy lets that not count."""
    if policy.require_stamp and plugin.manifest is None:
        from .stamp.rules import missing_stamp

        findings = (*findings, missing_stamp(plugin.path))
    word = None if trusted is None else trusted.judge(plugin.signed, plugin.name)
    kept = apply_policy((*(word.findings if word else ()), *findings), policy)
    if word is None or any(map(breaks_trust, kept)):
        return kept, None
    return kept, word.signed_by
