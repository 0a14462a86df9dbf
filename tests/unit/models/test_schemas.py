"""Committed schemas equal the generated ones, are valid schemas, and accept real documents."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from envlock.models.record import Record
from tools.schemas import DOCUMENTS, schema_text

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"


@pytest.mark.parametrize(("name", "record", "title"), DOCUMENTS, ids=lambda v: str(v)[:30])
def test_committed_schema_is_the_generated_one(name: str, record: type[Record], title: str) -> None:
    committed = (SCHEMAS / name).read_text(encoding="utf-8")
    assert committed == schema_text(name, record, title), "run: python -m tools.schemas"
    jsonschema.Draft202012Validator.check_schema(json.loads(committed))


def test_every_committed_schema_has_a_document() -> None:
    assert {path.name for path in SCHEMAS.glob("*.json")} == {name for name, _, _ in DOCUMENTS}
