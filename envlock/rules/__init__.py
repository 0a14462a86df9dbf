"""The comparison rules, in the order in which their findings are reported.

A new rule is one decorated function; a new file of rules is one line here.
"""

from __future__ import annotations

from .base import Rule
from .comparison import Comparison
from .runtime import compiled, tensorflow
from .runtime import surroundings as runtime
from .stamp import rules as stamp

__all__ = ["RULES", "Comparison", "Rule"]

RULES: tuple[Rule, ...] = (
    *stamp.RULES,
    *compiled.RULES,
    *tensorflow.RULES,
    *runtime.RULES,
)
