"""Documents from outside: one line that names the faulty field, with pydantic and without."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from envlock.models.documents import read_document
from envlock.models.drift import DriftDocument
from envlock.models.errors import InputError, PolicyError
from envlock.models.record import Record
from envlock.models.report import ReportDocument
from envlock.rules.policy import resolve_policy
from tests.support.elves import run

REPORT = "envlock.report/1"
KINDS: tuple[type[Record], ...] = (ReportDocument, DriftDocument)
FINDING = {"rule": "r", "verdict": "fine", "subject": "s", "message": "m"}
PLUGIN = {"plugin": {"path": "p", "stamped": True}, "environment": {}, "verdict": None}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "`x` is not a report: its `format` is not `envlock.report/1` or `envlock.drift/1`"),
        ({"format": ["envlock.report/1"]}, "`x` is not a report: its `format` is not"),
        ({"format": "envlock.report/9"}, "`x` has the format `envlock.report/9`, this envlock reads"),
        ({"format": REPORT}, "`x` does not validate: $.reports: Field required"),
        ({"format": REPORT, "reports": [PLUGIN, {**PLUGIN, "plugin": {"path": "p", "stamped": 1}}]},
         "$.reports[1].plugin.stamped: Input should be a valid boolean"),
        ({"format": REPORT, "reports": [{**PLUGIN, "findings": [FINDING]}]},
         "$.reports[0].findings[0].verdict: Input should be 'compatible', 'drifted', 'unsafe' or"),
    ],
)  # fmt: skip
def test_the_faulty_field_is_named(value: Any, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read_document(KINDS, json.dumps(value).encode(), "`x`", "report")
    assert told in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            '{"rules": [{"rule": "a", "verdict": "b"}]}',
            "$.rules[0].verdict: Input should be 'compat",
        ),
        ('{"trust": ["a", 5], "require_stamp": 1}', "boolean (and 1 more)"),
        ('{"format": 1}', "$.format: Input should be 'envlock.policy/1'"),
        ('{"require_stamps": true}', "$.require_stamps: there is no such key; there are format, "),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_policy_names_its_faulty_field(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(content)
    with pytest.raises(PolicyError) as caught:
        resolve_policy(path)
    assert told in caught.value.message


def test_without_pydantic_the_answers_are_the_same() -> None:
    """As after `pip install --no-deps`, beside a TensorFlow that pydantic cannot be installed to."""
    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from envlock.models.documents import read_document\n"
        "from envlock.models.errors import InputError\n"
        "from envlock.models.report import ReportDocument\n"
        "for raw in sys.argv[1:]:\n"
        "    try: print(read_document((ReportDocument,), raw.encode(), 'x', 'report'))\n"
        "    except InputError as error: print(error.message)\n"
    )
    good = json.dumps({"format": REPORT, "reports": [PLUGIN]})
    bad = json.dumps({"format": REPORT, "reports": [{**PLUGIN, "plugin": {"path": 1}}]})
    told = run(sys.executable, "-c", code, good, bad).splitlines()
    assert told[0] == str(read_document((ReportDocument,), good.encode(), "x", "report"))
    assert told[1] == (
        "x does not validate: $.reports[0].plugin.path: expected a string, got an integer"
    )
