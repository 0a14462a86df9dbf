"""pydantic models, generated from the records: the second reader of the one definition.

What comes from outside off the gate is read by these. `tests/unit/models/` holds them and the lean
decoder to the same verdict on every input; `python -m tools.schemas` writes their JSON schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pydantic
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    create_model,
)

from .record import INT_LIMIT, FieldType, Record, ValidationError, field_types

if TYPE_CHECKING:
    from .record import R

#: Entries of a table of digests; real ones have six.
MAX_TABLE = 1 << 12
_models: dict[type[Record], type[BaseModel]] = {}
_readers: dict[type[Record], TypeAdapter[Any]] = {}


class _Base(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


def validate(cls: type[R], value: object) -> R:
    """Turn parsed JSON into a record as `record.decode` does.

    Raises `ValidationError`, whose path names the first faulty place; its text says how many there
    are besides, where there are more.
    """
    reader = _readers.get(cls)
    if reader is None:
        reader = _readers[cls] = TypeAdapter(_record(cls))
    try:
        record: R = reader.validate_python(value)
    except pydantic.ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False, include_input=False)
        path = "".join(f"[{s}]" if isinstance(s, int) else f".{s:.80}" for s in first["loc"])
        # pydantic would tell the class that a Python program could have given instead.
        told = first["msg"].removeprefix("Value error, ")
        if first["type"] == "model_type":
            told = "Input should be an object"
        more = f" (and {len(others)} more)" if others else ""
        raise ValidationError(f"${path}", told + more) from None
    return record


def _record(cls: type[Record]) -> Any:
    """The annotation that reads a record: what the document leaves out gets the record's default."""

    def build(model: BaseModel) -> Record:
        return cls(**{name: getattr(model, name) for name in model.model_fields_set})

    return Annotated[model_for(cls), AfterValidator(build)]


def _few(table: object) -> object:
    # Every faulty entry costs pydantic 400 bytes, and tables do not fail at the first.
    if isinstance(table, dict) and len(table) > MAX_TABLE:
        raise ValueError(f"more than {MAX_TABLE} entries")
    return table


def _encodable(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate is not text") from None
    return text


_Text = Annotated[str, AfterValidator(_encodable)]


def _annotation(kind: FieldType) -> Any:
    if kind.kind in ("str", "bool", "object", "Verdict"):
        return {"str": _Text, "bool": bool, "object": Any, "Verdict": _Text}[kind.kind]
    if kind.kind == "int":
        return Annotated[int, Field(strict=True, ge=-INT_LIMIT, lt=INT_LIMIT)]
    if kind.kind == "record":
        assert kind.record is not None
        return _record(kind.record)
    assert kind.inner is not None
    inner = _annotation(kind.inner)
    if kind.kind == "optional":
        return Optional[inner]
    if kind.kind == "array":
        return Annotated[list[inner], Field(fail_fast=True), AfterValidator(tuple)]  # type: ignore[valid-type]
    return Annotated[dict[_Text, inner], BeforeValidator(_few)]  # type: ignore[valid-type]


def _with_choices(optional: bool, allowed: tuple[str, ...]) -> Any:
    literal = Literal[tuple(map(str, allowed))]  # type: ignore[valid-type]
    return Optional[literal] if optional else literal


def model_for(cls: type[Record]) -> type[BaseModel]:
    """The pydantic model with the same fields, types, defaults and choices as a record class."""
    known = _models.get(cls)
    if known is None:
        fields: dict[str, Any] = {}
        for name, kind in field_types(cls).items():
            annotation = _annotation(kind)
            if name in cls.choices:
                annotation = _with_choices(kind.kind == "optional", cls.choices[name])
            if hasattr(cls, name):
                default = getattr(cls, name)
                if isinstance(default, tuple):
                    fields[name] = (annotation, Field(default_factory=list))
                elif isinstance(default, Record):
                    fields[name] = (annotation, Field(default_factory=model_for(type(default))))
                else:
                    plain = str(default) if isinstance(default, str) else default
                    fields[name] = (annotation, plain)
            else:
                fields[name] = (annotation, ...)
        summary = (cls.__doc__ or cls.__name__).strip().splitlines()[0]
        known = create_model(cls.__name__, __base__=_Base, __doc__=summary, **fields)
        _models[cls] = known
    return known
