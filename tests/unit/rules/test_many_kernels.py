"""Findings about kernels are those of comparing each with each, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest

from envlock.actions.registering import _repeats
from envlock.atlas.registrations import FEW, BuiltIn
from envlock.models.registration import KernelRecord, OpRecord, Registrations, TypeConstraint
from envlock.models.report import Finding, Unchecked
from envlock.rules.ops.rules import MAX_PAIRS, RULES, TOO_MANY, Registering, compete


def kernels(chance: Random, ops: Sequence[str], most: int = 12) -> tuple[KernelRecord, ...]:
    """Some kernels that often compete."""

    def constraints() -> tuple[TypeConstraint, ...] | None:
        if chance.random() < 0.1:
            return None
        return tuple(
            TypeConstraint(attr=attr, types=tuple(chance.sample(("float", "int32", "half"), 2)))
            for attr in ("T", "U")
            if chance.random() < 0.7
        )

    return tuple(
        KernelRecord(
            op=chance.choice(ops),
            device=chance.choice(("CPU", "CPU", "GPU", None)),
            constraints=constraints(),
            priority=chance.choice((0, 0, 0, 1)),
            label=chance.choice(("", "", "x")),
        )
        for _ in range(chance.randrange(most))
    )


def situation(
    own: Registrations, known: Sequence[KernelRecord], builtin: Sequence[str], taken: Sequence[str]
) -> Registering:
    return Registering(
        "plugin.so",
        "/tmp/plugin.so",
        own,
        builtin=builtin.__contains__,
        taken=(*builtin, *taken).__contains__,
        kernels=lambda op: tuple(k for k in known if k.op == op),
        registrants=lambda op: (),
        copies=tuple,
    )


def told(case: Registering, rule: str) -> list[Finding | Unchecked]:
    (found,) = (r for r in RULES if r.id == rule)
    return list(found(case))


def subjects(answers: Sequence[Finding | Unchecked]) -> list[tuple[str, str | None, str | None]]:
    return [(a.subject, a.built, a.live) for a in answers if isinstance(a, Finding)]


@pytest.mark.parametrize("seed", range(200))
def test_the_same_as_comparing_each_with_each(seed: int) -> None:
    chance = Random(seed)
    names = [f"Op{number}" for number in range(4)]
    own = Registrations(
        source="file",
        ops=tuple(OpRecord(name=chance.choice(names)) for _ in range(chance.randrange(6))),
        kernels=kernels(chance, names),
    )
    known = kernels(chance, names)
    builtin, taken = names[:1], names[1:3]
    case = situation(own, known, builtin, taken)
    ops = [op.name for op in own.ops]

    twice = [name for name in dict.fromkeys(ops) if ops.count(name) > 1]
    assert [answer[0] for answer in subjects(told(case, "op-twice"))] == twice

    assert _repeats(own.kernels) == any(
        one.op == other.op and (one == other or not one.constraints or not other.constraints)
        for one, other in combinations(own.kernels, 2)
    )

    among = {
        two.op
        for at, two in enumerate(own.kernels)
        for one in own.kernels[:at]
        if one.priority == two.priority and compete(two, one)
    }
    answers = told(case, "kernel-twice")
    assert {s for s, _, live in subjects(answers) if live is None} == among
    added = [k for k in own.kernels if k.op in builtin or (k.op in taken and k.op not in ops)]
    pairs = [(k, other) for k in added for other in known if k.op == other.op]
    certain = {k.op for k, other in pairs if k.priority == other.priority and compete(k, other)}
    beside = {s for s, _, live in subjects(answers) if live is not None}
    unsure = {a.what for a in answers if isinstance(a, Unchecked)}
    open_ = {
        f"kernels of `{k.op}`"
        for k, other in pairs
        if k.priority == other.priority and compete(k, other) is None
    }
    # Of an op only the first thing is said.
    assert beside | {what.split("`")[1] for what in unsure} == certain | {
        what.split("`")[1] for what in open_
    }
    assert beside <= certain
    assert unsure <= open_

    replaced = {k.op for k, other in pairs if k.priority != other.priority and compete(k, other)}
    assert {s for s, _, _ in subjects(told(case, "kernel-priority"))} == replaced

    rivals = {
        k.op
        for k in own.kernels
        for other in known
        if k.op == other.op and k.priority == other.priority and compete(k, other) is not False
    }
    for answer in told(case, "op-taken"):
        assert isinstance(answer, Finding)
        assert (answer.verdict == "unsafe") == (answer.subject in rivals)


@pytest.mark.slow
def test_too_many_kernels_of_one_op_are_not_compared() -> None:
    number = 2 * int(MAX_PAIRS**0.5)
    own = tuple(
        KernelRecord(
            op="Op", device="CPU", constraints=(TypeConstraint(attr="T", types=(f"t{i}",)),)
        )
        for i in range(number)
    )
    case = situation(Registrations(source="file", kernels=own), (), ["Op"], ())
    assert told(case, "kernel-twice") == [Unchecked(what="kernels of `Op`", why=TOO_MANY)]


@pytest.mark.parametrize("version", ["2.5.0", "2.15.1", "2.21.0", "9.9.9"])
def test_an_op_is_known_however_many_were_asked_for(version: str) -> None:
    asked = ["Add", "AddV2", "Cast", "NoSuchOp", "", "A", "Abort", "XlaDot", "releases"]
    first, second = BuiltIn("/nonexistent", version), BuiltIn("/nonexistent", version)
    for number in range(FEW):
        second.has(f"Op{number}")
    assert [second.has(op) for op in asked] == [first.has(op) for op in asked]
