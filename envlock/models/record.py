"""Frozen records: the one definition of every document that envlock reads or writes.

A `Record` looks like a frozen keyword-only dataclass to a type checker. It is not one because
`import dataclasses` with thirty classes costs 35 to 40 ms, twice what `ldd -r` needs for a whole
plugin, and the gate has to start faster than that. Annotations are read as text, at first use,
by `field_types`; the strict decoder below and the pydantic models of `envlock.models.schema`
are both built from that, so there is one definition and two readers of it.

Annotations may be `str`, `int`, `bool`, `Verdict`, `object` (any JSON value), another record's name,
`tuple[T, ...]`, `dict[str, T]` and `T | None`.
"""

from __future__ import annotations

import sys

from .verdict import VERDICTS, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, TypeVar

    from typing_extensions import Self, dataclass_transform

    R = TypeVar("R", bound="Record")
    #: Makes a value of what JSON has; raises `ValidationError`.
    Reader = Callable[[object], object]
else:

    def dataclass_transform(**_):
        return lambda cls: cls


INT_LIMIT = 1 << 63


class ValidationError(ValueError):
    """A document that does not have its record's shape; `path` points at the faulty place."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem

    def below(self, place: str) -> ValidationError:
        """The same error, seen from the value that has this one at a place."""
        return ValidationError(place + self.path, self.problem)


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """Base of all records: immutable, compared and hashed by value, built from keywords."""

    record_fields: ClassVar[dict[str, str]] = {}
    verdict_fields: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        own = cls.__dict__.get("__annotations__", {})
        fields = {n: a for n, a in own.items() if not n.startswith("_") and "ClassVar" not in a}
        cls.record_fields = {**cls.record_fields, **fields}
        found = (n for n, a in cls.record_fields.items() if a in ("Verdict", "Verdict | None"))
        cls.verdict_fields = tuple(found)
        own_defaults = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}
        cls.defaults = {**cls.defaults, **own_defaults}

    def __init__(self, **values: Any) -> None:
        state = self.__dict__
        state.update(self.defaults)
        state.update(values)
        if len(state) != len(self.record_fields) or not state.keys() <= self.record_fields.keys():
            raise _misfit(type(self), values)
        for name in self.verdict_fields:
            if state[name] in VERDICTS:  # as a document, or somebody's Python, has it
                state[name] = Verdict(state[name])

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.record_fields)
        return f"{type(self).__name__}({inside})"

    def replace(self, **changes: Any) -> Self:
        """The same record with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})


def _misfit(cls: type[Record], values: Mapping[str, Any]) -> TypeError:
    for name in cls.record_fields:
        if name not in values and name not in cls.defaults:
            return TypeError(f"{cls.__name__}() misses the argument {name!r}")
    unknown = min(values.keys() - cls.record_fields.keys())
    return TypeError(f"{cls.__name__}() has no field {unknown!r}")


class FieldType:
    """One parsed annotation: `kind` is str, int, bool, Verdict, object, record, array, table or optional."""

    __slots__ = ("inner", "kind", "record")

    def __init__(
        self, kind: str, inner: FieldType | None = None, record: type[Record] | None = None
    ) -> None:
        self.kind = kind
        self.inner = inner
        self.record = record


_SCALARS = {"str", "int", "bool", "object", "Verdict"}
_cache: dict[type[Record], dict[str, FieldType]] = {}


def _parse(annotation: str, namespace: Mapping[str, Any]) -> FieldType:
    text = annotation.strip()
    if text.endswith("| None"):
        return FieldType("optional", _parse(text[: -len("| None")], namespace))
    if text.startswith("tuple[") and text.endswith(", ...]"):
        return FieldType("array", _parse(text[len("tuple[") : -len(", ...]")], namespace))
    if text.startswith("dict[str,") and text.endswith("]"):
        return FieldType("table", _parse(text[len("dict[str,") : -1], namespace))
    if text in _SCALARS:
        return FieldType(text)
    record = namespace.get(text)
    if isinstance(record, type) and issubclass(record, Record):
        return FieldType("record", record=record)
    raise TypeError(f"a record field cannot be annotated {annotation!r}")


def field_types(cls: type[Record]) -> dict[str, FieldType]:
    """The parsed annotations of a record class, by field name, in the order of definition."""
    known = _cache.get(cls)
    if known is None:
        known = {}
        for base in reversed(cls.__mro__):
            namespace = sys.modules[base.__module__].__dict__
            for name in base.__dict__.get("__annotations__", {}):
                if name in cls.record_fields:
                    known[name] = _parse(cls.record_fields[name], namespace)
        _cache[cls] = known
    return known


