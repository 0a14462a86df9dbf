"""Merging the parts of many releases into one atlas file; `docs/reference/atlas-file.md` describes its bytes.

Deterministic: equal parts give equal bytes, whatever their order.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from array import array

from ..binary.names.templates import erase
from ..binary.names.types import own_name
from .extract import part_bytes
from .format import MAGIC, VERSION
from .keys import name_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .extract import Part


#: Classes with longer names are instantiations that nobody exchanges with TensorFlow.
MAX_NAME = 160


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Pool:
    """Interned blobs: equal content has one number. Numbers are in order of first use."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}

    def add(self, content: bytes) -> int:
        return self.numbers.setdefault(content, len(self.numbers))

    def section(self) -> bytes:
        blobs = list(self.numbers)
        offsets = [0]
        for blob in blobs:
            offsets.append(offsets[-1] + len(blob))
        return struct.pack(f"<{len(offsets) + 1}I", len(blobs), *offsets) + b"".join(blobs)


def release_order(version: str) -> tuple[int, ...]:
    """Sort key of a release number: 2.15.0.post1 between 2.15.0 and 2.15.1."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    return tuple(numbers + [0] * (4 - len(numbers)))


def digest_of(part: Part) -> str:
    """SHA-256 of a part: the atlas keeps it, so that a part made anew can be compared."""
    return hashlib.sha256(part_bytes(part)).hexdigest()


def facts_of(part: Part) -> dict[str, Any]:
    """What the list of releases says about a part: all but exports and class layouts."""
    facts = {name: part[name] for name in part if name not in ("abi", "format", "libraries")}
    facts["libraries"] = [
        {name: value for name, value in library.items() if name != "exports"}
        for library in part["libraries"]
    ]
    facts["part"] = digest_of(part)
    facts["probe"] = part["abi"]["compiler"]
    facts["standard"] = part["abi"]["standard"]
    facts["missing_headers"] = part["abi"]["missing_headers"]
    return facts


class _Taken:
    """A part as the writer keeps it: exports packed, its ABI table by digest."""

    __slots__ = ("exports", "facts", "table")

    def __init__(self, part: Part, table: str) -> None:
        self.table = table
        self.exports = [array("Q", library["exports"]) for library in part["libraries"]]
        self.facts = facts_of(part)


class Writer:
    """Collects parts, then gives the file's bytes.

    `whole` keeps what does not differ between the parts too: a single release has nothing to
    differ from, and the releases that it will be compared with are in another atlas.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self.parts: dict[tuple[Any, ...], _Taken] = {}
        self._tables: dict[str, Part] = {}  # ABI tables by digest: most parts share theirs
        self._start()

    def _start(self) -> None:
        self._strings = _Pool()
        self._facts = _Pool()
        self._fact_lists = _Pool()
        self._window_lists = _Pool()
        self._layouts = _Pool()

    def add(self, part: Part) -> None:
        """Take in one release; the same release again replaces it."""
        key = (release_order(part["version"]), part["version"], part["distribution"])
        content = {name: part["abi"][name] for name in ("classes", "functions", "paths")}
        text = json.dumps(content, sort_keys=True).encode()
        digest = hashlib.sha256(text).hexdigest()
        self._tables.setdefault(digest, content)
        self.parts[key] = _Taken(part, digest)

    def data(self) -> bytes:
        """The whole file, of what was added so far."""
        self._start()
        parts = [self.parts[key] for key in sorted(self.parts)]
        # Numbered by the first release that has them.
        numbers = {digest: n for n, digest in enumerate(dict.fromkeys(p.table for p in parts))}
        tables = [self._tables[digest] for digest in numbers]
        self._strings.add(b"")
        sections = {b"META": self._meta(parts, numbers, tables)}
        sections[b"CLSK"], sections[b"CLSR"] = self._classes(tables)
        sections[b"FUNK"], sections[b"FUNR"], sections[b"WINX"] = self._functions(tables)
        sections[b"LAYO"] = self._layouts.section()
        sections[b"FCTT"] = self._facts.section()
        sections[b"FCTL"] = self._fact_lists.section()
        sections[b"WINL"] = self._window_lists.section()
        sections[b"STRT"] = self._strings.section()
        sections.update(_exports([keys for part in parts for keys in part.exports]))
        return _assemble(sections)

    def _meta(
        self, parts: Sequence[_Taken], numbers: dict[str, int], tables: Sequence[Part]
    ) -> bytes:
        needed: dict[tuple[str, ...], int] = {}
        releases = []
        for part in parts:
            entry = dict(part.facts)
            entry["abi"] = numbers[part.table]
            entry["libraries"] = [
                {
                    **library,
                    "needed": needed.setdefault(tuple(library["needed"]), len(needed)),
                }
                for library in entry["libraries"]
            ]
            releases.append(entry)
        return json.dumps(
            {
                "needed": list(needed),
                "releases": releases,
                "virtual": _moving_tables(tables, every=self.whole),
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()

    def _text(self, value: str) -> bytes:
        return varint(self._strings.add(value.encode()))

    def _layout(self, layout: dict[str, Any]) -> int:
        out = bytearray(varint(layout["size"]))
        out += varint(1 if layout["virtual_bases"] else 0)
        out += varint(len(layout["bases"]))
        for name, offset in layout["bases"]:
            out += self._text(name) + varint(offset)
        out += varint(len(layout["members"]))
        for name, offset, bits, kind in layout["members"]:
            out += self._text(name) + varint(offset) + self._text(bits)
            out += self._text(own_name(kind))
        out += varint(len(layout["slots"]))
        for slot, text in layout["slots"]:
            out += varint(slot) + self._text(text)
        return self._layouts.add(bytes(out))

    def _classes(self, tables: Sequence[Part]) -> tuple[bytes, bytes]:
        names = sorted(
            {name for table in tables for name in table["classes"] if len(name) <= MAX_NAME}
        )
        records = {}
        for name in names:
            found = [table["classes"].get(name) for table in tables]
            numbers = [0 if layout is None else self._layout(layout) + 1 for layout in found]
            records[name_key(name)] = self._text(name) + _runs(numbers)
        return _keyed(records)

    def _fact(self, fact: Sequence[str]) -> int:
        kind, cls, member = fact
        return self._facts.add(kind.encode() + self._text(cls) + self._text(member))

    def _fact_list(self, facts: Iterable[Sequence[str]]) -> int:
        numbers = sorted(self._fact(fact) for fact in facts if len(fact[1]) <= MAX_NAME)
        return self._fact_lists.add(b"".join(varint(number) for number in [len(numbers), *numbers]))

    def _window_list(self, windows: Sequence[Sequence[Sequence[Sequence[str]]]]) -> int:
        out = bytearray(varint(len(windows)))
        for window in windows:
            for step in window:
                out += varint(len(step))
                for fact in step:
                    out += varint(self._fact(fact))
        return self._window_lists.add(bytes(out))

    def _functions(self, tables: Sequence[Part]) -> tuple[bytes, bytes, bytes]:
        # Functions that never need anything would only say that they exist.
        names = sorted(
            {
                name
                for table in tables
                for name, facts in table["functions"].items()
                if facts or self.whole
            }
        )
        prone = _drift_prone(tables)
        records = {}
        index: list[set[int]] = [set() for _ in tables]
        for name in names:
            lists, windows = [], []
            for number, table in enumerate(tables):
                facts = table["functions"].get(name)
                lists.append(0 if facts is None else self._fact_list(facts) + 1)
                found = table["paths"].get(name) or []
                moving = self.whole or any(tuple(f) in prone for w in found for s in w for f in s)
                windows.append(self._window_list(found) + 1 if found and moving else 0)
                if windows[-1]:
                    index[number].add(windows[-1] - 1)
            records[name_key(name)] = _runs(lists) + _runs(windows)
        for name, rows in _templates(tables).items():
            lists = [0 if facts is None else self._fact_list(facts) + 1 for facts in rows]
            records.setdefault(name_key(name), _runs(lists) + _runs([0] * len(tables)))
        return *_keyed(records), _windows_index(index)


def _windows_index(tables: Sequence[Iterable[int]]) -> bytes:
    """The window lists of each ABI table: where each table's numbers start, then the numbers."""
    starts, numbers = [0], array("I")
    for found in tables:
        numbers.extend(sorted(found))
        starts.append(len(numbers))
    return struct.pack(f"<I{len(starts)}I{len(numbers)}I", len(tables), *starts, *numbers)


def _templates(tables: Sequence[Part]) -> dict[str, list[list[tuple[str, ...]] | None]]:
    """For each function template, by its erased name: what all its instantiations need."""
    found: dict[str, list[list[tuple[str, ...]] | None]] = {}
    for number, table in enumerate(tables):
        common: dict[str, set[tuple[str, ...]]] = {}
        for name, facts in table["functions"].items():
            erased = erase(name) if facts else None
            if erased is None:
                continue
            # Layouts of instantiated classes are those of the arguments, not of the template.
            plain = {tuple(fact) for fact in facts if "<" not in fact[1]}
            common[erased] = common[erased] & plain if erased in common else plain
        for erased, facts in common.items():
            if facts:
                row = found.setdefault(erased, [None] * len(tables))
                row[number] = sorted(facts)
    return dict(sorted(found.items()))


def _drift_prone(tables: Sequence[Part]) -> set[tuple[str, ...]]:
    """Member and slot facts whose place is not the same in all releases that have them."""
    places: dict[tuple[str, ...], set[int]] = {}
    for table in tables:
        for name, layout in table["classes"].items():
            for member, offset, _, _ in layout["members"]:
                places.setdefault(("m", name, member), set()).add(offset)
        for name in table["classes"]:
            for text, slot in _slots(table["classes"], name).items():
                places.setdefault(("v", name, text), set()).add(slot)
    return {fact for fact, found in places.items() if len(found) > 1}


def _moving_tables(tables: Sequence[Part], *, every: bool = False) -> list[str]:
    """Classes whose own virtual functions do not have the same slots in all releases."""
    places: dict[tuple[str, str], set[int]] = {}
    for table in tables:
        for name, layout in table["classes"].items():
            for slot, text in layout["slots"]:
                places.setdefault((name, text), set()).add(slot)
    return sorted({name for (name, _), found in places.items() if every or len(found) > 1})


def _slots(classes: dict[str, Any], name: str, depth: int = 0) -> dict[str, int]:
    layout = classes.get(name)
    if layout is None or depth > 16:
        return {}
    slots: dict[str, int] = {}
    for base, offset in layout["bases"]:
        if offset == 0:
            slots.update(_slots(classes, base, depth + 1))
            break
    slots.update({text: slot for slot, text in layout["slots"]})
    return slots


def _runs(numbers: Sequence[int]) -> bytes:
    """A value for each ABI table, as (length, value) runs."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1][0] += 1
        else:
            runs.append([1, number])
    out = varint(len(runs))
    for length, value in runs:
        out += varint(length) + varint(value)
    return out


def _keyed(records: dict[int, bytes]) -> tuple[bytes, bytes]:
    """Sorted 5-byte keys, then the offset of each record; and the records."""
    keys = sorted(records)
    offsets, body = [], bytearray()
    for key in keys:
        offsets.append(len(body))
        body += records[key]
    index = struct.pack("<I", len(keys)) + b"".join(key.to_bytes(5, "big") for key in keys)
    return index + struct.pack(f"<{len(offsets)}I", *offsets), bytes(body)


def _exports(libraries: Sequence[Iterable[int]]) -> dict[bytes, bytes]:
    """Symbol keys in 65,536 buckets by their upper 16 bits, and the distinct memberships.

    `libraries`: the keys that each unit exports.
    """
    units: dict[int, int] = {}
    for unit, keys in enumerate(libraries):
        bit = 1 << unit
        for key in keys:
            units[key] = units.get(key, 0) | bit
    counts: dict[int, int] = {}
    for bitmap in units.values():
        counts[bitmap] = counts.get(bitmap, 0) + 1
    order = sorted(counts, key=lambda bitmap: (-counts[bitmap], bitmap))
    if len(order) > 0xFFFF:
        raise ValueError(f"{len(order)} distinct memberships do not fit in 16 bits")
    numbers = {bitmap: number for number, bitmap in enumerate(order)}
    width = (len(libraries) + 7) // 8 or 1
    buckets: list[list[int]] = [[] for _ in range(1 << 16)]
    for key in sorted(units):
        buckets[key >> 24].append(key)
    starts, body = [0], bytearray()
    for bucket in buckets:
        body += _bucket([(key & 0xFFFFFF, numbers[units[key]]) for key in bucket])
        starts.append(len(body))
    return {
        b"EXPI": struct.pack(f"<{len(starts)}I", *starts),
        b"EXPE": bytes(body),
        b"EXPM": struct.pack("<I", width) + b"".join(b.to_bytes(width, "little") for b in order),
    }


def _bucket(entries: list[tuple[int, int]]) -> bytes:
    """Count, 3 bytes of key each, 1 byte of membership each, 2 bytes for each that is 255."""
    if len(entries) > 0xFF:
        raise ValueError(f"{len(entries)} symbols in one bucket")
    rare = [number for _, number in entries if number >= 0xFF]
    return (
        bytes((len(entries),))
        + b"".join(key.to_bytes(3, "big") for key, _ in entries)
        + bytes(min(number, 0xFF) for _, number in entries)
        + b"".join(number.to_bytes(2, "big") for number in rare)
    )


def _assemble(sections: dict[bytes, bytes]) -> bytes:
    at = 16 + 12 * len(sections)
    head = bytearray(MAGIC + struct.pack("<II", VERSION, len(sections)))
    body = bytearray()
    for tag in sorted(sections):
        content = sections[tag]
        head += tag + struct.pack("<II", at + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    return bytes(head + body)


def atlas_bytes(parts: Iterable[Part], *, whole: bool = False) -> bytes:
    """The atlas of some parts; see `Writer` for `whole`."""
    writer = Writer(whole=whole)
    for part in parts:
        writer.add(part)
    return writer.data()


def write_atlas(parts: Iterable[Part], path: str) -> int:
    """Write the atlas of some parts; gives its size in bytes."""
    data = atlas_bytes(parts)
    with open(path + ".tmp", "wb") as file:
        file.write(data)
    os.replace(path + ".tmp", path)
    return len(data)
