"""`compat`: one plugin against every TensorFlow release that the atlas knows."""

from __future__ import annotations

import os

from ..binary.elf import ElfFile
from ..binary.elf.append import require_plugin
from ..models.compat import COMPAT_FORMAT, CompatDocument, CompatRelease, OtherDistribution
from ..models.errors import ElfError, UsageError
from ..models.policy import DEFAULT, PolicyFile
from ..models.report import EnvironmentSummary, Finding, PluginSummary, Report, Unchecked
from ..models.verdict import Verdict
from ..models.versions import order
from ..plugin.identity import read_identity
from ..plugin.manifest import read_embedded
from ..rules.layout.judging import TAKES, demangled, dependencies_of, origin_elsewhere, stamped_for
from ..rules.policy import settle, trusted_keys, verdict_of

#: The architecture whose releases the atlas describes.
MACHINE = "x86_64"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.manifest import Manifest, PluginIdentity
    from ..plugin.manifest import EmbeddedManifest
    from ..rules.layout.compat import Answer


def compat(
    plugin: str | os.PathLike[str], *, distribution: str = "tensorflow-cpu"
) -> CompatDocument:
    """Every release's verdict, oldest first; no TensorFlow needs to be installed.

    Releases of added atlases are listed beside the public ones. `distribution` decides between
    `tensorflow` and `tensorflow-cpu` where they differ for this plugin. Raises `ElfError`,
    `FileAccessError`, `ManifestError`, and `InputError` for an atlas.
    """
    with ElfFile.open(plugin) as elf:
        embedded = read_embedded(elf)
        document, maybe = _answer(elf, embedded, distribution)
        if maybe is None:
            return document
        # Asked for itself, since an unstamped plugin is judged by what it can have been built with.
        theirs = _takers(_answer(elf, embedded, maybe)[0])
    more = tuple(version for version in theirs if version not in _takers(document))
    return (
        document.replace(other=OtherDistribution(name=maybe, releases=more)) if more else document
    )


def _answer(
    elf: ElfFile, embedded: EmbeddedManifest | None, distribution: str
) -> tuple[CompatDocument, str | None]:
    """The answer for one distribution, and another one that seems to take what this does not."""
    from ..atlas.collection import open_added, open_atlas
    from ..atlas.link import Wants
    from ..rules.layout.assertions import asserts_counts
    from ..rules.layout.compat import Answer, all_releases

    manifest = None if embedded is None else embedded.manifest
    atlas = open_atlas()
    atlases = [atlas, *open_added()]
    problem = _unfit(elf)
    if problem is not None:
        built = stamped_for(manifest)
        unchecked: list[Unchecked] = []
        answers = [[Answer(r, (problem,), ()) for r in one.releases] for one in atlases]
    else:
        needed, built, unchecked = dependencies_of(elf, manifest, atlas, distribution)
        wants = Wants(elf)
        asserting = asserts_counts(elf, wants.symbols)
        stamped = None if manifest is None else manifest.tensorflow
        answers = [
            all_releases(
                *(wants, needed, one, built),
                origin=origin_elsewhere(one, built, stamped),
                asserting=asserting,
            )
            for one in atlases
        ]
    merged = _merged(answers[0], distribution)
    document = CompatDocument(
        format=COMPAT_FORMAT,
        plugin=PluginSummary(
            path=elf.path,
            stamped=manifest is not None,
            stamp=None if embedded is None else embedded.stamp,
            tensorflow=built,
        ),
        releases=_in_order(
            [_release(answer) for answer in merged],
            [_release(answer, added=True) for more in answers[1:] for answer in more],
        ),
        unchecked=tuple(unchecked),
    )
    return document, _better(merged, answers[0])


def _takers(document: CompatDocument) -> list[str]:
    """The public releases that take the plugin."""
    return [r.tensorflow for r in document.releases if not r.added and r.verdict in TAKES]


def _better(chosen: list[Answer], answers: list[Answer]) -> str | None:
    """A distribution with a release that takes the plugin where the chosen one's does not."""
    refused = {one.release.version for one in chosen if one.verdict not in TAKES}
    for one in answers:
        if one.verdict in TAKES and one.release.version in refused:
            return one.release.distribution
    return None


