"""All rules in one list; `python -m envlock.catalogue` writes the page `docs/rules.md`."""

from __future__ import annotations

import sys

from .models.report import RuleText
from .rules import RULES


def all_rules() -> tuple[RuleText, ...]:
    """Every rule whose findings can stand in a report."""
    from .abi.rules import RULES as ABI_RULES
    from .linker.causes import all_causes
    from .registration.rules import RULES as REGISTRATION_RULES
    from .rules.stamp import MISSING
    from .trust.rules import RULES as TRUST_RULES

    return (*all_causes(), *ABI_RULES, *RULES, *REGISTRATION_RULES, MISSING, *TRUST_RULES)


def rule_ids() -> frozenset[str]:
    """The ids of all rules."""
    return frozenset(rule.id for rule in all_rules())


def page() -> str:
    """The catalogue as Markdown."""
    lines = [
        "# Rules",
        "",
        "Every finding names the rule that made it. The verdict is the worst that the rule can",
        "give; a policy file can change what a rule counts for, or ignore it (docs/policies.md).",
        "",
        "| rule | what it finds | worst verdict |",
        "|---|---|---|",
    ]
    lines += [f"| [`{r.id}`](#{r.id}) | {r.title} | `{r.severity}` |" for r in all_rules()]
    for rule in all_rules():
        lines += ["", f"## {rule.id}", "", f"**{rule.title}** (`{rule.severity}`)", "", rule.why]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
