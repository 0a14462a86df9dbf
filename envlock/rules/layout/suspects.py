"""Judging a plugin whose build is not recorded: against every release that it can come from.

What cannot be distinguished counts: a pair is `unsafe` when it is for one of the releases that the
plugin's own code fits equally well. Where all of them agree with the live one, it is not.
"""

from __future__ import annotations

from ...models.dependencies import Dependencies
from ...models.report import Finding, Unchecked
from ...models.verdict import Verdict
from ...plugin.memory import name_of
from .findings import compare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...atlas.format import Atlas, Release
    from ...plugin.dependencies.analyse import InterfaceFacts
    from ...plugin.facts import PluginFacts


class Suspects:
    """The releases that an unstamped plugin can have been built with, one an interface.

    `possible` are those whose exports, and whose package's requirement, allow it; `origins` those
    of them that fit the plugin's code, oldest first. `linking` are all those that export what it
    needs: it is compared with no other one.
    """

    def __init__(
        self,
        plugin: PluginFacts,
        atlas: Atlas,
        possible: Sequence[Release],
        linking: Sequence[Release],
    ) -> None:
        self.atlas = atlas
        self.possible = list(possible)
        self.origins = list(possible)
        self._plugin = plugin
        #: Whether the plugin's code decided: with one interface there is nothing to decide.
        self.narrowed = len({release.abi for release in possible}) > 1
        if self.narrowed:
            self.origins = self._narrowed()
        #: One release, the newest, of each interface that fits.
        self.interfaces = tuple({release.abi: release for release in self.origins}.values())
        self._against = sorted({release.abi for release in linking})
        self._needs: dict[bool, list[tuple[Release, Dependencies]]] = {}

    def _narrowed(self) -> list[Release]:
        """Those of the possible releases that fit the plugin's code."""
        tables = sorted({release.abi for release in self.possible})

        def find() -> int:
            from ...plugin.dependencies.narrow import narrow

            found = narrow(self._plugin.interface, self.atlas, self.possible)
            return sum(1 << abi for abi in {release.abi for release in found})

        question = f"origins {name_of(self.atlas)} {tables}"
        fitting = self._plugin.memory.number(question, find)
        return [release for release in self.possible if fitting >> release.abi & 1]

    @property
    def evidence(self) -> InterfaceFacts | None:
        """What the plugin's code shows; None where no release is possible."""
        return self._plugin.interface if self.possible else None

    @property
    def doubts(self) -> tuple[str, ...]:
        """What kept the plugin's code from telling all, where it was asked at all."""
        if not self.narrowed:
            return ()
        return self._plugin.memory.texts("doubts", lambda: self._plugin.interface.doubts)

    def needs(self, atlas: Atlas) -> list[tuple[Release, Dependencies]]:
        """What the plugin depends on if it was built with each of the origins, as far as it
        matters beside releases of an atlas."""
        public = atlas is self.atlas
        if public not in self._needs:
            against = self._against if public else None
            self._needs[public] = [(one, self._needed(one, against)) for one in self.interfaces]
        return self._needs[public]

    def _needed(self, release: Release, against: Sequence[int] | None) -> Dependencies:
        def find() -> Dependencies:
            from ...plugin.dependencies.analyse import dependencies

            return dependencies(self._plugin.interface, self.atlas, release, against)

        question = f"needs {name_of(self.atlas)} {release.version} {release.abi} {against}"
        return self._plugin.memory.record(question, Dependencies, find)

    @property
    def only(self) -> str | None:
        """The release's number where there is but one interface that fits."""
        return self.interfaces[0].version if len(self.interfaces) == 1 else None

    def against(self, atlas: Atlas, live: Release) -> tuple[list[Finding], list[Unchecked]]:
        """Findings against a release: the worst that any origin gives."""
        worst: tuple[list[Finding], list[Unchecked]] = ([], [])
        if atlas is self.atlas and {release.abi for release in self.interfaces} == {live.abi}:
            return worst  # nothing is left to compare
        for release, needed in self.needs(atlas):
            if atlas is self.atlas and release.abi == live.abi:
                continue
            found = compare(needed, atlas, live, release.version, (self.atlas, release))
            if _weight(found[0]) > _weight(worst[0]):
                worst = found
        return worst

    def compared(
        self, origin: Release, needed: Dependencies, atlas: Atlas, live: Release
    ) -> list[Finding]:
        """Findings against a release if the plugin was built with one of the origins."""
        return compare(needed, atlas, live, origin.version, (self.atlas, origin))[0]

    def includes(self, atlas: Atlas, live: Release, *, asserted: bool = False) -> bool:
        """Whether the plugin can have been built with a release's interface.

        `asserted`: the user says that it was, which counts where the code does not show it.
        """
        if atlas is not self.atlas:
            return fits(self, atlas, live, asserted=asserted)
        return any(
            release.version == live.version or release.abi == live.abi for release in self.origins
        )


def _weight(findings: Sequence[Finding]) -> tuple[int, int]:
    return sum(f.verdict == Verdict.UNSAFE for f in findings), len(findings)


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
        all(
            finding.verdict != Verdict.UNSAFE
            for finding in suspects.compared(one, needed, added, live)
        )
        for one, needed in suspects.needs(added)
    )


def fits_better(
    evidence: InterfaceFacts,
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
    evidence: InterfaceFacts, atlas: Atlas, abi: int, added: Atlas, live: Release
) -> tuple[int, int]:
    """What speaks against a release: contradictions, then accesses that nothing in it explains."""
    from ...plugin.dependencies.narrow import contradictions, explained

    found = contradictions(evidence, atlas, abi)
    if evidence.machine is None:
        return found, 0
    # The added atlas holds every inline accessor, the public one those that moved in public.
    return found, -explained(evidence.machine, added.windows(live.abi), atlas, abi)
