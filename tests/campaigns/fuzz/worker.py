"""One process of coverage-guided fuzzing; `tests.campaigns.fuzz.run` starts it with what atheris needs.

python -m tests.campaigns.fuzz.worker TARGET CORPUS... [libFuzzer options]
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["envlock"], enable_loader_override=False):
    from tests.campaigns.fuzz.targets import TARGETS

from tests.campaigns.fuzz.guard import check, limit_memory

#: Code that atheris counts the edges of is slower by that much, and the machine may be busy.
PATIENCE = 4.0


def main() -> None:
    """Fuzz until libFuzzer's own options end it; a finding ends it with its traceback."""
    target = TARGETS[sys.argv[1]]

    def one(data: bytes) -> None:
        check(target, data, PATIENCE)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.1:
            return bytes(atheris.Mutate(data, len(data)))
        return target.mutate(data, chance)[:most]

    def cross(one: bytes, other: bytes, most: int, seed: int) -> bytes:
        at = Random(seed).randrange(min(len(one), len(other)) + 1)
        return (one[:at] + other[at:])[:most]

    limit_memory()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], one, custom_mutator=mutate, custom_crossover=cross)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
