"""Lock files, written by the tools themselves where they run without a network of their own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envlock.inventory.lockfiles import LockFileError, Pin, Target, kind_of, read
from envlock.models.errors import FileAccessError, InputError
from tests.support.environments import uv
from tests.unit.inventory import conda_world as conda
from tests.unit.inventory.packaging_world import (
    LocalIndex,
    local_index,
    make_wheel,
    run,
)

TARGET = Target("3.11.7", "x86_64")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalIndex]:
    folder = tmp_path_factory.mktemp("index")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "1.1")
    make_wheel(folder, "beta", "2.0", requires=["alpha<1.1"])
    make_wheel(folder, "winonly", "1.0")
    make_wheel(folder, "extra", "1.0")
    with local_index(folder) as served:
        yield served


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "0"\nrequires-python = ">=3.9"\n'
        'dependencies = ["beta", "winonly; sys_platform == \'win32\'"]\n'
        '[project.optional-dependencies]\nmore = ["extra"]\n'
    )
    return tmp_path


def pins(path: Path, target: Target = TARGET) -> dict[str, Pin]:
    return {pin.name: pin for pin in read(str(path), target).pins}


def versions(path: Path, target: Target = TARGET) -> dict[str, str | None]:
    return {name: pin.version for name, pin in pins(path, target).items()}


def test_uv_lock(project: Path, index: LocalIndex) -> None:
    run(*uv(), "lock", "--quiet", "--project", project, "--index-url", index.url)
    path = project / "uv.lock"
    assert versions(path) == {"alpha": "1.0", "beta": "2.0"}
    lock = read(str(path), TARGET)
    assert (lock.kind, lock.complete, lock.python) == ("uv.lock", True, ">=3.9")
    assert all(hash_.startswith("sha256:") for pin in lock.pins for hash_ in pin.hashes)


def test_uv_lock_keeps_to_the_platform(project: Path, index: LocalIndex) -> None:
    text = (project / "pyproject.toml").read_text().replace("win32", "linux")
    (project / "pyproject.toml").write_text(text)
    run(*uv(), "lock", "--quiet", "--project", project, "--index-url", index.url)
    assert set(versions(project / "uv.lock")) == {"alpha", "beta", "winonly"}


@pytest.mark.parametrize("form", ["pylock.toml", "requirements.txt"])
def test_uv_export(project: Path, index: LocalIndex, form: str) -> None:
    run(*uv(), "lock", "--quiet", "--project", project, "--index-url", index.url)
    target = project / form
    run(
        *(*uv(), "export", "--quiet", "--preview", "--project", project, "--no-emit-project"),
        *("--index-url", index.url, "--format", form, "-o", target),
    )
    assert versions(target) == {"alpha": "1.0", "beta": "2.0"}
    lock = read(str(target), TARGET)
    assert (lock.kind, lock.complete) == (form, True)
    assert all(pin.hashes for pin in lock.pins)


def test_uv_pip_compile(tmp_path: Path, index: LocalIndex) -> None:
    (tmp_path / "in.txt").write_text("beta\n")
    target = tmp_path / "pylock.dev.toml"
    run(
        *(*uv(), "pip", "compile", "--quiet", "--preview", tmp_path / "in.txt"),
        *("--index-url", index.url, "--format", "pylock.toml", "-o", target),
    )
    assert versions(target) == {"alpha": "1.0", "beta": "2.0"}


def test_requirements_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("included==3\n-r requirements.txt\n")
    (tmp_path / "limits.txt").write_text("loose==5.5\n")
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# a comment\n"
        "--index-url https://user:pw@host.example/simple\n"
        "-r more.txt\n-c limits.txt\n"
        "Exact.Name==1.2  # why\n"
        "hashed==2 \\\n    --hash=sha256:" + "a" * 64 + " \\\n    --hash=sha256:" + "b" * 64 + "\n"
        "range>=1,<2\nbare\nloose\nwild==1.*\n"
        "old==1; python_version < '3'\nnew==1; python_version >= '3'\n"
        "extra[one,two]==4\n"
        "vcs @ git+https://tok:en@host.example/r.git@" + "c" * 40 + "#subdirectory=x\n"
        "url @ https://host.example/url-1-py3-none-any.whl#sha256=" + "d" * 64 + "\n"
        "-e ./here\n./local.whl\n${TOKEN}==1\n"
    )
    found = pins(path)
    lock = read(str(path), TARGET)
    assert not lock.complete
    assert found["exact-name"].version == "1.2"
    assert found["included"].version == "3"
    assert found["hashed"].hashes == (f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")
    assert found["range"].specifier in (">=1,<2", "<2,>=1")
    assert (found["bare"].version, found["bare"].specifier) == (None, None)
    assert found["loose"].version == "5.5"
    assert (found["wild"].version, found["wild"].specifier) == (None, "==1.*")
    assert "old" not in found
    assert found["new"].version == "1"
    assert found["extra"].version == "4"
    assert found["vcs"].source == f"git {'c' * 40}"
    assert found["url"].hashes == (f"sha256:{'d' * 64}",)
    assert [note.split("` ", 1)[1] for note in lock.notes] == [
        "line 18 is an editable install",
        "line 19 names a file or URL without a package name",
        "line 20 depends on an environment variable",
    ]
    assert not any("tok" in str(pin.source) for pin in lock.pins)


def test_explicit_list(tmp_path: Path) -> None:
    path = tmp_path / "explicit.txt"
    path.write_text(
        "# platform: linux-64\n@EXPLICIT\n"
        "https://conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py311h64a7726_0.conda#"
        + "a" * 32
        + "\nhttps://host.example/t/token/chan/noarch/six-1.16.0-pyh6c4a22f_0.tar.bz2#sha256:"
        + "b" * 64
        + "\n"
    )
    found = pins(path)
    numpy = found["numpy"]
    assert (numpy.version, numpy.build, numpy.channel) == (
        "1.26.4",
        "py311h64a7726_0",
        "conda-forge",
    )
    assert (found["six"].sha256, found["six"].channel) == ("b" * 64, "chan")
    assert read(str(path), TARGET).complete


def test_environment_yml(tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text(
        "name: x\nchannels: [conda-forge]\ndependencies:\n"
        "  - python=3.11.7=hab00c5b_1_cpython\n  - numpy=1.26\n  - scipy>=1.10,<2\n"
        "  - conda-forge::zlib==1.2.13\n  - bare\n  - 'spaced 1.0 h1_0'\n"
        "  - 'long[version=\">=2\", build=h7, channel=defaults]'\n"
        "  - pip\n  - pip:\n      - tensorflow-cpu==2.15.1\n      - -r other.txt\n"
    )
    found = pins(path)
    python = found["python"]
    assert (python.version, python.build) == ("3.11.7", "hab00c5b_1_cpython")
    assert (found["numpy"].version, found["numpy"].specifier) == (None, "1.26.*")
    assert found["scipy"].specifier == ">=1.10,<2"
    assert (found["zlib"].version, found["zlib"].channel) == ("1.2.13", "conda-forge")
    assert (found["spaced"].version, found["spaced"].build) == ("1.0", "h1_0")
    assert (found["long"].specifier, found["long"].build) == (">=2", "h7")
    assert (found["tensorflow-cpu"].manager, found["tensorflow-cpu"].version) == ("pip", "2.15.1")
    assert len(read(str(path), TARGET).notes) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("numpy 1.26.4", ("numpy", "1.26.4", None, None, None)),
        ("NumPy=1.26.4=*", ("numpy", "1.26.4", None, None, None)),
        ("numpy 1.26.* *_cpu", ("numpy", None, "1.26.*", None, None)),
        ("numpy >=1.2,<3|=4", ("numpy", None, ">=1.2,<3|4.*", None, None)),
        ("numpy *", ("numpy", None, None, None, None)),
        ("https://host.example/t/tk-123/chan/linux-64::a==1", ("a", "1", None, None, "chan")),
        ("a[version='==1', build=h7_0, sha256=" + "0a" * 32 + "]", ("a", "1", None, "h7_0", None)),
    ],
)
def test_specifications_of_conda(text: str, told: tuple[str | None, ...], tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text(f'dependencies: ["{text}"]\n')
    (pin,) = read(str(path), TARGET).pins
    assert (pin.name, pin.version, pin.specifier, pin.build, pin.channel) == told
    assert pin.sha256 == ("0a" * 32 if "sha256" in text else None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("=1", "is no conda specification: missing package name"),
        ("python=3.9[md5=12]", "is no conda specification"),
        # Its parser recurses: this one would end the process.
        ("numpy " + "(" * 50_000 + "1" + ")" * 50_000, "has more than 1000 characters"),
    ],
)
def test_faulty_specifications_of_conda(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text(f"dependencies: ['{text}']\n")
    with pytest.raises(LockFileError, match=told) as caught:
        read(str(path), TARGET)
    assert len(caught.value.message) < 500


def test_a_reader_that_is_not_installed(tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text("dependencies: [numpy]\n")
    code = (
        "import sys; sys.modules['rattler'] = None\n"
        "from envlock.inventory.lockfiles import read\n"
        "from envlock.models.errors import DependencyMissing\n"
        "try: read(sys.argv[1])\n"
        "except DependencyMissing as error: print(error)"
    )
    told = run(sys.executable, "-c", code, path)
    assert "environment.yml` needs the Python package `py-rattler`" in told
    assert "pip install 'tf-envlock[locks]'" in told


def test_pixi_lock_written_by_rattler(tmp_path: Path) -> None:
    """rattler_lock, which pixi is built on, writes the file."""
    import rattler

    channel = conda.new_channel(tmp_path)
    conda.make_package(channel, "tool", "2.0", {"etc/a": "1"}, form=".tar.bz2")
    conda.make_package(channel, "other", "1.5", {"etc/b": "1"}, build="h5_1")
    conda.index_channel(channel)

    async def solve() -> Any:
        return await rattler.solve(
            [rattler.Channel(channel.as_uri())],
            [rattler.MatchSpec("tool"), rattler.MatchSpec("other")],
            platforms=["linux-64", "noarch"],
        )

    records = asyncio.run(solve())
    lock = rattler.LockFile([rattler.LockPlatform("linux-64")])
    lock.set_channels("default", [rattler.LockChannel(channel.as_uri())])
    for record in records:
        lock.add_conda_package("default", rattler.LockPlatform("linux-64"), record)
    path = tmp_path / "pixi.lock"
    lock.to_path(path)
    found = pins(path)
    assert {n: (p.version, p.build) for n, p in found.items()} == {
        "tool": ("2.0", "0"),
        "other": ("1.5", "h5_1"),
    }
    assert found["tool"].sha256 == next(
        r.sha256.hex() for r in records if r.name.normalized == "tool"
    )
    with pytest.raises(LockFileError, match="nothing for linux-aarch64; its platforms: linux-64"):
        read(str(path), Target("3.11.7", "aarch64"))


PIXI_6 = """
version: 6
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/zlib-1.3.1-h4ab18f5_1.conda
      - pypi: https://files.example/tensorflow_cpu-2.15.1-cp311-cp311-manylinux_2_17_x86_64.whl
      - pypi: ./
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/zlib-1.3.1-h4ab18f5_1.conda
  sha256: {a}
