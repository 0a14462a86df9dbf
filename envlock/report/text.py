"""A document as text for people at a terminal: each kind of document has a module of its own.

Colour is only ever added to words that say the same; see `Style`.
"""

from __future__ import annotations

import os

from ..models.policy import DEFAULT
from .formats import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from ..models.policy import PolicyFile
    from .formats import AnyDocument

#: format of a document -> module with `render(document, everything=..., style=...)`
KINDS = {
    "envlock.report": "check_text",
    "envlock.drift": "drift_text",
    "envlock.compat": "compat_text",
    "envlock.show": "manifest_text",
}
_CODES = {
    "incompatible": "31;1",
    "unsafe": "33;1",
    "unreadable": "35;1",
    "drifted": "36",
    "compatible": "32",
}


class Style:
    """Colour for a terminal, nothing elsewhere (NO_COLOR, `TERM=dumb`, pipes, files)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        terminal = stream is not None and stream.isatty()
        environ = os.environ
        self.on = terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"

    def __call__(self, verdict: str, text: str) -> str:
        """The text in the colour of a verdict."""
        return f"\x1b[{_CODES[verdict]}m{text}\x1b[0m" if self.on else text


def render(
    document: AnyDocument,
    policy: PolicyFile = DEFAULT,
    *,
    everything: bool = False,
    stream: TextIO | None = None,
) -> str:
    """The text; with `everything` what is folded otherwise, coloured if `stream` is a terminal."""
    kind = module(KINDS[document.format.partition("/")[0]])
    text: str = kind.render(document, everything=everything, style=Style(stream))
    return text
