"""The files in `schemas/`: `python -m tools.schemas`. A new document is one line in `DOCUMENTS`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from envlock.models.atlas import AtlasDocument
from envlock.models.compat import CompatDocument
from envlock.models.drift import DriftDocument
from envlock.models.manifest import Manifest
from envlock.models.policy import PolicyFile
from envlock.models.record import Record
from envlock.models.report import ReportDocument
from envlock.models.schema import model_for
from envlock.models.shown import ShownDocument, StampDocument
from envlock.models.signature import Statement
from envlock.models.snapshot import HistoryDocument, Snapshot

#: (file name in schemas/, record, title)
DOCUMENTS: tuple[tuple[str, type[Record], str], ...] = (
    ("manifest-v1.schema.json", Manifest, "envlock manifest, version 1"),
    ("report-v1.schema.json", ReportDocument, "envlock check report, version 1"),
    ("atlas-v1.schema.json", AtlasDocument, "envlock atlas list, version 1"),
    ("compat-v1.schema.json", CompatDocument, "envlock compat, version 1"),
    ("show-v1.schema.json", ShownDocument, "envlock show, version 1"),
    ("stamp-v1.schema.json", StampDocument, "envlock stamp result, version 1"),
    ("signature-v1.schema.json", Statement, "envlock signature statement, version 1"),
    ("policy-v1.schema.json", PolicyFile, "envlock policy file, version 1"),
    ("snapshot-v1.schema.json", Snapshot, "envlock environment snapshot, version 1"),
    ("history-v1.schema.json", HistoryDocument, "envlock snapshot history, version 1"),
    ("drift-v1.schema.json", DriftDocument, "envlock drift report, version 1"),
)


def schema_text(name: str, record: type[Record], title: str) -> str:
    """The exact content of one schema file: JSON schema, draft 2020-12."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:envlock:schema:{name.removesuffix('.schema.json')}",
        **model_for(record).model_json_schema(mode="validation"),
        "title": title,
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write all schemas into the folder given as argument (default: schemas)."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "schemas")
    folder.mkdir(exist_ok=True)
    for name, record, title in DOCUMENTS:
        (folder / name).write_text(schema_text(name, record, title), encoding="utf-8")


if __name__ == "__main__":
    main()
