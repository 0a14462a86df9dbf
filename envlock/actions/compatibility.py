"""`compat`: one plugin against every TensorFlow release that the atlas knows."""

from __future__ import annotations

import os

from ..binary.elf import ElfFile
from ..models.compat import COMPAT_FORMAT, CompatDocument, CompatRelease, OtherDistribution
from ..models.errors import UsageError
from ..models.policy import DEFAULT, PolicyFile
from ..models.report import PluginSummary, Report, Unchecked
from ..models.versions import order
from ..plugin.facts import PluginFacts
from ..plugin.runtime import runtime_needs
from ..rules.evidence import Evidence
from ..rules.judge import judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..atlas.format import Atlas, Release
    from ..rules.releases import ReleaseAnswer
    from ..rules.signature.verify import Verifier


def compat(
    plugin: str | os.PathLike[str], *, distribution: str = "tensorflow-cpu"
) -> CompatDocument:
    """Every release's verdict, oldest first; no TensorFlow needs to be installed.

    Releases of added atlases are listed beside the public ones. `distribution` decides between
    `tensorflow` and `tensorflow-cpu` where they differ for this plugin. Raises `ElfError`,
    `FileAccessError`, `ManifestError`, and `InputError` for an atlas.
    """
    with ElfFile.open(plugin) as elf:
        facts = PluginFacts.of(elf)
        document, maybe = _answer(facts, distribution)
        if maybe is None:
            facts.remember()
            return document
        # Asked for itself, since an unstamped plugin is judged by what it can have been built with.
        theirs = _takers(_answer(facts, maybe)[0])
        facts.remember()
    more = tuple(version for version in theirs if version not in _takers(document))
    return (
        document.replace(other=OtherDistribution(name=maybe, releases=more)) if more else document
    )


def _answer(plugin: PluginFacts, distribution: str) -> tuple[CompatDocument, str | None]:
    """The answer for one distribution, and another one that seems to take what this does not."""
    from ..atlas.collection import open_added, open_atlas
    from ..rules.releases import release_answers

    _ = plugin.manifest
    atlas = open_atlas()
    built, unchecked = _origin(plugin, distribution)
    answers = [release_answers(plugin, one, distribution, built) for one in [atlas, *open_added()]]
    merged = _merged(answers[0], distribution)
    document = CompatDocument(
        format=COMPAT_FORMAT,
        plugin=PluginSummary(
            path=plugin.path,
            stamped=plugin.manifest is not None,
            stamp=plugin.stamp,
            tensorflow=built,
        ),
        runtime=runtime_needs(plugin.elf),
        releases=_in_order(
            [_release(answer) for answer in merged],
            [_release(answer, added=True) for more in answers[1:] for answer in more],
        ),
        unchecked=unchecked,
    )
    return document, _better(merged, answers[0])


def _origin(plugin: PluginFacts, distribution: str) -> tuple[str | None, tuple[Unchecked, ...]]:
    """The release that it was built for, and what is said of that once for all releases."""
    from ..rules.layout.judging import find_origins
    from ..rules.releases import unfit

    if unfit(plugin) is not None or plugin.identity.compilation.uses_c_api_only:
        return plugin.built_for, ()
    origins = find_origins(plugin, distribution)
    return origins.built, origins.unchecked


def _takers(document: CompatDocument) -> list[str]:
    """The public releases that take the plugin."""
    return [r.tensorflow for r in document.releases if not r.added and r.verdict.works]


def _better(chosen: list[ReleaseAnswer], answers: list[ReleaseAnswer]) -> str | None:
    """A distribution with a release that takes the plugin where the chosen one's does not."""
    refused = {one.release.version for one in chosen if not one.verdict.works}
    for one in answers:
        if one.verdict.works and one.release.version in refused:
            return one.release.distribution
    return None


def judge_release(
    plugin: PluginFacts,
    version: str,
    policy: PolicyFile = DEFAULT,
    trusted: Verifier | None = None,
    *,
    distribution: str = "tensorflow-cpu",
) -> Report:
    """The report on one plugin against a public release that need not be installed.

    `trusted` are the keys that the policy trusts. Raises what `compat` raises, and `UsageError` for
    a release that no atlas knows.
    """
    from ..rules.releases import ReleaseSide, lacking

    _ = plugin.manifest
    atlas, release = find_release(version, distribution)
    side = ReleaseSide(atlas, release, distribution)
    link = lacking(plugin, atlas)[release.index]
    built, unsure = _origin(plugin, distribution)
    unchecked = (*unsure, _NO_ENVIRONMENT)
    evidence = Evidence(plugin, side, link, unchecked=unchecked, built=built)
    report = judge(evidence, policy, trusted)
    plugin.remember()
    return report


def find_release(version: str, distribution: str = "tensorflow-cpu") -> tuple[Atlas, Release]:
    """A release by its number. Raises `UsageError` for one that no atlas knows, `InputError`."""
    from ..atlas.collection import open_added, open_atlas

    atlases = [open_atlas(), *open_added()]
    for atlas in atlases:
        release = atlas.find(version, distribution)
        if release is not None:
            return atlas, release
    numbers = dict.fromkeys(release.version for atlas in atlases for release in atlas.releases)
    known = ", ".join(sorted(numbers, key=order))
    raise UsageError(
        f"the atlas does not know TensorFlow {version}", hint=f"it knows {known or 'none'}"
    )


_NO_ENVIRONMENT = Unchecked(
    what="everything but TensorFlow",
    why="no environment was named: libraries, C and C++ run time, Python, numpy",
)


def _merged(answers: list[ReleaseAnswer], distribution: str) -> list[ReleaseAnswer]:
    """One answer a version: the wanted distribution's where both are known."""
    chosen: dict[str, ReleaseAnswer] = {}
    for answer in answers:
        version = answer.release.version
        if version not in chosen or answer.release.distribution == distribution:
            chosen[version] = answer
    return list(chosen.values())


def _in_order(public: list[CompatRelease], added: list[CompatRelease]) -> tuple[CompatRelease, ...]:
    """Oldest first; an added build follows the public release of its number."""
    return tuple(sorted((*public, *added), key=lambda release: order(release.tensorflow)))


def _release(answer: ReleaseAnswer, *, added: bool = False) -> CompatRelease:
    return CompatRelease(
        tensorflow=answer.release.version,
        distribution=answer.release.distribution,
        added=added,
        verdict=answer.verdict,
        findings=answer.findings,
        unchecked=answer.unchecked,
    )
