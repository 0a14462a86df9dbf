"""The history: snapshots in one SQLite file, in the user's data folder or where `--store` says.

Every save is one transaction that SQLite has synced to disk before `save` returns, so that a
process killed at any moment loses nothing that was saved before; a second writer waits.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import zlib
from shlex import quote

from ..models.documents import UPGRADE, validate
from ..models.errors import InputError, UsageError, WriteError
from ..models.record import ValidationError, encode
from ..models.snapshot import SavedSnapshot, Snapshot
from .files import SIZE_LIMIT, parse_snapshot
from .names import default_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

LAYOUT = 1
#: How long a writer waits for another one, in seconds.
PATIENCE = 30.0

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\Z")

_CREATE = """
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    saved TEXT NOT NULL,
    environment TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    packages INTEGER NOT NULL,
    tensorflow TEXT,
    plugins INTEGER NOT NULL,
    document BLOB NOT NULL
)
"""
#: Bytes in which the table's definition stands: SQLite's first page is not larger.
_HEAD = 1 << 16
_INDEX = "CREATE INDEX by_name ON snapshots (name, id)"
_COLUMNS = "id, name, saved, environment, fingerprint, packages, tensorflow, plugins"


class Store:
    """An open history; a context manager. With `create` false, a missing file is an empty one."""

    def __init__(self, path: str | None = None, *, create: bool = False) -> None:
        self.path = path or default_path()
        self._connection: sqlite3.Connection | None = None
        if create:
            folder = os.path.dirname(os.path.abspath(self.path))
            try:
                os.makedirs(folder, mode=0o700, exist_ok=True)
            except OSError as error:
                raise WriteError(f"cannot make the folder `{folder}`: {error.strerror}") from None
        elif not os.path.lexists(self.path):
            return
        self._open(create)

    def _open(self, create: bool) -> None:
        if os.path.lexists(self.path) and not os.path.isfile(self.path):
            raise InputError(f"the store `{self.path}` is not a regular file")
        try:
            # isolation_level None: transactions are begun and ended below, by hand.
            self._connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._prepare(create)
        except (sqlite3.Error, UnicodeDecodeError) as error:  # damaged text, also in a message
            self.close()
            self._fail(error)
        except BaseException:
            self.close()
            raise

    def _prepare(self, create: bool) -> None:
        connection = self._db()
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout > LAYOUT:
            raise InputError(
                f"the store `{self.path}` has layout {layout}, this envlock knows {LAYOUT}",
                hint=UPGRADE,
            )
        if layout == LAYOUT:
            # A view in place of the table could compute for ever.
            made = connection.execute(
                "SELECT type, sql FROM sqlite_master WHERE name = 'snapshots'"
            )
            if made.fetchall() != [("table", _CREATE.strip())]:
                raise InputError(f"`{self.path}` is an SQLite file, but not an envlock history")
            return
        if not create:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables:
                raise InputError(f"`{self.path}` is an SQLite file, but not an envlock history")
            self.close()
            return
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            # Another process may have made it while this one waited.
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise InputError(f"`{self.path}` is an SQLite file, but not an envlock history")
                connection.execute(_CREATE)
                connection.execute(_INDEX)
                connection.execute(f"PRAGMA user_version = {LAYOUT}")

    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _fail(self, error: Exception) -> NoReturn:
        text = str(error)
        if "locked" in text:
            raise WriteError(
                f"the store `{self.path}` has been in use by another process for {PATIENCE:.0f} s"
            ) from None
        if "readonly" in text or "unable to open" in text or "disk" in text:
            raise WriteError(f"the store `{self.path}` cannot be used: {text}") from None
        if not self._ours():
            raise InputError(
                f"`{self.path}` is not an envlock history: {text}",
                hint="name the file of a history with `--store FILE`, or leave it out for your own",
            ) from None
        moved = f"mv {quote(self.path)} {quote(self.path + '.damaged')}"
        raise InputError(
            f"the store `{self.path}` is damaged: {text}",
            hint=f"move it away and start a new one: {moved}",
        ) from None

    def _ours(self) -> bool:
        """Whether a damaged file was a store, so that it may be told to be moved away."""
        # What `$ENVLOCK_STORE` names can be anything, as what `--store` names.
        if not os.environ.get("ENVLOCK_STORE") and self.path == default_path():
            return True
        try:
            with open(self.path, "rb") as file:
                return _CREATE.strip().encode() in file.read(_HEAD)
        except OSError:
            return False

    def _bound(self) -> None:
        """No value is longer than the file, whatever a damaged row says; Python 3.11 and later."""
        if self._connection is not None and sys.version_info >= (3, 11):
            longest = min(os.path.getsize(self.path) + (1 << 16), SIZE_LIMIT)
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the object answers as an empty history afterwards."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def save(self, name: str, environment: str, snapshot: Snapshot) -> SavedSnapshot:
        """Add a snapshot; returns when it is on disk. A used name gets another entry."""
        check_name(name)
        import time

        text = json.dumps(encode(snapshot, sparse=True), ensure_ascii=False, sort_keys=True)
        packages = len(snapshot.packages.pip) + len(snapshot.packages.conda)
        tensorflow = snapshot.native.tensorflow
        values: tuple[object, ...] = (
            name,
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            environment,
            snapshot.fingerprint,
            packages,
            tensorflow.version if tensorflow else None,
            len(snapshot.plugins),
            zlib.compress(text.encode("utf-8")),
        )
        connection = self._db()
        if sys.version_info >= (3, 11):
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SIZE_LIMIT)
        try:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                row = connection.execute(
                    "INSERT INTO snapshots (name, saved, environment, fingerprint, packages,"
                    " tensorflow, plugins, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                ).lastrowid
        except sqlite3.Error as error:
            self._fail(error)
        entries = self._select("WHERE id = ?", (row,))
        return entries[0]

    def _select(self, where: str, values: Sequence[object]) -> list[SavedSnapshot]:
        if self._connection is None:
            return []
        names = [column.strip() for column in _COLUMNS.split(",")]
        self._bound()
        try:
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM snapshots {where}", values
            ).fetchall()
            return [validate(SavedSnapshot, dict(zip(names, row))) for row in rows]
        except (sqlite3.Error, UnicodeDecodeError, MemoryError) as error:
            self._fail(error)
        except ValidationError as problem:
            raise InputError(f"the store `{self.path}` is damaged: {problem}") from None

    def list(self, name: str | None = None, environment: str | None = None) -> list[SavedSnapshot]:
        """All entries, or those of one name or environment, newest first."""
        conditions = []
        values: list[object] = []
        for column, value in (("name", name), ("environment", environment)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return self._select(f"{where}ORDER BY id DESC", values)

    def find(self, reference: str) -> SavedSnapshot | None:
        """The newest entry of a name, or the entry `@ID`; None where there is none."""
        if reference.startswith("@") and reference[1:].isdecimal():
            found = self._select("WHERE id = ?", (min(int(reference[1:]), (1 << 63) - 1),))
        else:
            found = self._select("WHERE name = ? ORDER BY id DESC LIMIT 1", (reference,))
        return found[0] if found else None

    def load(self, entry: SavedSnapshot) -> Snapshot:
        """The whole snapshot of an entry; raises `InputError` where it is damaged."""
        self._bound()
        try:
            row = (
                self._db()
                .execute("SELECT document FROM snapshots WHERE id = ?", (entry.id,))
                .fetchone()
            )
        except (sqlite3.Error, UnicodeDecodeError, MemoryError) as error:
            self._fail(error)
        label = f"snapshot @{entry.id} in `{self.path}`"
        if row is None or not isinstance(row[0], bytes):
            raise InputError(f"{label} is gone or damaged")
        expander = zlib.decompressobj()
        try:
            content = expander.decompress(row[0], SIZE_LIMIT)
        except zlib.error as error:
            raise InputError(f"{label} is damaged: {error}") from None
        if expander.unconsumed_tail:
            raise InputError(f"{label} is larger than {SIZE_LIMIT} bytes")
        return parse_snapshot(content, label)

    def forget(self, entries: Sequence[SavedSnapshot]) -> None:
        """Remove entries."""
        connection = self._db()
        try:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.executemany(
                    "DELETE FROM snapshots WHERE id = ?", [(entry.id,) for entry in entries]
                )
        except sqlite3.Error as error:
            self._fail(error)


def check_name(name: str) -> None:
    """Refuse names that could be taken for a path, an option or `@ID`."""
    if not NAME.match(name):
        raise UsageError(
            f"`{name:.100}` cannot name a snapshot",
            hint="letters, digits, `.`, `_`, `+` and `-`, at most 100, a letter or digit first",
        )
