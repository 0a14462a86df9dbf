"""All rules in one list."""

from __future__ import annotations

from . import RULES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import Rule


def all_rules() -> tuple[Rule, ...]:
    """Every rule whose findings can stand in a report."""
    from .layout import texts as layout
    from .loading.causes import all_causes
    from .ops.rules import RULES as OPS
    from .signature import texts as signature
    from .stamp.rules import DEMANDS

    return (*all_causes(), *layout.RULES, *RULES, *OPS, *DEMANDS, *signature.RULES)


def rule_of(id: str) -> Rule | None:
    """The rule with an id, None where there is none."""
    return next((rule for rule in all_rules() if rule.id == id), None)


def rule_ids() -> frozenset[str]:
    """The ids of all rules."""
    return frozenset(rule.id for rule in all_rules())
