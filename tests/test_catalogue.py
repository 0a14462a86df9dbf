"""The page of rules is complete and current."""

from __future__ import annotations

import re
from pathlib import Path

from envlock.catalogue import all_rules, page, rule_ids
from envlock.models.report import VERDICTS

ROOT = Path(__file__).resolve().parents[1]


def test_the_committed_page_is_the_generated_one() -> None:
    committed = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert committed == page(), "run: python -m envlock.catalogue > docs/rules.md"


def test_every_rule_is_described_once() -> None:
    rules = all_rules()
    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id), rule.id
        assert rule.severity in VERDICTS
        assert rule.title
        assert not rule.title.endswith(".")
        assert len(rule.why) > 40, rule.id


def test_every_rule_that_the_code_can_name_is_in_the_catalogue() -> None:
    named = set()
    for source in (ROOT / "envlock").rglob("*.py"):
        named |= set(re.findall(r"\brule=\"([a-z0-9-]+)\"", source.read_text(encoding="utf-8")))
    assert named
    assert named <= rule_ids()
