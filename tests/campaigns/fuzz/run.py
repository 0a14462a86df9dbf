"""Fuzz the readers: `python -m tests.campaigns.fuzz.run --seconds 60`; sets itself up.

What it found is kept in the cache folder: the grown corpus, findings, and a journal of how much was
executed. `--report` prints the journal's totals, the line coverage of the corpus and the findings
as the table of docs/fuzzing.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = (
    "atheris",
    "coverage",
    "packaging>=26",
    "pydantic",
    "pyelftools",
    "PyYAML",
    "hypothesis",
    "tomli",
)
#: No wheels of atheris: from there on fuzzing needs another Python.
UNSUPPORTED = (3, 14)
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_PULSE = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)", re.M)


def home() -> Path:
    """Where everything that is not committed is kept."""
    root = os.environ.get("ENVLOCK_TEST_CACHE") or "~/.cache/envlock-tests"
    return Path(root).expanduser() / "fuzz"


def interpreter() -> Path:
    """The Python of a virtual environment with atheris, made at first use."""
    if sys.version_info >= UNSUPPORTED:
        raise SystemExit("atheris has no wheels for this Python; use 3.9 to 3.13")
    folder = home() / f"venv-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    wanted = "\n".join(PACKAGES)
    if not ready.exists() or ready.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        ready.write_text(wanted)
    return python


def fuzz(python: Path, name: str, seconds: int, largest: int, seeds: Sequence[Path]) -> bool:
    """One target for so long; whether nothing was found."""
    corpus, findings = home() / "corpus" / name, home() / "findings" / name
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    folders = [corpus, *sorted({seed.parent for seed in seeds})]
    command = [
        str(python),
        "-m",
        "tests.campaigns.fuzz.worker",
        name,
        *map(str, folders),
        f"-max_total_time={seconds}",
        f"-max_len={largest}",
        "-timeout=30",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        "-verbosity=1",
        "-len_control=0",
    ]
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    said = done.stdout + done.stderr
    pulses = _PULSE.findall(said)
    finished = _DONE.search(said)
    runs = int(finished[1]) if finished else max((int(p[0]) for p in pulses), default=0)
    edges, features, kept = (int(v) for v in pulses[-1][2:]) if pulses else (0, 0, 0)
    entry = {
        "target": name,
        "runs": runs,
        "seconds": round(time.monotonic() - start),
        "edges": edges,
        "features": features,
        "corpus": kept,
        "exit": done.returncode,
    }
    with open(home() / "journal.jsonl", "a") as file:
        file.write(json.dumps(entry) + "\n")
    rate = runs / max(entry["seconds"], 1)  # type: ignore[call-overload]
    print(f"{name:20} {runs:>9} runs {rate:>7.0f}/s  edges {edges:>5}  corpus {kept:>5}", end="")
    print("" if done.returncode == 0 else "  FINDING", flush=True)
    if done.returncode != 0:
        print(_excerpt(said), flush=True)
    return done.returncode == 0


def plain(name: str, seconds: int) -> bool:
    """One target without coverage for so many processor seconds; whether nothing was found."""
    corpus, findings = home() / "corpus" / name, home() / "findings" / name
    findings.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-W", "ignore", "-m", "tests.campaigns.fuzz.plain", name, str(seconds)),
        *(str(corpus), str(findings)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    try:
        entry = json.loads(done.stdout)
    except ValueError:
        entry = {"runs": 0, "taken": 0, "seconds": 0}
    with open(home() / "journal.jsonl", "a") as file:
        file.write(
            json.dumps({"target": name, "plain": True, **entry, "exit": done.returncode}) + "\n"
        )
    rate = entry["runs"] / max(entry["seconds"], 1)
    print(f"{name:20} {entry['runs']:>9} runs {rate:>7.0f}/s  taken {entry['taken']}", flush=True)
    if done.returncode != 0:
        print(done.stderr[-3000:] or f"died with {done.returncode}", flush=True)
    return done.returncode == 0


def _excerpt(said: str) -> str:
    at = said.find("Traceback")
    return said[at : at + 6000] if at >= 0 else said[-3000:]


def report(python: Path) -> None:
    """The tables of docs/fuzzing.md."""
    from tests.campaigns.fuzz.targets import TARGETS

    journal = [json.loads(line) for line in (home() / "journal.jsonl").read_text().splitlines()]
    print(
        "| reader | executions | of them guided | hours | edges | inputs kept |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for name in (*TARGETS, "all"):
        mine = [e for e in journal if name in (e["target"], "all")]
        guided = [e for e in mine if not e.get("plain")]
        runs, with_coverage = (sum(e["runs"] for e in some) for some in (mine, guided))
        hours = sum(e["seconds"] for e in mine) / 3600
        edges, kept = (max((e[key] for e in guided), default=0) for key in ("edges", "corpus"))
        last = f"{edges} | {kept}" if name != "all" else "|"
        print(f"| `{name}` | {runs:,} | {with_coverage:,} | {hours:.2f} | {last} |")
    print(flush=True)
    subprocess.run([python, "-m", "tests.campaigns.fuzz.coverage_of"], cwd=ROOT, check=True)


def main() -> int:
    """The command line."""
    from tests.campaigns.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--plain", action="store_true", help="many more inputs, without coverage")
    parser.add_argument("--report", action="store_true", help="print what was done so far")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    share = max(arguments.seconds // len(names), 1)
    if arguments.plain:
        return max(not plain(name, share) for name in names)
    python = interpreter()
    if arguments.report:
        report(python)
        return 0
    fine = [
        fuzz(python, name, share, TARGETS[name].largest, TARGETS[name].seeds()) for name in names
    ]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    raise SystemExit(main())
