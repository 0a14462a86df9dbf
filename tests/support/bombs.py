"""Small shared libraries whose tables were made to cost minutes or gigabytes; dlopen can map them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from envlock.binary.elf.symbols import gnu_hash
from envlock.models.registration import KernelRecord, OpRecord, Registrations
from envlock.plugin.manifest import encode_manifest
from tests.reality.hostile.manifests import manifest
from tests.support.elves import note

NEEDED, HASH, STRTAB, SYMTAB, RELA, RELASZ, RELAENT, STRSZ, SYMENT = 1, 4, 5, 6, 7, 8, 9, 10, 11
SONAME, RUNPATH, GNU_HASH, VERSYM = 14, 29, 0x6FFFFEF5, 0x6FFFFFF0
VERDEF, VERNEED, AUDIT = 0x6FFFFFFC, 0x6FFFFFFE, 0x6FFFFEFC
#: A megabyte of a name, and where an entry of a string table finds it.
LONG = b"l" * (1 << 20)
AT = 1


def shared_library(
    strings: bytes,
    *,
    entries: Sequence[tuple[int, int]] = (),
    tables: dict[int, bytes] | None = None,
    sections: Sequence[int] = (),
    stamp: bytes = b"",
) -> bytes:
    """A shared library for x86-64 with one segment, which holds the whole file.

    `entries` are dynamic entries, `tables` what a tag's address leads to; `sections` are offsets of
    section names in `strings`, which is the dynamic string table too; `stamp` is a manifest.
    """
    body = bytearray(64 + 3 * 56)
    placed = list(entries)

    def place(content: bytes) -> int:
        body.extend(bytes(-len(body) % 8))
        body.extend(content)
        return len(body) - len(content)

    at = place(strings)
    placed += [(STRTAB, at), (STRSZ, len(strings))]
    whole = {SYMTAB: bytes(24), **(tables or {})}
    for tag, content in whole.items():
        placed.append((tag, place(content)))
    dynamic = place(b"".join(struct.pack("<QQ", *entry) for entry in [*placed, (0, 0)]))
    size = 16 * (len(placed) + 1)
    count = len(sections) + 2 if sections else 0
    rows = [(0,) * 10, *((name, 1, 0, 0, 64, 0, 0, 0, 1, 0) for name in sections)]
    rows.append((0, 3, 0, 0, at, len(strings), 0, 0, 1, 0))
    table = place(b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows[: count or None]))
    header = bytearray(b"\x7fELF\2\1\1" + bytes(9))
    header += struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, table if count else 0, 0, 64, 56, 3, 64, count,
        max(count - 1, 0),
    )  # fmt: skip
    header += struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, len(body), len(body), 4096)
    header += struct.pack("<IIQQQQQQ", 2, 6, dynamic, dynamic, dynamic, size, size, 8)
    stamped = note(stamp) if stamp else b""
    where = place(stamped)
    header += struct.pack("<IIQQQQQQ", 4, 4, where, where, where, len(stamped), len(stamped), 4)
    struct.pack_into("<QQ", header, 64 + 32, len(body), len(body))
    body[: len(header)] = header
    return bytes(body)


def sections_of_one_long_name(count: int = 20_000) -> bytes:
    """Sections that share one long name."""
    return shared_library(b"\0" + LONG + b"\0", sections=[AT] * count)


def sections_of_ends_of_names(count: int = 20_000) -> bytes:
    """Sections whose names are the ends of one long name."""
    return shared_library(b"\0" + LONG + b"\0", sections=range(AT, AT + count))


def needed_of_one_name(count: int = 4000) -> bytes:
    """DT_NEEDED entries that share one long name."""
    return shared_library(b"\0" + LONG + b"\0", entries=[(NEEDED, AT)] * count)


def filters_of_one_name(count: int = 60_000) -> bytes:
    """DT_AUDIT entries that share one long name."""
    return shared_library(b"\0" + LONG + b"\0", entries=[(AUDIT, AT)] * count)


def needed_beyond_number(count: int = 60_000) -> bytes:
    """More DT_NEEDED entries than any library has."""
    return shared_library(b"\0" + LONG + b"\0", entries=[(NEEDED, AT + i) for i in range(count)])


def _needs(count: int, hashed: int = 0) -> bytes:
    """DT_VERNEED: one library (name at `AT`) with that many versions, all of its name."""
    one = struct.pack("<HHIII", 1, count & 0xFFFF, AT, 16, 0)
    each = [struct.pack("<IHHII", hashed, 0, 2 + i & 0x7FFF, AT, 16) for i in range(count)]
    each[-1] = each[-1][:12] + bytes(4)
    return one + b"".join(each)


def versions_of_one_name(count: int = 20_000) -> bytes:
    """Needed versions that share one long name."""
    return shared_library(b"\0" + LONG + b"\0", tables={VERNEED: _needs(count), VERSYM: bytes(8)})


def version_needs_of_one_name(count: int = 10_000) -> bytes:
    """Libraries that versions are needed from, which share one long name."""
    strings = b"\0" + LONG + b"\0V\0"
    short = len(LONG) + 2
    one = struct.pack("<HHIII", 1, 1, AT, 16, 32) + struct.pack("<IHHII", 0, 0, 2, short, 0)
    raw = one * count
    raw = raw[:-20] + bytes(4) + raw[-16:]
    return shared_library(strings, tables={VERNEED: raw, VERSYM: bytes(8)})


def definitions_of_one_name(count: int = 20_000) -> bytes:
    """Defined versions whose names are the ends of one long name."""
    rows = b"".join(
        struct.pack("<HHHHIII", 1, 0, 1 + i & 0x7FFF, 1, 0, 20, 28 if i + 1 < count else 0)
        + struct.pack("<II", AT + i, 0)
        for i in range(count)
    )
    return shared_library(b"\0" + LONG + b"\0", tables={VERDEF: rows, VERSYM: bytes(8)})


def _symbols(names: Sequence[int], section: int, binding: int = 1) -> bytes:
    return b"".join(struct.pack("<IBBHQQ", at, binding << 4 | 2, 0, section, 64, 8) for at in names)


def _references(
    strings: bytes,
    references: Sequence[int],
    definitions: Sequence[int],
    *,
    classic: bool = False,
    weak: bool = False,
    hashed: int = gnu_hash(b"nothing"),
    more: dict[int, bytes] | None = None,
    stamp: bytes = b"",
) -> bytes:
    """A library whose relocations name all references (names by offset), and whose definitions are
    one hash chain: of a classic table, or of a GNU one that says that all have this hash."""
    first = len(references) + 1
    count = first + len(definitions)
    symbols = bytes(24) + _symbols(references, 0, 2 if weak else 1) + _symbols(definitions, 1)
    relocations = b"".join(struct.pack("<QQq", 64, i << 32 | 6, 0) for i in range(1, first))
    if classic:
        chains = [0] * first + [*range(first + 1, count), 0]
        table = struct.pack(f"<III{count}I", 1, count, first, *chains)
    else:
        # A filter that lets everything pass, and one bucket.
        hashes = [hashed & ~1] * (len(definitions) - 1) + [hashed | 1]
        table = struct.pack("<IIIIQI", 1, first, 1, 0, (1 << 64) - 1, first)
        table += struct.pack(f"<{len(hashes)}I", *hashes)
    tables = {SYMTAB: symbols, HASH if classic else GNU_HASH: table, RELA: relocations}
    entries = [(SYMENT, 24), (RELASZ, len(relocations)), (RELAENT, 24)]
    tables.update(more or {})
    return shared_library(strings, entries=entries, tables=tables, stamp=stamp)


def _numbered(count: int) -> tuple[bytes, list[int]]:
    """A string table of so many names, and where each stands."""
    strings, places = b"\0", []
    for number in range(count):
        places.append(len(strings))
        strings += b"r%d\0" % number
    return strings, places


def hash_chain(length: int = 20_000, references: int = 20_000) -> bytes:
    """A long hash chain, and many references that are looked up in it."""
    strings, places = _numbered(references)
    return _references(strings, places, [0] * length)


def classic_hash_chain(length: int = 20_000, references: int = 20_000) -> bytes:
    """The same in a classic hash table."""
    strings, places = _numbered(references)
    return _references(strings + b"d\0", places, [len(strings)] * length, classic=True)


def hash_chain_of_nearly_one_name(stamp: bytes = b"", references: int = 2_000) -> bytes:
    """A chain of one hash, and references with long names that it holds only nearly."""
    wanted = b"n" * 60_000
    strings = b"\0" + wanted + b"\0" + wanted[1:] + b"m\0"
    hashed, places = gnu_hash(wanted), [len(wanted) + 2] * 20_000
    return _references(strings, [1] * references, places, hashed=hashed, stamp=stamp)


def references_with_long_names(stamp: bytes = b"", count: int = 20_000) -> bytes:
    """Weak references whose names are the ends of one long name."""
    name = b"n" * 60_000
    places = [1 + i for i in range(count)]
    return _references(b"\0" + name + b"\0", places, [1], weak=True, stamp=stamp)


def versions_with_a_gap(references: int = 20_000) -> bytes:
    """Needed versions of all numbers but one, which every reference has."""
    strings, places = _numbered(references)
    count = 32_000
    needs = struct.pack("<HHIII", 1, count, 1, 16, 0) + b"".join(
        struct.pack("<IHHII", 0, 0, 3 + number, 1, 16 if number + 1 < count else 0)
        for number in range(count)
    )
    versym = struct.pack("<H", 2) * (references + 2)
    entries = {VERNEED: needs, VERSYM: versym}
    return _references(strings, places, [1], weak=True, more=entries)


def needed_at_the_limit() -> bytes:
    """As many and as long names as are read, each another end of one name."""
    name = b"l" * 4300
    strings = b"\0" + name + b"\0"
    return shared_library(
        strings, entries=[(NEEDED, len(strings) - 256 - i % 200 + 100) for i in range(4096)]
    )


def many_folders(folders: int = 100_000, needed: int = 2000) -> bytes:
    """Many libraries to be looked for in many folders."""
    path = b":".join(b"%x" % i for i in range(folders))
    names = b"".join(b"lib%d.so\0" % i for i in range(needed))
    strings = b"\0" + path + b"\0" + names
    entries, at = [(RUNPATH, 1)], len(path) + 2
    for name in names.split(b"\0")[:-1]:
        entries.append((NEEDED, at))
        at += len(name) + 1
    return shared_library(strings, entries=entries)


def manifest_of_kernels(count: int = 150_000) -> bytes:
    """A manifest with very many kernels, of an op each."""
    kernels = tuple(KernelRecord(op=f"k{number}") for number in range(count))
    found = Registrations(source="file", kernels=kernels)
    return encode_manifest(manifest().replace(registrations=found))


def manifest_of_one_op(count: int = 24_000) -> bytes:
    """A manifest with very many kernels of one op, which is TensorFlow's own."""
    kernels = tuple(KernelRecord(op="Cast", device="CPU", label=f"{i}") for i in range(count))
    found = Registrations(source="file", kernels=kernels)
    return encode_manifest(manifest().replace(registrations=found))


def manifest_of_ops(count: int = 100_000) -> bytes:
    """A manifest with very many ops."""
    ops = tuple(OpRecord(name=f"k{number}") for number in range(count))
    found = Registrations(source="file", ops=ops)
    return encode_manifest(manifest().replace(registrations=found))
