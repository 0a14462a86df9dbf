"""The way back: files from which pip, uv, conda or docker make an environment again.

    plan = make_plan(facts, minimal=False)
    result = write(plan, "pip")     # result.text, result.left_out

What cannot be had again (a local wheel, an editable install, an edited file) is listed in the file
as a comment and in `left_out`.
"""

from __future__ import annotations

from ...models.errors import UsageError
from .plan import Item, LeftOut, Plan, make_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..index import PackageIndex

__all__ = ["FORMATS", "Item", "LeftOut", "Plan", "Recreation", "make_plan", "write"]

FORMATS = ("pip", "pylock", "conda", "conda-explicit", "dockerfile")


class Recreation:
    """The file's text, and what it leaves out."""

    __slots__ = ("left_out", "text")

    def __init__(self, text: str, left_out: list[LeftOut]) -> None:
        self.text = text
        self.left_out = left_out


def write(plan: Plan, form: str, index: PackageIndex | None = None) -> Recreation:
    """One of `FORMATS`. `index` is asked for files and digests; pylock cannot do without.

    Raises `UsageError` where the format cannot hold such an environment at all.
    """
    from . import conda, dockerfile, pip

    if form == "pip":
        return Recreation(*pip.requirements(plan, index))
    if form == "pylock":
        return Recreation(*pip.pylock(plan, index))
    if form == "conda":
        return Recreation(*conda.environment(plan))
    if form == "conda-explicit":
        return Recreation(*conda.explicit(plan))
    if form == "dockerfile":
        return Recreation(*dockerfile.dockerfile(plan, index))
    raise UsageError(f"`{form}` is not a format to recreate in: choose from {', '.join(FORMATS)}")
