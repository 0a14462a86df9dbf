"""Reading an atlas file: mapped, looked up in place, nothing parsed that is not asked for.

The bytes are described in docs/reference/atlas-file.md. Standard library only: the gate uses this.
"""

from __future__ import annotations

import mmap
import os
import struct

from ..binary.names.templates import erase
from ..files.json_text import JsonReader
from ..models.errors import FileAccessError, InputError
from .keys import name_key, symbol_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Callable, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
    T = TypeVar("T")

    Fact = tuple[str, str, str]
    #: Two steps of an access path; each step's displacement is the sum over its facts.
    Window = tuple[tuple[Fact, ...], tuple[Fact, ...]]

    from ..models.manifest import LibraryIdentity

MAGIC = b"ENVATLAS"
VERSION = 2
#: Releases in one atlas, and classes that derive from each other.
MAX_RELEASES, MAX_BASES = 4096, 64
#: Distributions whose wheels hold the very same libraries and headers as another's.
SAME_BUILD = {"tensorflow-gpu": "tensorflow"}
#: The atlas that comes with this package.
SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "tensorflow.atlas")


def _guarded(method: F) -> F:
    """Turn what damaged bytes lead to into `InputError`."""

    def call(self: Atlas, *arguments: Any) -> Any:
        try:
            return method(self, *arguments)
        except (struct.error, IndexError, UnicodeDecodeError, OverflowError):
            raise self.damaged("its tables contradict each other") from None

    call.__doc__ = method.__doc__
    call.__name__ = method.__name__
    return call  # type: ignore[return-value]


def _typed(table: dict[str, Any], key: str, kind: type[T]) -> T:
    """A value of the list of releases; raises KeyError or TypeError where it is not as written."""
    value = table[key]
    if type(value) is not kind:
        raise TypeError(key)
    return value


class Release:
    """One build of TensorFlow that the atlas knows."""

    __slots__ = ("abi", "distribution", "facts", "index", "units", "version")

    def __init__(self, index: int, facts: dict[str, Any], first_unit: int) -> None:
        self.index = index
        self.version = _typed(facts, "version", str)
        self.distribution = _typed(facts, "distribution", str)
        self.abi = _typed(facts, "abi", int)
        if not 0 <= self.abi < MAX_RELEASES:
            raise ValueError("abi")
        for library in _typed(facts, "libraries", list):
            _typed(library, "name", str)
            _typed(library, "size", int)
            for key in ("soname", "build_id"):
                if library[key] is not None:
                    _typed(library, key, str)
            if not all(isinstance(name, str) for name in _typed(library, "needed", list)):
                raise TypeError("needed")
        bool(facts["global_scope"])
        self.facts = facts
        self.units = range(first_unit, first_unit + len(facts["libraries"]))

    @property
    def libraries(self) -> list[dict[str, Any]]:
        """name, soname, needed, build_id and size of each library, in the order of `units`."""
        libraries: list[dict[str, Any]] = self.facts["libraries"]
        return libraries

    @property
    def identities(self) -> tuple[LibraryIdentity, ...]:
        """The libraries as manifests and reports name them."""
        from ..models.manifest import LibraryIdentity

        keys = ("name", "soname", "build_id", "size")
        return tuple(LibraryIdentity(**{k: one[k] for k in keys}) for one in self.libraries)

    @property
    def global_scope(self) -> bool:
        """Whether `import tensorflow` puts its libraries into the global scope."""
        return bool(self.facts["global_scope"])

    def __repr__(self) -> str:
        return f"Release({self.distribution} {self.version})"


class Shape:
    """A class's layout in one release; offsets and sizes in bytes, slots by signature."""

    __slots__ = ("bases", "members", "name", "own_slots", "size", "virtual_bases")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.virtual_bases = False
        self.bases: list[tuple[str, int]] = []
        self.members: dict[str, tuple[int, str, str]] = {}  # name -> offset, bits, type
        self.own_slots: dict[str, int] = {}


