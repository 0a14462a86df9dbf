"""A TensorFlow release of an atlas as a side: what it exports, and its binary interface."""

from __future__ import annotations

from ..atlas.collection import Known
from ..atlas.link import Missing
from ..models.report import EnvironmentSummary, Finding
from ..models.verdict import worst
from .evidence import UnknownSide
from .layout.judging import Answer, demangled, judge_layout
from .layout.texts import LINK_LIBRARY, LINK_SYMBOL
from .loading.case import flags, plural
from .loading.file_causes import not_a_plugin_library, wrong_architecture
from .loading.symbol_causes import not_linked_to_framework

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..atlas.format import Atlas, Release
    from ..plugin.facts import PluginFacts
    from .base import Rule

#: The architecture whose releases the atlas describes.
MACHINE = "x86_64"


class ReleaseSide(UnknownSide):
    """A release, and nothing of what would surround it; `prefers` is the distribution that an
    unstamped plugin's origin is looked for in first."""

    whole = False

    def __init__(self, atlas: Atlas, release: Release, prefers: str) -> None:
        super().__init__(release.version, release.identities)
        self.known = Known(atlas, release, True)
        self.distribution = release.distribution
        self.prefers = prefers
        self.summary = EnvironmentSummary(
            tensorflow=release.version, distribution=release.distribution
        )


class ReleaseAnswer:
    """What one release decides: the linker's part and the binary interface."""

    __slots__ = ("findings", "known", "release", "unchecked", "verdict")

    def __init__(self, release: Release, answer: Answer) -> None:
        self.release = release
        self.findings = answer.findings
        self.unchecked = answer.unchecked
        self.known = answer.known
        self.verdict = worst(finding.verdict for finding in answer.findings)


def release_answers(
    plugin: PluginFacts, atlas: Atlas, distribution: str, built: str | None = None
) -> list[ReleaseAnswer]:
    """The answer of every release of an atlas, oldest first. Raises `InputError`.

    `built` is the release that the plugin was built with, to be named in findings.
    """
    answers = []
    missed = lacking(plugin, atlas)
    for release in atlas.releases:
        found = link_findings(missed[release.index], release.version, plugin, built)
        answer = Answer(found) if found else None
        side = ReleaseSide(atlas, release, distribution)
        answers.append(ReleaseAnswer(release, answer or judge_layout(plugin, side)))
    return answers


def lacking(plugin: PluginFacts, atlas: Atlas) -> dict[int, Missing]:
    """What each release of an atlas lacks, by its index; not looked at for a file that none would load."""
    if unfit(plugin) is not None:
        return {release.index: Missing([], [], []) for release in atlas.releases}
    return plugin.missing(atlas)


def linking(plugin: PluginFacts, atlas: Atlas) -> list[Release]:
    """The releases of an atlas that would load a plugin, as far as the dynamic linker decides."""
    return [] if unfit(plugin) is not None else plugin.linking(atlas)


def unfit(plugin: PluginFacts) -> Finding | None:
    """Why no release would load the file, whatever it needs; the atlas is of x86-64."""
    it = plugin.identity
    if (it.machine, it.bits, it.byte_order) != (MACHINE, 64, "little"):
        found = f"{it.machine}, {it.bits}-bit, {it.byte_order}-endian"
        return wrong_architecture.finding(
            subject=it.machine,
            built=found,
            live=f"{MACHINE}, 64-bit, little-endian",
            message=f"the plugin is for {found}, but the atlas is of TensorFlow for {MACHINE}",
            why="a process loads libraries of its own architecture only",
        )
    if plugin.is_not_a_library is None:
        return None
    return not_a_plugin_library.finding(
        subject=plugin.name,
        message=plugin.is_not_a_library,
        why="dlopen takes shared libraries only",
    )


def link_findings(
    lack: Missing, version: str, plugin: PluginFacts, built: str | None
) -> tuple[Finding, ...]:
    """Why a release would not load a plugin, one finding a cause; none: it would."""
    problem = unfit(plugin)
    if problem is not None:
        return (problem,)
    if not lack:
        return ()
    name = f"TensorFlow {version}"
    found = []
    if lack.libraries:
        text = f"{name} has no library `{lack.libraries[0]}`"
        why = "the dynamic linker refuses a plugin whose libraries it does not find"
        found.append(_lacking(LINK_LIBRARY, lack.libraries, text, why, version, built))
    if lack.symbols:
        count = plural(len(lack.symbols), "symbol")
        text = f"{name} does not export {count} that the plugin needs"
        why = "the dynamic linker refuses a plugin with an unresolved symbol"
        found.append(_lacking(LINK_SYMBOL, lack.symbols, text, why, version, built))
    # Where a library that it is linked to is missing, that is why it does not see the symbols.
    if lack.hidden and not lack.libraries:
        found.append(_not_linked(lack, name, version))
    return demangled(found)


def _not_linked(lack: Missing, name: str, version: str) -> Finding:
    library = lack.hidden[0][1]
    count = plural(len(lack.hidden), "symbol")
    return not_linked_to_framework.finding(
        subject=library,
        live=version,
        message=f"the plugin is not linked to `{library}`, by which {name} exports {count} that "
        "it needs",
        why=f"{name} keeps its libraries out of the global scope: a plugin sees only what it is "
        "linked to",
        remedy=f"link it with `{flags('link')}`",
        count=len(lack.hidden),
        examples=tuple(symbol for symbol, _ in lack.hidden[:5]),
    )


def _lacking(
    rule: Rule, names: Sequence[str], message: str, why: str, version: str, built: str | None
) -> Finding:
    return rule.finding(
        subject=names[0],
        built=built,
        live=version,
        message=message,
        why=why,
        remedy=f"rebuild the plugin against TensorFlow {version}",
        count=len(names),
        examples=tuple(names[:5]),
    )
