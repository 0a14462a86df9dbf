"""Installed distributions: what importlib.metadata answers, and damage that must not stop us."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.environment.distributions import Distributions, normalise
from envlock.environment.live import Environment
from tests.support import environments
from tests.support.environments import TfEnvironment

from . import making


def one_in(site: Path) -> Distributions:
    return Distributions([str(site)])


def answers_match(python: Path) -> int:
    told = making.tell(python)["distributions"]
    assert isinstance(told, dict)
    ours = {one.name: one.version for one in Environment.open(python).distributions}
    assert ours == told
    return len(ours)


def test_same_names_and_versions_as_importlib_metadata() -> None:
    assert answers_match(Path(sys.executable)) > 5
    for interpreter in environments.available_interpreters().values():
        answers_match(interpreter)


def test_same_in_a_real_tensorflow_environment(tf_envs: list[TfEnvironment]) -> None:
    for env in tf_envs:
        assert answers_match(env.python) > 20


def test_debian_packages_with_egg_info() -> None:
    if not Path("/usr/lib/python3/dist-packages").is_dir():
        pytest.skip("no Debian Python in /usr/bin")
    answers_match(Path("/usr/bin/python3"))


@pytest.mark.parametrize("name", ["a.b", "A-B", "a_b", "a-._-b", "A..B"])
def test_names_are_compared_normalised(name: str, tmp_path: Path) -> None:
    making.distribution(tmp_path, "A.B", "1.0+local.2")
    assert normalise(name) == "a_b"
    found = one_in(tmp_path).find(name)
    assert found is not None
    assert (found.name, found.canonical_name, found.version) == ("A.B", "a-b", "1.0+local.2")
    assert found.installer == "pip"
    assert found.check() is None
    assert one_in(tmp_path).find("a") is None


def test_first_folder_wins(tmp_path: Path) -> None:
    making.distribution(tmp_path / "one", "demo", "1.0")
    making.distribution(tmp_path / "two", "demo", "2.0")
    making.distribution(tmp_path / "two", "other", "3.0")
    both = Distributions([str(tmp_path / "one"), str(tmp_path / "two")])
    assert [(one.name, one.version) for one in both] == [("demo", "1.0"), ("other", "3.0")]
    assert [one.version for one in both.find_all("demo")] == ["1.0", "2.0"]


def test_a_folder_reached_twice_counts_once(tmp_path: Path) -> None:
    making.distribution(tmp_path / "lib", "demo", "1.0")
    (tmp_path / "lib64").symlink_to("lib")
    both = Distributions([str(tmp_path / "lib64"), str(tmp_path / "lib")])
    assert len(both.find_all("demo")) == 1


def test_owner_of_real_files(tf_env: Callable[[str], TfEnvironment]) -> None:
    env = tf_env("2.15.1")
    distributions = Environment.open(env.prefix).distributions
    expected = {
        "numpy/__init__.py": "numpy",
        "tensorflow/libtensorflow_framework.so.2": "tensorflow-cpu",
        "tensorflow/python/_pywrap_tensorflow_internal.so": "tensorflow-cpu",
        "tensorflow_io_gcs_filesystem/core/python/ops/libtensorflow_io_gcs_filesystem.so": (
            "tensorflow-io-gcs-filesystem"
        ),
        "google/protobuf/message.py": "protobuf",
        "flatbuffers/__init__.py": "flatbuffers",
    }
    for path, name in expected.items():
        owner = distributions.owner_of(env.site_packages / path)
        assert owner is not None, path
        assert owner.canonical_name == name
    libraries = sorted((env.site_packages / "numpy.libs").iterdir())
    assert [distributions.owner_of(p).name for p in libraries] == ["numpy"] * len(libraries)  # type: ignore[union-attr]
    assert libraries
    # Scripts are listed as ../../../bin/...
    script = distributions.owner_of(env.prefix / "bin" / "toco")
    assert script is not None
    assert script.canonical_name == "tensorflow-cpu"
    assert distributions.owner_of(env.site_packages / "absent.so") is None
    assert distributions.owner_of("/usr/bin/env") is None


def test_owner_through_symbolic_links(tmp_path: Path) -> None:
    making.distribution(tmp_path / "lib/site", "demo", "1.0", {"demo/a.so": b"x"})
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "alias.so").symlink_to("lib/site/demo/a.so")
    found = Distributions([str(tmp_path / "lib64/site")])
    for path in ("lib/site/demo/a.so", "lib64/site/demo/a.so", "alias.so", "lib/../alias.so"):
        owner = found.owner_of(tmp_path / path)
        assert owner is not None, path


def test_owner_needs_the_whole_name_and_reads_quotes(tmp_path: Path) -> None:
    odd = 'demo/a, "b".so'
    making.distribution(tmp_path, "demo", "1.0", {odd: b"x", "xdemo/c.so": b"y"})
    found = one_in(tmp_path)
    assert found.owner_of(tmp_path / odd) is not None
    assert found.owner_of(tmp_path / "demo/c.so") is None
    assert found.owner_of(tmp_path / "xdemo/c.s") is None
    entry = found.find("demo").entry_of("xdemo/c.so")  # type: ignore[union-attr]
    assert entry is not None
    assert (entry.size, entry.path) == (1, "xdemo/c.so")
    assert odd in [entry.path for entry in found.find("demo").entries()]  # type: ignore[union-attr]


def test_two_owners_are_both_told(tmp_path: Path) -> None:
    making.distribution(tmp_path, "demo", "1.0", {"demo/a.so": b"x"})
    making.distribution(tmp_path, "demo-cpu", "1.0", {"demo/a.so": b"x"})
    names = [one.name for one in one_in(tmp_path).owners_of(tmp_path / "demo/a.so")]
    assert sorted(names) == ["demo", "demo-cpu"]


def test_legacy_egg_info(tmp_path: Path) -> None:
    info = tmp_path / "Legacy-1.5-py3.9.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: Legacy\nVersion: 1.5\n")
    (info / "installed-files.txt").write_text("../legacy/a.so\nPKG-INFO\n")
    (tmp_path / "flat-2.0.egg-info").write_text("Name: flat\nVersion: 2.0\n")
    egg = tmp_path / "unzipped-3.0-py3.9.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Name: unzipped\nVersion: 3.0\n")
    found = Distributions([str(tmp_path), str(egg)])
    versions = {one.name: one.version for one in found}
    assert versions == {"Legacy": "1.5", "flat": "2.0", "unzipped": "3.0"}
    assert all(one.check() is None for one in found)
    assert found.find("unzipped") is not None
    assert found.owner_of(tmp_path / "legacy/a.so") is not None


def test_direct_url(tmp_path: Path) -> None:
    info = making.distribution(tmp_path, "demo", "1.0")
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    found = one_in(tmp_path).find("demo")
    assert found is not None
    assert found.editable
    assert found.direct_url == {"url": "file:///x", "dir_info": {"editable": True}}


def _delete(info: Path) -> None:
    (info / "METADATA").unlink()


def _fifo(info: Path) -> None:
    _delete(info)
    os.mkfifo(info / "METADATA")


def _folder(info: Path) -> None:
    _delete(info)
    (info / "METADATA").mkdir()


def _write(content: bytes) -> Callable[[Path], None]:
    def write(info: Path) -> None:
        (info / "METADATA").write_bytes(content)

    return write


def _empty_folder(info: Path) -> None:
    shutil.rmtree(info)
    info.mkdir()


def _file_instead(info: Path) -> None:
    shutil.rmtree(info)
    info.write_bytes(b"")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no METADATA": (_delete, "cannot be read: No such file or directory"),
    "FIFO": (_fifo, "it is not a regular file"),
    "folder": (_folder, "it is not a regular file"),
    "empty": (_write(b""), "states no name"),
    "binary": (_write(bytes(range(256)) * 9), "states no name"),
    "no version": (_write(b"Name: demo\n\nVersion: 9\n"), "states no version"),
    "empty version": (_write(b"Name: demo\nVersion:\n"), "states no version"),
    "version of 1 MB": (_write(b"Name: demo\nVersion: " + b"9" * 1_000_000), ""),
    "odd version": (_write(b"Name: demo\nVersion: <script>\n"), "states the version '<script>'"),
    "empty dist-info": (_empty_folder, "cannot be read"),
    "file instead": (_file_instead, "cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_becomes_an_entry_that_says_so(name: str, tmp_path: Path) -> None:
    damage, expected = DAMAGE[name]
    damage(making.distribution(tmp_path, "demo", "1.0", {"demo.py": b""}))
    making.distribution(tmp_path, "sound", "2.0")
    found = {one.canonical_name: one for one in one_in(tmp_path)}
    assert sorted(found) == ["demo", "sound"]
    problem = found["demo"].check()
    if expected:
        assert problem is not None
        assert expected in problem
        assert found["demo"].version == "1.0"
    assert len(found["demo"].version) <= 500
    assert found["sound"].check() is None


def test_folder_names_that_are_none(tmp_path: Path) -> None:
    for name in (".dist-info", "-.dist-info", "noversion.dist-info", "a-b c.dist-info"):
        (tmp_path / name).mkdir()
    (tmp_path / os.fsdecode(b"\xff-1.0.dist-info")).mkdir()
    for one in one_in(tmp_path):
        assert one.check()
        assert one.name.isprintable()
        one.name.encode("utf-8")
        one.version.encode("utf-8")


def test_interrupted_pip_install_is_no_package(tmp_path: Path) -> None:
    making.distribution(tmp_path, "numpy", "2.0.0")
    left = making.distribution(tmp_path, "old", "1.0")
    left.rename(tmp_path / "~umpy-1.26.4.dist-info")
    found = one_in(tmp_path)
    assert [one.name for one in found] == ["numpy"]
    assert [one.problem for one in found.all() if one.problem] == [
        "it is left over from an interrupted `pip install`"
    ]


def test_damaged_record_owns_nothing(tmp_path: Path) -> None:
    info = making.distribution(tmp_path, "demo", "1.0", {"demo.py": b""})
    (info / "RECORD").write_bytes(b"\xff\xfe,,\n\n,,\ndemo.py\nx,y\n" + b",,,,\n" * 3)
    found = one_in(tmp_path)
    assert found.owner_of(tmp_path / "demo.py") is None
    assert [e.path for e in found.find("demo").entries()] == ["\udcff\udcfe", ",,", ",,", ",,"]  # type: ignore[union-attr]
    (info / "RECORD").unlink()
    os.mkfifo(info / "RECORD")
    fresh = one_in(tmp_path).find("demo")
    assert fresh is not None
    assert list(fresh.entries()) == []
    assert fresh.problem == "its RECORD cannot be read: it is not a regular file"


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "null", '{"dir_info": 1}'])
def test_damaged_direct_url(content: str, tmp_path: Path) -> None:
    info = making.distribution(tmp_path, "demo", "1.0")
    (info / "direct_url.json").write_text(content)
    found = one_in(tmp_path).find("demo")
    assert found is not None
    assert found.editable is False
