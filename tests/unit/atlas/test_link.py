"""What a release lacks for a plugin, and what the plugin gets from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from envlock.atlas.collection import open_atlas
from envlock.atlas.link import Wants, missing
from envlock.binary.elf import ElfFile
from tests.support.elves import compile_library

CUDA = "int cudaMalloc(void **, unsigned long); int f(void) { void *p; return cudaMalloc(&p, 4); }"
DELETES = "void _ZdlPvm(void *, unsigned long); void f(void *p) { _ZdlPvm(p, 4); }"
GONE = "void _ZN10tensorflow7never_isEv(void); void f(void) { _ZN10tensorflow7never_isEv(); }"


def lacking(plugin: Path, version: str, distribution: str) -> Sequence[str]:
    atlas = open_atlas()
    with ElfFile.open(plugin) as elf:
        found = missing(Wants(elf), atlas)
    (release,) = [
        one for one in atlas.releases if (one.version, one.distribution) == (version, distribution)
    ]
    return found[release.index].symbols


@pytest.fixture
def beside(tmp_path: Path) -> str:
    library = compile_library(
        tmp_path / "libbeside.so", "-Wl,-soname,libbeside.so", source="int beside;"
    )
    return str(library)


def test_what_gpu_builds_export_can_come_from_the_wheel(tmp_path: Path, beside: str) -> None:
    alone = compile_library(tmp_path / "alone.so", source=CUDA)
    assert lacking(alone, "2.15.1", "tensorflow-cpu") == ["cudaMalloc"]
    assert lacking(alone, "2.15.1", "tensorflow") == []
    helped = compile_library(tmp_path / "helped.so", "-Wl,--no-as-needed", beside, source=CUDA)
    assert lacking(helped, "2.15.1", "tensorflow-cpu") == []


def test_operator_delete_is_the_cxx_librarys(tmp_path: Path) -> None:
    """TensorFlow up to 2.11 exports it as well."""
    plugin = compile_library(tmp_path / "plugin.so", source=DELETES)
    assert lacking(plugin, "2.11.1", "tensorflow-cpu") == []
    assert lacking(plugin, "2.15.1", "tensorflow-cpu") == []


def test_a_name_of_tensorflows_own(tmp_path: Path, beside: str) -> None:
    plugin = compile_library(tmp_path / "plugin.so", source=GONE)
    assert lacking(plugin, "2.15.1", "tensorflow-cpu") == ["_ZN10tensorflow7never_isEv"]
    helped = compile_library(tmp_path / "helped.so", "-Wl,--no-as-needed", beside, source=GONE)
    assert lacking(helped, "2.15.1", "tensorflow-cpu") == []  # it may be the wheel's own


def test_a_version_that_tensorflow_gives_its_symbols(tmp_path: Path) -> None:
    """The builds up to 2.10 of some vendors do; a version of the system's is not looked up."""
    script = tmp_path / "versions.map"
    script.write_text("tensorflow { global: *; };\n")
    framework = compile_library(
        tmp_path / "libtensorflow_framework.so.2",
        "-Wl,-soname,libtensorflow_framework.so.2",
        f"-Wl,--version-script={script}",
        source="void _ZN10tensorflow7never_isEv(void) {}",
    )
    plugin = compile_library(
        tmp_path / "plugin.so", "-Wl,--no-as-needed", str(framework), source=GONE
    )
    with ElfFile.open(plugin) as elf:
        assert [need.library for need in elf.dynamic.version_needs if need.versions]
    assert lacking(plugin, "2.15.1", "tensorflow-cpu") == ["_ZN10tensorflow7never_isEv"]
