"""The binary interface: does what the plugin depends on differ between its release and the live one.

The dynamic linker has accepted the pair by then. What a stamped plugin depends on stands in its
manifest, so the gate only compares; an unstamped one is analysed on the spot and judged against
every release that it can have been built with.
"""

from __future__ import annotations

from ...models.errors import InputError
from ...models.report import Finding, Unchecked
from ...models.verdict import Verdict
from ...plugin.identity import is_runtime, read_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...atlas.collection import Installed, Known
    from ...atlas.format import Atlas, Release
    from ...binary.elf import ElfFile
    from ...models.dependencies import Dependencies
    from ...models.manifest import Manifest, PluginIdentity, TensorFlowFacts
    from ...plugin.dependencies.analyse import Evidence
    from .suspects import Suspects


#: Verdicts of releases that take a plugin.
TAKES = (Verdict.COMPATIBLE, Verdict.DRIFTED)


class AbiAnswer:
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


def _unknown(why: str) -> AbiAnswer:
    return AbiAnswer(unchecked=(Unchecked(what="binary interface", why=why),))


def judge_abi(
    elf: ElfFile,
    plugin: PluginIdentity,
    manifest: Manifest | None,
    installed: Installed,
    distribution: str | None,
    prefix: str | None = None,
    atlases: Sequence[str] = (),
    *,
    asserted: bool = False,
) -> AbiAnswer:
    """Compare what a plugin depends on with the installed TensorFlow.

    `prefix` is the environment's, for the remedy; `atlases` are files to ask before all others;
    `asserted` says that an unstamped plugin was built in this environment.
    Never raises for what cannot be compared: that is listed as unchecked.
    """
    if plugin.compilation.uses_c_api_only:
        return AbiAnswer(known=True)
    from .assertions import assertion_findings

    answer = _compared(elf, plugin, manifest, installed, distribution, prefix, atlases, asserted)
    answer.findings = (*assertion_findings(elf, installed.version), *answer.findings)
    return answer


def _compared(
    elf: ElfFile,
    plugin: PluginIdentity,
    manifest: Manifest | None,
    installed: Installed,
    distribution: str | None,
    prefix: str | None,
    atlases: Sequence[str],
    asserted: bool,
) -> AbiAnswer:
    built = manifest.tensorflow.version if manifest and manifest.tensorflow else None
    if manifest is not None and not manifest.forced and _same_build(manifest, installed):
        return AbiAnswer(known=True)  # `stamp` has compared the two
    from ...atlas.collection import find_installed

    try:
        if manifest is None and plugin.compilation.uses_c_api_only is None:
            return AbiAnswer(known=True)  # it imports nothing of TensorFlow's
        if is_runtime(elf):
            return _unknown("the file contains TensorFlow's own runtime, it is no plugin of one")
        live = find_installed(installed, distribution, atlases)
        if live is None:
            return _unknown(
                f"the atlas does not know TensorFlow {installed.version}{_adding(prefix)}"
            )
        if manifest is not None and built is not None:
            answer = _judge_stamped(elf, manifest, built, live)
        else:
            answer = _judge_unstamped(elf, live, asserted)
    except InputError as error:
        return _unknown(error.message)
    if live.exact:
        return answer
    return _inexact(answer, installed.version, live.release, _adding(prefix))


def _same_build(manifest: Manifest, installed: Installed) -> bool:
    """Whether the plugin was built with this very TensorFlow, as far as both sides tell."""
    recorded = manifest.tensorflow
    if recorded is None or recorded.version != installed.version:
        return False
    now = {one.name: one.build_id or one.size for one in installed.libraries}
    return all(now.get(one.name) in (None, one.build_id or one.size) for one in recorded.libraries)


def _adding(prefix: str | None) -> str:
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


def _inexact(answer: AbiAnswer, version: str, judged: Release, remedy: str) -> AbiAnswer:
    """The installed libraries are not those of the release that stood in for them."""
    if judged.version == version:
        why = f"this TensorFlow {version} is not the build that the atlas knows under that number"
    else:
        why = f"the atlas does not know TensorFlow {version}, it was judged by {judged.version}"
    doubt = Unchecked(what="binary interface", why=why + remedy)
    return AbiAnswer(
        answer.findings, (*answer.unchecked, doubt), known=answer.known, origin=answer.origin
    )


def _judge_stamped(elf: ElfFile, manifest: Manifest, built: str, live: Known) -> AbiAnswer:
    from ...atlas.collection import find_installed
    from .findings import compare

    recorded: Dependencies | None = manifest.abi
    if recorded is None:
        from ...plugin.dependencies.analyse import Evidence, dependencies

        tensorflow = manifest.tensorflow
        assert tensorflow is not None
        origin = find_installed(tensorflow, tensorflow.distribution)
        if origin is None:
            return _unknown(
                f"the manifest does not say what the plugin depends on, and the atlas does not know "
                f"TensorFlow {built}"
            )
        recorded = dependencies(Evidence.of(elf), origin.atlas, origin.release)
    place = origin_elsewhere(live.atlas, built, manifest.tensorflow)
    findings, unchecked = compare(recorded, live.atlas, live.release, built, place)
    if recorded.evidence == "code" and not live.atlas.shipped and not _own(manifest):
        unchecked.append(
            Unchecked(
                what="inline functions that never differed between public releases",
                why="the stamp is from machine code, which was searched for those that did; "
                "stamp a build with `-g`, or with `--compile-command`",
            )
        )
    return AbiAnswer(findings, unchecked, known=True)


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


