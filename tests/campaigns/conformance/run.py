"""Our own ops, built on every release and loaded for real on every other: `make conformance`.

Prints, for each op, which pairs of releases load, work or die, and where envlock's verdict differs
from what happened. Outcomes are kept in the cache folder; the first run takes some hours.
"""

from __future__ import annotations

import argparse
import collections
import sys

from tests.campaigns.conformance import matrix
from tests.campaigns.conformance.matrix import Pair
from tests.support import building
from tests.support.environments import NEWEST, CannotEnsure, TfEnvironment, ensure


def main() -> int:
    parser = argparse.ArgumentParser(description="Our own ops on every TensorFlow release.")
    parser.add_argument("--built", nargs="+", metavar="VERSION", default=list(NEWEST))
    parser.add_argument("--live", nargs="+", metavar="VERSION", default=list(NEWEST))
    parser.add_argument("--op", nargs="+", metavar="NAME", default=list(building.RECIPES))
    parser.add_argument("--runs", type=int, default=1, help="processes that try each pair")
    options = parser.parse_args()
    plugins = list(matrix.build_all(_ensured(options.built), options.op))
    found: list[Pair] = []
    for live in _ensured(options.live):
        here = matrix.pairs(plugins, live, options.runs)
        found += here
        accepted = sum(pair.outcome.accepted for pair in here)
        dangerous = sum(pair.outcome.dangerous for pair in here)
        print(
            f"live {live.version}: {len(here)} loads, {len(here) - accepted} refused by the "
            f"linker, {accepted - dangerous} work, {dangerous} die or compute garbage",
            flush=True,
        )
    _tell(found, options.built, options.live)
    wrong = [pair for pair in found if not (pair.verdict_is_right and pair.error_is_right)]
    for pair in wrong:
        print(f"WRONG: {pair}")
    print(f"\n{len(found)} pairs, {len(wrong)} predicted otherwise than they happened")
    caught = [pair for pair in found if pair.outcome.dangerous]
    print(
        f"{len(caught)} dangerous pairs, {sum(p.report.verdict == 'unsafe' for p in caught)} of "
        "them called unsafe"
    )
    return 1 if wrong else 0


def _ensured(versions: list[str]) -> list[TfEnvironment]:
    result = []
    for version in versions:
        try:
            result.append(ensure(version))
        except CannotEnsure as problem:  # noqa: PERF203
            print(f"TensorFlow {version} is left out: {problem}")
    return result


def _tell(found: list[Pair], built: list[str], live: list[str]) -> None:
    """One table an op: a row for each release it was built on, a column for each live one."""
    cells = {(p.op, p.built, p.live): _sign(p) for p in found}
    print("\n+ works   ! dies or answers wrongly   . refused by the linker")
    for op in sorted({pair.op for pair in found}):
        print(f"\n{op}\n  built " + " ".join(f"{_short(v):>4}" for v in live))
        for row in built:
            signs = [cells.get((op, row, column), " ") for column in live]
            print(f"  {_short(row):>5} " + " ".join(f"{sign:>4}" for sign in signs))
    count = collections.Counter(cells.values())
    print("\n" + ", ".join(f"{sign}: {number}" for sign, number in sorted(count.items())))


def _sign(pair: Pair) -> str:
    if not pair.outcome.accepted:
        return "."
    if pair.outcome.dangerous:
        return "!"
    return "+"


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


if __name__ == "__main__":
    sys.exit(main())
