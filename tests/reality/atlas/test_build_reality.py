"""The shipped atlas says what is really in TensorFlow's wheels: symbols, identities, layouts."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.atlas.collection import find_installed, find_release, open_atlas
from envlock.atlas.format import SHIPPED, Atlas, Release
from envlock.environment.live import Environment
from tests.support.environments import TfEnvironment
from tests.unit.atlas.by_the_book import Book, symbol_number
from tools.atlas import DISTRIBUTIONS, RELEASES

# Old C++ strings and the C++ API in Python's module; libtensorflow_cc; the global scope.
COMPARED = ("2.8.4", "2.15.1", "2.21.0")

# Public classes that plugins derive from, hold or fill, and public members of one.
CLASSES = (
    "Allocator",
    "AttrValue",
    "DeviceBase",
    "NodeDef",
    "OpDef",
    "OpKernel",
    "OpKernelConstruction",
    "OpKernelContext",
    "OpKernelContext::Params",
    "OpRegistrationData",
    "ResourceBase",
    "ResourceHandle",
    "ResourceMgr",
    "Tensor",
    "TensorShape",
    "lookup::LookupInterface",
    "shape_inference::InferenceContext",
    "shape_inference::ShapeHandle",
)
PARAMS = "OpKernelContext::Params"


@pytest.fixture(scope="module")
def shipped() -> Atlas:
    return open_atlas()


@pytest.fixture(scope="module")
def book() -> Book:
    return Book(Path(SHIPPED))


@pytest.fixture(scope="module")
def exported(book: Book) -> list[tuple[int, int]]:
    return book.exports()


def release_of(atlas: Atlas, version: str) -> Release:
    release = atlas.find(version, "tensorflow-cpu")
    assert release is not None
    assert release.version == version
    return release


def file_of(environment: TfEnvironment, name: str) -> Path:
    folder = environment.tensorflow
    return next(p for p in (folder / name, folder / "python" / name) if p.is_file())


def test_every_public_release_is_there(shipped: Atlas) -> None:
    held = [(release.version, release.distribution) for release in shipped.releases]
    assert sorted(held) == sorted((v, d) for v in RELEASES for d in DISTRIBUTIONS)
    assert {release.facts["machine"] for release in shipped.releases} == {"x86_64"}
    assert os.path.getsize(SHIPPED) <= 8_000_000


def test_both_distributions_have_the_same_layouts(shipped: Atlas) -> None:
    """Only CUDA's own headers differ, which no op of a plugin exchanges objects through."""
    for version in RELEASES:
        first, second = (shipped.find(version, name) for name in DISTRIBUTIONS)
        assert first is not None
        assert second is not None
        assert first.abi == second.abi, version


@pytest.mark.parametrize("version", COMPARED)
def test_exports_are_the_dynamic_symbols(
    version: str,
    book: Book,
    exported: list[tuple[int, int]],
    tf_env: Callable[[str], TfEnvironment],
    tool: Callable[[str], str],
) -> None:
    environment = tf_env(version)
    units = [
        (library, unit)
        for release, library, unit in book.units()
        if (release["version"], release["distribution"]) == (version, "tensorflow-cpu")
    ]
    assert units[0][0]["soname"] == "libtensorflow_framework.so.2"
    for library, unit in units:
        path = file_of(environment, library["name"])
        run = subprocess.run(
            [tool("nm"), "-D", "--defined-only", "--format=just-symbols", str(path)],
            stdout=subprocess.PIPE,
            check=True,
        )
        real = {symbol_number(name.split(b"@")[0]) for name in run.stdout.splitlines()}
        held = {key for key, members in exported if members >> unit & 1}
        assert held == real, (library["name"], len(held - real), len(real - held))
        assert held


def test_installed_releases_are_recognised(tf_envs: list[TfEnvironment]) -> None:
    """By build-id, whatever the Python that their wheel is for."""
    for environment in tf_envs:
        install = Environment.open(str(environment.python)).tensorflow
        assert install is not None
        known = find_installed(install, environment.package)
        assert known is not None
        assert known.exact, environment.version
        assert (known.release.version, known.release.distribution) == (
            environment.version,
            environment.package,
        )
        assert known.release.facts["git_version"] == install.git_version
        assert known.release.facts["cxx11_abi"] == install.cxx11_abi


