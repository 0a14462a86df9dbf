"""Interpreter, C library, libstdc++ and numpy, read from files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.live import libstdcxx_facts
from envlock.binary.elf import ElfFile
from envlock.environment.live import Environment
from envlock.environment.numpy import read_numpy
from envlock.environment.platform import highest, read_platform
from envlock.linker.library import Library
from envlock.models.manifest import LibstdcxxFacts
from tests.support import environments

from . import making


def test_every_interpreter_found_here() -> None:
    for interpreter in environments.available_interpreters().values():
        told = making.tell(interpreter, "bare")
        environment = Environment.open(interpreter)
        python = environment.python
        assert python.version == told["version"]
        assert python.implementation == "cpython"
        assert f".{python.soabi}.so" == told["suffix"]
        assert python.debug is told["debug"]
        assert python.free_threaded is ("t-" in str(told["suffix"]))
        platform = environment.platform
        assert platform.machine == told["machine"]
        assert f"{platform.libc} {platform.libc_version}" == told["libc"]


def test_debian_python() -> None:
    if not Path("/usr/lib/python3/dist-packages").is_dir():
        pytest.skip("no Debian Python in /usr/bin")
    told = making.tell("/usr/bin/python3", "bare")
    python = Environment.open("/usr/bin/python3").python
    assert (python.version, f".{python.soabi}.so") == (told["version"], told["suffix"])


def test_stale_pyvenv_cfg_does_not_decide_the_version(tmp_path: Path) -> None:
    # The interpreter behind a venv is upgraded in place; the file still names the old patch.
    prefix = making.venv(tmp_path / "v")
    told = making.tell(prefix / "bin/python", "bare")
    config = (prefix / "pyvenv.cfg").read_text()
    (prefix / "pyvenv.cfg").write_text(re.sub(r"(version = \d+\.\d+)\.\d+", r"\1.99", config))
    assert Environment.open(prefix).python.version == told["version"]


def program(folder: Path, tool: Callable[[str], str], loader: Path) -> Path:
    source = folder / "main.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(
        [tool("gcc"), source, "-o", folder / "program", f"-Wl,--dynamic-linker={loader}"],
        check=True,
    )
    return folder / "program"


def test_another_glibc_is_read_from_its_own_files(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """A program with a dynamic linker of its own, as in Nix or a sysroot."""
    usual = subprocess.run(
        [tool("readelf"), "-lW", "/bin/ls"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"interpreter: (.*)\]", usual)
    assert match
    own = Path(os.path.realpath(match[1]))
    for name in (own.name, "libc.so.6"):
        shutil.copy(own.parent / name, tmp_path)
    facts = read_platform(str(program(tmp_path, tool, tmp_path / own.name)))
    assert (facts.libc, facts.libc_version) == ("glibc", os.confstr("CS_GNU_LIBC_VERSION")[6:])  # type: ignore[index]
    (tmp_path / own.name).write_bytes(b"one without a banner, as up to 2.32")
    facts = read_platform(str(tmp_path / "program"))
    assert (facts.libc, facts.libc_version) == ("glibc", os.confstr("CS_GNU_LIBC_VERSION")[6:])  # type: ignore[index]
    (tmp_path / "libc.so.6").write_bytes(b"no library")
    facts = read_platform(str(tmp_path / "program"))
    assert (facts.libc, facts.libc_version) == ("glibc", None)
    (tmp_path / own.name).rename(tmp_path / "ld-2.31.so")
    (tmp_path / own.name).symlink_to("ld-2.31.so")
    facts = read_platform(str(tmp_path / "program"))
    assert (facts.libc, facts.libc_version) == ("glibc", "2.31")
    (tmp_path / own.name).unlink()
    facts = read_platform(str(tmp_path / "program"))
    assert (facts.libc, facts.libc_version) == (None, None)


def test_musl_is_told_apart(tmp_path: Path, tool: Callable[[str], str]) -> None:
    installed = Path("/lib/ld-musl-x86_64.so.1")
    if installed.exists():
        said = subprocess.run([str(installed)], capture_output=True, text=True).stderr
        expected = re.search(r"Version (\S+)", said)
        assert expected
        facts = read_platform(str(program(tmp_path, tool, installed)))
        assert (facts.libc, facts.libc_version) == ("musl", expected[1])
    # One whose version cannot be read is still musl.
    loader = tmp_path / "ld-musl-x86_64.so.1"
    loader.write_bytes(b"nothing to see")
    facts = read_platform(str(program(tmp_path, tool, loader)))
    assert (facts.libc, facts.libc_version) == ("musl", None)


def test_static_program_has_no_dynamic_linker(tmp_path: Path, tool: Callable[[str], str]) -> None:
    source = tmp_path / "main.c"
    source.write_text("int main(void) { return 0; }\n")
    static = tmp_path / "static"
    subprocess.run([tool("gcc"), "-static", source, "-o", static], check=True)
    assert read_platform(str(static)).libc is None


def test_levels_of_libstdcxx_as_readelf_sees_them(tool: Callable[[str], str]) -> None:
    said = subprocess.run(
        [tool("gcc"), "-print-file-name=libstdc++.so.6"], capture_output=True, text=True, check=True
    )
    path = said.stdout.strip()
    versions = subprocess.run(
        [tool("readelf"), "-VW", path], capture_output=True, text=True, check=True
    ).stdout
    definitions = versions.partition("Version needs section")[0]

    def top(prefix: str) -> str:
        found: list[str] = re.findall(rf"Name: {prefix}_(\d[\d.]*)\b", definitions)
        return max(found, key=lambda text: [int(part) for part in text.split(".")])

    with ElfFile.open(path) as elf:
        facts = libstdcxx_facts(Library(elf, path), "ld.so.cache")
    assert (facts.glibcxx, facts.cxxabi) == (top("GLIBCXX"), top("CXXABI"))


def test_levels_of_what_is_no_libstdcxx() -> None:
    assert libstdcxx_facts(None, "runpath") == LibstdcxxFacts(found_by="runpath")


def test_highest_compares_numbers() -> None:
    names = frozenset({b"GLIBC_2.9", b"GLIBC_2.36", b"GLIBC_PRIVATE", b"GLIBC_2.2.5", b"GLIBC_"})
    assert highest(names, b"GLIBC_") == "2.36"
    assert highest(names, b"GLIBCXX_") is None


@pytest.mark.parametrize(
    ("version_py", "expected"),
    [
        ('version = "1.26.4"\n__version__ = version\n', "1.26.4"),
        ("short_version = '1.19.5'\n", "1.19.5"),
        ("from ._version import get_versions\n", "9.9.9"),
        ("", "9.9.9"),
        ("version = '\x1b[31m'\n", "?[31m"),
    ],
)
def test_numpy_version(version_py: str, expected: str, tmp_path: Path) -> None:
    prefix = making.venv(tmp_path / "v")
    site = making.site_packages(prefix)
    making.distribution(site, "numpy", "9.9.9", {"numpy/__init__.py": b""})
    (site / "numpy" / "version.py").write_text(version_py)
    facts = Environment.open(prefix).numpy
    assert facts is not None
    assert (facts.version, facts.c_api, facts.abi) == (expected, None, None)


@pytest.mark.parametrize(
    ("header", "c_api", "abi"),
    [
        ("#define NPY_ABI_VERSION 0x01000009\n#define NPY_API_VERSION 0x0000000D\n", 13, 0x1000009),
        ("# define NPY_API_VERSION 18\n", 18, None),
        ("#define NPY_API_VERSION 0x\n#define NPY_ABI_VERSION zero\n", None, None),
        ("#define NPY_API_VERSION " + "9" * 10_000, None, None),
        ("#define NPY_API_VERSION", None, None),
    ],
)
def test_numpy_levels(header: str, c_api: int | None, abi: int | None, tmp_path: Path) -> None:
    folder = tmp_path / "numpy" / "_core" / "include" / "numpy"
    folder.mkdir(parents=True)
    (folder / "_numpyconfig.h").write_text(header)
    (tmp_path / "numpy" / "__init__.py").touch()
    from envlock.environment.distributions import Distributions

    facts = read_numpy([str(tmp_path)], Distributions([str(tmp_path)]))
    assert facts is not None
    assert (facts.version, facts.c_api, facts.abi) == ("unknown", c_api, abi)
