"""A document as JSON text."""

from __future__ import annotations

import json

from ..models.policy import DEFAULT
from ..models.record import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.policy import PolicyFile
    from ..models.record import Record


def render(document: Record, policy: PolicyFile = DEFAULT) -> str:
    """The JSON text, keys in the order of the record's fields."""
    return json.dumps(encode(document), indent=2, ensure_ascii=False) + "\n"
