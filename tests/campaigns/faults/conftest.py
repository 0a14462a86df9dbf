"""A library to stamp, and the check that this machine can trace a child."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns.faults.tracing import unsupported
from tests.support.elves import C_SOURCE, compile_library


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C library, larger than one page and than one buffer; to be copied, not changed."""
    source = "const char filling[1 << 16] = {1, 2, 3};\n" + C_SOURCE
    return compile_library(tmp_path_factory.mktemp("library") / "plugin.so", source=source)


@pytest.fixture
def traced() -> None:
    """The test runs children under ptrace."""
    problem = unsupported()
    if problem is not None:
        pytest.skip(problem)
