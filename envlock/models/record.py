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
    from collections.abc import Mapping
    from typing import Any, ClassVar, TypeVar

    from typing_extensions import Self, dataclass_transform

    R = TypeVar("R", bound="Record")
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


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """Base of all records: immutable, compared and hashed by value, built from keywords."""

    record_fields: ClassVar[dict[str, str]] = {}
    verdict_fields: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls) -> None:
        own = cls.__dict__.get("__annotations__", {})
        fields = {n: a for n, a in own.items() if not n.startswith("_") and "ClassVar" not in a}
        cls.record_fields = {**cls.record_fields, **fields}
        found = (n for n, a in cls.record_fields.items() if a in ("Verdict", "Verdict | None"))
        cls.verdict_fields = tuple(found)

    def __init__(self, **values: Any) -> None:
        state = self.__dict__
        for name in self.record_fields:
            if name in values:
                state[name] = values.pop(name)
            elif hasattr(type(self), name):
                state[name] = getattr(type(self), name)
            else:
                raise TypeError(f"{type(self).__name__}() misses the argument {name!r}")
        for name in self.verdict_fields:
            if state[name] in VERDICTS:  # as a document, or somebody's Python, has it
                state[name] = Verdict(state[name])
        if values:
            raise TypeError(f"{type(self).__name__}() has no field {sorted(values)[0]!r}")

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


def _expect(value: object, wanted: type, path: str) -> Any:
    if type(value) is not wanted:
        raise ValidationError(path, f"expected {_NAMES[wanted]}, got {_name_of(value)}")
    return value


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


def _check_text(value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValidationError(path, "a lone surrogate is not text") from None
    return value


def _decode_value(kind: FieldType, value: object, path: str) -> object:
    name = kind.kind
    if name == "optional":
        assert kind.inner is not None
        return None if value is None else _decode_value(kind.inner, value, path)
    if name in ("str", "Verdict"):
        return _check_text(_expect(value, str, path), path)
    if name == "int":
        number: int = _expect(value, int, path)
        if not -INT_LIMIT <= number < INT_LIMIT:
            raise ValidationError(path, "the integer does not fit in 64 bits")
        return number
    if name == "bool":
        return _expect(value, bool, path)
    if name == "array":
        assert kind.inner is not None
        items = _expect(value, list, path)
        return tuple(_decode_value(kind.inner, v, f"{path}[{i}]") for i, v in enumerate(items))
    if name == "table":
        assert kind.inner is not None
        table = _expect(value, dict, path)
        return {
            _check_text(k, path): _decode_value(kind.inner, v, f"{path}.{k}")
            for k, v in table.items()
        }
    if name == "record":
        assert kind.record is not None
        return decode(kind.record, value, path)
    return value


def decode(cls: type[R], value: object, path: str = "$") -> R:
    """Turn parsed JSON into a record; types are exact, unknown keys are ignored.

    Raises `ValidationError`, whose path names the first faulty place.
    """
    table = _expect(value, dict, path)
    values: dict[str, object] = {}
    for name, kind in field_types(cls).items():
        if name in table:
            here = f"{path}.{name}"
            got = _decode_value(kind, table[name], here)
            allowed = cls.choices.get(name)
            if allowed is not None and got is not None and got not in allowed:
                raise ValidationError(here, f"expected {' or '.join(allowed)}, got {got!r:.60}")
            values[name] = got
        elif not hasattr(cls, name):
            raise ValidationError(path, f"the key {name!r} is missing")
    return cls(**values)


def encode(record: Record, *, sparse: bool = False) -> dict[str, Any]:
    """The record as JSON-ready values; `sparse` leaves out what is None or empty and optional."""
    result: dict[str, Any] = {}
    for name in record.record_fields:
        value = getattr(record, name)
        if sparse and hasattr(type(record), name) and value == getattr(type(record), name):
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
