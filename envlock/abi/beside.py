"""Whether an unstamped plugin can have been built with a TensorFlow of an added atlas.

The same evidence that tells public releases apart (`envlock.abi.narrow`), asked of two atlases.
"""

from __future__ import annotations

from .narrow import contradictions, explained

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..atlas.format import Atlas, Release
    from .analyse import Evidence
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
    return found, -explained(evidence.code, added.windows(live.abi), atlas, abi)
