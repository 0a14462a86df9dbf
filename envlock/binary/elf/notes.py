"""ELF notes, and among them the one that carries envlock's manifest.

A note is three words (name size, descriptor size, type), the owner's name and the descriptor, each
padded (System V gABI, chapter 5, "Note Section"). envlock's note has the owner `envlock`, type 1
and the manifest's JSON as its descriptor. It comes in two forms:

* appended: section `.note.envlock` without SHF_ALLOC, at the end of the file (`elf.append`);
* linked-in: compiled into the plugin (`elf.note_source`), loaded, so found by PT_NOTE even when
  the section headers are gone.

A later stamp wins: where both are there, the appended one is read.
"""

from __future__ import annotations

import struct

from ...models.errors import ManifestError
from .file import ElfFile
from .image import PT_NOTE, SHF_ALLOC, SHT_NOBITS, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = b"envlock\0"
NOTE_TYPE = 1
#: The signature behind an appended manifest, `envlock.plugin.signature.note`.
SIGNATURE_TYPE = 2
SECTION = ".note.envlock"

#: Bytes of JSON that are read at most; real manifests have 5 to 40 KB.
MAX_MANIFEST = 4 << 20
#: Notes that are looked at in one section or segment.
MAX_NOTES = 1 << 16

APPENDED, LINKED_IN = "appended", "linked-in"

UPGRADE = "upgrade envlock: `pip install --upgrade tf-envlock`"


class Note:
    """One note; `offset` and `size` are its descriptor's, in bytes of the file."""

    __slots__ = ("offset", "owner", "size", "type")

    def __init__(self, owner: bytes, type: int, offset: int, size: int) -> None:
        self.owner = owner
        self.type = type
        self.offset = offset
        self.size = size


class Stamp:
    """An embedded manifest as it stands in the file: its JSON, and in which form it was found."""

    __slots__ = ("kind", "payload")

    def __init__(self, payload: bytes, kind: str) -> None:
        self.payload = payload
        self.kind = kind


def iter_notes(elf: ElfFile, offset: int, size: int, align: int) -> Iterator[Note]:
    """The notes between two file offsets; `align` is the segment's or section's alignment.

    Descriptors are not read. The area must lie inside the file (`ElfError`); a note that does not
    fit into the area raises `ManifestError`, because only envlock's own are of interest here.
    """
    if offset + size > elf.size:
        raise elf.damaged(
            f"notes ({size} bytes at offset {offset}) end outside the {elf.size} bytes"
        )
    step = 8 if align == 8 else 4
    layout = elf.struct("III")
    at, end = 0, size
    for _ in range(MAX_NOTES):
        if at + 12 > end:
            if any(elf.data[offset + at : offset + end]):
                raise _cut(elf, f"{end - at} bytes after the last note are not a note")
            return
        namesz, descsz, kind = layout.unpack_from(elf.data, offset + at)
        name = at + 12
        desc = name + namesz
        desc += -desc % step
        if name + namesz > end or desc + descsz > end:
            raise _cut(
                elf,
                f"a name of {namesz} and a descriptor of {descsz} bytes do not fit into the "
                f"{end - at} bytes that are there",
            )
        owner = elf.data[offset + name : offset + name + min(namesz, 64)]
        yield Note(owner, kind, offset + desc, descsz)
        at = desc + descsz
        at += -at % step
    raise _cut(elf, f"more than {MAX_NOTES} notes in one place")


def _cut(elf: ElfFile, what: str) -> ManifestError:
    return ManifestError(
        f"`{elf.path}` has a damaged ELF note: {what}",
        hint="stamp it again: `envlock stamp`, or rebuild it",
    )


def find_stamp(elf: ElfFile) -> Stamp | None:
    """envlock's note, the appended one before the linked-in one; None where there is neither.

    Raises `ManifestError` when the note is damaged, larger than `MAX_MANIFEST`, of an unknown
    type, or there twice with different content. Identical copies count as one: a static library
    linked twice does that.
    """
    appended: list[Section] = []
    linked: list[Section] = []
    for section in elf.sections:
        if section.name == SECTION and section.type != SHT_NOBITS:
            (linked if section.flags & SHF_ALLOC else appended).append(section)
    for sections, kind in ((appended, APPENDED), (linked, LINKED_IN)):
        found: list[Note] = []
        for section in sections:
            notes = [
                note
                # Whatever the header says: patchelf makes it 8 in big-endian files.
                for note in iter_notes(elf, section.offset, section.size, 4)
                if note.owner == OWNER
            ]
            if not notes:
                raise ManifestError(
                    f"`{elf.path}`: section `{SECTION}` holds no note of the owner `envlock`",
                    hint="stamp it again: `envlock stamp`",
                )
            found += notes
        if found:
            return _choose(elf, found, kind)
    found = _scan_segments(elf)
    return _choose(elf, found, LINKED_IN) if found else None


def has_linked_note(elf: ElfFile) -> bool:
    """Whether a linked-in note is there, also where an appended one wins over it."""
    try:
        return bool(_scan_segments(elf))
    except ManifestError:
        return True  # a damaged one; nobody needs it


def _scan_segments(elf: ElfFile) -> list[Note]:
    """envlock's notes in PT_NOTE; other owners' notes need not make sense."""
    found: dict[int, Note] = {}
    for segment in elf.segments:
        if segment.type != PT_NOTE or not segment.filesz:
            continue
        end = segment.offset + segment.filesz
        if end > elf.size:
            raise elf.damaged(f"a note segment ends at {end}, outside the {elf.size} bytes")
        if elf.data.find(OWNER, segment.offset, end) < 0:
            continue
        for note in iter_notes(elf, segment.offset, segment.filesz, segment.align):
            if note.owner == OWNER:
                found[note.offset] = note
    return list(found.values())


def _choose(elf: ElfFile, notes: list[Note], kind: str) -> Stamp:
    known = [note for note in notes if note.type == NOTE_TYPE]
    if not known:
        raise ManifestError(
            f"`{elf.path}`: its envlock note has type {notes[0].type}, "
            f"and this envlock reads type {NOTE_TYPE}",
            hint=UPGRADE,
        )
    payloads = []
    for note in known:
        if note.size > MAX_MANIFEST:
            raise ManifestError(
                f"`{elf.path}`: its manifest claims {note.size} bytes, "
                f"and envlock reads at most {MAX_MANIFEST}",
                hint="stamp it again: `envlock stamp`",
            )
        payload = elf.read(note.offset, note.size, "the manifest")
        if payload not in payloads:
            payloads.append(payload)
        if len(payloads) > 1:
            raise ManifestError(
                f"`{elf.path}` carries two different {kind} manifests, "
                "and which one is true is not known",
                hint="stamp it again: `envlock stamp` replaces them"
                if kind == APPENDED
                else "link only one envlock note into the plugin, or stamp it: a stamp takes precedence",
            )
    return Stamp(payloads[0], kind)


def build_note(payload: bytes, order: str, kind: int = NOTE_TYPE) -> bytes:
    """envlock's note around a manifest's JSON or a signature; `order` is "<" or ">"."""
    head = struct.pack(order + "III", len(OWNER), len(payload), kind)
    return head + OWNER + payload + b"\0" * (-len(payload) % 4)