def _judge_unstamped(elf: ElfFile, live: Known, asserted: bool) -> AbiAnswer:
    from ...atlas.collection import open_atlas
    from .suspects import Suspects

    atlas = open_atlas()
    possible, words = possible_origins(elf, atlas, live.release.distribution)
    suspects = Suspects(elf, atlas, possible)
    own = own_build(elf, suspects, live)
    if own is not None:
        from .findings import compare

        needed, known = own
        version, place = known.release.version, (known.atlas, known.release)
        findings, unchecked = compare(needed, live.atlas, live.release, version, place)
        return AbiAnswer(findings, unchecked, known=True, origin=version)
    if not possible and live.atlas.shipped:
        return _unknown("no release of the atlas exports what the plugin needs")
    if suspects.includes(live.atlas, live.release, asserted=asserted):
        why = f"without a stamp nothing proves that it was built with {live.release.version}{words}"
        doubts = suspects.evidence.doubts if suspects.evidence is not None else ()
        unread = [Unchecked(what="part of the binary interface", why=text) for text in doubts]
        return AbiAnswer(unchecked=[Unchecked(what="TensorFlow release", why=why), *unread])
    findings, unchecked = suspects.against(live.atlas, live.release)
    return AbiAnswer(findings, unchecked, known=True, origin=suspects.only)


def own_build(
    elf: ElfFile, suspects: Suspects, live: Known | None = None
) -> tuple[Dependencies, Known] | None:
    """What an unstamped plugin depends on whose code fits an added TensorFlow better than any
    public one and than the live one, and that TensorFlow."""
    from ...atlas.collection import Known, open_added

    added = open_added()
    if not added:
        return None
    from ...atlas.link import Wants, missing
    from ...plugin.dependencies.analyse import Evidence, dependencies
    from .suspects import fits_better

    evidence, wants = Evidence.of(elf), Wants(elf)
    others = [(suspects.atlas, release) for release in suspects.origins]
    if live is not None and not live.atlas.shipped:
        others.append((live.atlas, live.release))
    for atlas in added:
        lacking = missing(wants, atlas)
        for release in atlas.releases:
            if lacking[release.index] or (live is not None and release is live.release):
                continue
            if (others or live is None) and fits_better(evidence, atlas, release, others):
                return dependencies(evidence, atlas, release), Known(atlas, release, True)
    return None


def possible_origins(elf: ElfFile, atlas: Atlas, distribution: str) -> tuple[list[Release], str]:
    """The releases that an unstamped plugin can have been built with, and in words why these."""
    from ...atlas.link import Wants, missing
    from ...plugin.dependencies.origin import candidates, find_origin

    lacking = missing(Wants(elf), atlas)
    origin = find_origin(elf.path)
    linking = [release for release in atlas.releases if not lacking[release.index]]
    found = candidates(linking, origin)
    own = [release for release in found if release.distribution == distribution]
    words = ""
    if origin.package is not None and origin.requirement is not None:
        words = f"; {origin.package} asks for tensorflow {origin.requirement}"
    return own or found, words


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


def record_dependencies(
    elf: ElfFile, installed: Installed, distribution: str | None, evidence: Evidence | None = None
) -> Dependencies | None:
    """What the manifest records of a plugin built with the installed TensorFlow.

    `evidence` is what is known of the plugin if that is more than its file tells. None when no
    atlas knows that release. Raises `InputError` when an atlas is damaged.
    """
    from ...atlas.collection import find_installed
    from ...plugin.dependencies.analyse import Evidence, dependencies

    if is_runtime(elf):
        return None
    known = find_installed(installed, distribution)
    if known is None:
        return None
    return dependencies(evidence or Evidence.of(elf), known.atlas, known.release)


def dependencies_of(
    elf: ElfFile, manifest: Manifest | None, atlas: Atlas, distribution: str
) -> tuple[Dependencies | Suspects | None, str | None, list[Unchecked]]:
    """What the plugin depends on, the release that it was built with, what is not known."""
    from ...atlas.collection import find_installed
    from ...plugin.dependencies.analyse import Evidence, dependencies
    from .suspects import Suspects

    identity = read_identity(elf)
    if identity.compilation.uses_c_api_only:
        return None, stamped_for(manifest), []
    if manifest is not None and manifest.tensorflow is not None:
        built = manifest.tensorflow.version
        if manifest.abi is not None:
            return manifest.abi, built, []
        origin = find_installed(manifest.tensorflow, manifest.tensorflow.distribution)
        if origin is not None:
            return dependencies(Evidence.of(elf), origin.atlas, origin.release), built, []
        return None, built, [_not_compared(f"the atlas does not know TensorFlow {built}")]
    possible, words = possible_origins(elf, atlas, distribution)
    suspects = Suspects(elf, atlas, possible)
    own = own_build(elf, suspects)
    if own is not None:
        version = own[1].release.version
        why = f"without a stamp nothing proves that it was built with {version}, an added one"
        return own[0], version, [_not_compared(why)]
    if not possible:
        return None, None, [_not_compared("no release of the atlas exports what it needs")]
    names = ", ".join(release.version for release in suspects.origins)
    why = f"without a stamp nothing proves that it was built with {names}{words}"
    if suspects.only is None:
        why = (
            f"without a stamp it can have been built with any of {names}{words}; these count as "
            "working, every other release as unsafe if a build from even one of these breaks on it"
        )
    return suspects, suspects.only, [_not_compared(why)]


def stamped_for(manifest: Manifest | None) -> str | None:
    """The TensorFlow release that a manifest names."""
    return manifest.tensorflow.version if manifest and manifest.tensorflow else None


def _not_compared(why: str) -> Unchecked:
    return Unchecked(what="binary interface", why=why)
