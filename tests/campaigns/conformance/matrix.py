"""Plugins x releases: what really happens to our own ops, beside what envlock says before."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envlock.actions.checking import Checker
from envlock.models.report import Report
from tests.support import building, reality
from tests.support.environments import TfEnvironment
from tests.support.reality import Outcome, Trial


@dataclass(frozen=True)
class Pair:
    """One plugin, built on one release and loaded on another."""

    op: str
    built: str
    live: str
    plugin: Path
    outcome: Outcome
    report: Report
    predicted_error: str | None
    """The text that dlopen is predicted to give; None where it is to accept the plugin."""

    def __str__(self) -> str:
        what = self.outcome.message if not self.outcome.accepted else self.outcome.outcome
        return (
            f"{self.op} built on {self.built}, live {self.live}: {what} "
            f"(functional: {self.outcome.functional}); envlock: {self.report.verdict}, "
            f"{self.predicted_error}"
        )

    @property
    def verdict_is_right(self) -> bool:
        """`incompatible` when the load fails, and only then."""
        return (self.report.verdict == "incompatible") == (not self.outcome.accepted)

    @property
    def error_is_right(self) -> bool:
        """The same words as the dynamic linker's, whatever folder the files are in."""
        if self.outcome.accepted or self.predicted_error is None:
            return self.outcome.accepted == (self.predicted_error is None)
        return _words(self.outcome.message or "") == _words(self.predicted_error)


def build_all(
    builders: Iterable[TfEnvironment], ops: Sequence[str] = tuple(building.RECIPES)
) -> Iterator[tuple[str, TfEnvironment, Path]]:
    """Every op built on every release: name, environment it was built against, plugin."""
    for env in builders:
        for op, plugin in building.build_all(env, ops).items():
            yield op, env, plugin


def pairs(
    plugins: Sequence[tuple[str, TfEnvironment, Path]], live: TfEnvironment, runs: int = 1
) -> list[Pair]:
    """Load each plugin in `live` for real, and check it without loading."""
    trials = [Trial(plugin, building.RECIPES[op].answer, runs) for op, _, plugin in plugins]
    outcomes = reality.judge(trials, live)
    checker = Checker.for_environment(str(live.prefix))
    result = []
    for (op, built, plugin), outcome in zip(plugins, outcomes):
        report = checker.check(str(plugin))
        error = _predicted(checker, plugin)
        result.append(Pair(op, built.version, live.version, plugin, outcome, report, error))
    return result


def _predicted(checker: Checker, plugin: Path) -> str | None:
    from envlock.binary.elf import ElfFile

    with ElfFile.open(os.fspath(plugin)) as elf:
        prediction = checker.predict(elf)
    return prediction.error if prediction.outcome == "refused" else None


def _words(message: str) -> str:
    """The text without the folders."""
    return re.sub(r"(?<![\w.])/\S*/", "", message.strip())
