"""HTML that cannot be written unescaped: elements are built, text is escaped where it enters."""

from __future__ import annotations

from html import escape

from . import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    Child = Union["Markup", str, None]

_VOID = {"br", "input", "link", "meta"}


class Markup(str):
    """Text that is HTML already; only `tag`, `group` and the page's own files make it."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Text from anywhere, as HTML on one line, which `<pre>` would break: line breaks, control and
    direction characters become visible escapes."""
    return Markup(escape(words.printable(value)))


def group(*children: Child) -> Markup:
    """Several children one after the other; None is nothing."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else text(child)
            for child in children
            if child is not None
        )
    )


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Markup:
    """One element. A trailing or inner `_` in an attribute's name stands for nothing or `-`."""
    rendered = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        if value is True:
            rendered.append(attribute)
        else:
            rendered.append(f'{attribute}="{escape(words.printable(value))}"')
    opening = f"<{' '.join(rendered)}>"
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{group(*children)}</{name}>")


def coded(value: str) -> Markup:
    """A message in which `backticked` literals become code elements."""
    pieces = value.split("`")
    if len(pieces) % 2 == 0:
        return text(value)
    return group(
        *(
            tag("code", piece) if index % 2 and piece else text(piece)
            for index, piece in enumerate(pieces)
        )
    )
