"""What changes do to plugins: every finding of the check joined to the change that explains it.

Where the side after the change is a live environment, its plugins are checked as `envlock check`
does. Where it is only recorded, the same rules judge the recorded facts, and what needs the files
is listed as unchecked.
"""

from __future__ import annotations

from ..models.drift import Change, Effect
from ..models.policy import DEFAULT
from ..models.report import VERDICTS, EnvironmentSummary, Finding, PluginSummary, Report, Unchecked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..models.manifest import LibstdcxxFacts, Manifest, NumpyFacts, PythonFacts, TensorFlowFacts
    from ..models.policy import PolicyFile
    from .sides import Facts

_HARM = VERDICTS.index("unsafe")

#: Rule -> what must have changed to explain its finding; all others are about TensorFlow.
_SUBJECTS = {
    "glibc-older": ("glibc",),
    "glibc-too-old": ("glibc",),
    "libstdcxx-older": ("libstdc++",),
    "glibcxx-too-old": ("libstdc++",),
    "python-version": ("Python",),
    "numpy-abi": ("numpy",),
    "wrong-architecture": ("machine", "plugin"),
    "cpu-level": ("machine", "plugin"),
    "file-truncated": ("plugin",),
    "not-a-plugin-library": ("plugin",),
    "executable-stack": ("plugin", "glibc"),
    "stamp-mismatch": ("plugin",),
    "stamp-forced": ("plugin",),
    "cuda-runtime": ("finding", "library", "TensorFlow"),
    "tensorflow-accelerator": ("TensorFlow",),
    "missing-library": ("finding", "library"),
    "missing-version": ("finding", "library", "libstdc++", "glibc", "TensorFlow"),
    "library-version": ("finding", "library"),
}


def plugin_reports(
    before: Facts, after: Facts, policy: PolicyFile = DEFAULT
) -> tuple[tuple[Report, ...], tuple[Unchecked, ...]]:
    """A report on each plugin that the side after the change has, or that is compared with it."""
    if after.environment is not None:
        return _live_reports(before, after, policy)
    stamped: list[tuple[str, str | None, Manifest]] = [
        (entry.path, entry.stamp, entry.manifest)
        for entry in (after.plugins or {}).values()
        if entry.manifest is not None
    ]
    if before.manifest is not None and before.plugin_path is not None:
        stamped.append((before.plugin_path, None, before.manifest))
    if after.lock is not None:
        # Nothing says that a lock file's environment loses the plugins there are now.
        stamped += [
            (entry.path, entry.stamp, entry.manifest)
            for entry in (before.plugins or {}).values()
            if entry.manifest is not None
        ]
    unchecked = [
        Unchecked(
            what=f"plugin `{entry.path}`",
            why="it is not stamped, and its file is not at hand"
            if entry.problem is None
            else entry.problem,
        )
        for entry in (after.plugins or {}).values()
        if entry.manifest is None
    ]
    unchecked += [
        Unchecked(what=f"plugin `{path}`", why="its linked-in note does not describe the plugin")
        for path, _, manifest in stamped
        if manifest.plugin is None
    ]
    stamped = [one for one in stamped if one[2].plugin is not None]
    if not stamped:
        return (), tuple(unchecked)
    if after.tensorflow is None:
        unchecked.append(
            Unchecked(what="the plugins", why=f"`{after.side.label}` has no TensorFlow")
        )
        return (), tuple(unchecked)
    reports = [_recorded_report(*one, after, policy) for one in stamped]
    return tuple(reports), tuple(unchecked)


def _live_reports(
    before: Facts, after: Facts, policy: PolicyFile
) -> tuple[tuple[Report, ...], tuple[Unchecked, ...]]:
    from ..checking import Checker
    from ..errors import EnvironmentUnreadable
    from .plugins import environment_plugins

    environment = after.environment
    assert environment is not None
    paths = environment_plugins(environment)
    if before.plugin_path is not None:
        paths.append(before.plugin_path)
    if not paths:
        return (), ()
    try:
        with Checker.for_environment(environment, policy) as checker:
            return tuple(checker.check(path) for path in paths), ()
    except EnvironmentUnreadable as error:
        return (), (Unchecked(what="the plugins", why=error.message),)


class RecordedView:
    """Recorded facts as the rules see an environment (`rules.base.Live`)."""

    def __init__(self, facts: Facts, tensorflow: TensorFlowFacts) -> None:
        self._facts = facts
        self.tensorflow = tensorflow
        self.distribution = tensorflow.distribution
        self.manager = tensorflow.manager

    @property
    def numpy(self) -> NumpyFacts | None:
        """numpy, as far as recorded."""
        from ..models.manifest import NumpyFacts

        if self._facts.numpy is not None:
            return self._facts.numpy
        package = self._facts.pip.get("numpy") or self._facts.conda.get("numpy")
        if package is None or package.version is None:
            return None
        return NumpyFacts(version=package.version)

    @property
    def python(self) -> PythonFacts:
        """The interpreter; "unknown" compares as another one."""
        from ..models.manifest import PythonFacts

        return self._facts.python or PythonFacts(version="unknown", implementation="unknown")

    @property
    def libc_version(self) -> str | None:
        """The C library's version."""
        return None if self._facts.libc is None else self._facts.libc.rpartition(" ")[2]

    @property
    def libstdcxx(self) -> LibstdcxxFacts | None:
        """libstdc++."""
        return self._facts.libstdcxx

    def library(self, soname: str) -> None:
        """None: the closure of a plugin is not recorded."""


