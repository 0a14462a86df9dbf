"""Where an environment keeps what: the same answer as its own interpreter gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.environment.live import Environment
from envlock.environment.locate import EnvironmentPaths, locate
from envlock.models.errors import EnvironmentUnreadable
from tests.support import environments

from . import making


def agree(paths: EnvironmentPaths, told: dict[str, object]) -> None:
    assert paths.prefix == told["prefix"]
    assert paths.base_prefix == told["base_prefix"]
    assert paths.stdlib == told["stdlib"]
    assert list(paths.search_path) == told["path"]


KINDS: dict[str, Callable[[Path], Path]] = {
    "venv": making.venv,
    "venv with copies": lambda folder: making.venv(folder, "--copies"),
    "venv with system site-packages": lambda f: making.venv(f, "--system-site-packages"),
    "uv venv": making.uv_venv,
    "uv venv with system site-packages": lambda f: making.uv_venv(f, "--system-site-packages"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_virtual_environment_as_its_python_sees_it(kind: str, tmp_path: Path) -> None:
    prefix = KINDS[kind](tmp_path / "an environment")
    told = making.tell(prefix / "bin/python")
    for env in (prefix, prefix / "bin/python", f"{prefix}/"):
        paths = locate(env)
        agree(paths, told)
        assert paths.kind == "venv"
        assert paths.executable == str(prefix / "bin/python")
        assert paths.real_executable == os.path.realpath(prefix / "bin/python")
        assert paths.version == sys.version_info[:2]
        assert not paths.running


def test_every_interpreter_found_here_as_it_sees_itself() -> None:
    seen = 0
    for interpreter in environments.available_interpreters().values():
        told = making.tell(interpreter)
        agree(locate(interpreter), told)
        agree(locate(str(told["prefix"])), told)
        seen += 1
    assert seen


def test_debian_python_has_dist_packages() -> None:
    python = Path("/usr/bin/python3")
    if not python.exists() or not Path("/usr/lib/python3/dist-packages").is_dir():
        pytest.skip("no Debian Python in /usr/bin")
    paths = locate(python)
    agree(paths, making.tell(python))
    assert paths.kind == "system"
    assert "/usr/lib/python3/dist-packages" in paths.search_path


def test_debian_python_below_a_venv_with_system_site_packages(tmp_path: Path) -> None:
    if not Path("/usr/lib/python3/dist-packages").is_dir():
        pytest.skip("no Debian Python in /usr/bin")
    prefix = making.uv_venv(tmp_path / "v", "--system-site-packages", python="/usr/bin/python3")
    agree(locate(prefix), making.tell(prefix / "bin/python"))


def test_user_site_counts_unless_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = making.real_interpreter()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    user = tmp_path / "user"
    (user / "lib" / version / "site-packages").mkdir(parents=True)
    monkeypatch.setenv("PYTHONUSERBASE", str(user))
    paths = locate(base)
    agree(paths, making.tell(base, PYTHONUSERBASE=str(user)))
    assert paths.search_path[0] == str(user / "lib" / version / "site-packages")
    isolated = making.venv(tmp_path / "isolated")
    agree(locate(isolated), making.tell(isolated / "bin/python"))
    shared = making.venv(tmp_path / "shared", "--system-site-packages")
    agree(locate(shared), making.tell(shared / "bin/python"))
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    agree(locate(base), making.tell(base))
    assert str(user) not in " ".join(locate(base).search_path)


def test_pythonpath_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = making.venv(tmp_path / "v")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}/b::{tmp_path}/absent:{tmp_path}/a")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.pth").write_text(str(tmp_path))
    told = making.tell(prefix / "bin/python", PYTHONPATH=os.environ["PYTHONPATH"])
    assert locate(prefix).search_path[:2] == (str(tmp_path / "b"), str(tmp_path / "a"))
    # An empty entry means the child's working folder there, and nothing here.
    assert list(locate(prefix).search_path) == [p for p in told["path"] if p != "/"]  # type: ignore[attr-defined]


def test_pth_files_add_folders_and_run_nothing(tmp_path: Path) -> None:
    prefix = making.venv(tmp_path / "v")
    site = making.site_packages(prefix)
    for name in ("source", "later", "relative"):
        (tmp_path / name).mkdir()
    (site / "relative").mkdir()
    (site / "b.pth").write_text(f"# a comment\n\n{tmp_path}/later\nrelative\n{tmp_path}/absent\n")
    (site / "a.pth").write_bytes(f"{tmp_path}/source  \r\n{tmp_path}/source\n".encode())
    (site / "code.pth").write_text("import sys; sys.path.append('/tmp')\n")
    (site / "folder.pth").mkdir()
    (site / "ignored.txt").write_text(f"{tmp_path}\n")
    told = making.tell(prefix / "bin/python")
    expected = [str(site), f"{tmp_path}/source", f"{tmp_path}/later", str(site / "relative")]
    assert [p for p in told["path"] if p != "/tmp"] == expected  # type: ignore[attr-defined]
    assert list(locate(prefix).search_path) == expected


@pytest.mark.slow
def test_editable_install_is_found(tmp_path: Path) -> None:
    prefix = making.uv_venv(tmp_path / "v")
    project = tmp_path / "project"
    (project / "src" / "demo_editable").mkdir(parents=True)
    (project / "src" / "demo_editable" / "__init__.py").touch()
    (project / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='demo-editable', version='1.2', package_dir={'': 'src'},"
        " packages=['demo_editable'])\n"
    )
    subprocess.run(
        [*environments.uv(), "pip", "install", "-q", "-p", prefix / "bin/python", "-e", project],
        env=environments.clean_environ(),
        check=True,
    )
    environment = Environment.open(prefix)
    agree(environment.paths, making.tell(prefix / "bin/python"))
    found = environment.distributions.find("Demo.Editable")
    assert found is not None
    assert (found.canonical_name, found.version) == ("demo-editable", "1.2")
    assert found.editable


def test_running_interpreter_is_what_sys_says(tmp_path: Path) -> None:
    script = (
        "import json; from envlock.environment.locate import locate; p = locate(None);"
        "print(json.dumps([p.prefix, p.base_prefix, p.stdlib, p.search_path, p.executable]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    prefix, base_prefix, stdlib, search_path, executable = json.loads(answer.stdout)
    told = making.tell(sys.executable)
    assert (prefix, base_prefix, stdlib) == (told["prefix"], told["base_prefix"], told["stdlib"])
    assert search_path == [str(tmp_path), *told["path"]]  # type: ignore[misc]
    assert executable == sys.executable


def test_the_running_interpreter_by_name_and_by_none_agree() -> None:
    named, running = locate(sys.executable), locate(None)
    assert running.running
    assert not named.running
    assert (named.prefix, named.stdlib) == (running.prefix, running.stdlib)
    assert set(named.search_path) <= set(running.search_path)


def _no_bin(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _script(folder: Path) -> Path:
    path = folder.with_name("python3")
    path.write_text('#!/bin/sh\nexec /usr/bin/python3 "$@"\n')
    path.chmod(0o755)
    return path


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder)
    return folder


def _fifo_as_python(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    os.mkfifo(folder / "bin" / "python")
    return folder


def _broken_link(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/no/such/python3.9")
    return folder


def _config(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        making.venv(folder)
        (folder / "pyvenv.cfg").write_bytes(content)
        return folder

    return make


def _config_fifo(folder: Path) -> Path:
    making.venv(folder)
    (folder / "pyvenv.cfg").unlink()
    os.mkfifo(folder / "pyvenv.cfg")
    return folder


def _bin_folder(folder: Path) -> Path:
    return making.venv(folder) / "bin"


def _text_as_python(folder: Path) -> Path:
    path = folder.with_name("python")
    path.write_text("no program\n")
    return path


def _copied_alone(folder: Path) -> Path:
    path = folder.with_name("python3.99")
    shutil.copy(making.real_interpreter(), path)
    return path


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda f: f, "cannot be examined: No such file or directory"),
    "empty folder": (_no_bin, "is not a Python environment: it has no `bin/python`"),
    "FIFO": (_fifo, "is neither a folder nor a Python executable"),
    "FIFO in bin": (_fifo_as_python, "is not a Python environment"),
    "script": (_script, "is a script, not a Python executable"),
    "text": (_text_as_python, "it is not an ELF file"),
    "other program": (lambda f: Path("/bin/ls"), "`/bin/ls` is not a Python executable"),
    "broken link": (_broken_link, "is a broken link to `/no/such/python3.9`"),
    "bin folder": (_bin_folder, "has no `bin/python`"),
    "empty pyvenv.cfg": (_config(b""), "names no `home`"),
    "binary pyvenv.cfg": (_config(b"\xff\0\xfe" * 99), "names no `home`"),
    "NUL in home": (_config(b"home = /usr\0/bin\n"), "names no `home`"),
    "huge pyvenv.cfg": (_config(b"home = /usr/bin\n" * 9999), "bytes are more than the allowed"),
    "vanished home": (_config(b"home = /no/such/bin\n"), "`/no/such/bin`, which does not exist"),
    "FIFO as pyvenv.cfg": (_config_fifo, "it is not a regular file"),
    "no library": (_copied_alone, "no standard library was found for"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_environment_is_one_line(name: str, tmp_path: Path) -> None:
    make, expected = BROKEN[name]
    env = make(tmp_path / "env")
    with pytest.raises(EnvironmentUnreadable) as caught:
        locate(env)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 3


@pytest.mark.parametrize("env", ["a\0b", "", "x\ny", "\udcff"])
def test_odd_names_are_one_line_errors(env: str) -> None:
    with pytest.raises(EnvironmentUnreadable) as caught:
        locate(env)
    text = str(caught.value)
    assert text.isprintable()
    text.encode("utf-8")


def test_the_bin_folder_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnreadable) as caught:
        locate(_bin_folder(tmp_path / "env"))
    assert caught.value.hint == f"name its parent, `{tmp_path}/env`"
