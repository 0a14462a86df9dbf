"""Snapshots as files: canonical JSON out, strictly validated records in."""

from __future__ import annotations

import json

from ..models.errors import FileAccessError, InputError
from ..models.record import ValidationError, decode, encode
from ..models.snapshot import SNAPSHOT_FORMAT, Snapshot

#: Bytes; a snapshot of 2,000 packages and 100 stamped plugins has 5 MB.
SIZE_LIMIT = 1 << 27


def snapshot_text(snapshot: Snapshot) -> str:
    """The one way to write a snapshot: sorted keys, two spaces, empty fields left out."""
    content = encode(snapshot, sparse=True)
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def parse_snapshot(raw: bytes, label: str) -> Snapshot:
    """A snapshot from its JSON; `label` names it in errors. Raises `InputError`."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label} is not JSON: {error!s:.200}") from None
    found = value.get("format") if isinstance(value, dict) else None
    if found != SNAPSHOT_FORMAT:
        if isinstance(found, str) and found.startswith("envlock.snapshot/"):
            raise InputError(
                f"{label} has the format `{found:.40}`; this envlock reads `{SNAPSHOT_FORMAT}`",
                hint="pip install --upgrade tf-envlock",
            )
        raise InputError(f"{label} is not a snapshot: its `format` is not `{SNAPSHOT_FORMAT}`")
    try:
        found_snapshot = decode(Snapshot, value)
    except ValidationError as problem:
        raise InputError(f"{label} does not validate: {problem}") from None
    if not found_snapshot.fingerprint:
        raise InputError(f"{label} is the record of a snapshot that could not be taken")
    return found_snapshot


def read_snapshot(path: str) -> Snapshot:
    """Read a snapshot file. Raises `FileAccessError` or `InputError`."""
    from ..files import reading as files

    try:
        raw = files.read(path, SIZE_LIMIT)
    except files.Unreadable as problem:
        raise FileAccessError(f"`{path}` cannot be read: {problem}") from None
    return parse_snapshot(raw, f"`{path}`")
