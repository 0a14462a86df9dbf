"""The list of documents with a committed schema; `python -m tools.schemas` writes them.

A new document is one line in `DOCUMENTS`.
"""

from __future__ import annotations

import json

from .atlas import AtlasDocument
from .compat import CompatDocument
from .drift import DriftDocument
from .manifest import Manifest
from .policy import PolicyFile
from .record import Record
from .report import ReportDocument
from .shown import ShownDocument, StampDocument
from .signature import Statement
from .snapshot import HistoryDocument, Snapshot

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
    """The exact content of one schema file."""
    from .schema import json_schema

    schema = json_schema(record, f"urn:envlock:schema:{name.removesuffix('.schema.json')}", title)
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
