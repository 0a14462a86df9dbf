"""The page `docs/reference/rules.md`: `python -m tools.rules_page > docs/reference/rules.md`."""

from __future__ import annotations

import sys

from envlock.rules.catalogue import all_rules


def page() -> str:
    """The catalogue as Markdown."""
    lines = [
        "# Rules",
        "",
        "Every finding names the rule that made it. The verdict is the worst that the rule can",
        "give; a policy file can change what a rule counts for, or ignore it (docs/reference/policies.md).",
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
