"""What to do about a plugin that another TensorFlow would take: which one, and how to get it.

A release is named only if the plugin links with that very distribution of it and its binary
interface fits, which is what `compat` says of it.
"""

from __future__ import annotations

from ..models.errors import InputError
from ..models.verdict import Verdict, worst
from ..models.versions import order
from .installing import Place, elsewhere, pythons

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..atlas.format import Atlas, Release
    from ..models.manifest import Manifest
    from ..models.report import Finding
    from ..plugin.facts import PluginFacts
    from .evidence import Side

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


def find_fits(plugin: PluginFacts, distribution: str) -> Fits:
    """Which public releases take a plugin; `distribution` is asked first for an unstamped one.

    Raises `InputError` when the atlas cannot be asked.
    """
    from ..atlas.collection import open_atlas
    from .layout.judging import find_origins
    from .layout.suspects import Suspects
    from .releases import linking

    atlas = open_atlas()
    able = linking(plugin, atlas)
    if plugin.identity.compilation.uses_c_api_only:
        return Fits(_working(plugin, able, atlas, distribution), [plugin.built_for or ""])
    origins = find_origins(plugin, distribution)
    needed = origins.needed
    if needed is None or (isinstance(needed, Suspects) and not needed.possible):
        return Fits((), ())  # it may link, but whether it works then is not known
    built = [origins.built] if origins.built is not None else []
    if isinstance(needed, Suspects):
        built = [release.version for release in needed.origins]
    return Fits(_working(plugin, able, atlas, distribution), built)


def _working(
    plugin: PluginFacts, able: Iterable[Release], atlas: Atlas, distribution: str
) -> list[Release]:
    """Those of the releases that link whose binary interface fits as well."""
    from .layout.judging import judge_layout
    from .releases import ReleaseSide

    known: dict[tuple[str, int], bool] = {}
    found = []
    for release in able:
        key = release.version, release.abi  # two distributions of a release mostly share it
        if key not in known:
            answer = judge_layout(plugin, ReleaseSide(atlas, release, distribution))
            known[key] = worst(finding.verdict for finding in answer.findings).works
        if known[key]:
            found.append(release)
    return found


def with_releases(findings: list[Finding], plugin: PluginFacts, live: Side) -> list[Finding]:
    """The same findings; where another TensorFlow is the remedy, it names those that fit."""
    from .base import ALWAYS, WITH_SKEW
    from .catalogue import rule_of

    kinds = {finding.rule: rule_of(finding.rule) for finding in findings}
    settled = {id for id, rule in kinds.items() if rule is not None and rule.release == ALWAYS}
    if not any(f.rule in settled and f.verdict != Verdict.DRIFTED for f in findings):
        return findings
    try:
        fits = find_fits(plugin, live.distribution or "tensorflow-cpu")
    except InputError:
        return findings
    remedy = _remedy(fits, plugin.manifest, live)
    if fits.releases and "tensorflow-skew" in kinds:
        settled |= {id for id, rule in kinds.items() if rule and rule.release == WITH_SKEW}
    return [f.replace(remedy=remedy) if f.rule in settled else f for f in findings]


def _remedy(fits: Fits, manifest: Manifest | None, live: Side) -> str:
    rebuild = f"rebuild the plugin against TensorFlow {live.tensorflow.version}"
    recorded = manifest.tensorflow if manifest is not None and not manifest.forced else None
    if not fits.releases:
        if recorded is None or recorded.version == live.tensorflow.version:
            return rebuild
        return f"{rebuild}, or use the TensorFlow {recorded.version} that it was built with"
    names = [live.distribution, recorded and recorded.distribution, *_PUBLIC]
    best = _best(fits, live, [name for name in names if name])
    here = live.place.takes(best.version)
    named = ", ".join(_others(fits.releases, best, live.place if here else None))
    if here:
        same = (best.distribution, best.version) == (live.distribution, live.tensorflow.version)
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


def _best(fits: Fits, live: Side, names: Sequence[str]) -> Release:
    """What this Python can have, of the installed distribution, that it was built with; else the
    nearest to the live one."""

    def rank(release: Release) -> tuple[object, ...]:
        name = release.distribution
        return (
            not live.place.takes(release.version),
            names.index(name) if name in names else len(names),
            release.version not in fits.origins,
            abs(_place(release.version) - _place(live.tensorflow.version)),
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
