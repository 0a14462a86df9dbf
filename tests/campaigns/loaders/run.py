"""Make the table of docs/loaders.md: `python -m tests.campaigns.loaders.run` (`--suites`: only these).

Builds the cases once, then has each root's own Python open them and predict them (live, and from
its files as another environment's). Takes some minutes and needs to be root.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.loaders import cases, roots

PROJECT = Path(__file__).resolve().parents[3]
#: How ctypes puts it where dlopen fails.
MODES = ("live", "from files")


@dataclass
class Answer:
    """What one loader did with one case, and what was predicted in each mode."""

    row: str
    real: tuple[str, str | None, tuple[str, ...]]
    predicted: dict[str, tuple[str, str | None, tuple[str, ...]]]
    releases: set[str] = field(default_factory=set)
    unchecked: list[str] = field(default_factory=list)

    def agrees(self, mode: str) -> bool:
        """The same outcome, the same words, the same files."""
        outcome, error, mapped = self.predicted[mode]
        if outcome != self.real[0]:
            return False
        return outcome == "crash" or (error, mapped) == self.real[1:]


def build(
    folder: Path, rows: Sequence[str] = ()
) -> tuple[dict[str, dict[str, object]], dict[str, str]]:
    """Every case below a folder: by name its plugin and how to open it; by name its row."""
    listed: dict[str, dict[str, object]] = {}
    row_of = {}
    for number, (row, name, make) in enumerate(cases.cases()):
        if rows and row not in rows:
            continue
        bench = cases.Bench(folder / f"{number:03}")
        bench.folder.mkdir(parents=True)
        plugin = make(bench)
        row_of[name] = row
        listed[name] = {
            "plugin": str(plugin),
            "before": [path for path, _ in bench.prepare],
            "environ": bench.env,
            "ldconfig": [str(path) for path in bench.ldconfig],
            "folder": str(bench.folder),
        }
    return listed, row_of


def ask(
    root: Path, folder: Path, listed: dict[str, dict[str, object]], row_of: dict[str, str]
) -> dict[str, Answer]:
    """What the loader in a root does with the cases, and what envlock says there."""
    plan = folder / "plan.json"
    plan.write_text(json.dumps(listed))
    done = roots.run_inside(
        root,
        [folder, PROJECT / "envlock", PROJECT / "tests"],
        "python3",
        str(PROJECT / "tests/campaigns/loaders/inside.py"),
        str(plan),
        PYTHONPATH=str(PROJECT),
        PYTHONDONTWRITEBYTECODE="1",
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    answers = {}
    for name, (real, predicted) in json.loads(done.stdout).items():
        if len(predicted) != 2:
            raise RuntimeError(f"{name}: {predicted[1]}")
        simulated, live = predicted
        answers[name] = Answer(
            row_of[name],
            (real[0], real[1], tuple(real[2])),
            {mode: (one[0], one[1], tuple(one[2])) for mode, one in zip(MODES, (live, simulated))},
            {one[3] for one in predicted if len(one) > 3},
            [text for one in predicted if len(one) > 4 for text in one[4]],
        )
    return answers


def main() -> int:
    parser = argparse.ArgumentParser(description="What loaders do, beside what is predicted.")
    parser.add_argument("--suites", nargs="*", default=list(roots.DEBIAN))
    parser.add_argument("--rows", nargs="*", default=())
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="envlock-loaders-") as name:
        folder = Path(name).resolve()
        listed, row_of = build(folder, options.rows)
        for suite in options.suites:
            answers = ask(roots.ensure(suite), folder, listed, row_of)
            for case, answer in answers.items():
                for mode in MODES:
                    if not answer.agrees(mode):
                        wrong += 1
                        print(
                            f"{suite}: {case} ({mode})\n  is   {answer.real}\n  said {answer.predicted[mode]}"
                        )
            print(
                suite,
                {r for a in answers.values() for r in a.releases},
                {u for a in answers.values() for u in a.unchecked},
                len(answers),
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