def test_identities_are_the_files(
    shipped: Atlas, tf_envs: list[TfEnvironment], tool: Callable[[str], str]
) -> None:
    for environment in tf_envs:
        for library in release_of(shipped, environment.version).libraries:
            path = file_of(environment, library["name"])
            shown = subprocess.run(
                [tool("readelf"), "-W", "-n", "-d", str(path)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert [f"[{name}]" in shown for name in library["needed"]] == [True] * len(
                library["needed"]
            )
            assert shown.count("(NEEDED)") == len(library["needed"])
            assert shown.count("(SONAME)") == (library["soname"] is not None)
            if library["name"].startswith("libtensorflow_"):  # the others are linked per Python
                ids = [library["build_id"]] if library["build_id"] else []  # 2.21 has none
                assert re.findall(r"Build ID: (\w+)", shown) == ids, path
                assert library["size"] == path.stat().st_size


@pytest.mark.parametrize("version", ["2.8.4", "2.18.1"])
def test_layouts_are_the_compilers(
    version: str,
    shipped: Atlas,
    tf_env: Callable[[str], TfEnvironment],
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """Every size and offset as a static_assert on the installed headers, and a wrong one more."""
    release = release_of(shipped, version)
    lines, known = [], 0
    for name in CLASSES:
        shape = shipped.shape(f"tensorflow::{name}", release.abi)
        assert shape is not None, name
        lines.append(f'static_assert(sizeof({name}) == {shape.size}, "{name}");')
        if name == PARAMS:
            known = shape.size
            for member, (offset, bits, _) in shape.members.items():
                if member and not bits:
                    lines.append(
                        f'static_assert(offsetof({name}, {member}) == {offset}, "{member}");'
                    )
    assert len(lines) > len(CLASSES) + 10
    lines.append(f'static_assert(sizeof({PARAMS}) == {known + 8}, "wrong on purpose");')
    headers = ("op_kernel", "op", "resource_mgr", "shape_inference", "lookup_interface")
    source = tmp_path / "layouts.cc"
    source.write_text(
        "#include <cstddef>\n"
        + "".join(f'#include "tensorflow/core/framework/{name}.h"\n' for name in headers)
        + "namespace tensorflow {\n"
        + "\n".join(lines)
        + "\n}\n"
    )
    run = subprocess.run(
        [
            tool("g++"),
            "-fsyntax-only",
            "-w",
            "-DNDEBUG",
            f"-std={release.facts['standard']}",
            f"-D_GLIBCXX_USE_CXX11_ABI={int(release.facts['cxx11_abi'])}",
            f"-I{tf_env(version).tensorflow / 'include'}",
            str(source),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    errors = [line for line in run.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1, errors
    assert "wrong on purpose" in errors[0]


def test_another_build_of_a_known_number_is_told(tf_env: Callable[[str], TfEnvironment]) -> None:
    install = Environment.open(str(tf_env("2.15.1").python)).tensorflow
    assert install is not None

    class Rebuilt:
        version = install.version
        libraries = tuple(one.replace(build_id="0123") for one in install.libraries)

    known = find_installed(Rebuilt(), "tensorflow-cpu")
    assert known is not None
    assert known.release.version == "2.15.1"
    assert not known.exact


def test_tensorflow_gpu_is_tensorflow(shipped: Atlas) -> None:
    found = shipped.find("2.9.3", "tensorflow-gpu")
    assert found is not None
    assert (found.version, found.distribution) == ("2.9.3", "tensorflow")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("2.15.0", "2.15.0"),
        ("2.15.0.post1", "2.15.0.post1"),
        ("2.15.99", "2.15.1"),  # newer than the atlas: its minor's newest
        ("2.15.1+nv24.02", "2.15.1"),  # a number of a vendor's own
        ("2.15.0rc1", None),  # no patch of a release that is known to the end
        ("2.22.0", None),
        ("2.4.1", None),
    ],
)
def test_release_that_answers_for_a_number(asked: str, answered: str | None) -> None:
    known = find_release(asked, "tensorflow-cpu")
    assert (known.release.version if known else None) == answered
    assert known is None or known.release.distribution == "tensorflow-cpu"
    assert known is None or not known.exact
