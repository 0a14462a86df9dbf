"""The formats of reports, for people and for programs.

Each format is a module with `render(document, policy) -> str`, which takes a `ReportDocument` or a
`DriftDocument` and does no I/O; `text` and `json` take every document.
"""

from __future__ import annotations

import sys

from ..models.errors import UsageError
from ..models.policy import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Union

    from ..models.compat import CompatDocument
    from ..models.drift import DriftDocument
    from ..models.policy import PolicyFile
    from ..models.report import ReportDocument
    from ..models.shown import ShownDocument

    Document = Union[ReportDocument, DriftDocument]
    AnyDocument = Union[Document, CompatDocument, ShownDocument]

#: format -> module, in the order of `--help`
FORMATS = {
    "text": "text",
    "json": "json",
    "markdown": "markdown",
    "sarif": "sarif",
    "junit": "junit",
    "html": "html",
    "codequality": "codequality",
}
#: suffix of the file that is written -> format
SUFFIXES = {
    ".html": "html",
    ".htm": "html",
    ".md": "markdown",
    ".sarif": "sarif",
    ".xml": "junit",
    ".json": "json",
    ".txt": "text",
}


def render(document: AnyDocument, format: str, policy: PolicyFile = DEFAULT, **options: Any) -> str:
    """The document in one of `FORMATS`; the policy says which verdicts count as failures.

    `options` are those of the format's own `render`.
    """
    if format not in FORMATS:
        raise UsageError(f"no report format `{format}`; there are {', '.join(FORMATS)}")
    text: str = module(FORMATS[format]).render(document, policy, **options)
    return text


def module(name: str) -> ModuleType:
    """A module of this room, imported at its first use."""
    name = f"{__package__}.{name}"
    __import__(name)  # importlib is one more import
    return sys.modules[name]
