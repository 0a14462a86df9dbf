"""How often envlock is right: every plugin beside what really happened. `make scoreboard`.

Writes docs/scoreboard.md and docs/scoreboard.json. Verdicts are kept in the cache folder, under a
digest of envlock's own code and atlas, so a run that was stopped goes on where it was. What is
not recorded of our own ops is built and loaded, which takes hours on an empty cache.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import envlock
from tests.campaigns.scoreboard import judge, pairs, report
from tests.campaigns.scoreboard.judge import Judged, Verdict
from tests.campaigns.scoreboard.pairs import Load, Plugin
from tests.campaigns.scoreboard.report import Row
from tests.support import building, environments

DOCS = Path(__file__).resolve().parents[3] / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(description="How often envlock's verdict is right.")
    parser.add_argument("--op", nargs="+", metavar="NAME", default=list(building.RECIPES))
    parser.add_argument("--only", choices=("own", "published"), help="one of the two parts")
    parser.add_argument("--output", type=Path, default=DOCS, metavar="FOLDER")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.only != "published":
        rows += judged("own", pairs.own_plugins(options.op), judge.judge_own)
    if options.only != "own":
        rows += judged("published", pairs.published_plugins(), judge.judge_published)
    board = report.score(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scoreboard.md").write_text(report.markdown(board))
    (options.output / "scoreboard.json").write_text(report.document(board))
    print(report.summary(board))
    return 0 if board.reached else 1


def judged(
    source: str, plugins: Iterable[Plugin], how: Callable[[Plugin, Path], Judged]
) -> list[Row]:
    """Every verdict on the plugins, those of earlier runs as they were kept."""
    rows = []
    for plugin in plugins:
        print(f"{source}: {plugin.name}", file=sys.stderr, flush=True)
        kept = _kept(plugin)
        if not kept.exists():
            with tempfile.TemporaryDirectory(prefix="envlock-scoreboard-") as folder:
                answer = how(plugin, Path(folder))
            _keep(kept, answer)
        answer = _read(kept)
        rows += [Row(source, plugin, verdict) for verdict in answer.verdicts]
        rows += [Row(source, plugin, None, form) for form in answer.forced]
    return rows


def _kept(plugin: Plugin) -> Path:
    digest = hashlib.sha256(_code().encode())
    for path in (plugin.file, plugin.debug):
        if path is not None:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(repr((plugin.name, plugin.built, plugin.requirement, plugin.loads)).encode())
    return environments.cache_root() / "scoreboard" / f"{digest.hexdigest()[:32]}.json"


@functools.cache
def _code() -> str:
    """Digest of everything that a verdict comes from."""
    digest = hashlib.sha256(sys.version.encode())
    package = Path(envlock.__file__).parent
    files = [p for p in package.rglob("*") if p.suffix in (".py", ".atlas")]
    for path in sorted([*files, Path(judge.__file__)]):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _keep(path: Path, answer: Judged) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(answer), file)
    os.replace(temporary, path)


def _read(path: Path) -> Judged:
    raw = json.loads(path.read_text())
    verdicts = tuple(
        Verdict(one["form"], Load(**one["load"]), one["verdict"], tuple(one["reasons"]))
        for one in raw["verdicts"]
    )
    return Judged(verdicts, tuple(raw["forced"]))


if __name__ == "__main__":
    sys.exit(main())
