"""What the dynamic linker reads, wherever in the file it stands: the part of a statement about it.

patchelf moves these tables and renumbers sections, and changes names of libraries and folders to
search. Digests therefore cover what tables say; the names stand in the statement as they are.
"""

from __future__ import annotations

import hashlib
import struct

from ...binary.elf.dynamic import (
    DT_AUXILIARY,
    DT_FILTER,
    DT_GNU_HASH,
    DT_HASH,
    DT_JMPREL,
    DT_NEEDED,
    DT_REL,
    DT_RELA,
    DT_RELR,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERNEED,
    DT_VERSYM,
)
from ...binary.elf.symbols import MAX_NAME
from ...models.signature import LinkNames, LinkTables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .loaded import Loaded

DT_AUDIT, DT_DEPAUDIT, DT_CONFIG = 0x6FFFFEFC, 0x6FFFFEFB, 0x6FFFFEFA
_NAMES = (DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH)
_OTHER_STRINGS = (DT_AUXILIARY, DT_FILTER, DT_AUDIT, DT_DEPAUDIT, DT_CONFIG)
_PLACES = (
    *(DT_STRTAB, DT_SYMTAB, DT_HASH, DT_GNU_HASH, DT_VERSYM, DT_VERNEED, DT_VERDEF),
    *(DT_RELA, DT_REL, DT_RELR, DT_JMPREL),
)

#: The fields of `LinkTables` as people call them.
TABLES = {
    "dynamic": "the dynamic section",
    "symbols": "the dynamic symbols",
    "versions": "the symbol versions",
    "relocations": "the relocations",
    "hashes": "the symbol hash tables",
    "notes": "the loaded notes",
}


class Change:
    """One thing that differs: its name, and both values where they can be shown."""

    __slots__ = ("built", "live", "what")

    def __init__(self, what: str, built: str | None = None, live: str | None = None) -> None:
        self.what = what
        self.built = built
        self.live = live


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def link_names(loaded: Loaded) -> LinkNames:
    dynamic = loaded.dynamic
    values = [
        None if v is None else _text(v) for v in (dynamic.soname, dynamic.rpath, dynamic.runpath)
    ]
    return LinkNames(
        soname=values[0],
        needed=tuple(_text(name) for name in dynamic.needed),
        rpath=values[1],
        runpath=values[2],
        version_files=tuple(_text(need.file) for need in loaded.needs),
    )


def name_changes(before: LinkNames, now: LinkNames) -> tuple[Change, ...]:
    changes = []
    for field, tag in (
        ("runpath", "DT_RUNPATH"),
        ("rpath", "DT_RPATH"),
        ("needed", "DT_NEEDED"),
        ("soname", "DT_SONAME"),
        ("version_files", "DT_VERNEED files"),
    ):
        old, new = getattr(before, field), getattr(now, field)
        if old != new:
            changes.append(Change(tag, _shown(old), _shown(new)))
    return tuple(changes)


def _shown(value: str | tuple[str, ...] | None) -> str:
    if value is None:
        return "none"
    names = (value,) if isinstance(value, str) else value
    return (
        ", ".join(n.encode("latin-1").decode("utf-8", "backslashreplace") for n in names) or "none"
    )


class _Digest:
    """SHA-256 of labelled, length-prefixed items, so that no two lists give the same bytes."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def add(self, label: int, *parts: bytes) -> None:
        self._state.update(struct.pack("<QI", label, len(parts)))
        for part in parts:
            self._state.update(struct.pack("<Q", len(part)))
            self._state.update(part)

    def hexdigest(self) -> str:
        return self._state.hexdigest()


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(struct.pack("<Q", value) for value in values)


def link_tables(loaded: Loaded) -> LinkTables:
    versions, relocations, hashes, notes = _Digest(), _Digest(), _Digest(), _Digest()
    versions.add(DT_VERSYM, loaded.symbol_versions)
    for need in loaded.needs:
        versions.add(DT_VERNEED, _numbers(need.fields))
        for name, fields in need.versions:
            versions.add(DT_VERNEED, name, _numbers(fields))
    for fields, names in loaded.definitions:
        versions.add(DT_VERDEF, _numbers(fields), *names)
    for tag, content in loaded.relocations:
        relocations.add(tag, content)
    for tag, content in loaded.hashes:
        hashes.add(tag, content)
    for kind, content in loaded.notes:
        notes.add(kind, content)
    return LinkTables(
        dynamic=_dynamic(loaded),
        symbols=_symbols(loaded),
        versions=versions.hexdigest(),
        relocations=relocations.hexdigest(),
        hashes=hashes.hexdigest(),
        notes=notes.hexdigest(),
    )


def _dynamic(loaded: Loaded) -> str:
    """Tags in rising order, those of one tag in theirs: patchelf puts new ones in front."""
    digest = _Digest()
    for tag, value in sorted(loaded.dynamic.entries, key=lambda entry: entry[0]):
        if tag in _NAMES or tag == DT_STRSZ:
            continue
        if tag in _PLACES:
            digest.add(tag)
        elif tag in _OTHER_STRINGS:
            digest.add(tag, loaded.string(value, f"the string of tag {tag:#x}"))
        else:
            digest.add(tag, _numbers((value,)))
    return digest.hexdigest()


def _symbols(loaded: Loaded) -> str:
    """Name, info, other, value, size of each symbol, and whether it is defined."""
    elf = loaded.elf
    wide = elf.bits == 64
    layout = elf.struct("IBBHQQ" if wide else "IIIBBH")
    start, size = loaded.dynamic.string_table
    end = start + size
    find, data = elf.data.find, elf.data
    pack = struct.Struct("<BBHQQ").pack
    digest = hashlib.sha256()
    for index, fields in enumerate(layout.iter_unpack(loaded.symbols)):
        if wide:
            name, info, other, section, value, length = fields
        else:
            name, value, length, info, other, section = fields
        at = start + name
        stop = find(b"\0", at, min(end, at + MAX_NAME)) if at < end else -1
        if stop < 0:
            raise elf.damaged(f"symbol {index}'s name is not in the dynamic string table")
        # Section numbers change when a tool adds sections; only the reserved ones mean something.
        if 0 < section < 0xFF00:
            section = 1
        digest.update(data[at:stop] + b"\0" + pack(info, other, section, value, length))
    return digest.hexdigest()
