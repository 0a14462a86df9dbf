"""Writes the tables of TensorFlow's own ops and CPU kernels, from real processes.

`python -m tools.registrations ENV...` asks each environment's TensorFlow what it
registers by itself and writes `data/ops.txt` and `data/kernels.zlib` anew; the releases of all
environments named go in. One release a minor is enough, its patch releases register the same.
"""

from __future__ import annotations

import os
import sys
import zlib

from envlock.atlas.registrations import FOLDER, KERNELS, OPS
from envlock.environment.live import Environment
from envlock.models.versions import minor
from envlock.plugin.registrations.recording import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def tables(answers: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """The two tables as text, from what each minor release ("2.15") answered."""
    releases = sorted(answers, key=lambda name: [int(part) for part in name.split(".")])
    ops: dict[str, int] = {}
    kernels: dict[str, int] = {}
    for number, release in enumerate(releases):
        for name in answers[release]["ops"]:
            ops[name] = ops.get(name, 0) | 1 << number
        for kernel in answers[release]["kernels"]:
            if kernel["device"] == "CPU":
                line = kernel_line(kernel)
                kernels[line] = kernels.get(line, 0) | 1 << number
    head = "releases " + " ".join(releases)
    return (
        "\n".join([head, *(f"{name} {ops[name]:x}" for name in sorted(ops))]) + "\n",
        "\n".join([head, *(f"{line} {kernels[line]:x}" for line in sorted(kernels))]) + "\n",
    )


def kernel_line(kernel: Mapping[str, Any]) -> str:
    """One kernel: op, priority, label (`-` for none), then `attr=type,type` of each constraint."""
    constraints = [f"{c['attr']}={','.join(c['types'])}" for c in kernel["constraints"]]
    return " ".join(
        [kernel["op"], str(kernel["priority"]), kernel["label"] or "-", *sorted(constraints)]
    )


def write(names: Iterable[str]) -> None:
    """Ask the environments, write the tables."""
    answers: dict[str, Mapping[str, Any]] = {}
    for name in names:
        answer = ask(None, Environment.open(name))
        answers[minor(str(answer["tensorflow"]))] = answer
    ops, kernels = tables(answers)
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, OPS), "w", encoding="ascii") as file:
        file.write(ops)
    with open(os.path.join(FOLDER, KERNELS), "wb") as packed:
        packed.write(zlib.compress(kernels.encode("ascii"), 9))


if __name__ == "__main__":
    write(sys.argv[1:])
