"""`show`: the manifest, and what the binary itself reveals."""

from __future__ import annotations

import os

from ..binary.elf import ElfFile
from ..binary.elf.notes import APPENDED, has_linked_note
from ..models.errors import ManifestMissing
from ..models.manifest import Manifest
from ..models.shown import SHOW_FORMAT, ShownDocument
from ..plugin.identity import read_identity
from ..plugin.manifest import read_embedded


def read_manifest(plugin: str | os.PathLike[str]) -> Manifest:
    """The manifest embedded in a plugin; an appended stamp wins over a linked-in note.

    Raises `ManifestMissing`, `ManifestError` (damaged, too large, newer format), `ElfError`,
    `FileAccessError`.
    """
    with ElfFile.open(plugin) as elf:
        found = read_embedded(elf)
        if found is None:
            from shlex import quote

            raise ManifestMissing(
                f"`{elf.path}` carries no manifest",
                hint=f"stamp it where it is built: `envlock stamp {quote(elf.path)}`",
            )
        return found.manifest


def show(plugin: str | os.PathLike[str]) -> ShownDocument:
    """The manifest, if there is one, and the identity read from the binary.

    Raises `ManifestError`, `ElfError`, `FileAccessError`.
    """
    from ..plugin.signature.note import signed_by

    with ElfFile.open(plugin) as elf:
        found = read_embedded(elf)
        return ShownDocument(
            format=SHOW_FORMAT,
            path=elf.path,
            stamp=None if found is None else found.stamp,
            linked_in_too=found is not None and found.stamp == APPENDED and has_linked_note(elf),
            signed_by=signed_by(elf),
            manifest=None if found is None else found.manifest,
            binary=read_identity(elf, digest=True),
        )
