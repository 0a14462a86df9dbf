"""The signature as it stands in a file: a second note behind the manifest's (docs/reference/signature.md).

Owner `envlock`, type 2; its descriptor is

    | "ed25519\\0" | public key, 32 bytes | signature, 64 bytes | statement, JSON |

and what is signed is `CONTEXT` followed by the statement.
"""

from __future__ import annotations

from ...binary.elf.image import SHF_ALLOC, SHT_NOBITS
from ...binary.elf.notes import OWNER, SECTION, SIGNATURE_TYPE, iter_notes
from ...models.errors import ElfError, ManifestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...binary.elf.file import ElfFile

ALGORITHM = b"ed25519\0"
#: Keeps a signature from being taken for one of something else.
CONTEXT = b"envlock signature 1\0"
_HEAD = len(ALGORITHM) + 32 + 64
MAX_NOTE = 1 << 20


class SignatureNote:
    """A public key, its signature and the signed statement; nothing of it is verified yet."""

    __slots__ = ("key", "signature", "statement")

    def __init__(self, key: bytes, signature: bytes, statement: bytes) -> None:
        self.key = key
        self.signature = signature
        self.statement = statement

    @property
    def message(self) -> bytes:
        """The signed bytes."""
        return CONTEXT + self.statement

    def encode(self) -> bytes:
        """The note's descriptor."""
        return ALGORITHM + self.key + self.signature + self.statement


def find_signature(elf: ElfFile) -> SignatureNote | None:
    """The signature beside an appended manifest, None where there is none.

    Raises `ManifestError` for a damaged one, an unknown algorithm, and several that differ.
    """
    found: set[bytes] = set()
    for section in elf.sections:
        if section.name != SECTION or section.type == SHT_NOBITS or section.flags & SHF_ALLOC:
            continue
        for note in iter_notes(elf, section.offset, section.size, 4):
            if note.owner == OWNER and note.type == SIGNATURE_TYPE:
                if note.size > MAX_NOTE:
                    raise ManifestError(f"`{elf.path}`: its signature claims {note.size} bytes")
                found.add(elf.read(note.offset, note.size, "the signature"))
    if not found:
        return None
    if len(found) > 1:
        raise ManifestError(f"`{elf.path}` carries {len(found)} different signatures")
    return decode_note(found.pop(), elf.path)


def decode_note(raw: bytes, source: str) -> SignatureNote:
    """Read a note's descriptor; raises `ManifestError`."""
    if not raw.startswith(ALGORITHM):
        shown = raw[: len(ALGORITHM)].rstrip(b"\0").decode("ascii", "backslashreplace")
        raise ManifestError(f"`{source}`: its signature is of the kind `{shown}`, not `ed25519`")
    if len(raw) <= _HEAD:
        raise ManifestError(f"`{source}`: its signature is cut off after {len(raw)} bytes")
    start = len(ALGORITHM)
    return SignatureNote(raw[start : start + 32], raw[start + 32 : _HEAD], raw[_HEAD:])


def signed_by(elf: ElfFile) -> str | None:
    """The fingerprint of the key that claims to have signed; not verified."""
    from .keys import fingerprint

    try:
        note = find_signature(elf)
    except (ManifestError, ElfError):
        return None
    return None if note is None else fingerprint(note.key)
