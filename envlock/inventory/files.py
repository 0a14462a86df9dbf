"""Snapshots as files: canonical JSON out, strictly validated records in."""

from __future__ import annotations

import json

from ..files import reading as files
from ..models.documents import read_document
from ..models.errors import FileAccessError, InputError
from ..models.record import encode
from ..models.snapshot import Snapshot

#: Bytes; a snapshot of 2,000 packages and 100 stamped plugins has 5 MB.
SIZE_LIMIT = 1 << 27


def snapshot_text(snapshot: Snapshot) -> str:
    """The one way to write a snapshot: sorted keys, two spaces, empty fields left out."""
    content = encode(snapshot, sparse=True)
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def parse_snapshot(raw: bytes, label: str) -> Snapshot:
    """A snapshot from its JSON; `label` names it in errors. Raises `InputError`."""
    found = read_document((Snapshot,), raw, label, "snapshot")
    if not found.fingerprint:
        raise InputError(f"{label} is the record of a snapshot that could not be taken")
    return found


def read_snapshot(path: str) -> Snapshot:
    """Read a snapshot file. Raises `FileAccessError` or `InputError`."""
    try:
        raw = files.read(path, SIZE_LIMIT)
    except files.Unreadable as problem:
        raise FileAccessError(f"`{path}` cannot be read: {problem}") from None
    return parse_snapshot(raw, f"`{path}`")
