"""How a file with a changed tail is made out of another one."""

from __future__ import annotations


class Plan:
    """How to make the stamped file.

    The result is the first `keep` bytes of the source with `patches` (offset, bytes) applied,
    then `pieces` in order: bytes, or (offset, size) to copy from the source.
    """

    __slots__ = ("keep", "patches", "pieces")

    def __init__(
        self,
        keep: int,
        patches: list[tuple[int, bytes]],
        pieces: list[bytes | tuple[int, int]],
    ) -> None:
        self.keep = keep
        self.patches = patches
        self.pieces = pieces

    @property
    def size(self) -> int:
        """Bytes of the stamped file."""
        return self.keep + sum(
            len(piece) if isinstance(piece, bytes) else piece[1] for piece in self.pieces
        )