- pypi: https://files.example/tensorflow_cpu-2.15.1-cp311-cp311-manylinux_2_17_x86_64.whl
  name: tensorflow-cpu
  version: 2.15.1
  sha256: {b}
"""


def test_pixi_lock_with_pypi(tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(PIXI_6.format(a="a" * 64, b="b" * 64))
    found = pins(path)
    assert {n: (p.manager, p.version) for n, p in found.items()} == {
        "zlib": ("conda", "1.3.1"),
        "tensorflow-cpu": ("pip", "2.15.1"),
    }
    assert found["tensorflow-cpu"].hashes == (f"sha256:{'b' * 64}",)
    assert read(str(path), TARGET).notes == ("`file:.` is installed from a local folder",)


CONDA_LOCK = """
version: 1
metadata:
  platforms: [linux-64, osx-64]
package:
- {name: numpy, version: 1.26.4, manager: conda, platform: linux-64, category: main, optional: false,
   url: "https://conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py311h64a7726_0.conda",
   hash: {md5: aa, sha256: bb}}
- {name: numpy, version: 1.26.3, manager: conda, platform: osx-64, category: main, optional: false,
   url: "https://conda.anaconda.org/conda-forge/osx-64/numpy-1.26.3-py311_0.conda", hash: {}}
- {name: keras, version: 2.15.0, manager: pip, platform: linux-64, category: main, optional: false,
   url: "https://files.example/keras.whl", hash: {sha256: cc}}
