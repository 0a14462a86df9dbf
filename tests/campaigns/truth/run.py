"""Every recorded load of a published plugin against envlock's prediction: `make truth`.

Takes all environments of the records, one after the other. One that the cache lacks is made for the
occasion and removed afterwards (`--keep` keeps it), so that the disk needs room for one of them
only. Ends with 1 if a single "accepted or refused" is wrong, or if fewer than 99 % of the refused
loads name the same first missing symbol as the dynamic linker did.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator

from tests.campaigns.truth import records
from tests.campaigns.truth.compare import Score, compare
from tests.support import environments
from tests.support.environments import TfEnvironment

WANTED_SYMBOLS = 0.99


def main() -> int:
    parser = argparse.ArgumentParser(description="Every recorded load against the prediction.")
    parser.add_argument("--keep", action="store_true", help="keep the environments made for this")
    parser.add_argument("--only", nargs="+", metavar="PACKAGE==VERSION", help="these environments")
    parser.add_argument("--present", action="store_true", help="only environments that exist")
    options = parser.parse_args()
    if records.path() is None:
        print("absent data: name the folder of the recorded loads in ENVLOCK_TRUTH")
        return 1
    by_environment = collections.defaultdict(list)
    for record in records.load():
        by_environment[record.environment].append(record)
    total, left_out = Score(), 0
    order = sorted(by_environment, key=lambda key: (key[0], environments.version_key(key[1])))
    for package, version in order:
        if options.only and f"{package}=={version}" not in options.only:
            continue
        try:
            with _borrowed(package, version, options.keep, options.present) as env:
                started = time.monotonic()
                score = compare(by_environment[package, version], env)
                _tell(f"{package} {version}", score, time.monotonic() - started)
        except environments.CannotEnsure as problem:
            left_out += len(by_environment[package, version])
            print(f"{package} {version}: left out: {problem}", flush=True)
            continue
        total.add(score)
    print(f"\n{total.compared} loads compared, {left_out} left out")
    print(f"accepted or refused: {total.compared - len(total.wrong_verdict)} right")
    print(
        f"first missing symbol: {total.symbols - len(total.wrong_symbol)} of {total.symbols} the "
        f"same as the dynamic linker's ({100 * total.symbol_agreement:.2f} %)"
    )
    failed = total.wrong_verdict or total.symbol_agreement < WANTED_SYMBOLS
    return 1 if failed or not total.compared else 0


def _tell(name: str, score: Score, seconds: float) -> None:
    print(
        f"{name}: {score.compared} loads, {score.refused} refused, "
        f"{len(score.wrong_verdict)} wrong, {len(score.wrong_symbol)} other symbols, "
        f"{1000 * seconds / score.compared:.1f} ms each",
        flush=True,
    )
    for disagreement in (*score.wrong_verdict, *score.wrong_symbol):
        print(f"  {disagreement}", flush=True)


@contextlib.contextmanager
def _borrowed(package: str, version: str, keep: bool, present: bool) -> Iterator[TfEnvironment]:
    """The environment, made if need be; what was only made for this is removed with its cache."""
    there = {env.version: env for env in environments.existing(package)}
    if version in there:
        yield there[version]
        return
    if present:
        raise environments.CannotEnsure("not in the cache")
    if keep:
        yield environments.ensure(version, package)
        return
    # In the same file system, so that uv can link.
    throwaway = tempfile.mkdtemp(prefix=".uv-for-once-", dir=environments.cache_root())
    before = os.environ.get("UV_CACHE_DIR")
    os.environ["UV_CACHE_DIR"] = throwaway
    try:
        env = environments.ensure(version, package)
        try:
            yield env
        finally:
            shutil.rmtree(env.prefix)
    finally:
        shutil.rmtree(throwaway, ignore_errors=True)
        if before is None:
            del os.environ["UV_CACHE_DIR"]
        else:
            os.environ["UV_CACHE_DIR"] = before


if __name__ == "__main__":
    sys.exit(main())
