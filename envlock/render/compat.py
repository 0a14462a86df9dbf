"""The answer of `compat` as text: one line a run of releases with the same verdict and reason."""

from __future__ import annotations

from .text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.compat import CompatDocument, CompatRelease

LABEL = {"compatible": "works", "drifted": "works", "unsafe": "UNSAFE", "incompatible": "fails"}


def _reason(release: CompatRelease) -> str:
    decisive = [f for f in release.findings if f.verdict == release.verdict]
    if release.verdict in ("compatible", "drifted") or not decisive:
        return ""
    more = f" (and {len(decisive) - 1} more)" if len(decisive) > 1 else ""
    return decisive[0].message + more


def _runs(releases: tuple[CompatRelease, ...]) -> list[list[CompatRelease]]:
    """Neighbours that get the same label and the same rules."""
    runs: list[list[CompatRelease]] = []
    for release in releases:
        if runs and not release.added and _kind(runs[-1][-1]) == _kind(release):
            runs[-1].append(release)
        else:
            runs.append([release])
    return runs


def _kind(release: CompatRelease) -> tuple[bool, str, set[str]]:
    return release.added, LABEL[release.verdict], {f.rule for f in release.findings}


def compat_text(answer: CompatDocument) -> str:
    """What `envlock compat` prints."""
    release = answer.plugin.tensorflow
    if answer.plugin.stamped:
        built = f"stamped, built for TensorFlow {release}" if release else "stamped"
    else:
        built = (
            f"not stamped, judged as built for TensorFlow {release}" if release else "not stamped"
        )
    lines = [f"{answer.plugin.path}: {built}"]
    for run in _runs(answer.releases):
        span = run[0].tensorflow
        if len(run) > 1:
            span += f" to {run[-1].tensorflow}"
        elif run[0].added:
            span += " (added)"
        lines.append(f"  {span + ' ':<20}{LABEL[run[0].verdict]:<8}{_reason(run[0])}".rstrip())
    lines += [f"  unchecked: {u.what}: {u.why}" for u in answer.unchecked]
    return "".join(printable(line) + "\n" for line in lines)
