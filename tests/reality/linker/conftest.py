"""A workshop for each test."""

from __future__ import annotations

from tests.unit.linker.conftest import shop

__all__ = ["shop"]
