"""Regular expressions that are compiled when they are first used.

`re`, and what a module compiles with it, costs a gate milliseconds for expressions that a good plugin
never needs. Flags stand in the expression itself: `(?im)`.
"""

from __future__ import annotations

__all__ = ["pattern"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import compile as pattern
else:

    class pattern:
        """As `re.compile`, later."""

        def __init__(self, expression):
            self.pattern = expression

        def __getattr__(self, name):
            import re

            found = getattr(re.compile(self.pattern), name)
            setattr(self, name, found)
            return found
