"""pydantic models and JSON schemas, generated from the records.

The second reader of the one definition: used for schemas and wherever start-up time does not
count. `tests/unit/models/` holds it and the lean decoder to the same verdict on every input.
"""

from __future__ import annotations

from typing import Any, Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, create_model

from .record import INT_LIMIT, FieldType, Record, field_types

_Int = Field(strict=True, ge=-INT_LIMIT, lt=INT_LIMIT)
_models: dict[type[Record], type[BaseModel]] = {}


class _Base(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


def _annotation(kind: FieldType) -> Any:
    if kind.kind == "optional":
        assert kind.inner is not None
        return Optional[_annotation(kind.inner)]
    if kind.kind == "array":
        assert kind.inner is not None
        return list[_annotation(kind.inner)]  # type: ignore[misc]
    if kind.kind == "table":
        assert kind.inner is not None
        return dict[str, _annotation(kind.inner)]  # type: ignore[misc]
    if kind.kind == "record":
        assert kind.record is not None
        return model_for(kind.record)
    if kind.kind == "int":
        from typing import Annotated

        return Annotated[int, _Int]
    return {"str": str, "bool": bool, "object": Any, "Verdict": str}[kind.kind]


def _with_choices(annotation: Any, optional: bool, allowed: tuple[str, ...]) -> Any:
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
                annotation = _with_choices(annotation, kind.kind == "optional", cls.choices[name])
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


def json_schema(cls: type[Record], identifier: str, title: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a document, `$id` and title set."""
    schema = model_for(cls).model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identifier,
        **schema,
        "title": title,
    }