def _unfit(elf: ElfFile) -> Finding | None:
    """Why no release would load the file, whatever it needs; the atlas is of x86-64."""
    from ..rules.loading.file_causes import not_a_plugin_library, wrong_architecture

    if (elf.machine, elf.bits, elf.byte_order) != (MACHINE, 64, "little"):
        found = f"{elf.machine}, {elf.bits}-bit, {elf.byte_order}-endian"
        return wrong_architecture.finding(
            subject=elf.machine,
            built=found,
            live=f"{MACHINE}, 64-bit, little-endian",
            message=f"the plugin is for {found}, the atlas is of TensorFlow for {MACHINE}",
            why="a process loads libraries of its own architecture only",
        )
    _ = elf.dynamic  # without one it is no input at all: that raises
    try:
        require_plugin(elf)
    except ElfError as error:
        return not_a_plugin_library.finding(
            subject=os.path.basename(elf.path),
            message=error.message,
            why="dlopen takes shared libraries only",
        )
    return None


def check_release(
    plugin: str | os.PathLike[str],
    version: str,
    *,
    distribution: str = "tensorflow-cpu",
    policy: PolicyFile = DEFAULT,
) -> Report:
    """The report on one plugin against a public release that need not be installed.

    Raises what `compat` raises, and `UsageError` for a release that no atlas knows.
    """
    trusted = trusted_keys(policy)
    with ElfFile.open(plugin) as elf:
        embedded = read_embedded(elf)
        answer, _ = _answer(elf, embedded, distribution)
        wanted = _of_version(answer, version)
        identity = (embedded and embedded.manifest.plugin) or read_identity(elf)
        found = [*wanted.findings]
        unchecked = [_NO_ENVIRONMENT]
        if wanted.verdict != Verdict.INCOMPATIBLE:
            unchecked += _of_machines(identity)
        if embedded is not None and wanted.verdict in TAKES and not answer.unchecked:
            found += _other_version(embedded.manifest, identity, version)
        findings, signed_by = settle(elf, found, policy, trusted, stamped=embedded is not None)
    return Report(
        plugin=answer.plugin.replace(signed_by=signed_by),
        environment=EnvironmentSummary(tensorflow=version, distribution=wanted.distribution),
        verdict=verdict_of(findings),
        findings=findings,
        unchecked=(*answer.unchecked, *wanted.unchecked, *unchecked),
    )


def _other_version(manifest: Manifest, plugin: PluginIdentity, version: str) -> list[Finding]:
    built = stamped_for(manifest)
    if built is None or built == version:
        return []
    from ..rules.runtime.tensorflow import harmless_version

    c_api = plugin.compilation.uses_c_api_only
    found = harmless_version(built, version, c_api=c_api, known=True)
    return [found.replace(message=f"built for TensorFlow {built}, checked against {version}")]


def _of_version(answer: CompatDocument, version: str) -> CompatRelease:
    fitting = [r for r in answer.releases if r.tensorflow == version]
    wanted = next((r for r in fitting if not r.added), fitting[0] if fitting else None)
    if wanted is None:
        known = ", ".join(r.tensorflow for r in answer.releases)
        raise UsageError(
            f"the atlas does not know TensorFlow {version}", hint=f"it knows {known or 'none'}"
        )
    return wanted


_NO_ENVIRONMENT = Unchecked(
    what="everything but TensorFlow",
    why="no environment was named: libraries, C and C++ run time, Python, numpy",
)


def _of_machines(plugin: PluginIdentity) -> list[Unchecked]:
    """What neither an environment nor a machine answers for how the plugin was compiled."""
    from ..rules.runtime.compiled import unseen_processor

    found = unseen_processor(plugin)
    made = plugin.compilation
    if made.eigen_max_align_bytes is not None and not made.uses_c_api_only:
        why = "only an installed TensorFlow tells which one it was compiled with"
        found.append(Unchecked(what="Eigen's alignment", why=why))
    return found


def _merged(answers: list[Answer], distribution: str) -> list[Answer]:
    """One answer a version: the wanted distribution's where both are known."""
    chosen: dict[str, Answer] = {}
    for answer in answers:
        version = answer.release.version
        if version not in chosen or answer.release.distribution == distribution:
            chosen[version] = answer
    return list(chosen.values())


def _in_order(public: list[CompatRelease], added: list[CompatRelease]) -> tuple[CompatRelease, ...]:
    """Oldest first; an added build follows the public release of its number."""
    return tuple(sorted((*public, *added), key=lambda release: order(release.tensorflow)))


def _release(answer: Answer, *, added: bool = False) -> CompatRelease:
    return CompatRelease(
        tensorflow=answer.release.version,
        distribution=answer.release.distribution,
        added=added,
        verdict=answer.verdict,
        findings=demangled(answer.findings),
        unchecked=answer.unchecked,
    )
