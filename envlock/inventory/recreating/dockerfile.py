"""A Dockerfile: the interpreter's image, or micromamba's for conda, and the same packages."""

from __future__ import annotations

import re

from ...models.errors import UsageError
from .conda import explicit
from .pip import comment, left_out_lines, requirement_lines
from .plan import LeftOut, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..index import PackageIndex

MICROMAMBA = "mambaorg/micromamba:1.5.8"
_SAFE = re.compile(r"[A-Za-z0-9_./:,=+-]*\Z")


def dockerfile(plan: Plan, index: PackageIndex | None) -> tuple[str, list[LeftOut]]:
    """BuildKit syntax, because the lists stand in the file itself; `BASE` can be replaced."""
    left_out = list(plan.left_out)
    lines = ["# syntax=docker/dockerfile:1"]
    lines += [comment(line) for line in plan.header()]
    steps: list[str] = []
    if plan.conda:
        base = MICROMAMBA
        conda_plan = _only_conda(plan)
        text, missing = explicit(conda_plan)
        left_out += missing
        name = "/tmp/explicit.txt"
        steps += _file(name, text)
        steps.append(f"RUN micromamba install --yes --name base --file {name} && rm {name}")
        python = "micromamba run --name base python"
    else:
        if plan.python is None:
            raise UsageError("the Python version is not known, so there is no image to start from")
        base = f"python:{plan.python}-slim"
        python = "python"
    if plan.pip:
        body, _ = requirement_lines(plan, index)
        name = "/tmp/requirements.txt"
        steps += _file(name, "".join(f"{line}\n" for line in body))
        no_deps = "" if plan.minimal else " --no-deps"
        steps.append(f"RUN {python} -m pip install --no-cache-dir{no_deps} -r {name} && rm {name}")
    variables, missing = _variables(plan)
    left_out += missing
    lines += left_out_lines(left_out)
    lines += ["", f"ARG BASE={base}", "FROM ${BASE}", *variables, *steps]
    return "\n".join(lines) + "\n", left_out


def _only_conda(plan: Plan) -> Plan:
    part = Plan(plan.title, None, plan.minimal)
    part.conda = plan.conda
    return part


def _file(name: str, text: str) -> list[str]:
    # The delimiter is quoted so that nothing in the file is expanded.
    delimiter = "END_OF_FILE"
    while delimiter in text:
        delimiter += "_"
    return [f'COPY <<"{delimiter}" {name}', text.rstrip("\n"), delimiter]


def _variables(plan: Plan) -> tuple[list[str], list[LeftOut]]:
    lines = []
    left_out = []
    for variable in plan.variables:
        value = variable.value
        if variable.entries:
            places = [entry.where for entry in variable.entries]
            value = None if any("{" in place for place in places) else ":".join(places)
        if value is None or not _SAFE.match(value):
            left_out.append(
                LeftOut(f"the variable {variable.name}", "its value is special to a machine")
            )
        else:
            lines.append(f"ENV {variable.name}={value}")
    return lines, left_out
