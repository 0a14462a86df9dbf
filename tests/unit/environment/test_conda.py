"""Conda prefixes: real ones, solved and installed from a channel folder, and damaged records."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.environment.conda import CondaPrefix, channel_name
from envlock.environment.live import Environment
from envlock.models.errors import EnvironmentUnreadable
from envlock.models.manifest import Owner, PackagePin

from . import making

PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/{PYTHON}/site-packages"


def installed_demo(version: str, installer: str = "conda") -> dict[str, bytes]:
    info = f"{SITE}/demo-{version}.dist-info"
    return {
        f"{SITE}/demo/__init__.py": b"",
        f"{info}/METADATA": f"Name: demo\nVersion: {version}\n".encode(),
        f"{info}/INSTALLER": installer.encode(),
        f"{info}/RECORD": f"demo/__init__.py,,0\ndemo-{version}.dist-info/METADATA,,\n".encode(),
    }


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with a Python, a C++ library, and two packages that hold a distribution."""
    pytest.importorskip("rattler", reason="py-rattler is not installed")
    root = tmp_path_factory.mktemp("conda")
    channel = root / "tiny-channel"
    interpreter = making.real_interpreter().read_bytes()
    making.conda_package(
        channel,
        "python",
        "{}.{}.{}".format(*sys.version_info[:3]),
        "h1_0_cpython",
        {f"bin/{PYTHON}": interpreter, f"lib/{PYTHON}/os.py": b"", f"{SITE}/README.txt": b""},
        {"bin/python": PYTHON},
    )
    making.conda_package(
        channel, "libstdcxx", "15.1.0", "h8f9b012_4", {"lib/libstdc++.so.6.0.34": b"elf"},
        {"lib/libstdc++.so.6": "libstdc++.so.6.0.34"},
    )  # fmt: skip
    making.conda_package(channel, "demo-feedstock", "1.0", "py_0", installed_demo("1.0", "pip"))
    target = root / "prefix"
    making.conda_install(channel, target, "python", "libstdcxx", "demo-feedstock")
    making.distribution(target / SITE, "wheel-only", "0.3", {"wheel_only/__init__.py": b""})
    return target


def test_real_prefix(prefix: Path) -> None:
    environment = Environment.open(prefix)
    assert environment.paths.kind == "conda"
    assert environment.paths.prefix == environment.paths.base_prefix == str(prefix)
    assert environment.paths.executable == str(prefix / "bin/python")
    assert environment.paths.real_executable == str(prefix / "bin" / PYTHON)
    assert str(prefix / SITE) in environment.paths.search_path
    assert environment.conda is not None
    records = {r.name: (r.version, r.build, r.channel) for r in environment.conda.records()}
    python = "{}.{}.{}".format(*sys.version_info[:3])
    assert records == {
        "python": (python, "h1_0_cpython", "tiny-channel"),
        "libstdcxx": ("15.1.0", "h8f9b012_4", "tiny-channel"),
        "demo-feedstock": ("1.0", "py_0", "tiny-channel"),
    }
    record = environment.conda.find("libstdcxx")
    assert record is not None
    assert record.check() is None
    assert set(record.files) == {"lib/libstdc++.so.6", "lib/libstdc++.so.6.0.34"}
    assert record.sha256 is not None
    assert len(record.sha256) == 64


def test_who_owns_what(prefix: Path) -> None:
    environment = Environment.open(prefix)
    libstdcxx = Owner(manager="conda", name="libstdcxx", version="15.1.0", build="h8f9b012_4")
    assert environment.owner_of(prefix / "lib/libstdc++.so.6") == libstdcxx
    assert environment.owner_of(prefix / "lib/libstdc++.so.6.0.34") == libstdcxx
    wheel = Owner(manager="pip", name="wheel-only", version="0.3")
    assert environment.owner_of(prefix / SITE / "wheel_only/__init__.py") == wheel
    # A distribution that came in a conda package is conda's, though its INSTALLER says pip.
    demo = Owner(manager="conda", name="demo-feedstock", version="1.0", build="py_0")
    assert environment.owner_of(prefix / SITE / "demo/__init__.py") == demo
    assert environment.owner_of(prefix / "lib/absent.so") is None
    assert environment.owner_of("/bin/sh") is None


def test_packages_of_both_managers(prefix: Path) -> None:
    pins = Environment.open(prefix).packages()
    assert [(pin.manager, pin.name) for pin in pins] == [
        ("conda", "demo-feedstock"),
        ("conda", "libstdcxx"),
        ("conda", "python"),
        ("pip", "wheel-only"),
    ]
    assert pins[1] == PackagePin(
        manager="conda",
        name="libstdcxx",
        version="15.1.0",
        build="h8f9b012_4",
        channel="tiny-channel",
    )


