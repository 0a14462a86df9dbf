"""From evidence to a report: the one place where a verdict is made."""

from __future__ import annotations

from ..linker.prediction import Prediction
from ..models.report import Finding, PluginSummary, Report, Unchecked
from ..models.verdict import Verdict
from ..models.versions import minor
from . import RULES
from .comparison import Comparison
from .layout.judging import Answer, judge_layout
from .policy import settle, verdict_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.policy import PolicyFile
    from .evidence import Evidence
    from .signature.verify import Verifier


def judge(evidence: Evidence, policy: PolicyFile, trusted: Verifier | None = None) -> Report:
    """The report on one plugin and one side: the same evidence gives the same report.

    It looks at nothing but the evidence and the atlas; what the facts and the side have not read
    yet, they read when they are asked. The dynamic linker decides first; the binary interface, ops
    and kernels are looked at where it accepts. `trusted` are the keys that the policy trusts.
    Raises `InputError` where the plugin cannot be read.
    """
    plugin, side = evidence.plugin, evidence.side
    linking = link_findings(evidence)
    refused = any(finding.verdict == Verdict.INCOMPATIBLE for finding in linking)
    layout = Answer() if refused else judge_layout(plugin, side, asserted=evidence.built_here)
    unsafe = any(finding.verdict == Verdict.UNSAFE for finding in layout.findings)
    findings = [*linking, *layout.findings]
    if side.whole and plugin.has_file and (refused or unsafe):
        from .remedies import with_releases

        findings = with_releases(findings, plugin, side)
    known = layout.known and (
        evidence.link is not None
        or (plugin.built_for is not None and _same_minor(plugin.built_for, side.tensorflow.version))
    )
    comparison = Comparison(
        plugin.identity,
        plugin.manifest,
        side,
        linker_findings=linking,
        abi_known=known,
        abi_unsafe=unsafe,
        origin_told=bool(layout.unchecked),
        interface_alone=layout.known and not plugin.has_file,
        uses_numpy_api=plugin.manifest is not None and plugin.uses_numpy_api,
        built_here=evidence.built_here,
        path=plugin.path,
    )
    unchecked = [*evidence.unchecked, *layout.unchecked]
    answers = [
        answer
        for rule in RULES
        if side.whole or not rule.environment
        for answer in rule(comparison)
    ]
    if evidence.registering is not None and not refused:
        answers += _ops(evidence)
    for answer in answers:
        if isinstance(answer, Finding):
            findings.append(answer)
        else:
            unchecked.append(answer)
    if trusted is not None and not plugin.has_file:
        why = "the policy requires a signature, which only the plugin's file holds"
        unchecked.append(Unchecked(what="signature", why=why))
        trusted = None
    kept, signed_by = settle(plugin, findings, policy, trusted)
    return Report(
        plugin=PluginSummary(
            path=plugin.path,
            stamped=plugin.manifest is not None,
            stamp=plugin.stamp,
            tensorflow=evidence.built or layout.origin,
            signed_by=signed_by,
        ),
        environment=side.summary,
        verdict=verdict_of(kept),
        findings=kept,
        unchecked=tuple(unchecked),
    )


def link_findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Why the dynamic linker would refuse the plugin; none where it would not, or that is not known."""
    link, plugin, side = evidence.link, evidence.plugin, evidence.side
    if link is None:
        return ()
    if not isinstance(link, Prediction):
        from .releases import link_findings as lacking

        return lacking(link, side.tensorflow.version, plugin, evidence.built)
    if link.unremarkable:
        return ()  # the good case does not pay for importing what explains the bad ones
    from .loading.causes import explain

    assert side.environment is not None
    recorded = None if plugin.manifest is None else plugin.manifest.tensorflow
    return explain(link, plugin.identity, side.environment, recorded)


def _ops(evidence: Evidence) -> list[Finding | Unchecked]:
    assert evidence.registering is not None
    registering, unchecked = evidence.registering()
    answers: list[Finding | Unchecked] = [*unchecked]
    if registering is not None:
        from .ops.rules import RULES as OPS

        for rule in OPS:
            answers += rule(registering)
    return answers


def _same_minor(one: str, other: str) -> bool:
    return minor(one) == minor(other)
