"""The binary interface: does what the plugin depends on differ between its release and the live one.

The dynamic linker has accepted the pair by then. What a stamped plugin depends on stands in its
manifest, so the gate only compares; an unstamped one is analysed on the spot and judged against
every release that it can have been built with.
"""

from __future__ import annotations

from ...models.errors import InputError
from ...models.report import Finding, Unchecked
from ...models.verdict import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...atlas.collection import Installed, Known
    from ...atlas.format import Atlas, Release
    from ...models.dependencies import Dependencies
    from ...models.manifest import Manifest, TensorFlowFacts
    from ...plugin.facts import PluginFacts
    from ..evidence import Side
    from .suspects import Suspects


class Answer:
    """Findings about the binary interface; `known` when the two releases were really compared."""

    __slots__ = ("findings", "known", "origin", "unchecked")

    def __init__(
        self,
        findings: Sequence[Finding] = (),
        unchecked: Sequence[Unchecked] = (),
        *,
        known: bool = False,
        origin: str | None = None,
    ) -> None:
        self.findings = demangled(findings)
        self.unchecked = tuple(unchecked)
        self.known = known
        self.origin = origin  # the release that an unstamped plugin was built with, if only one


class Origins:
    """With which TensorFlow a plugin was built, as its manifest or its code shows.

    `needed` is what it depends on: known, or one possibility a release (`Suspects`); None where
    unknown. `built` is the release's number, `place` where it is looked up if that is settled,
    `unchecked` what to say of it once for all releases.
    """

    __slots__ = ("built", "needed", "place", "unchecked", "words")

    def __init__(
        self,
        needed: Dependencies | Suspects | None,
        built: str | None,
        why: str | None = None,
        *,
        place: Known | None = None,
        words: str = "",
    ) -> None:
        self.needed = needed
        self.built = built
        self.place = place
        self.words = words
        self.unchecked = () if why is None else (_not_compared(why),)


def judge_layout(plugin: PluginFacts, side: Side, *, asserted: bool = False) -> Answer:
    """Compare what a plugin depends on with a side's TensorFlow.

    `asserted` says that an unstamped plugin was built with it. Never raises for what cannot be
    compared: that is listed as unchecked.
    """
    if plugin.identity.compilation.uses_c_api_only:
        return Answer(known=True)
    from .assertions import assertion_findings

    answer = _compared(plugin, side, asserted)
    failing = assertion_findings(plugin, side.tensorflow.version)
    answer.findings = (*failing, *answer.findings)
    return answer


def _compared(plugin: PluginFacts, side: Side, asserted: bool) -> Answer:
    manifest = plugin.manifest
    if side.whole and manifest and not manifest.forced and _same_build(manifest, side.tensorflow):
        return Answer(known=True)  # `stamp` has compared the two
    try:
        if manifest is None and plugin.identity.compilation.uses_c_api_only is None:
            return Answer(known=True)  # it imports nothing of TensorFlow's
        if plugin.built_for is None and not plugin.has_file:
            return Answer()  # its linked-in note names no TensorFlow
        if plugin.is_runtime:
            return _unknown("the file contains TensorFlow's own runtime, so it is not a plugin")
        live = side.known
        if live is None:
            return Answer(unchecked=side.unknown)
        if plugin.built_for is not None:
            answer = _judge_stamped(plugin, side, live)
        else:
            answer = _judge_unstamped(plugin, side, live, asserted)
    except InputError as error:
        return _unknown(error.message)
    return answer if live.exact else _inexact(answer, side, live.release)


def _unknown(why: str) -> Answer:
    return Answer(unchecked=(_not_compared(why),))


def _same_build(manifest: Manifest, installed: Installed) -> bool:
    """Whether the plugin was built with this very TensorFlow, as far as both sides show."""
    recorded = manifest.tensorflow
    if recorded is None or recorded.version != installed.version:
        return False
    now = {one.name: one.build_id or one.size for one in installed.libraries}
    return all(now.get(one.name) in (None, one.build_id or one.size) for one in recorded.libraries)


def adding(prefix: str | None) -> str:
    """What to do about a TensorFlow that no atlas knows."""
    from shlex import quote

    env = f" --env {quote(prefix)}" if prefix else ""
    return f"; `envlock atlas add{env}` adds it, `--live-headers` reads its headers for one check"