def test_pip_over_conda_is_pips(prefix: Path, tmp_path: Path) -> None:
    # pip removes conda's dist-info and writes its own; conda's record still lists the files.
    copied = tmp_path / "prefix"
    shutil.copytree(prefix, copied, symlinks=True)
    for path in (copied / SITE / "demo-1.0.dist-info").iterdir():
        path.unlink()
    (copied / SITE / "demo-1.0.dist-info").rmdir()
    making.distribution(copied / SITE, "demo", "2.0", {"demo/__init__.py": b"new"})
    owner = Environment.open(copied).owner_of(copied / SITE / "demo/__init__.py")
    assert owner == Owner(manager="pip", name="demo", version="2.0")


def test_venv_on_condas_python_is_not_condas(prefix: Path, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(prefix / "bin/python")
    (folder / SITE).mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(
        f"home = {prefix}/bin\ninclude-system-site-packages = false\n"
    )
    environment = Environment.open(folder)
    assert environment.paths.kind == "venv"
    assert environment.paths.base_prefix == str(prefix)
    assert environment.packages() == ()


def test_prefix_without_python(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    with pytest.raises(EnvironmentUnreadable, match="has no Python"):
        Environment.open(tmp_path)


def record(folder: Path, content: bytes, name: str = "demo-1.0-py_0.json") -> CondaPrefix:
    (folder / "conda-meta").mkdir()
    (folder / "conda-meta" / name).write_bytes(content)
    return CondaPrefix(str(folder))


DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is not JSON"),
    "cut off": (b'{"name": "demo", "vers', "it is not JSON"),
    "binary": (bytes(range(256)), "it is not JSON"),
    "nested deep": (b"[" * 100_000, "it is not JSON"),
    "array": (b"[]", "it is not a JSON object"),
    "no name": (b"{}", "it does not state its name and version"),
    "name of another type": (
        b'{"name": 1, "version": 2}',
        "it does not state its name and version",
    ),
    "no version": (b'{"name": "demo"}', "it does not state its name and version"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_record_becomes_an_entry_that_says_so(name: str, tmp_path: Path) -> None:
    content, expected = DAMAGED[name]
    (one,) = record(tmp_path, content).records()
    problem = one.check()
    assert problem is not None
    assert expected in problem
    assert (one.name, one.version, one.build) == ("demo", "1.0", "py_0")
    assert one.files == ()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("make", [_fifo, _folder, _huge])
def test_record_that_is_no_ordinary_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    make(tmp_path / "conda-meta" / "demo-1.0-py_0.json")
    found = CondaPrefix(str(tmp_path))
    (one,) = found.records()
    assert one.check() is not None
    assert one.version == "1.0"
    assert found.owner_of(tmp_path / "lib/x") is None


def test_odd_values_are_left_out(tmp_path: Path) -> None:
    content = {
        "name": "demo",
        "version": "1.0",
        "build": 7,
        "channel": ["x"],
        "sha256": "no digest",
        "files": ["lib/a", 3, None],
        "url": "https://user:secret@host.example/t/to-ken/channel/linux-64/demo.conda",
    }
    (one,) = record(tmp_path, json.dumps(content).encode(), "odd.json").records()
    assert one.check() is None
    assert (one.build, one.channel, one.sha256, one.md5) == (None, None, None, None)
    assert one.files == ("lib/a",)
    assert one.url == "https://host.example/channel/linux-64/demo.conda"


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("conda-forge", "conda-forge"),
        ("pkgs/main", "pkgs/main"),
        ("https://conda.anaconda.org/conda-forge/linux-64", "conda-forge"),
        ("https://conda.anaconda.org/conda-forge", "conda-forge"),
        ("https://conda.anaconda.org/conda-forge/", "conda-forge"),
        ("https://repo.anaconda.com/pkgs/main/noarch", "pkgs/main"),
        ("https://user:pw@host.example/t/tk-123/private/osx-arm64", "private"),
        ("file:///home/somebody/channel/linux-64", "channel"),
        ("/home/somebody/channel", "channel"),
        ("https://host.example", None),
        ("<unknown>", None),
        ("", None),
    ],
)
def test_channel_without_host_token_and_folder(channel: str, name: str | None) -> None:
    assert channel_name(channel) == name


@pytest.mark.parametrize("path", ["lib/a b.so", "lib/ü.so", 'lib/q"q.so', "lib/back\\slash"])
def test_owner_of_oddly_named_files(path: str, tmp_path: Path) -> None:
    for ascii_only in (True, False):
        content = {"name": "demo", "version": "1", "build": "0", "files": [path]}
        folder = tmp_path / str(ascii_only)
        folder.mkdir()
        found = record(folder, json.dumps(content, ensure_ascii=ascii_only).encode())
        owner = found.owner_of(folder / path)
        assert owner is not None
        assert found.owner_of(folder / (path + "x")) is None
