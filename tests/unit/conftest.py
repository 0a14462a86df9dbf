"""Libraries that the tests of stamping share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.elves import CXX_SOURCE, compile_library


@pytest.fixture(scope="session")
def _original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("c") / "plugin.so", "-Wl,-rpath,/some/folder")


@pytest.fixture(scope="session")
def _cxx_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(
        tmp_path_factory.mktemp("cxx") / "plugin.so", source=CXX_SOURCE, compiler=("g++",)
    )


@pytest.fixture
def plugin(_original: Path, tmp_path: Path) -> Path:
    """A freshly copied C library."""
    return Path(shutil.copy(_original, tmp_path / "plugin.so"))


@pytest.fixture
def cxx_plugin(_cxx_original: Path, tmp_path: Path) -> Path:
    """A freshly copied C++ library."""
    return Path(shutil.copy(_cxx_original, tmp_path / "cxx_plugin.so"))
