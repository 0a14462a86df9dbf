"""What a signed stamp covers: the statement that an Ed25519 key signs (docs/reference/signature.md)."""

from __future__ import annotations

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

SIGNATURE_FORMAT = "envlock.signature/1"


class Digested(Record):
    """Loaded bytes, by virtual address, and their SHA-256 in hex."""

    address: int
    size: int
    sha256: str


class SignedSegment(Record):
    """A program header, without the file offset and the physical address."""

    type: int
    flags: int
    address: int
    file_size: int
    memory_size: int
    align: int


class LinkNames(Record):
    """The names that wheel repair changes; bytes above 127 are mapped as in Latin-1."""

    soname: str | None = None  # DT_SONAME
    needed: tuple[str, ...] = ()  # DT_NEEDED, in order
    rpath: str | None = None  # DT_RPATH
    runpath: str | None = None  # DT_RUNPATH
    version_files: tuple[str, ...] = ()  # the library names of DT_VERNEED, in order


class LinkTables(Record):
    """SHA-256 of what the dynamic linker reads, wherever in the file it stands."""

    dynamic: str  # every tag and value but names and the places of tables
    symbols: str
    versions: str
    relocations: str
    hashes: str
    notes: str


class Statement(Record):
    """The signed text, as canonical JSON."""

    format: str
    manifest: str  # SHA-256 of the manifest's JSON
    identity: str  # SHA-256 of the ELF header's fields that no tool changes
    headers: str  # SHA-256 of the ELF header and the program headers, places in the file left out
    segments: tuple[SignedSegment, ...]
    ranges: tuple[Digested, ...]  # code and data
    tables: tuple[Digested, ...]  # what the dynamic linker reads, where it stood when signed
    gaps: tuple[Digested, ...] = ()  # filling between sections, which tools write over
    table_segments: tuple[int, ...] = ()  # addresses of segments that hold only tables
    names: LinkNames
    linking: LinkTables
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"format": (SIGNATURE_FORMAT,)}
