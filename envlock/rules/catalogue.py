"""All rules in one list."""

from __future__ import annotations

from ..models.report import RuleText
from . import RULES


def all_rules() -> tuple[RuleText, ...]:
    """Every rule whose findings can stand in a report."""
    from .layout.texts import RULES as ABI_RULES
    from .loading.causes import all_causes
    from .ops.rules import RULES as REGISTRATION_RULES
    from .signature.texts import RULES as TRUST_RULES
    from .stamp.rules import MISSING

    return (*all_causes(), *ABI_RULES, *RULES, *REGISTRATION_RULES, MISSING, *TRUST_RULES)


def rule_ids() -> frozenset[str]:
    """The ids of all rules."""
    return frozenset(rule.id for rule in all_rules())
