"""The answer of `compat` as text: one line a run of releases with the same verdict and reason."""

from __future__ import annotations

from shlex import quote

from ..models.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.compat import CompatDocument, CompatRelease
    from .text import Style


def _reason(release: CompatRelease) -> str:
    decisive = [f for f in release.findings if f.verdict == release.verdict]
    if release.verdict.works or not decisive:
        return ""
    more = f" (and {len(decisive) - 1} more)" if len(decisive) > 1 else ""
    return decisive[0].message + more


def _runs(releases: tuple[CompatRelease, ...]) -> list[list[CompatRelease]]:
    """Neighbours that get the same verdict and the same rules."""
    runs: list[list[CompatRelease]] = []
    for release in releases:
        if runs and not release.added and _kind(runs[-1][-1]) == _kind(release):
            runs[-1].append(release)
        else:
            runs.append([release])
    return runs


def _kind(release: CompatRelease) -> tuple[bool, str, set[str]]:
    return release.added, release.verdict, {f.rule for f in release.findings}


def _spans(answer: CompatDocument) -> str:
    """The releases of the other distribution, runs of neighbours as "2.13.0 to 2.15.1"."""
    assert answer.other is not None
    spans: list[list[str]] = []
    known = list(dict.fromkeys(r.tensorflow for r in answer.releases))
    last = -2
    for version in answer.other.releases:
        at = known.index(version)
        if at == last + 1:
            spans[-1].append(version)
        else:
            spans.append([version])
        last = at
    return ", ".join(s[0] if len(s) == 1 else f"{s[0]} to {s[-1]}" for s in spans)


def render(answer: CompatDocument, *, everything: bool, style: Style) -> str:
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
        lines.append(f"  {span + ' ':<20}{run[0].verdict:<14}{_reason(run[0])}".rstrip())
    if answer.other is not None:
        name = answer.other.name
        command = f"envlock compat --distribution {name} {quote(answer.plugin.path)}"
        lines.append(f"  hint: the package `{name}` takes it in {_spans(answer)}: {command}")
    needs = answer.runtime.sentence() if answer.runtime is not None else None
    lines += [f"  {needs}"] if needs else []
    lines += [f"  unchecked: {u.what}: {u.why}" for u in answer.unchecked]
    return "".join(printable(line) + "\n" for line in lines)
