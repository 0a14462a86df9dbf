"""One loader asked about every case: what it does, and what is predicted for it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envlock.files.roots import Root
from envlock.linker.resolve import predict
from envlock.linker.simulate import load, start_process
from tests.campaigns.loaders import cases, roots
from tests.campaigns.loaders.program import Program

PROJECT = Path(__file__).resolve().parents[3]

#: Outcome, dlerror's text, the files that were mapped.
Told = tuple[str, "str | None", tuple[str, ...]]


@dataclass
class Case:
    """A built case: its row and name, the plugin, and how it is opened."""

    row: str
    name: str
    plugin: Path
    bench: cases.Bench


@dataclass
class Answer:
    """What one loader did with one case, and what was predicted, by mode: "live", "from files" and,
    for a root seen from this machine, "from outside"."""

    row: str
    name: str
    real: Told
    predicted: dict[str, Told]
    releases: set[str] = field(default_factory=set)
    unchecked: tuple[str, ...] = ()

    def agrees(self, mode: str) -> bool:
        """The same outcome, the same words, the same files."""
        outcome, error, mapped = self.predicted[mode]
        if outcome != self.real[0]:
            return False
        return outcome == "crash" or (error, mapped) == self.real[1:]

    def differences(self) -> list[str]:
        """One text for each mode that does not agree."""
        return [
            f"{self.name} ({mode}): the loader {self.real}, predicted {self.predicted[mode]}"
            for mode in self.predicted
            if not self.agrees(mode)
        ]


def build(folder: Path, rows: Sequence[str] = ()) -> list[Case]:
    """Every case, each in a folder of its own."""
    built = []
    for number, (row, name, make) in enumerate(cases.cases()):
        if not rows or row in rows:
            bench = cases.Bench(folder / f"{number:03}")
            bench.folder.mkdir(parents=True)
            built.append(Case(row, name, make(bench), bench))
    return built


def ask(root: Path, folder: Path, built: Sequence[Case]) -> dict[str, Answer]:
    """By the name of the case: dlopen and the predictions of the root's own Python, in the root.

    `folder` holds the cases; it is seen in the root at the same path.
    """
    plan = folder / "plan.json"
    listed = {
        case.name: {
            "plugin": str(case.plugin),
            "before": [path for path, _ in case.bench.prepare],
            "environ": case.bench.env,
            "ldconfig": [str(path) for path in case.bench.ldconfig],
            "folder": str(case.bench.folder),
        }
        for case in built
    }
    plan.write_text(json.dumps(listed))
    script = PROJECT / "tests/campaigns/loaders/inside.py"
    done = roots.run_inside(
        root,
        [folder, PROJECT / "envlock", script.parent],
        "python3",
        str(script),
        str(plan),
        PYTHONPATH=str(PROJECT),
        PYTHONDONTWRITEBYTECODE="1",
    )
    if done.returncode != 0:
        raise RuntimeError(f"{root.name}: {done.stderr[-2000:]}")
    answers = {}
    row_of = {case.name: case.row for case in built}
    for name, (real, predicted) in json.loads(done.stdout).items():
        if len(predicted) != 2:
            raise RuntimeError(f"{root.name}: {name}: {predicted[1]}")
        simulated, live = predicted
        answers[name] = Answer(
            row_of[name],
            name,
            _told(real),
            {"live": _told(live), "from files": _told(simulated)},
            {one[3] for one in predicted if len(one) > 3},
            tuple(text for one in predicted if len(one) > 4 for text in one[4]),
        )
    for case in built:
        told = _from_outside(root, case)
        if told is not None:
            answers[case.name].predicted["from outside"] = told
    return answers


def _from_outside(root: Path, case: Case) -> Told | None:
    """The prediction of this machine's envlock for the Python of a root (`--root`).

    None for what is named by paths that mean another file there: a preloaded library, a cache.
    """
    if case.bench.ldconfig or "LD_PRELOAD" in case.bench.env:
        return None
    other = Root(str(root))
    scope = start_process(f"{root}/usr/bin/python3", case.bench.env, root=other)
    try:
        for path, make_global in case.bench.prepare:
            load(scope, path, make_global=make_global)
        found = predict(str(case.plugin), scope)
        new = [os.path.realpath(d.path) for d in found.closure if d.new]
        mapped = tuple(sorted([str(case.plugin), *new])) if found.ok else ()
        return found.outcome, found.error if found.outcome == "refused" else None, mapped
    finally:
        scope.close()


def ask_program(root: Path, folder: Path, rows: Sequence[str] = ()) -> dict[str, Answer]:
    """The same with a program of this machine that runs on the root's C library.

    It sees this machine's ld.so.cache, so the cases that bring their own are left out.
    """
    answers = {}
    for number, (row, name, make) in enumerate(cases.cases()):
        if rows and row not in rows:
            continue
        bench = Program(folder / f"{number:03}", roots.libraries(root))
        bench.folder.mkdir(parents=True)
        plugin = make(bench)
        if bench.ldconfig:
            continue
        real, found = bench.judge(plugin), bench.predict(plugin)
        assert found.scope is not None
        mapped = [str(plugin), *(d.path for d in found.closure if d.new)] if found.ok else []
        answers[name] = Answer(
            row,
            name,
            (real.outcome, real.error, tuple(sorted(real.mapped))),
            {"from files": (found.outcome, found.error, tuple(sorted(mapped)))},
            {".".join(map(str, found.scope.interpreter.traits.release))},
            tuple(found.scope.unchecked),
        )
    return answers


def _told(answer: Sequence[object]) -> Told:
    outcome, error, mapped = answer[:3]
    assert isinstance(mapped, list)
    return str(outcome), None if error is None else str(error), tuple(mapped)