def demangled(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings with the names of functions in their examples made readable."""
    if not findings:
        return ()
    from ...binary.names.symbols import demangle

    return tuple(f.replace(examples=tuple(demangle(f.examples))) for f in findings)


def _inexact(answer: Answer, side: Side, judged: Release) -> Answer:
    """The installed libraries are not those of the release that stood in for them."""
    version = side.tensorflow.version
    if judged.version == version:
        why = f"this TensorFlow {version} is not the build that the atlas knows under that number"
    else:
        why = f"the atlas does not know TensorFlow {version}, so it was judged by {judged.version}"
    answer.unchecked = (*answer.unchecked, _not_compared(why + adding(side.prefix)))
    return answer


def _judge_stamped(plugin: PluginFacts, side: Side, live: Known) -> Answer:
    from .findings import compare
    from .suspects import Suspects

    manifest = plugin.manifest
    assert manifest is not None
    origins = find_origins(plugin, live.release.distribution)
    if origins.needed is None:
        return Answer(unchecked=origins.unchecked if side.whole else ())  # else said once for all
    assert not isinstance(origins.needed, Suspects)
    place = origin_elsewhere(live.atlas, origins.built, manifest.tensorflow)
    findings, unchecked = compare(origins.needed, live.atlas, live.release, origins.built, place)
    if origins.needed.evidence == "code" and not live.atlas.shipped and not _own(manifest):
        unchecked.append(
            Unchecked(
                what="inline functions that never differed between public releases",
                why="the stamp is from machine code, which was searched for those that did; "
                "stamp a build with `-g`, or with `--compile-command`",
            )
        )
    return Answer(findings, unchecked, known=True)


def origin_elsewhere(
    atlas: Atlas, version: str | None, built: TensorFlowFacts | None = None
) -> tuple[Atlas, Release] | None:
    """The release that a plugin was built with, where it is in another atlas than this one.

    `built` is that very TensorFlow, where more than its number is known.
    """
    from ...atlas.collection import find_installed, find_release

    if version is None or atlas.find(version) is not None:
        return None
    if built is not None and built.version == version:
        known = find_installed(built, built.distribution)
    else:
        known = find_release(version, None)
    if known is None or known.release.version != version:
        return None
    return known.atlas, known.release


def _own(manifest: Manifest) -> bool:
    """Whether the plugin was built with, and stamped for, a TensorFlow of an added atlas."""
    from ...atlas.collection import find_installed

    built = manifest.tensorflow
    known = None if built is None else find_installed(built, built.distribution)
    return known is not None and not known.atlas.shipped


def _judge_unstamped(plugin: PluginFacts, side: Side, live: Known, asserted: bool) -> Answer:
    from .findings import compare
    from .suspects import Suspects

    distribution = side.prefers or live.release.distribution
    origins = find_origins(plugin, distribution, live if side.whole else None)
    suspects = origins.needed
    if origins.place is not None:
        assert suspects is not None
        assert not isinstance(suspects, Suspects)
        place = origins.place.atlas, origins.place.release
        findings, unchecked = compare(suspects, live.atlas, live.release, origins.built, place)
        return Answer(findings, unchecked, known=True, origin=origins.built)
    assert isinstance(suspects, Suspects)
    if not suspects.possible and live.atlas.shipped:
        return _unknown("no release of the atlas exports what the plugin needs")
    if suspects.includes(live.atlas, live.release, asserted=asserted):
        if not side.whole:
            return Answer(known=True)  # said once for all releases
        why = f"without a stamp nothing proves that it was built with {live.release.version}"
        unread = [
            Unchecked(what="part of the binary interface", why=text) for text in suspects.doubts
        ]
        said = Unchecked(what="TensorFlow release", why=why + origins.words)
        return Answer(unchecked=[said, *unread])
    findings, unchecked = suspects.against(live.atlas, live.release)
    return Answer(findings, unchecked, known=True, origin=suspects.only)


def find_origins(plugin: PluginFacts, distribution: str, live: Known | None = None) -> Origins:
    """With which TensorFlow a plugin was built; worked out once for each of the arguments.

    `distribution` is asked first for an unstamped plugin, `live` is the release that it is compared
    with, where that must not fit its code as well. Raises `InputError` when an atlas is damaged.
    """
    key = ("origins", distribution, None if live is None else live.release)
    known: Origins | None = plugin.derived.get(key)
    if known is None:
        stamped = plugin.built_for is not None
        known = _stamped_origin(plugin) if stamped else _possible(plugin, distribution, live)
        plugin.derived[key] = known
    return known


def _stamped_origin(plugin: PluginFacts) -> Origins:
    from ...atlas.collection import find_installed

    manifest, built = plugin.manifest, plugin.built_for
    assert manifest is not None
    assert manifest.tensorflow is not None
    if manifest.abi is not None:
        return Origins(manifest.abi, built)
    if not plugin.has_file:
        why = "the stamp does not say what the plugin depends on, and its file is not at hand"
        return Origins(None, built, why)
    origin = find_installed(manifest.tensorflow, manifest.tensorflow.distribution)
    if origin is None:
        why = (
            "the manifest does not say what the plugin depends on, and the atlas does not know "
            f"TensorFlow {built}"
        )
        return Origins(None, built, why)
    from ...plugin.dependencies.analyse import dependencies

    return Origins(dependencies(plugin.interface, origin.atlas, origin.release), built)


def _possible(plugin: PluginFacts, distribution: str, live: Known | None) -> Origins:
    from ...atlas.collection import open_atlas
    from .suspects import Suspects

    atlas = open_atlas()
    key = ("suspects", distribution)
    if key not in plugin.derived:
        possible, linking, words = possible_origins(plugin, atlas, distribution)
        plugin.derived[key] = Suspects(plugin, atlas, possible, linking), words
    suspects, words = plugin.derived[key]
    own = own_build(plugin, suspects, live)
    if own is not None:
        needed, place = own
        version = place.release.version
        why = f"without a stamp nothing proves that it was built with {version}, an added one"
        return Origins(needed, version, why, place=place)
    if not suspects.possible:
        return Origins(suspects, None, "no release of the atlas exports what it needs")
    names = ", ".join(release.version for release in suspects.origins)
    why = f"without a stamp nothing proves that it was built with {names}{words}"
    if suspects.only is None:
        why = (
            f"without a stamp it can have been built with any of {names}{words}; these count as "
            "working, every other release as unsafe if a build from even one of these breaks on it"
        )
    return Origins(suspects, suspects.only, why, words=words)


def own_build(
    plugin: PluginFacts, suspects: Suspects, live: Known | None = None
) -> tuple[Dependencies, Known] | None:
    """What an unstamped plugin depends on whose code fits an added TensorFlow better than any
    public one and than the live one, and that TensorFlow."""
    from ...atlas.collection import Known, open_added

    added = open_added()
    if not added:
        return None
    from ...plugin.dependencies.analyse import dependencies
    from .suspects import fits_better

    others = [(suspects.atlas, release) for release in suspects.origins]
    if live is not None and not live.atlas.shipped:
        others.append((live.atlas, live.release))
    for atlas in added:
        lacking = plugin.missing(atlas)
        for release in atlas.releases:
            if lacking[release.index] or (live is not None and release is live.release):
                continue
            if (others or live is None) and fits_better(plugin.interface, atlas, release, others):
                known = Known(atlas, release, True)
                return dependencies(plugin.interface, atlas, release), known
    return None


def possible_origins(
    plugin: PluginFacts, atlas: Atlas, distribution: str
) -> tuple[list[Release], list[Release], str]:
    """The releases that an unstamped plugin can have been built with, all those that export what
    it needs, and in words why these."""
    from ...plugin.dependencies.origin import candidates, find_origin

    origin = find_origin(plugin.file)
    linking = plugin.linking(atlas)
    found = candidates(linking, origin)
    own = [release for release in found if release.distribution == distribution]
    words = ""
    if origin.package is not None and origin.requirement is not None:
        words = f"; {origin.package} asks for tensorflow {origin.requirement}"
    return own or found, linking, words


def compiled_otherwise(
    recorded: Dependencies | None, installed: Installed, distribution: str | None
) -> tuple[Finding, ...]:
    """How a plugin's own debug information contradicts the TensorFlow that it was built with.

    Only macros that change layouts (`-D_GLIBCXX_DEBUG`), other headers or another TensorFlow do
    that. Raises `InputError` when an atlas is damaged.
    """
    from ...atlas.collection import find_installed

    known = find_installed(installed, distribution)
    if recorded is None or recorded.evidence != "dwarf" or known is None or not known.exact:
        return ()
    from .findings import compare

    findings, _ = compare(recorded, known.atlas, known.release)
    return demangled([finding for finding in findings if finding.verdict == Verdict.UNSAFE])


def _not_compared(why: str) -> Unchecked:
    return Unchecked(what="binary interface", why=why)
