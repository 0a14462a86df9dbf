"""Fuzzing without coverage: `python -m tests.campaigns.fuzz.plain TARGET SECONDS CORPUS... FINDINGS`.

Ten times as many inputs as under atheris for the same processor time, so it goes on where guided
runs find no new code any more. Needs nothing but envlock's own test environment. What it did is
one JSON line on stdout; findings are written into their folder, one for each place that raised.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from random import Random

from tests.campaigns.fuzz.guard import check, limit_memory
from tests.campaigns.fuzz.targets import TARGETS

#: Inputs in memory that new ones are made from; every so many-th new one joins them.
POOL, JOINS = 256, 16
#: Kernel seconds after which an input counts as endless; the process dies of it.
ALARM = 60


def main(name: str, seconds: float, folders: list[str], findings: str) -> int:
    """Fuzz for so many processor seconds."""
    target = TARGETS[name]
    seeds = [path.read_bytes() for path in target.seeds()]
    for folder in folders:
        seeds += [path.read_bytes() for path in Path(folder).glob("*") if path.is_file()]
    chance = Random(os.urandom(8))
    pool: list[bytes] = []
    limit_memory()
    runs = taken = 0
    places: set[tuple[str, str, int]] = set()
    start = time.process_time()
    while time.process_time() - start < seconds:
        signal.alarm(ALARM)
        for _ in range(100):
            base = chance.choice(pool if pool and chance.random() < 0.3 else seeds)
            data = target.mutate(base, chance)[: target.largest]
            runs += 1
            if runs % JOINS == 0:
                pool = [*pool[-POOL:], data]
            try:
                taken += check(target, data)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = (type(error).__name__, os.path.basename(where.filename), where.lineno or 0)
                if place not in places:
                    places.add(place)
                    kept = os.path.join(findings, hashlib.sha256(data).hexdigest()[:16])
                    Path(kept).write_bytes(data)
                    print(f"{name}: {place}: {error!s:.200} [{kept}]", file=sys.stderr)
    signal.alarm(0)
    spent = time.process_time() - start
    print(json.dumps({"runs": runs, "taken": taken, "seconds": round(spent, 1)}))
    return 1 if places else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:-1], sys.argv[-1]))
