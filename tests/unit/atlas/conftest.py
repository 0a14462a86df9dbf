"""The small framework of `framework.py` in two releases, and an atlas of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from envlock.atlas import extract, probe, write
from envlock.atlas.format import Atlas
from tests.unit.atlas.framework import Framework


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Framework]:
    """Release number -> built framework."""
    root = tmp_path_factory.mktemp("framework")
    return {number: Framework(root, number) for number in (1, 2)}


@pytest.fixture(scope="session")
def parts(releases: dict[int, Framework]) -> list[extract.Part]:
    """What the builder reads of each."""
    compiler = probe.Compiler()
    return [
        extract.read_package(str(one.package), one.version, "tensorflow", compiler)
        for one in releases.values()
    ]


@pytest.fixture(scope="session")
def atlas_path(parts: list[extract.Part], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("atlas") / "small.atlas"
    write.write_atlas(parts, str(path))
    return path


@pytest.fixture(scope="session")
def atlas(atlas_path: Path) -> Atlas:
    return Atlas.open(str(atlas_path))
