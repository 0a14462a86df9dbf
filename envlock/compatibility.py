"""`compat`: one plugin against every TensorFlow release that the atlas knows."""

from __future__ import annotations

import os

from .elf import ElfFile
from .elf.append import require_plugin
from .errors import ElfError, UsageError
from .identity import read_identity
from .judging import demangled, possible_origins
from .manifest_io import read_embedded
from .models.compat import COMPAT_FORMAT, CompatDocument, CompatRelease
from .models.policy import DEFAULT, PolicyFile
from .models.report import EnvironmentSummary, Finding, PluginSummary, Report, Unchecked
from .policies import apply_policy, verdict_of

#: The architecture whose releases the atlas describes.
MACHINE = "x86_64"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .abi.compat import Answer
    from .abi.unstamped import Suspects
    from .atlas.format import Atlas
    from .models.dependencies import Dependencies
    from .models.manifest import Manifest


def compat(
    plugin: str | os.PathLike[str], *, distribution: str = "tensorflow-cpu"
) -> CompatDocument:
    """Every release's verdict, oldest first; no TensorFlow needs to be installed.

    `distribution` decides between `tensorflow` and `tensorflow-cpu` where they differ for this
    plugin. Raises `ElfError`, `FileAccessError`, `ManifestError`, and `InputError` for the atlas.
    """
    from .abi.compat import Answer, all_releases
    from .atlas.collection import open_atlas
    from .atlas.link import Wants

    with ElfFile.open(plugin) as elf:
        embedded = read_embedded(elf)
        manifest = None if embedded is None else embedded.manifest
        atlas = open_atlas()
        problem = _unfit(elf)
        if problem is not None:
            built = _stamped_for(manifest)
            unchecked: list[Unchecked] = []
            answers = [Answer(release, (problem,), ()) for release in atlas.releases]
        else:
            needed, built, unchecked = _dependencies(elf, manifest, atlas, distribution)
            answers = all_releases(Wants(elf), needed, atlas, built)
        return CompatDocument(
            format=COMPAT_FORMAT,
            plugin=PluginSummary(
                path=elf.path,
                stamped=manifest is not None,
                stamp=None if embedded is None else embedded.stamp,
                tensorflow=built,
            ),
            releases=tuple(_release(answer) for answer in _merged(answers, distribution)),
            unchecked=tuple(unchecked),
        )


def _unfit(elf: ElfFile) -> Finding | None:
    """Why no release would load the file, whatever it needs; the atlas is of x86-64."""
    if (elf.machine, elf.bits, elf.byte_order) != (MACHINE, 64, "little"):
        found = f"{elf.machine}, {elf.bits}-bit, {elf.byte_order}-endian"
        return Finding(
            rule="wrong-architecture",
            verdict="incompatible",
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
        return Finding(
            rule="not-a-plugin-library",
            verdict="incompatible",
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
    answer = compat(plugin, distribution=distribution)
    wanted = next((r for r in answer.releases if r.tensorflow == version), None)
    if wanted is None:
        known = ", ".join(r.tensorflow for r in answer.releases)
        raise UsageError(
            f"the atlas does not know TensorFlow {version}", hint=f"it knows {known or 'none'}"
        )
    findings = apply_policy(wanted.findings, policy)
    rest = Unchecked(
        what="everything but TensorFlow",
        why="no environment was named: libraries, C and C++ run time, Python, numpy",
    )
    return Report(
        plugin=answer.plugin,
        environment=EnvironmentSummary(tensorflow=version, distribution=wanted.distribution),
        verdict=verdict_of(findings),
        findings=findings,
        unchecked=(*answer.unchecked, *wanted.unchecked, rest),
    )


def _dependencies(
    elf: ElfFile, manifest: Manifest | None, atlas: Atlas, distribution: str
) -> tuple[Dependencies | Suspects | None, str | None, list[Unchecked]]:
    """What the plugin depends on, the release that it was built with, what is not known."""
    from .abi.analyse import Evidence, dependencies
    from .abi.unstamped import Suspects

    identity = read_identity(elf)
    if identity.compilation.uses_c_api_only:
        return None, _stamped_for(manifest), []
    if manifest is not None and manifest.tensorflow is not None:
        built = manifest.tensorflow.version
        if manifest.abi is not None:
            return manifest.abi, built, []
        origin = atlas.find(built, manifest.tensorflow.distribution)
        if origin is not None:
            return dependencies(Evidence(elf), atlas, origin), built, []
        return None, built, [_not_compared(f"the atlas does not know TensorFlow {built}")]
    possible, words = possible_origins(elf, atlas, distribution)
    if not possible:
        return None, None, [_not_compared("no release of the atlas exports what it needs")]
    suspects = Suspects(elf, atlas, possible)
    names = ", ".join(release.version for release in suspects.origins)
    why = f"without a stamp nothing proves that it was built with {names}{words}"
    if suspects.only is None:
        why = (
            f"without a stamp it can have been built with any of {names}{words}; a release is "
            "unsafe if it is for one of them, and never if it is one of them"
        )
    return suspects, suspects.only, [_not_compared(why)]


def _stamped_for(manifest: Manifest | None) -> str | None:
    return manifest.tensorflow.version if manifest and manifest.tensorflow else None


def _not_compared(why: str) -> Unchecked:
    return Unchecked(what="binary interface", why=why)


def _merged(answers: list[Answer], distribution: str) -> list[Answer]:
    """One answer a version: the wanted distribution's where both are known."""
    chosen: dict[str, Answer] = {}
    for answer in answers:
        version = answer.release.version
        if version not in chosen or answer.release.distribution == distribution:
            chosen[version] = answer
    return list(chosen.values())


def _release(answer: Answer) -> CompatRelease:
    return CompatRelease(
        tensorflow=answer.release.version,
        distribution=answer.release.distribution,
        verdict=answer.verdict,
        findings=demangled(answer.findings),
        unchecked=answer.unchecked,
    )
