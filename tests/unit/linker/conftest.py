"""A workshop for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.linker.workshop import Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """An empty workshop; building in it needs gcc."""
    return Workshop(tmp_path)
