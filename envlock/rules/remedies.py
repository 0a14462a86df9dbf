"""What to do about a plugin that another TensorFlow would take: which one, and how to get it.

A release is named only if the plugin links with that very distribution of it and its binary
interface fits, which is what `compat` says of it.
"""

from __future__ import annotations

from ..models.errors import InputError
from ..models.verdict import Verdict
from ..models.versions import order
from .installing import Place, elsewhere, pythons

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..atlas.format import Release
    from ..binary.elf import ElfFile
    from ..models.manifest import Manifest
    from ..models.report import Finding

#: Distributions that a remedy prefers where neither is installed.
_PUBLIC = ("tensorflow", "tensorflow-cpu")
#: Releases that a remedy lists.
MAX_NAMED = 12


class Fits:
    """The public releases that take a plugin, oldest first, and those that it can come from."""

    __slots__ = ("origins", "releases")

    def __init__(self, releases: Sequence[Release], origins: Iterable[str]) -> None:
        self.releases = releases
        self.origins = frozenset(origins)


class Target:
    """The environment that a plugin was checked against."""

    __slots__ = ("distribution", "place", "version")

    def __init__(self, place: Place, distribution: str | None, version: str) -> None:
        self.place = place
        self.distribution = distribution
        self.version = version


def find_fits(elf: ElfFile, manifest: Manifest | None, distribution: str) -> Fits:
    """Which public releases take a plugin; `distribution` is asked first for an unstamped one.

    Raises `InputError` when the atlas cannot be asked.
    """
    from ..atlas.collection import open_atlas
    from ..atlas.link import Wants
    from .layout.assertions import asserts_counts
    from .layout.compat import all_releases
    from .layout.judging import TAKES, dependencies_of, origin_elsewhere
    from .layout.suspects import Suspects

    atlas = open_atlas()
    needed, built, unknown = dependencies_of(elf, manifest, atlas, distribution)
    if needed is None and unknown:
        return Fits((), ())  # it may link, but nobody knows whether it works then
    wants = Wants(elf)
    asserting = asserts_counts(elf, wants.symbols)
    stamped = None if manifest is None else manifest.tensorflow
    origin = origin_elsewhere(atlas, built, stamped)
    answers = all_releases(wants, needed, atlas, built, origin=origin, asserting=asserting)
    origins = [built] if built is not None else []
    if isinstance(needed, Suspects):
        origins = [release.version for release in needed.origins]
    return Fits([one.release for one in answers if one.verdict in TAKES], origins)


def with_releases(
    findings: list[Finding], elf: ElfFile, manifest: Manifest | None, live: Target
) -> list[Finding]:
    """The same findings; where another TensorFlow is the remedy, it names those that fit."""
    from .base import ALWAYS, WITH_SKEW
    from .catalogue import rule_of

    kinds = {finding.rule: rule_of(finding.rule) for finding in findings}
    settled = {id for id, rule in kinds.items() if rule is not None and rule.release == ALWAYS}
    if not any(f.rule in settled and f.verdict != Verdict.DRIFTED for f in findings):
        return findings
    fits = _fits(elf, manifest, live)
    if fits is None:
        return findings
    remedy = _remedy(fits, manifest, live)
    if fits.releases and "tensorflow-skew" in kinds:
        settled |= {id for id, rule in kinds.items() if rule and rule.release == WITH_SKEW}
    return [f.replace(remedy=remedy) if f.rule in settled else f for f in findings]


def another_release(elf: ElfFile, manifest: Manifest | None, live: Target) -> str | None:
    """The remedy that another TensorFlow is, or a rebuild; None where the atlas cannot be asked."""
    fits = _fits(elf, manifest, live)
    return None if fits is None else _remedy(fits, manifest, live)


def _fits(elf: ElfFile, manifest: Manifest | None, live: Target) -> Fits | None:
    try:
        return find_fits(elf, manifest, live.distribution or "tensorflow-cpu")
    except InputError:
        return None


def _remedy(fits: Fits, manifest: Manifest | None, live: Target) -> str:
    rebuild = f"rebuild the plugin against TensorFlow {live.version}"
    recorded = manifest.tensorflow if manifest is not None and not manifest.forced else None
    if not fits.releases:
        if recorded is None or recorded.version == live.version:
            return rebuild
        return f"{rebuild}, or use the TensorFlow {recorded.version} that it was built with"
    names = [live.distribution, recorded and recorded.distribution, *_PUBLIC]
    best = _best(fits, live, [name for name in names if name])
    here = live.place.takes(best.version)
    named = ", ".join(_others(fits.releases, best, live.place if here else None))
    if here:
        same = (best.distribution, best.version) == (live.distribution, live.version)
        command = live.place.install(
            best.distribution, f"=={best.version}", instead_of=live.distribution, again=same
        )
        return f"{command}  # fits: {named}; or {rebuild}"
    needs = " or ".join(f"{a}.{b}" for a, b in pythons(best.version))
    assert live.place.python is not None  # else it takes every release
    own = "{}.{}".format(*live.place.python)
    return (
        f"{elsewhere(best.distribution, best.version)}  # fits: {named}; {best.version} needs "
        f"Python {needs}, this environment has {own}; or {rebuild}"
    )


def _best(fits: Fits, live: Target, names: Sequence[str]) -> Release:
    """What this Python can have, of the installed distribution, that it was built with; else the
    nearest to the live one."""

    def rank(release: Release) -> tuple[object, ...]:
        name = release.distribution
        return (
            not live.place.takes(release.version),
            names.index(name) if name in names else len(names),
            release.version not in fits.origins,
            abs(_place(release.version) - _place(live.version)),
            tuple(-part for part in order(release.version)),
        )

    return min(fits.releases, key=rank)


def _place(version: str) -> int:
    major, second = (*order(version), 0, 0)[:2]
    return major * 1000 + second


def _others(releases: Iterable[Release], best: Release, place: Place | None) -> list[str]:
    """The releases of the chosen distribution, those that can be installed here if some can."""
    found = [
        release.version
        for release in releases
        if release.distribution == best.distribution
        and (place is None or place.takes(release.version))
    ]
    return found[:MAX_NAMED] + ["..."] * (len(found) > MAX_NAMED)
