"""Specimens that the tests of this folder share, and skips that name the missing tool."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.campaigns.survival.machines import FORMS, MACHINES, Specimen, ToolMissing, specimen
from tests.campaigns.survival.ops import RELEASE, op_specimen
from tests.support.building import BuildError
from tests.support.environments import TfEnvironment

Specimens = Callable[[str, str], Specimen]


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Specimens:
    """`specimens("s390x", "linked-in")`; the test is skipped without that machine's compiler."""
    made: dict[tuple[str, str], Specimen] = {}

    def get(machine: str, form: str) -> Specimen:
        if (machine, form) not in made:
            folder = tmp_path_factory.mktemp(f"{machine}-{form}")
            try:
                made[machine, form] = specimen(MACHINES[machine], form, folder)
            except ToolMissing as missing:
                pytest.skip(str(missing))
        return made[machine, form]

    return get


@pytest.fixture(scope="session")
def env(tf_env: Callable[[str], TfEnvironment]) -> TfEnvironment:
    """The TensorFlow that the real ops are for."""
    return tf_env(RELEASE)


@pytest.fixture(scope="session")
def ops(env: TfEnvironment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Specimen]:
    """The real op, stamped in each form."""
    folder = tmp_path_factory.mktemp("ops")
    try:
        return {form: op_specimen(env, form, folder / form) for form in FORMS}
    except BuildError as problem:
        pytest.skip(f"the op cannot be compiled: {problem}")