def _wrong(wanted: type, value: object) -> ValidationError:
    return ValidationError("", f"expected {_NAMES[wanted]}, got {_name_of(value)}")


_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    dict: "an object",
    list: "an array",
}


def _name_of(value: object) -> str:
    if value is None:
        return "null"
    return _NAMES.get(type(value), "a number")


# Readers of JSON values; what they raise says where below the value the fault is.


def _text(value: object) -> str:
    if type(value) is not str:
        raise _wrong(str, value)
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValidationError("", "a lone surrogate is not text") from None
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise _wrong(int, value)
    if not -INT_LIMIT <= value < INT_LIMIT:
        raise ValidationError("", "the integer does not fit in 64 bits")
    return value


def _truth(value: object) -> bool:
    if type(value) is not bool:
        raise _wrong(bool, value)
    return value


def _anything(value: object) -> object:
    return value


_READERS: dict[str, Reader] = {
    "str": _text,
    "Verdict": _text,
    "int": _number,
    "bool": _truth,
    "object": _anything,
}


def _reader(kind: FieldType) -> Reader:
    """The reader of values of a type."""
    if kind.kind in _READERS:
        return _READERS[kind.kind]
    if kind.kind == "record":
        record = kind.record
        assert record is not None
        return lambda value: _decode(record, value)
    assert kind.inner is not None
    inner = _reader(kind.inner)
    return {"optional": _optional, "array": _array, "table": _table}[kind.kind](inner)


def _optional(inner: Reader) -> Reader:
    return lambda value: None if value is None else inner(value)


def _array(inner: Reader) -> Reader:
    def read(value: object) -> tuple[object, ...]:
        if type(value) is not list:
            raise _wrong(list, value)
        found: list[object] = []
        try:
            for item in value:
                found.append(inner(item))  # noqa: PERF401 - its length tells the place of an error
        except ValidationError as error:
            raise error.below(f"[{len(found)}]") from None
        return tuple(found)

    return read


def _table(inner: Reader) -> Reader:
    def read(value: object) -> dict[str, object]:
        if type(value) is not dict:
            raise _wrong(dict, value)
        found = {}
        for key, item in value.items():
            name = _text(key)
            try:
                found[name] = inner(item)
            except ValidationError as error:
                raise error.below(f".{key}") from None
        return found

    return read


#: By class: (name, its reader, the values that are allowed if only some are) of each field.
_fields: dict[type[Record], list[tuple[str, Reader, tuple[str, ...] | None]]] = {}


def _readers(cls: type[Record]) -> list[tuple[str, Reader, tuple[str, ...] | None]]:
    known = _fields.get(cls)
    if known is None:
        types = field_types(cls).items()
        known = [(name, _reader(kind), cls.choices.get(name)) for name, kind in types]
        _fields[cls] = known
    return known


def _decode(cls: type[R], value: object) -> R:
    if type(value) is not dict:
        raise _wrong(dict, value)
    values: dict[str, object] = {}
    for name, read, allowed in _readers(cls):
        if name in value:
            try:
                got = read(value[name])
            except ValidationError as error:
                raise error.below(f".{name}") from None
            if allowed is not None and got is not None and got not in allowed:
                problem = f"expected {' or '.join(allowed)}, got {got!r:.60}"
                raise ValidationError(f".{name}", problem)
            values[name] = got
        elif name not in cls.defaults:
            raise ValidationError("", f"the key {name!r} is missing")
    return cls(**values)


def decode(cls: type[R], value: object, path: str = "$") -> R:
    """Turn parsed JSON into a record; types are exact, unknown keys are ignored.

    Raises `ValidationError`, whose path names the first faulty place; that of the value is `path`.
    """
    try:
        return _decode(cls, value)
    except ValidationError as error:
        raise error.below(path) from None


def encode(record: Record, *, sparse: bool = False) -> dict[str, Any]:
    """The record as JSON-ready values; `sparse` leaves out what is None or empty and optional."""
    result: dict[str, Any] = {}
    for name in record.record_fields:
        value = getattr(record, name)
        if sparse and name in record.defaults and value == record.defaults[name]:
            continue
        result[name] = _encode_value(value, sparse)
    return result


def _encode_value(value: object, sparse: bool) -> Any:
    if isinstance(value, Record):
        return encode(value, sparse=sparse)
    if isinstance(value, (tuple, list)):
        return [_encode_value(item, sparse) for item in value]
    if isinstance(value, dict):
        return {key: _encode_value(item, sparse) for key, item in value.items()}
    if isinstance(value, Verdict):
        return str(value)
    return value