def _recorded_report(
    path: str, stamp: str | None, manifest: Manifest, after: Facts, policy: PolicyFile
) -> Report:
    from ..policies import apply_policy, verdict_of
    from ..rules import RULES, Comparison

    assert after.tensorflow is not None
    summary = EnvironmentSummary(
        python=None if after.python is None else after.python.version,
        tensorflow=after.tensorflow.version,
        distribution=after.tensorflow.distribution,
    )
    assert manifest.plugin is not None
    comparison = Comparison(manifest.plugin, manifest, RecordedView(after, after.tensorflow))
    findings: list[Finding] = []
    unchecked = [
        Unchecked(
            what="what the dynamic linker would say",
            why="the environment is only recorded, its libraries are not at hand",
        )
    ]
    for rule in RULES:
        if rule.id == "python-version" and after.python is None:
            continue
        for answer in rule.applies(comparison):
            if isinstance(answer, Finding):
                findings.append(answer)
            else:
                unchecked.append(answer)
    kept = apply_policy(tuple(findings), policy)
    return Report(
        plugin=PluginSummary(
            path=path,
            stamped=True,
            stamp=stamp,
            tensorflow=manifest.tensorflow.version if manifest.tensorflow else None,
        ),
        environment=summary,
        verdict=verdict_of(kept),
        findings=kept,
        unchecked=tuple(unchecked),
    )


# --- joining -------------------------------------------------------------------------------------


def join(
    changes: Iterable[Change], reports: Sequence[Report], plugin_paths: dict[str, str]
) -> tuple[Change, ...]:
    """The changes with their effects, the worst first.

    `plugin_paths` gives for a report's path the name under which the plugin is recorded.
    """
    changes = list(changes)
    effects: dict[int, list[Effect]] = {}
    for report in reports:
        recorded = plugin_paths.get(report.plugin.path, report.plugin.path)
        for finding in report.findings:
            index = _explains(changes, finding, recorded)
            if index is None or VERDICTS.index(finding.verdict) < _HARM:
                continue
            effects.setdefault(index, []).append(
                Effect(
                    plugin=report.plugin.path,
                    rule=finding.rule,
                    verdict=finding.verdict,
                    message=finding.message,
                    remedy=finding.remedy,
                )
            )
    joined = []
    for index, change in enumerate(changes):
        found = effects.get(index)
        if found:
            found.sort(key=lambda effect: (-VERDICTS.index(effect.verdict), effect.plugin))
            change = change.replace(verdict=found[0].verdict, effects=tuple(found))
        joined.append(change)
    return tuple(sorted(joined, key=_order))


def _order(change: Change) -> tuple[int, int, str, str]:
    from ..models.drift import CHANGED_PARTS

    severity = -VERDICTS.index(change.verdict)
    return severity, CHANGED_PARTS.index(change.part), change.subject.lower(), change.kind


def _explains(changes: Sequence[Change], finding: Finding, plugin: str) -> int | None:
    """The change that a finding comes from; None where nothing that changed explains it."""
    for subject in (*_SUBJECTS.get(finding.rule, ("finding", "TensorFlow")), "plugin"):
        for index, change in enumerate(changes):
            if _fits(change, subject, finding, plugin):
                return index
    return None


def _fits(change: Change, subject: str, finding: Finding, plugin: str) -> bool:
    if subject == "plugin":
        return change.part == "plugins" and change.subject == plugin
    if change.part in ("plugins", "variables"):
        return False
    if subject == "finding":
        return change.subject.lower() == finding.subject.lower()
    if subject == "library":
        return _names_library(change, finding.subject)
    if subject == "TensorFlow":
        return change.subject in ("TensorFlow", "tensorflow") or (
            change.part == "files" and change.subject.startswith(("tensorflow", "tf-nightly"))
        )
    return change.subject == subject


def _names_library(change: Change, soname: str) -> bool:
    """Whether a package is likely to be the one that brings a library: libpng16.so.16, libpng."""
    stem = soname.lower().partition(".so")[0].removeprefix("lib").rstrip("0123456789.-_")
    if len(stem) < 2:
        return False
    name = change.subject.lower().removeprefix("lib")
    named = any(soname in text for text in (change.message, *change.details))
    return named or name == stem or name.startswith(f"{stem}-") or stem.startswith(f"{name}-")
