"""What becomes of a plugin, in four words, and how bad each of them is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar


class Verdict(str):
    """One of the four words, equal to its text; verdicts compare by how bad they are.

    `Verdict(word)` gives the member of that name. Raises `ValueError` for any other word.
    """

    __slots__ = ()
    COMPATIBLE: ClassVar[Verdict]
    DRIFTED: ClassVar[Verdict]
    UNSAFE: ClassVar[Verdict]
    INCOMPATIBLE: ClassVar[Verdict]

    def __new__(cls, word: str) -> Verdict:
        try:
            return _MEMBERS[word]
        except KeyError:
            raise ValueError(f"no verdict `{word:.40}`") from None

    def __reduce__(self) -> tuple[type[Verdict], tuple[str]]:
        return Verdict, (str(self),)

    @property
    def rank(self) -> int:
        """0 for compatible to 3 for incompatible."""
        return VERDICTS.index(self)

    @property
    def works(self) -> bool:
        """Whether the plugin can be used: compatible or drifted."""
        return self.rank < 2

    def __lt__(self, other: str) -> bool:
        return self.rank < Verdict(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Verdict(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Verdict(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Verdict(other).rank


_MEMBERS = {
    word: str.__new__(Verdict, word) for word in ("compatible", "drifted", "unsafe", "incompatible")
}
#: In rising order.
VERDICTS = tuple(_MEMBERS.values())
Verdict.COMPATIBLE, Verdict.DRIFTED, Verdict.UNSAFE, Verdict.INCOMPATIBLE = VERDICTS


def worst(verdicts: Iterable[str]) -> Verdict:
    """The worst of some verdicts; compatible where there are none."""
    return max(map(Verdict, verdicts), default=Verdict.COMPATIBLE)
