"""envlock's verdicts on a plugin, in three forms, by the code that users run.

`stamped_dwarf`: a copy is stamped while it has its debug information, then stripped; what is
checked has none any more. `stamped`: stripped first, then stamped. `unstamped`: stripped only.
Stamping is `envlock.stamp` with the environment of the release that the plugin was built with.

Own ops are judged by a checker for each live environment, as `envlock check --env` does it.
Published wheels were loaded in more environments than the machine has room for, so the answer is
that of `envlock compat`; where the atlas lacks the very release, the newest of the same minor
stands in, as it does for the checker.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from envlock.actions.checking import Checker
from envlock.actions.compatibility import compat
from envlock.actions.stamping import stamp
from envlock.environment.live import Environment
from envlock.models.compat import CompatDocument
from envlock.models.errors import StampRefused
from envlock.models.report import Finding
from envlock.models.versions import minor, order
from tests.campaigns.scoreboard.pairs import Load, Plugin
from tests.support import environments

FORMS = ("stamped_dwarf", "stamped", "unstamped")
REFUSED = ("unsafe", "incompatible")


@dataclass(frozen=True)
class Verdict:
    """What envlock says of one load, and the findings that make it refuse."""

    form: str
    load: Load
    verdict: str
    reasons: tuple[str, ...]

    @property
    def refused(self) -> bool:
        return self.verdict in REFUSED


@dataclass(frozen=True)
class Judged:
    """All verdicts on one plugin, and the forms for which `stamp` had to be forced."""

    verdicts: tuple[Verdict, ...]
    forced: tuple[str, ...]


@functools.cache
def environment(version: str) -> Environment:
    """The live environment of a release, read once."""
    return Environment.open(str(environments.ensure(version).prefix))


@functools.cache
def checker(version: str) -> Checker:
    """The checker for the live environment of a release."""
    return Checker.for_environment(environment(version))


def judge_own(plugin: Plugin, folder: Path) -> Judged:
    """An own op in all three forms, against every release that it was loaded on."""
    found, forced = [], []
    for form in FORMS if plugin.debug is not None else FORMS[1:]:
        made, was_forced = make(plugin, form, folder)
        forced += [form] if was_forced else []
        for load in plugin.loads:
            report = checker(load.version).check(str(made))
            verdict = report.verdict or "unreadable"
            found.append(Verdict(form, load, verdict, _reasons(report.findings)))
    return Judged(tuple(found), tuple(forced))


def judge_published(plugin: Plugin, folder: Path) -> Judged:
    """A published plugin, stamped for the release it was built with and as it is."""
    found, forced = [], []
    for form in FORMS[1:]:
        # Unstamped it stays in its wheel, whose metadata tells something too.
        made, was_forced = plugin.file, False
        if form == "stamped":
            made, was_forced = make(plugin, form, folder)
        forced += [form] if was_forced else []
        answers = {
            package: compat(str(made), distribution=package)
            for package in {load.package for load in plugin.loads}
        }
        found += [_of_release(answers[load.package], form, load) for load in plugin.loads]
    return Judged(tuple(found), tuple(forced))


def make(plugin: Plugin, form: str, folder: Path) -> tuple[Path, bool]:
    """The plugin in one form, in a folder of its own; whether its stamp had to be forced."""
    where = folder / form
    where.mkdir(parents=True)
    path = where / plugin.file.name
    for library in plugin.file.parent.glob("libenvlock_extra.so"):
        shutil.copy(library, where)
    source = plugin.debug if form == "stamped_dwarf" else plugin.file
    if source is None:
        raise ValueError(f"{plugin.name} has no debug information")
    shutil.copy(source, path)
    os.chmod(path, 0o755)
    forced = False
    if form == "stamped_dwarf":
        forced = _stamp(path, plugin.built)
        _strip(path)
    else:
        _strip(path)
        if form == "stamped":
            forced = _stamp(path, plugin.built)
    return path, forced


def _stamp(path: Path, built: str) -> bool:
    try:
        stamp(str(path), env=environment(built))
    except StampRefused:
        stamp(str(path), env=environment(built), force=True)
        return True
    return False


def _strip(path: Path) -> None:
    subprocess.run(["strip", str(path)], check=True)


def _of_release(document: CompatDocument, form: str, load: Load) -> Verdict:
    fitting = [r for r in document.releases if minor(r.tensorflow) == minor(load.version)]
    exact = [r for r in fitting if r.tensorflow == load.version]
    release = (exact or sorted(fitting, key=lambda r: order(r.tensorflow)))[-1]
    return Verdict(form, load, release.verdict, _reasons(release.findings))


def _reasons(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    return tuple(f"{f.rule}: {f.message}" for f in findings if f.verdict in REFUSED)
