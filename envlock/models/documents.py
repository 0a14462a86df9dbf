"""Documents from outside, read strictly: snapshots, histories, policies, reports, atlases.

pydantic reads them, and names the faulty place. Where it is not installed (`pip install
--no-deps`), the decoder of the gate does, which comes to the same answer in its own words.
"""

from __future__ import annotations

import json

from .errors import InputError
from .record import ValidationError, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .record import R

UPGRADE = "pip install --upgrade tf-envlock"


def validate(cls: type[R], value: object) -> R:
    """A record from parsed JSON. Raises `ValidationError`, whose path names the faulty place."""
    try:
        from .schema import validate
    except ImportError:
        return decode(cls, value)
    return validate(cls, value)


def read_document(records: tuple[type[R], ...], raw: bytes, label: str, noun: str) -> R:
    """The record whose format a JSON document says it has.

    `label` names the file in errors, `noun` says what it should be. Raises `InputError`.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label} is not JSON: {error!s:.200}") from None
    found = value.get("format") if isinstance(value, dict) else None
    formats = {record.choices["format"][0]: record for record in records}
    cls = formats.get(found) if isinstance(found, str) else None
    if cls is not None:
        try:
            return validate(cls, value)
        except ValidationError as problem:
            raise InputError(f"{label} does not validate: {problem}") from None
    known = " or ".join(f"`{name}`" for name in formats)
    if isinstance(found, str) and found.partition("/")[0] in [n.partition("/")[0] for n in formats]:
        raise InputError(
            f"{label} has the format `{found:.40}`, this envlock reads {known}", hint=UPGRADE
        )
    raise InputError(f"{label} is not a {noun}: its `format` is not {known}")
