"""The page of rules is complete and current."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from envlock.models.verdict import VERDICTS, Verdict
from envlock.rules.base import Rules
from envlock.rules.catalogue import all_rules, rule_ids
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


def test_only_rules_make_findings() -> None:
    """So that each has the id of a rule in the catalogue, and no worse a verdict than it says."""
    makers = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "envlock").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Finding"
    ]
    assert [maker.partition(":")[0] for maker in makers] == ["envlock/rules/base.py"]


def test_a_finding_is_never_worse_than_its_rule() -> None:
    rules = Rules("runtime")
    mild = rules.add("mild-rule", "A title", "A reason", Verdict.DRIFTED)
    assert mild.finding(subject="x", message="y").verdict is Verdict.DRIFTED
    for verdict, expected in (
        (Verdict.INCOMPATIBLE, Verdict.DRIFTED),
        (Verdict.COMPATIBLE, Verdict.COMPATIBLE),
    ):
        found = mild.finding(subject="x", message="y", verdict=verdict)
        assert (found.rule, found.verdict) == ("mild-rule", expected)


def test_every_rule_that_looks_at_something_is_asked_in_its_room() -> None:
    deciding = [rule for rule in all_rules() if rule.decide is not None]
    assert len(deciding) > 40
    assert {rule.group for rule in deciding} == {"loading", "runtime", "stamp", "ops"}


def test_each_rule_is_named_by_a_test() -> None:
    texts = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path != Path(__file__).resolve():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
            texts += [text for text in constants if isinstance(text, str)]
    named = set(re.findall(r"(?<![\w-])[a-z0-9]+(?:-[a-z0-9]+)+(?![\w-])", "\n".join(texts)))
    assert rule_ids() <= named
