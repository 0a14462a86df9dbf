"""What a rule is. Rules are pure: values in, findings out, no I/O of their own."""

from __future__ import annotations

from ..models.report import Finding, Unchecked
from ..models.verdict import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Union

    Answer = Union[Finding, Unchecked]

#: Whether another TensorFlow release is the remedy: not, always, or where `tensorflow-skew` says
#: that the plugin is for another one (its flags are right there, a rebuild with others would only
#: keep it from working anywhere).
NEVER, ALWAYS, WITH_SKEW = range(3)
#: What must have changed to explain the finding of a rule that does not say it: the finding's own
#: subject, or TensorFlow.
_CHANGES = ("finding", "TensorFlow")


class Rule:
    """A kind of finding: a stable id, what it is about, why it matters, and who decides.

    `group` is the room that it stands in, `severity` the worst verdict that it gives, `release`
    one of NEVER, ALWAYS, WITH_SKEW, `changes` what a drift report joins its findings to,
    `environment` whether it needs more of a side than its TensorFlow release.
    """

    __slots__ = (
        "changes",
        "decide",
        "environment",
        "group",
        "id",
        "release",
        "severity",
        "title",
        "why",
    )

    def __init__(
        self,
        group: str,
        id: str,
        title: str,
        why: str,
        severity: Verdict = Verdict.INCOMPATIBLE,
        *,
        release: int = NEVER,
        changes: tuple[str, ...] = _CHANGES,
        environment: bool = True,
    ) -> None:
        self.group = group
        self.id = id
        self.title = title
        self.why = why
        self.severity = severity
        self.release = release
        self.changes = changes
        self.environment = environment
        self.decide: Callable[[Any], Any] | None = None

    def __call__(self, seen: Any) -> Any:
        """What the rule says of what it sees."""
        assert self.decide is not None
        return self.decide(seen)

    def finding(self, *, verdict: Verdict | None = None, **values: Any) -> Finding:
        """A finding of this rule, never worse than its severity; `values` as `Finding` has them."""
        return Finding(rule=self.id, verdict=min(verdict or self.severity, self.severity), **values)


class Rules(list[Rule]):
    """The rules of one file, in the order in which they are asked."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.group = group

    def add(self, *text: Any, **traits: Any) -> Rule:
        """A rule whose findings are made elsewhere, by its `finding`; arguments as for `Rule`."""
        rule = Rule(self.group, *text, **traits)
        self.append(rule)
        return rule

    def rule(self, *text: Any, **traits: Any) -> Callable[[Callable[[Any], Any]], Rule]:
        """Makes the decorated function a rule; arguments as for `Rule`."""

        def made(decide: Callable[[Any], Any]) -> Rule:
            rule = self.add(*text, **traits)
            rule.decide = decide
            return rule

        return made
