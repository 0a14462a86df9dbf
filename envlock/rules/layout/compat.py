"""Which TensorFlow releases take a plugin: linker and binary interface, for all that are known."""

from __future__ import annotations

from ...atlas import link
from ...models.dependencies import Dependencies
from ...models.report import Finding, Unchecked
from ...models.verdict import worst
from ..loading.case import flags, plural
from ..loading.symbol_causes import not_linked_to_framework
from .assertions import concerns, failing
from .findings import compare
from .texts import LINK_LIBRARY, LINK_SYMBOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...atlas.format import Atlas, Release
    from ...atlas.link import Missing, Wants
    from ..base import Rule
    from .suspects import Suspects


class Answer:
    """One release's verdict and the reasons."""

    __slots__ = ("findings", "release", "unchecked", "verdict")

    def __init__(
        self, release: Release, findings: Sequence[Finding], unchecked: Sequence[Unchecked]
    ) -> None:
        self.release = release
        self.findings = tuple(findings)
        self.unchecked = tuple(unchecked)
        self.verdict = worst(finding.verdict for finding in findings)


def all_releases(
    wants: Wants,
    dependencies: Dependencies | Suspects | None,
    atlas: Atlas,
    built: str | None = None,
    *,
    origin: tuple[Atlas, Release] | None = None,
    asserting: bool = False,
) -> list[Answer]:
    """The answer for every release of the atlas, oldest first.

    `dependencies`: of a plugin whose release is known, those; of an unstamped one, the releases
    that it can have been built with; None when nothing but the linker can be asked. `built` and
    `origin` as for `findings.compare`. `asserting`: its datasets check their reference counts,
    see `assertions`.
    """
    answers = []
    lacking = link.missing(wants, atlas)
    for release in atlas.releases:
        lack = lacking[release.index]
        if lack:
            answers.append(Answer(release, _link_findings(lack, release, built), ()))
        elif dependencies is None:
            answers.append(Answer(release, (), ()))
        elif isinstance(dependencies, Dependencies):
            answers.append(Answer(release, *compare(dependencies, atlas, release, built, origin)))
        elif dependencies.includes(atlas, release):
            answers.append(Answer(release, (), ()))
        else:
            answers.append(Answer(release, *dependencies.against(atlas, release)))
        if asserting and not lack and concerns(release.version):
            last = answers.pop()
            findings = (failing(release.version), *last.findings)
            answers.append(Answer(release, findings, last.unchecked))
    return answers


def _link_findings(lack: Missing, release: Release, built: str | None) -> list[Finding]:
    name = f"TensorFlow {release.version}"
    found = []
    if lack.libraries:
        text = f"{name} has no library `{lack.libraries[0]}`"
        why = "the dynamic linker refuses a plugin whose libraries it does not find"
        found.append(_lacking(LINK_LIBRARY, lack.libraries, text, why, release, built))
    if lack.symbols:
        count = plural(len(lack.symbols), "symbol")
        text = f"{name} does not export {count} that the plugin needs"
        why = "the dynamic linker refuses a plugin with an unresolved symbol"
        found.append(_lacking(LINK_SYMBOL, lack.symbols, text, why, release, built))
    # Where a library that it is linked to is missing, that is why it does not see the symbols.
    if lack.hidden and not lack.libraries:
        found.append(_not_linked(lack, name, release.version))
    return found


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
    rule: Rule, names: Sequence[str], message: str, why: str, release: Release, built: str | None
) -> Finding:
    return rule.finding(
        subject=names[0],
        built=built,
        live=release.version,
        message=message,
        why=why,
        remedy=f"rebuild the plugin against TensorFlow {release.version}",
        count=len(names),
        examples=tuple(names[:5]),
    )
