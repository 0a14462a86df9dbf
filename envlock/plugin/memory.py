"""What was worked out about a plugin before, kept by the digest of its bytes.

Entries hold what this version of the readers says of these bytes, and nothing about the place or
the environment; whatever else an answer depends on is part of its key.
"""

from __future__ import annotations

import os
from binascii import crc32

from ..files import kept
from ..files.reading import listing
from ..models.record import ValidationError, decode, encode
from ..models.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ..atlas.format import Atlas
    from ..binary.elf import ElfFile
    from ..models.record import Record

    R = TypeVar("R", bound=Record)

#: Answers that are kept of one plugin; the oldest go.
MAX_ANSWERS = 32
#: Packages of envlock whose source decides what is said about a plugin's bytes.
_READERS = (
    "atlas",
    "binary/code",
    "binary/debug",
    "binary/elf",
    "binary/names",
    "models",
    "plugin",
    "plugin/dependencies",
    "plugin/registrations",
)


class Memory:
    """The answers about one file; reading them, and the digest, waits for the first question."""

    def __init__(self, elf: ElfFile | None) -> None:
        self._elf = elf
        self._digest: str | None = None
        self._answers: dict[str, Any] | None = None
        self._changed = False

    def number(self, question: str, find: Callable[[], int]) -> int:
        """A number that answers a question, from memory or found now."""
        answers = self._read()
        known = answers.get(question)
        if type(known) is int:
            return known
        found = find()
        self._note(question, found)
        return found

    def texts(self, question: str, find: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """Sentences that answer a question, from memory or found now."""
        known = self._read().get(question)
        if type(known) is list and all(type(text) is str for text in known):
            return tuple(known)
        found = find()
        self._note(question, list(found))
        return found

    def record(self, question: str, kind: type[R], find: Callable[[], R]) -> R:
        """A record that answers a question, from memory or found now."""
        answers = self._read()
        if question in answers:
            try:
                return decode(kind, answers[question])
            except ValidationError:
                pass
        found = find()
        self._note(question, encode(found, sparse=True))
        return found

    def save(self) -> None:
        """Keep what was found since it was read."""
        if self._changed and self._digest is not None and self._answers is not None:
            newest = dict(list(self._answers.items())[-MAX_ANSWERS:])
            kept.write(self._digest, {"reader": reader(), "answers": newest})
        self._changed = False

    def _read(self) -> dict[str, Any]:
        if self._answers is None:
            self._answers = {}
            if self._elf is not None and kept.is_on():
                self._digest = kept.digest_of(self._elf.data)
            if self._digest is not None:
                found = kept.read(self._digest) or {}
                answers = found.get("answers")
                if found.get("reader") == reader() and type(answers) is dict:
                    self._answers = answers
        return self._answers

    def _note(self, question: str, answer: object) -> None:
        answers = self._read()
        answers.pop(question, None)
        answers[question] = answer
        self._changed = True


_reader: list[str] = []


def reader() -> str:
    """What tells one version of the readers from another: envlock's, and its files as they are."""
    if not _reader:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        found: list[tuple[str, int, int]] = []
        for package in _READERS:
            folder = os.path.join(root, package)
            for name in sorted(listing(folder)):
                if name.endswith(".py"):
                    status = os.stat(os.path.join(folder, name))
                    found.append((name, status.st_size, status.st_mtime_ns))
        _reader.append(f"{__version__}-{crc32(repr(found).encode()):08x}")
    return _reader[0]


def name_of(atlas: Atlas) -> str:
    """What tells one atlas from another in a question."""
    try:
        status = os.stat(atlas.path)
    except OSError:
        return f"{atlas.path}-{id(atlas):x}"
    return f"{os.path.basename(atlas.path)}-{status.st_size:x}-{status.st_mtime_ns:x}"
