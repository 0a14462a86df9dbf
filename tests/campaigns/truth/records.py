"""The recorded loads: `published_plugins.jsonl.gz`, one real `tf.load_op_library` call a line."""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

_NAME = "published_plugins.jsonl.gz"
_MISSING_SYMBOL = re.compile(r"undefined symbol: (\S+?)(?:, version (\S+))?$", re.MULTILINE)


@dataclass(frozen=True)
class Record:
    """One load: which plugin, in which environment, and what became of it."""

    dist: str
    member: str
    package: str
    version: str
    python: str
    outcome: str
    message: str | None
    functional: str | None

    @property
    def environment(self) -> tuple[str, str]:
        return self.package, self.version

    @property
    def refused(self) -> bool:
        """Whether the dynamic linker refused it; a crash comes after it had accepted."""
        return self.outcome == "load_error"

    @property
    def missing_symbol(self) -> str | None:
        match = _MISSING_SYMBOL.search(self.message or "")
        return match[1] if match else None


def path() -> Path | None:
    """The data file: `$ENVLOCK_TRUTH`, or `shared/truth` beside the checkout; None without one."""
    named = os.environ.get("ENVLOCK_TRUTH")
    if named:
        found = Path(named)
        found = found / _NAME if found.is_dir() else found
    else:
        checkout = Path(__file__).resolve().parents[3]
        found = checkout.parent / "shared" / "truth" / _NAME
    return found if found.is_file() else None


def load() -> list[Record]:
    """Every record, in file order; raises FileNotFoundError without the data."""
    found = path()
    if found is None:
        raise FileNotFoundError(f"no {_NAME}: name its folder in ENVLOCK_TRUTH")
    with gzip.open(found, "rt", encoding="utf-8") as lines:
        return [_record(json.loads(line)) for line in lines]


def _record(raw: dict[str, str | None]) -> Record:
    return Record(
        dist=raw["dist"] or "",
        member=raw["member"] or "",
        package=raw["tensorflow_package"] or "",
        version=raw["tf_version"] or "",
        python=raw["python"] or "",
        outcome=raw["outcome"] or "",
        message=raw["message"],
        functional=raw["functional"],
    )
