"""What a plugin's signature says, and whether that is still true of the file."""

from __future__ import annotations

from functools import cached_property

from ...binary.elf.notes import find_stamp
from ...models.errors import ElfError, ManifestError
from .note import find_signature
from .statement import Outcome, compare, decode_statement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...binary.elf.file import ElfFile


class Signed:
    """The signature of one file: `note` is None where there is none, `problem` says what keeps it
    from being read."""

    def __init__(self, elf: ElfFile) -> None:
        self._elf: ElfFile | None = elf
        self.problem: str | None = None
        self.note = None
        self._manifest = b""
        try:
            note, stamp = find_signature(elf), find_stamp(elf)
        except (ManifestError, ElfError) as error:
            self.problem = error.message
            return
        if note is not None and stamp is not None:
            self.note, self._manifest = note, stamp.payload

    @cached_property
    def outcome(self) -> Outcome | str:
        """How the file compares with what was signed; a text where the statement is damaged.

        Only worth asking once the signature is known to be good.
        """
        assert self.note is not None
        assert self._elf is not None
        try:
            statement = decode_statement(self.note.statement, self._elf.path)
            return compare(self._elf, statement, self._manifest)
        except ManifestError as error:
            return error.message

    def __getstate__(self) -> dict[str, Any]:
        if self.note is not None:
            _ = self.outcome
        return {**self.__dict__, "_elf": None}
