"""Signing: the note that goes behind a manifest."""

from __future__ import annotations

from ...models.errors import ElfError
from .keys import PrivateKey
from .note import MAX_NOTE, SignatureNote
from .statement import INTACT, build_statement, compare, encode_statement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...binary.elf.file import ElfFile


def sign(elf: ElfFile, manifest: bytes, key: PrivateKey) -> bytes:
    """The descriptor of the signature note for a plugin and its manifest's JSON.

    Raises `ElfError` for a file that the dynamic linker could see in two ways, since no statement
    about it would hold.
    """
    statement = build_statement(elf, manifest)
    outcome = compare(elf, statement, manifest)
    if outcome.kind != INTACT:
        raise ElfError(f"`{elf.path}` cannot be signed: {outcome.changes[0].what}")
    text = encode_statement(statement)
    note = SignatureNote(key.public, b"", text)
    signed = SignatureNote(key.public, key.sign(note.message), text).encode()
    if len(signed) > MAX_NOTE:
        raise ElfError(f"`{elf.path}` cannot be signed: it has too many separate pieces")
    return signed
