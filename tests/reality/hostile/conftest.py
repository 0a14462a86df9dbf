"""What the tests of bad input share: a small plugin and a checker for a real environment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from envlock.actions.checking import Checker
from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf.note_source import linked_note_source
from envlock.plugin.manifest import encode_manifest
from tests.reality.hostile.manifests import manifest
from tests.support.elves import BARE_SOURCE, compile_library
from tests.support.environments import TfEnvironment


@pytest.fixture(scope="session")
def environment(tf_envs: list[TfEnvironment]) -> TfEnvironment:
    """Any TensorFlow environment."""
    return tf_envs[0]


@pytest.fixture(scope="session")
def checker(environment: TfEnvironment) -> Checker:
    return Checker.for_environment(str(environment.prefix))


@pytest.fixture(scope="session")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    source = folder / "note.S"
    source.write_text(linked_note_source(encode_manifest(manifest("linked")), "S"))
    library = compile_library(
        folder / "small.so", str(source), "-nostdlib", "-s", "-Wl,-z,noseparate-code",
        "-Wl,-z,norelro", "-Wl,-soname,small.so", source=BARE_SOURCE,
    )  # fmt: skip
    write_stamp(library, None, encode_manifest(manifest("appended")))
    return library


@pytest.fixture
def small(_small: Path, tmp_path: Path) -> Path:
    """A plugin of a few kilobytes that carries both forms of the manifest."""
    return Path(shutil.copy(_small, tmp_path / "small.so"))
