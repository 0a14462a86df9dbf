"""Whether an unstamped plugin can have been built with a TensorFlow of an added atlas.

The same evidence that tells public releases apart (`envlock.abi.narrow`), asked of two atlases.
"""

from __future__ import annotations

from . import code
from .narrow import contradictions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..atlas.format import Atlas, Release, Window
    from .analyse import Evidence
    from .machine import Code
    from .unstamped import Suspects


def fits(suspects: Suspects, added: Atlas, live: Release, *, asserted: bool = False) -> bool:
    """Whether a plugin can have been built with a release of `added`.

    It can if its code fits that one better than the public releases, or if that one is, for this
    plugin, like one of the public releases that it fits best. `asserted`: the user says so, and
    the code must not fit the public ones better. Where no public release exports what the plugin
    needs, the added one is all there is.
    """
    evidence = suspects.evidence
    if evidence is None:
        return True
    own = _against(evidence, added, live.abi, added, live)
    public = [_against(evidence, suspects.atlas, one.abi, added, live) for one in suspects.origins]
    if all(own < other or (asserted and own == other) for other in public):
        return True
    return any(
        all(finding.verdict != "unsafe" for finding in suspects.compared(one, needed, added, live))
        for one, needed in suspects.needs
    )


def fits_better(
    evidence: Evidence,
    added: Atlas,
    release: Release,
    others: Sequence[tuple[Atlas, Release]],
) -> bool:
    """Whether a plugin's code fits a release of `added` better than each of some others."""
    own = _against(evidence, added, release.abi, added, release)
    return all(
        own < _against(evidence, atlas, other.abi, added, release) for atlas, other in others
    )


def _against(
    evidence: Evidence, atlas: Atlas, abi: int, added: Atlas, live: Release
) -> tuple[int, int]:
    """What speaks against a release: contradictions, then accesses that nothing in it explains."""
    found = contradictions(evidence, atlas, abi)
    if evidence.code is None:
        return found, 0
    # The added atlas holds every inline accessor, the public one those that moved in public.
    return found, -_explained(evidence.code, added.windows(live.abi), atlas, abi)


def _explained(found: Code, accessors: Sequence[tuple[Window, ...]], atlas: Atlas, abi: int) -> int:
    """How many of the code's access windows the accessors account for at a release's offsets."""
    explained = set()
    for windows in accessors:
        for first, second in windows:
            if first[-1][0] == "p":
                continue
            a, b = code.place(first, atlas, abi), code.place(second, atlas, abi)
            if a is None or b is None or (a, b) not in found.windows:
                continue
            if code.widths_fit(found.widths[a, b], second, atlas, abi) and any(
                code.supports(seen, first[0][1]) for seen in found.windows[a, b]
            ):
                explained.add((a, b))
    return len(explained)