class Atlas:
    """An open atlas. Raises `InputError` when the file is none or damaged."""

    def __init__(self, path: str, data: mmap.mmap | bytes) -> None:
        self.path = path
        self._data = data
        if data[:8] != MAGIC or len(data) < 16:
            raise InputError(f"`{path}` is not an atlas")
        version, count = struct.unpack_from("<II", data, 8)
        if version != VERSION:
            raise InputError(
                f"`{path}` is an atlas of format {version}; this envlock reads {VERSION}",
                hint="python -m pip install --upgrade tf-envlock",
            )
        self._places: dict[bytes, tuple[int, int]] = {}
        if count > 64 or 16 + 12 * count > len(data):
            raise self.damaged("its table of sections")
        for number in range(count):
            tag, offset, size = struct.unpack_from("<4sII", data, 16 + 12 * number)
            if offset + size > len(data):
                raise self.damaged(f"section {tag!r}")
            self._places[tag] = (offset, size)
        self._strings: dict[int, str] = {}
        self._shapes: dict[tuple[int, str], Shape | None] = {}
        # What many ABI tables share is decoded once.
        self._layouts: dict[tuple[str, int], Shape] = {}
        self._facts: dict[int, Fact] = {}
        self._window_lists: dict[int, tuple[Window, ...]] = {}
        self._records: dict[tuple[bytes, str], int | None] = {}
        self._slots: dict[tuple[int, str], dict[str, int]] = {}
        self._windows: dict[int, list[tuple[Window, ...]]] = {}
        self._releases: list[Release] | None = None
        self._moving: list[str] = []

    @classmethod
    def open(cls, path: str | None = None) -> Atlas:
        """Map an atlas file; without a path the shipped one."""
        name = SHIPPED if path is None else path
        try:
            with open(name, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise FileAccessError(f"cannot read the atlas `{name}`: {reason}") from None
        try:
            return cls(name, data)
        except struct.error:
            raise InputError(f"the atlas `{name}` is damaged: it ends too early") from None

    def damaged(self, what: str) -> InputError:
        """The error for an atlas whose bytes make no sense."""
        return InputError(f"the atlas `{self.path}` is damaged: {what}")

    def _section(self, tag: bytes) -> tuple[int, int]:
        place = self._places.get(tag)
        if place is None:
            raise self.damaged(f"section {tag!r} is missing")
        return place

    @property
    def releases(self) -> list[Release]:
        """All releases, oldest first, `tensorflow` before `tensorflow-cpu`."""
        if self._releases is None:
            offset, size = self._section(b"META")
            place = "$"
            try:
                table = JsonReader().read(self._data[offset : offset + size].decode())
                needed = _typed(table, "needed", list)
                found, unit = [], 0
                for index, facts in enumerate(_typed(table, "releases", list)[: MAX_RELEASES + 1]):
                    place = f"$.releases[{index}]"
                    if index == MAX_RELEASES or type(facts) is not dict:
                        raise ValueError(index)
                    for library in _typed(facts, "libraries", list):
                        # Many libraries need the same ones: those lists are kept apart.
                        library["needed"] = needed[_typed(library, "needed", int)]
                    release = Release(index, facts, unit)
                    unit += len(facts["libraries"])
                    found.append(release)
                place = "$.virtual"
                self._moving = [name.encode().decode() for name in _typed(table, "virtual", list)]
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                what = f"its list of releases, at `{place}` ({error!s:.100})"
                raise self.damaged(what) from None
            self._releases = found
        return self._releases

    @property
    def shipped(self) -> bool:
        """Whether this is the atlas that comes with envlock."""
        return self.path == SHIPPED

    @property
    def moving_tables(self) -> list[str]:
        """Classes whose own virtual functions change their slots between releases."""
        _ = self.releases
        return self._moving

    def find(self, version: str, distribution: str | None = None) -> Release | None:
        """The release of that number; of the named distribution where it is known there."""
        fitting = [r for r in self.releases if r.version == version]
        for name in (distribution, SAME_BUILD.get(distribution or "")):
            for release in fitting:
                if release.distribution == name:
                    return release
        return fitting[0] if fitting else None

    # -- exports

    @_guarded
    def membership(self, symbol: bytes) -> int:
        """Bitmap over all units (libraries of releases) that export a symbol."""
        key = symbol_key(symbol)
        index, _ = self._section(b"EXPI")
        entries, size = self._section(b"EXPE")
        data = self._data
        first, last = struct.unpack_from("<II", data, index + 4 * (key >> 24))
        if not first < last <= size:
            raise self.damaged("its export index")
        bucket = data[entries + first : entries + last]
        count = bucket[0]
        if len(bucket) < 1 + 4 * count:
            raise self.damaged("its exports")
        wanted = (key & 0xFFFFFF).to_bytes(3, "big")
        kinds = bucket[1 + 3 * count : 1 + 4 * count]
        for number in range(count):
            if bucket[1 + 3 * number : 4 + 3 * number] == wanted:
                kind = kinds[number]
                if kind == 0xFF:
                    at = 1 + 4 * count + 2 * kinds.count(0xFF, 0, number)
                    kind = int.from_bytes(bucket[at : at + 2], "big")
                return self._bitmap(kind)
        return 0

    def _bitmap(self, number: int) -> int:
        table, length = self._section(b"EXPM")
        (width,) = struct.unpack_from("<I", self._data, table)
        place = table + 4 + number * width
        if place + width > table + length:
            raise self.damaged("its memberships")
        return int.from_bytes(self._data[place : place + width], "little")

    # -- classes and functions

    def _blob(self, tag: bytes, number: int) -> bytes:
        offset, _ = self._section(tag)
        (count,) = struct.unpack_from("<I", self._data, offset)
        if number >= count:
            raise self.damaged(f"entry {number} of section {tag!r}")
        start, end = struct.unpack_from("<II", self._data, offset + 4 + 4 * number)
        body = offset + 8 + 4 * count
        return self._data[body + start : body + end]

    def _text(self, number: int) -> str:
        known = self._strings.get(number)
        if known is None:
            known = self._strings[number] = self._blob(b"STRT", number).decode()
        return known

    def _record(self, keys: bytes, records: bytes, name: str) -> int | None:
        """Offset in the file of the record of a name."""
        if (keys, name) not in self._records:
            self._records[keys, name] = self._search(keys, records, name_key(name))
        return self._records[keys, name]

    def _search(self, keys: bytes, records: bytes, wanted: int) -> int | None:
        """Offset in the file of the record of a key, by binary search."""
        offset, _ = self._section(keys)
        data = self._data
        (count,) = struct.unpack_from("<I", data, offset)
        key = wanted.to_bytes(5, "big")
        low, high, base = 0, count, offset + 4
        while low < high:
            middle = (low + high) // 2
            if data[base + 5 * middle : base + 5 * middle + 5] < key:
                low = middle + 1
            else:
                high = middle
        if low == count or data[base + 5 * low : base + 5 * low + 5] != key:
            return None
        (place,) = struct.unpack_from("<I", data, base + 5 * count + 4 * low)
        return self._section(records)[0] + int(place)

    def _run_value(self, at: int, abi: int) -> tuple[int, int]:
        """The value that a run-length table has for an ABI number, and where the table ends."""
        data = self._data
        count, at = _varint(data, at)
        value, covered = 0, 0
        for _ in range(count):
            length, at = _varint(data, at)
            number, at = _varint(data, at)
            if covered <= abi < covered + length:
                value = number
            covered += length
        return value, at

    @_guarded
    def shape(self, name: str, abi: int) -> Shape | None:
        """A class's layout in one ABI table, None where the probe does not see the class."""
        key = (abi, name)
        if key not in self._shapes:
            self._shapes[key] = self._shape(name, abi)
        return self._shapes[key]

    @_guarded
    def is_same(self, name: str, tables: Iterable[int]) -> bool:
        """Whether a class has one layout in some ABI tables; its bases are not looked at."""
        at = self._record(b"CLSK", b"CLSR", name)
        if at is None:
            return True
        _, at = _varint(self._data, at)
        return len({self._run_value(at, abi)[0] for abi in tables}) <= 1

    def _shape(self, name: str, abi: int) -> Shape | None:
        at = self._record(b"CLSK", b"CLSR", name)
        if at is None:
            return None
        number, at = _varint(self._data, at)
        if self._text(number) != name:
            return None
        value, _ = self._run_value(at, abi)
        if not value:
            return None
        known = self._layouts.get((name, value))
        if known is None:
            known = self._layouts[name, value] = self._layout(name, value - 1)
        return known

    def _layout(self, name: str, number: int) -> Shape:
        blob = self._blob(b"LAYO", number)
        text = self._text
        size, at = _varint(blob, 0)
        shape = Shape(name, size)
        flags, at = _varint(blob, at)
        shape.virtual_bases = bool(flags & 1)
        count, at = _varint(blob, at)
        for _ in range(count):
            base, at = _varint(blob, at)
            offset, at = _varint(blob, at)
            shape.bases.append((text(base), offset))
        count, at = _varint(blob, at)
        for _ in range(count):
            member, at = _varint(blob, at)
            offset, at = _varint(blob, at)
            bits, at = _varint(blob, at)
            kind, at = _varint(blob, at)
            shape.members[text(member)] = (offset, text(bits), text(kind))
        count, at = _varint(blob, at)
        for _ in range(count):
            slot, at = _varint(blob, at)
            signature, at = _varint(blob, at)
            shape.own_slots[text(signature)] = slot
        return shape

    @_guarded
    def slots(self, name: str, abi: int) -> dict[str, int]:
        """A class's whole virtual table: signature -> slot; a destructor takes two slots."""
        key = (abi, name)
        known = self._slots.get(key)
        if known is None:
            known = self._slots[key] = self._table(name, abi)
        return known

    def _table(self, name: str, abi: int) -> dict[str, int]:
        """The own slots of a class and of those it derives from, the outermost base's first."""
        line: list[Shape] = []
        at: str | None = name
        while at is not None:
            shape = self.shape(at, abi)
            if shape is None:
                break
            line.append(shape)
            if len(line) > MAX_BASES:
                raise self.damaged(f"`{name:.100}` has more than {MAX_BASES} base classes")
            at = next((base for base, offset in shape.bases if offset == 0), None)
        known: dict[str, int] = {}
        for shape in reversed(line):
            known.update(shape.own_slots)
        return known

    @_guarded
    def facts(self, function: str, abi: int) -> tuple[Fact, ...] | None:
        """What an inline function needs of classes; None when the atlas does not know it.

        An instantiation that the probe does not contain is answered for by its template.
        """
        value = self._function(function, abi)
        if not value:
            erased = erase(function)
            value = self._function(erased, abi) if erased is not None else 0
            if not value:
                return None
        blob = self._blob(b"FCTL", value - 1)
        count, at = _varint(blob, 0)
        found = []
        for _ in range(count):
            number, at = _varint(blob, at)
            found.append(self._fact(number))
        return tuple(found)

    @_guarded
    def has_function(self, name: str, abi: int) -> bool:
        """Whether the probe of that ABI table contains an inline function."""
        return self._function(name, abi) != 0

    def _function(self, name: str, abi: int) -> int:
        at = self._record(b"FUNK", b"FUNR", name)
        return 0 if at is None else self._run_value(at, abi)[0]

    def _fact(self, number: int) -> Fact:
        known = self._facts.get(number)
        if known is None:
            blob = self._blob(b"FCTT", number)
            cls, at = _varint(blob, 1)
            member, _ = _varint(blob, at)
            known = self._facts[number] = (chr(blob[0]), self._text(cls), self._text(member))
        return known

    @_guarded
    def windows(self, abi: int) -> list[tuple[Window, ...]]:
        """The drift-prone access paths of each inline function that has some."""
        known = self._windows.get(abi)
        if known is None:
            known = self._windows[abi] = list(self._read_windows(abi))
        return known

    def _read_windows(self, abi: int) -> Iterator[tuple[Window, ...]]:
        offset, size = self._section(b"WINX")
        (tables,) = struct.unpack_from("<I", self._data, offset)
        if not 0 <= abi < tables:
            raise self.damaged("its windows")
        first, last = struct.unpack_from("<II", self._data, offset + 4 + 4 * abi)
        start = 8 + 4 * tables
        if not first <= last <= (size - start) // 4:
            raise self.damaged("its windows")
        for (number,) in struct.iter_unpack(
            "<I", self._data[offset + start + 4 * first : offset + start + 4 * last]
        ):
            yield self._window_list(number)

    def _window_list(self, number: int) -> tuple[Window, ...]:
        known = self._window_lists.get(number)
        if known is None:
            known = self._window_lists[number] = self._decode_windows(number)
        return known

    def _decode_windows(self, number: int) -> tuple[Window, ...]:
        blob = self._blob(b"WINL", number)
        count, at = _varint(blob, 0)
        found = []
        for _ in range(count):
            steps = []
            for _ in range(2):
                length, at = _varint(blob, at)
                step = []
                for _ in range(length):
                    fact, at = _varint(blob, at)
                    step.append(self._fact(fact))
                steps.append(tuple(step))
            found.append((steps[0], steps[1]))
        return tuple(found)


def _varint(data: mmap.mmap | bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError("a number that does not end")
