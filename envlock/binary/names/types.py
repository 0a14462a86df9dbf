"""Names of types as debug information spells them."""

from __future__ import annotations


def own_name(kind: str) -> str:
    """A type's own name and how it is pointed to.

    Namespaces and template arguments are left out, they are respelled without any change.
    """
    stars = kind[len(kind.rstrip("*&")) :]
    return kind.split("<", 1)[0].rstrip("*&").rsplit("::", 1)[-1] + stars
