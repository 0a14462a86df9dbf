"""What changes do to plugins: every finding of the check joined to the change that explains it.

Where the side after the change is a live environment, its plugins are checked as `envlock check`
does. Where it is only recorded, so are the plugins whose files are at hand, with the atlas in the
place of its libraries; of others the stamps are judged, and what needs the files is listed as
unchecked.
"""

from __future__ import annotations

from ..models.drift import Change, Effect
from ..models.policy import DEFAULT
from ..models.report import Finding, Report, Unchecked
from ..models.verdict import Verdict
from ..rules.catalogue import rule_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..models.policy import PolicyFile
    from .recorded import Plugin
    from .sides import Facts


def plugin_reports(
    before: Facts, after: Facts, policy: PolicyFile = DEFAULT
) -> tuple[tuple[Report, ...], tuple[Unchecked, ...]]:
    """A report on each plugin that the side after the change has, or that is compared with it."""
    if after.environment is not None:
        return _live_reports(before, after, policy)
    plugins, unchecked = _recorded_plugins(before, after)
    if not plugins:
        return (), tuple(unchecked)
    if after.tensorflow is None:
        why = f"`{after.side.label}` has no TensorFlow"
        return (), (*unchecked, Unchecked(what="the plugins", why=why))
    from ..rules.policy import trusted_keys
    from .recorded import Judge

    judge = Judge(after, policy, trusted_keys(policy))
    return tuple(judge.report(plugin) for plugin in plugins), tuple(unchecked)


def _recorded_plugins(before: Facts, after: Facts) -> tuple[list[Plugin], list[Unchecked]]:
    """The plugins that can be judged against a side which is only recorded, and the others."""
    from .recorded import Plugin

    had = before.plugins or {}
    files = _files_at_hand(before)
    plugins: list[Plugin] = []
    for entry in (after.plugins or {}).values():
        old = had.get(entry.path)
        # The file of the side before stands for what the side after records only if it is that.
        same = old is not None and old.digest is not None and old.digest == entry.digest
        file = files.get(entry.path) if same else None
        plugins.append(Plugin(entry.path, entry.stamp, entry.manifest, file, entry.problem))
    if before.plugin_path is not None:
        path = before.plugin_path
        plugins.append(Plugin(path, None, before.manifest, path))
    if after.lock is not None:
        # Nothing says that a lock file's environment loses the plugins there are now.
        plugins += [
            Plugin(entry.path, entry.stamp, entry.manifest, files.get(entry.path), entry.problem)
            for entry in had.values()
        ]
    unchecked = [
        Unchecked(what=f"plugin `{plugin.path}`", why=plugin.obstacle)
        for plugin in plugins
        if plugin.obstacle is not None
    ]
    return [plugin for plugin in plugins if plugin.obstacle is None], unchecked


def _files_at_hand(before: Facts) -> dict[str, str]:
    """The files of a live side's plugins, by the path under which they are recorded."""
    if before.environment is None or not before.plugins:
        return {}
    from .plugins import environment_plugins, relative

    environment = before.environment
    return {relative(environment, path): path for path in environment_plugins(environment)}


def _live_reports(
    before: Facts, after: Facts, policy: PolicyFile
) -> tuple[tuple[Report, ...], tuple[Unchecked, ...]]:
    from ..actions.checking import Checker
    from ..models.errors import EnvironmentUnreadable
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
            if index is None or finding.verdict < Verdict.UNSAFE:
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
            found.sort(key=lambda effect: (-effect.verdict.rank, effect.plugin))
            change = change.replace(verdict=found[0].verdict, effects=tuple(found))
        joined.append(change)
    return tuple(sorted(joined, key=_order))


def _order(change: Change) -> tuple[int, int, str, str]:
    from ..models.drift import CHANGED_PARTS

    severity = -change.verdict.rank
    return severity, CHANGED_PARTS.index(change.part), change.subject.lower(), change.kind


def _explains(changes: Sequence[Change], finding: Finding, plugin: str) -> int | None:
    """The change that a finding comes from; None where nothing that changed explains it."""
    rule = rule_of(finding.rule)
    for subject in (*(rule.changes if rule is not None else ()), "plugin"):
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
