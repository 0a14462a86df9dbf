"""The files in `schemas/`: `python -m tools.schemas`."""

from __future__ import annotations

import sys
from pathlib import Path

from envlock.models.documents import DOCUMENTS, schema_text


def main() -> None:
    """Write all schemas into the folder given as argument (default: schemas)."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "schemas")
    folder.mkdir(exist_ok=True)
    for name, record, title in DOCUMENTS:
        (folder / name).write_text(schema_text(name, record, title), encoding="utf-8")


if __name__ == "__main__":
    main()
