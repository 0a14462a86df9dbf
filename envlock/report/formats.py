"""Check and drift reports in the formats that other people and programs read.

Each format is a module with `render(document, policy) -> str`, which takes a `ReportDocument` or a
`DriftDocument` and does no I/O.
"""

from __future__ import annotations

from ..models.errors import UsageError
from ..models.policy import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from ..models.drift import DriftDocument
    from ..models.policy import PolicyFile
    from ..models.report import ReportDocument

    Document = Union[ReportDocument, DriftDocument]

#: format -> module; the terminal's text and JSON are made by `render`
FORMATS = {
    "markdown": "markdown",
    "sarif": "sarif",
    "junit": "junit",
    "html": "html",
}
SUFFIXES = {
    ".html": "html",
    ".htm": "html",
    ".md": "markdown",
    ".sarif": "sarif",
    ".xml": "junit",
    ".json": "json",
    ".txt": "text",
}


def render(document: Document, format: str, policy: PolicyFile = DEFAULT) -> str:
    """The document in one of `FORMATS`; the policy says which verdicts count as failures."""
    from importlib import import_module

    if format not in FORMATS:
        raise UsageError(f"no report format `{format}`; there are {', '.join(FORMATS)}")
    text: str = import_module(f".{FORMATS[format]}", __package__).render(document, policy)
    return text
