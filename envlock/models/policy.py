"""Policies: which verdict refuses, and what single rules count for."""

from __future__ import annotations

from .record import Record
from .verdict import VERDICTS, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

    from .report import Finding, Report

POLICY_FORMAT = "envlock.policy/1"
NEVER = "never"
#: How the ids of rules about signatures start.
TRUST_RULES = "signature-"


class RuleSetting(Record):
    """What one rule's findings count for: a verdict, or "ignore"."""

    rule: str
    verdict: str
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"verdict": (*VERDICTS, "ignore")}


class PolicyFile(Record):
    """A policy as it stands in a file, and the form all policies have inside envlock."""

    format: str = POLICY_FORMAT
    fail_on: str = Verdict.UNSAFE  # the mildest verdict that refuses; "never" only reports
    require_stamp: bool = False  # an unstamped plugin is refused
    trust: tuple[str, ...] = ()  # files or folders of public keys; one of them has to have signed
    rules: tuple[RuleSetting, ...] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "format": (POLICY_FORMAT,),
        "fail_on": (*VERDICTS[1:], NEVER),
    }

    def fails(self, verdict: Verdict | None) -> bool:
        """Whether a verdict refuses; an unreadable input (None) always does."""
        if verdict is None:
            return True
        if self.fail_on == NEVER:
            return False
        return verdict >= self.fail_on

    def refuses(self, report: Report) -> bool:
        """Whether a plugin is refused: for its verdict, or for what else the policy requires.

        `fail_on` does not soften a required signature; only a setting of the rule itself does.
        """
        return (
            self.fails(report.verdict)
            or (self.require_stamp and not report.plugin.stamped)
            or (bool(self.trust) and any(map(breaks_trust, report.findings)))
        )


def breaks_trust(finding: Finding) -> bool:
    """Whether a finding is about a signature, and not softened by a policy."""
    return finding.rule.startswith(TRUST_RULES) and finding.verdict >= Verdict.UNSAFE


DEFAULT = PolicyFile()
STRICT = PolicyFile(fail_on=Verdict.DRIFTED)
LENIENT = PolicyFile(fail_on=NEVER)
NAMED = {"default": DEFAULT, "strict": STRICT, "lenient": LENIENT}
