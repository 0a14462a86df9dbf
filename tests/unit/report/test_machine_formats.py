"""SARIF and JUnit validate against their published schemas, whatever stands in a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft4Validator
from lxml import etree

from envlock.models.policy import DEFAULT, LENIENT, STRICT, PolicyFile
from envlock.report.formats import render
from tests.unit.report.documents import ALL, check_document, drift_document, hostile_report

SCHEMAS = Path(__file__).parents[2] / "data" / "schemas"
POLICIES = {"default": DEFAULT, "strict": STRICT, "lenient": LENIENT}


@pytest.fixture(scope="module")
def sarif_schema() -> Draft4Validator:
    return Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text()))


@pytest.fixture(scope="module")
def junit_schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(SCHEMAS / "junit-10.xsd")))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("name", ALL)
def test_sarif_validates(sarif_schema: Draft4Validator, name: str, policy: PolicyFile) -> None:
    log = json.loads(render(ALL[name], "sarif", policy).encode())
    sarif_schema.validate(log)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("name", ALL)
def test_junit_validates(junit_schema: etree.XMLSchema, name: str, policy: PolicyFile) -> None:
    junit_schema.assertValid(etree.fromstring(render(ALL[name], "junit", policy).encode()))


def test_the_schemas_refuse_what_is_wrong(
    sarif_schema: Draft4Validator, junit_schema: etree.XMLSchema
) -> None:
    log = json.loads(render(check_document(), "sarif"))
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not sarif_schema.is_valid(log)
    root = etree.fromstring(render(check_document(), "junit").encode())
    root.append(etree.Element("verdict"))
    assert not junit_schema.validate(root)


def test_sarif_results() -> None:
    run = json.loads(render(check_document(), "sarif"))["runs"][0]
    results = run["results"]
    assert [(r["ruleId"], r["level"]) for r in results] == [
        ("undefined-symbol", "error"),
        ("python-version", "note"),
        ("numpy-abi", "error"),
        ("python-version", "note"),
    ]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[r["ruleIndex"]]["id"] for r in results] == [r["ruleId"] for r in results]
    place = results[2]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "text/_sentence%20ops.so"
    assert place["region"]["startLine"] == 1
    unread = [
        note
        for note in run["invocations"][0]["toolExecutionNotifications"]
        if note["level"] == "error"
    ]
    assert [note["message"]["text"] for note in unread] == [
        "`lib/_broken.so` is truncated at byte 4096"
    ]
    assert run["invocations"][0]["executionSuccessful"] is False


def test_sarif_levels_follow_the_policy() -> None:
    def levels(policy: PolicyFile) -> list[str]:
        run = json.loads(render(check_document(), "sarif", policy))["runs"][0]
        return [r["level"] for r in run["results"]]

    assert levels(STRICT) == ["error"] * 4
    assert levels(LENIENT) == ["error", "note", "warning", "note"]


@pytest.mark.parametrize(
    ("rule", "title"),
    [
        ("tensorflow-things", "TensorFlow things"),
        ("other-cuda-abi", "Other CUDA ABI"),
        ("numpy-2", "numpy 2"),
    ],
)
def test_sarif_titles_of_rules_that_only_a_newer_envlock_knows(rule: str, title: str) -> None:
    one = hostile_report("x")
    findings = (one.findings[0].replace(rule=rule),)
    document = check_document().replace(reports=(one.replace(findings=findings),))
    (run,) = json.loads(render(document, "sarif"))["runs"]
    (described,) = run["tool"]["driver"]["rules"]
    assert described["shortDescription"]["text"] == title


def test_sarif_fingerprints_stay_when_a_checkout_moves() -> None:
    first = check_document()
    reports = tuple(
        r.replace(plugin=r.plugin.replace(path="/other/place/" + r.plugin.path.lstrip("/")))
        for r in first.reports
    )

    def prints(document: object) -> list[str]:
        run = json.loads(render(document, "sarif"))["runs"][0]  # type: ignore[arg-type]
        return [r["partialFingerprints"]["envlock/v1"] for r in run["results"]]

    assert prints(first) == prints(first.replace(reports=reports))
    assert len(set(prints(first))) == 4


def test_sarif_of_a_drift_tells_each_finding_once() -> None:
    run = json.loads(render(drift_document(), "sarif"))["runs"][0]
    texts = [r["message"]["text"] for r in run["results"]]
    assert sum("14 symbols" in text for text in texts) == 1
    assert run["results"][0]["ruleId"] == "change-native"
    logical = run["results"][1]["locations"][0]["logicalLocations"][0]
    assert logical["fullyQualifiedName"] == "pip:numpy"


def test_junit_counts() -> None:
    root = etree.fromstring(render(check_document(), "junit").encode())
    suite = root.find("testsuite")
    assert suite is not None
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors")}
    assert counts == {"tests": "5", "failures": "2", "errors": "1"}
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "pip install 'tensorflow-cpu==2.15.*'" in (failure.text or "")
    lenient = etree.fromstring(render(check_document(), "junit", LENIENT).encode())
    assert lenient.get("failures") == "0"


def test_junit_of_a_drift_has_a_case_a_change() -> None:
    root = etree.fromstring(render(drift_document(), "junit").encode())
    drift, plugins = root.findall("testsuite")
    assert (drift.get("tests"), drift.get("failures")) == ("11", "2")
    assert (plugins.get("tests"), plugins.get("failures")) == ("4", "2")


# --- GitLab's Code Quality ------------------------------------------------------------------------

#: docs.gitlab.com/ci/testing/code_quality, "Code Quality report format": what an issue has to have.
ISSUE = {
    "type": "object",
    "required": ["description", "check_name", "fingerprint", "severity", "location"],
    "properties": {
        "description": {"type": "string", "minLength": 1},
        "check_name": {"type": "string", "minLength": 1},
        "fingerprint": {"type": "string", "minLength": 1},
        "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
        "location": {
            "type": "object",
            "required": ["path", "lines"],
            "properties": {
                "path": {"type": "string", "minLength": 1},
                "lines": {
                    "type": "object",
                    "required": ["begin"],
                    "properties": {"begin": {"type": "integer", "minimum": 1}},
                },
            },
        },
    },
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("name", ALL)
def test_code_quality_has_what_gitlab_requires(name: str, policy: PolicyFile) -> None:
    text = render(ALL[name], "codequality", policy)
    issues = json.loads(text.encode())
    Draft4Validator({"type": "array", "items": ISSUE}).validate(issues)
    prints = [issue["fingerprint"] for issue in issues]
    assert len(prints) == len(set(prints)), "GitLab takes issues of one fingerprint for one"
    assert all(issue["description"].isprintable() for issue in issues)
    assert (issues == []) == (name in ("empty", "unchanged"))


def test_code_quality_issues() -> None:
    def told(policy: PolicyFile) -> list[tuple[str, str, str]]:
        issues = json.loads(render(check_document(), "codequality", policy))
        return [(i["location"]["path"], i["check_name"], i["severity"]) for i in issues]

    expected = [
        ("/srv/train/env/lib/acme/_matcher_ops.so", "undefined-symbol", "blocker"),
        ("/srv/train/env/lib/acme/_matcher_ops.so", "python-version", "minor"),
        ("text/_sentence ops.so", "numpy-abi", "critical"),
        ("lib/_broken.so", "unreadable", "blocker"),
        ("lib/_topk.so", "python-version", "minor"),
    ]
    assert told(DEFAULT) == expected
    failing = [(*one[:2], "major" if one[2] == "minor" else one[2]) for one in expected]
    assert told(STRICT) == failing


def test_code_quality_of_a_drift() -> None:
    issues = json.loads(render(drift_document(), "codequality"))
    assert issues[0]["check_name"] == "change-native"
    assert issues[0]["location"]["path"] == "/srv/train/env/lib/acme/_matcher_ops.so"
    assert issues[2]["location"]["path"] == "/srv/train/env"