- {name: pytest, version: 8.0.0, manager: conda, platform: linux-64, category: dev, optional: true,
   url: "https://conda.anaconda.org/conda-forge/noarch/pytest-8.0.0-pyhd8ed1ab_0.conda", hash: {}}
"""


def test_conda_lock(tmp_path: Path) -> None:
    path = tmp_path / "conda-lock.yml"
    path.write_text(CONDA_LOCK)
    found = pins(path)
    assert {n: (p.manager, p.version, p.build) for n, p in found.items()} == {
        "numpy": ("conda", "1.26.4", "py311h64a7726_0"),
        "keras": ("pip", "2.15.0", None),
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.lock", "nothing", "is not a lock file of a known kind"),
        ("pylock.toml", "lock-version = '1.0'", "not a valid pylock.toml"),
        ("pylock.toml", "lock-version = '9.0'\ncreated-by = 'x'\npackages = []", "not a valid"),
        ("pylock.toml", "= broken", "is not TOML"),
        ("uv.lock", "version = 1", "is not a uv.lock"),
        ("environment.yml", "dependencies: 5", "is not a list"),
        ("environment.yml", "dependencies:\n  - [1]", "is not understood"),
        ("environment.yml", "dependencies: [\n", "is not YAML"),
        ("environment.yml", "dependencies: !!python/object/apply:os.system [id]", "is not YAML"),
        ("pixi.lock", "environments: {}\npackages: []", "locks nothing for linux-64"),
        ("conda-lock.yml", "package: []\nmetadata: {}", "locks nothing for linux-64"),
        ("conda-lock.yml", "package: [{platform: linux-64}]\nmetadata: {}", "no name or version"),
        ("requirements.txt", "two words here\n", "is not a requirement"),
        ("explicit.txt", "@EXPLICIT\nhttps://x/y.zip\n", "names no conda archive"),
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(LockFileError, match=message) as caught:
        read(str(path), TARGET)
    assert "\n" not in caught.value.message
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("name", ["environment.yml", "pylock.toml", "requirements.txt"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00" * 100, b""], ids=["bytes", "nul", ""])
def test_files_that_are_no_text(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name == "requirements.txt" and content == b"":
        assert read(str(path), TARGET).pins == []
        return
    with pytest.raises(LockFileError) as caught:
        read(str(path), TARGET)
    assert "\n" not in caught.value.message


def test_deep_nesting_ends(tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    path.write_text("dependencies: " + "[" * 100_000)
    with pytest.raises(LockFileError):
        read(str(path), TARGET)
    path = tmp_path / "pylock.toml"
    path.write_text("lock-version = " + "[" * 100_000)
    with pytest.raises(LockFileError):
        read(str(path), TARGET)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match="no such file"):
        read(str(tmp_path / "requirements.txt"), TARGET)
    (tmp_path / "requirements.txt").write_text("-r gone.txt\n")
    with pytest.raises(FileAccessError, match=r"gone\.txt"):
        read(str(tmp_path / "requirements.txt"), TARGET)


def test_the_kind_is_told_by_content(tmp_path: Path) -> None:
    assert kind_of("list.txt", "@EXPLICIT\n") == "conda explicit list"
    assert kind_of("spec.yml", "dependencies:\n- a\n") == "environment.yml"
    assert kind_of("pylock.gpu.toml", 'lock-version = "1.0"\n[[packages]]') == "pylock.toml"
    assert kind_of("dev-requirements.txt", "a==1") == "requirements.txt"
    with pytest.raises(LockFileError):
        kind_of("Cargo.lock", json.dumps({}))
