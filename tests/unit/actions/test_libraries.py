"""What a stamp records of the libraries that the plugin gets in its build environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock import snapshot, stamp
from envlock.actions.live import library_version
from envlock.environment.live import Environment
from envlock.linker.prediction import Dependency
from envlock.models.manifest import Library, Manifest
from tests.support.building import build
from tests.support.environments import TfEnvironment
from tests.unit.environment import making

ZERO_OUT = Path(__file__).resolve().parents[3] / "examples" / "zero_out" / "zero_out.cc"


@pytest.fixture(scope="module")
def env(tf_env: Callable[[str], TfEnvironment]) -> TfEnvironment:
    return tf_env("2.15.1")


@pytest.fixture(scope="module")
def manifest(env: TfEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    plugin = tmp_path_factory.mktemp("libraries") / "zero_out.so"
    shutil.copy(build(ZERO_OUT, env), plugin)
    found = stamp(plugin, env=env.prefix).manifest
    assert found is not None
    return found


def library(manifest: Manifest, soname: str) -> Library:
    (found,) = (one for one in manifest.libraries if one.soname == soname)
    return found


def test_how_each_was_found_although_tensorflow_loads_them_first(manifest: Manifest) -> None:
    assert library(manifest, "libtensorflow_framework.so.2").found_by == "runpath"
    # The program interpreter alone is found by nobody: the kernel maps it.
    loaded = [one.soname for one in manifest.libraries if one.found_by == "loaded"]
    assert [name for name in loaded if not name.startswith("ld-linux")] == []


def test_a_stamp_and_a_snapshot_agree_about_libstdcxx(
    manifest: Manifest, env: TfEnvironment
) -> None:
    assert manifest.platform.libstdcxx == snapshot(env.prefix).native.libstdcxx
    assert manifest.platform.libstdcxx is not None
    assert manifest.platform.libstdcxx.found_by == library(manifest, "libstdc++.so.6").found_by


def test_real_versions(manifest: Manifest) -> None:
    glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")[2]
    assert library(manifest, "libc.so.6").version == glibc
    assert library(manifest, "libm.so.6").version == glibc
    assert library(manifest, "libtensorflow_framework.so.2").version == "2.15.1"
    real = os.path.realpath("/usr/lib/x86_64-linux-gnu/libstdc++.so.6")
    if os.path.exists(real):
        assert library(manifest, "libstdc++.so.6").version == real.partition(".so.")[2]


def test_a_library_whose_name_says_no_version_has_its_packages(tmp_path: Path) -> None:
    prefix = making.venv(tmp_path / "v")
    site = making.site_packages(prefix)
    making.distribution(site, "acme-io", "4.2", {"acme_io/libacme.so.1": b"elf"})
    environment = Environment.open(prefix)
    path = str(site / "acme_io" / "libacme.so.1")
    found = Dependency("libacme.so.1", path, "runpath", None, None, True)
    assert library_version(environment, found, environment.owner_of(path)) == "4.2"
    alone = Dependency("libx.so.1", str(tmp_path / "libx.so.1"), "runpath", None, None, True)
    assert library_version(environment, alone, None) is None
