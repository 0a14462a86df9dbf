"""The page of rules is complete and current."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from envlock.models.report import VERDICTS, Rule, worst
from envlock.rules.catalogue import all_rules, rule_ids
from tests.support.emissions import emitted, emitted_by
from tools.rules_page import page

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_page_is_the_generated_one() -> None:
    committed = (ROOT / "docs" / "reference" / "rules.md").read_text(encoding="utf-8")
    assert committed == page(), "run: python -m tools.rules_page > docs/reference/rules.md"


def test_every_rule_is_described_once() -> None:
    rules = all_rules()
    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id), rule.id
        assert rule.severity in VERDICTS
        assert rule.title
        assert not rule.title.endswith(".")
        assert len(rule.why) > 40, rule.id


def test_the_catalogue_holds_the_rules_of_all_findings_and_no_other() -> None:
    assert set(emitted()) == rule_ids()


def test_the_severity_of_a_rule_is_the_worst_that_its_findings_can_have() -> None:
    assert {rule.id: rule.severity for rule in all_rules()} == {
        rule: worst(verdicts) for rule, verdicts in emitted().items()
    }


def test_each_function_makes_the_findings_of_its_own_rule() -> None:
    judging = [rule for rule in all_rules() if isinstance(rule, Rule)]
    assert len(judging) > 40
    for rule in judging:
        assert emitted_by(rule.applies) == {rule.id}


def test_each_rule_is_named_by_a_test() -> None:
    texts = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path != Path(__file__).resolve():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
            texts += [text for text in constants if isinstance(text, str)]
    named = set(re.findall(r"(?<![\w-])[a-z0-9]+(?:-[a-z0-9]+)+(?![\w-])", "\n".join(texts)))
    assert rule_ids() <= named
