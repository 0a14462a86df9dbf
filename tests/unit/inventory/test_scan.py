"""Finding plugins under folders, environments and wheels, each checked as `envlock check` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.checking import Checker
from envlock.binary.elf import ElfFile
from envlock.inventory.plugins import environment_plugins, is_library_name, is_plugin
from envlock.inventory.scan import candidates, scan
from envlock.models.report import Report
from tests.support.building import build
from tests.support.environments import TfEnvironment

VERSION = "2.15.1"


@pytest.fixture(scope="module")
def env(tf_env: Callable[..., TfEnvironment]) -> TfEnvironment:
    return tf_env(VERSION)


@pytest.fixture(scope="module")
def checker(env: TfEnvironment) -> Checker:
    return Checker.for_environment(env.prefix)


@pytest.fixture
def tree(env: TfEnvironment, tmp_path: Path) -> Path:
    """A folder with plugins, other libraries, and things that only look like libraries."""
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    shutil.copy(build("minimal", env), root / "deep" / "er" / "_minimal.so")
    shutil.copy(build("c_api", env), root / "libops.so.1.2")
    shutil.copy(build("plain", env), root / "libplain.so")
    (root / "script.so").write_text("INPUT(libc.so.6)\n")
    (root / "empty.so").touch()
    (root / "loop").symlink_to(root)
    (root / "again.so").symlink_to(root / "libops.so.1.2")
    os.mkfifo(root / "fifo.so")
    (root / "folder.so").mkdir()
    shutil.copy(build("minimal", env), root / "folder.so" / "inside.so")
    return root


def names(reports: tuple[Report, ...]) -> list[str]:
    return [os.path.basename(report.plugin.path) for report in reports]


def test_a_folder(tree: Path, checker: Checker) -> None:
    reports = scan([str(tree)], checker)
    found = sorted(names(reports))
    assert found in (
        ["_minimal.so", "inside.so", "libops.so.1.2"],
        ["_minimal.so", "again.so", "inside.so"],
    )
    assert {report.verdict for report in reports} == {"compatible"}


def test_a_file_that_is_named_is_looked_at(tree: Path, checker: Checker) -> None:
    reports = scan([str(tree / "libplain.so"), str(tree / "empty.so")], checker)
    assert names(reports) == ["libplain.so", "empty.so"]
    assert reports[1].verdict is None


def test_the_environment_itself(env: TfEnvironment, checker: Checker) -> None:
    """TensorFlow's own libraries are no plugins; the one that comes with it is."""
    expected = ["libtensorflow_io_gcs_filesystem.so"]
    assert [os.path.basename(p) for p in environment_plugins(checker.environment)] == expected
    assert names(scan([str(env.site_packages)], checker)) == expected


@pytest.fixture
def wheel(env: TfEnvironment, tmp_path: Path) -> Path:
    path = tmp_path / "acme_ops-1.0-cp39-cp39-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(build("minimal", env), "acme_ops/_minimal.so")
        archive.write(build("plain", env), "acme_ops/libplain.so")
        archive.writestr("acme_ops/text.so", "INPUT(libc.so.6)\n")
        archive.writestr("acme_ops/__init__.py", "")
    return path


def test_a_wheel_without_unpacking(
    wheel: Path, checker: Checker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is written to disk: there is no temporary folder to write to."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    reports = scan([str(wheel)], checker)
    assert [r.plugin.path for r in reports] == [f"{wheel}!/acme_ops/_minimal.so"]
    assert reports[0].verdict == "compatible"
    assert "/proc/" not in repr(reports)


def test_check_of_a_wheel_names_the_command_that_looks_into_it(
    wheel: Path, env: TfEnvironment
) -> None:
    command = [sys.executable, "-m", "envlock", "check", str(wheel), "--env", str(env.prefix)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3
    assert f"`envlock scan {wheel}`" in done.stdout


def test_a_wheel_with_libraries_of_its_own(
    env: TfEnvironment, checker: Checker, tmp_path: Path
) -> None:
    """$ORIGIN leads to what stands beside the plugin in the wheel."""
    plugin = build("dependency_present", env)
    path = tmp_path / "own-1.0-py3-none-any.whl"
    for whole in (True, False):
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(plugin, "own/_dependency.so")
            if whole:
                archive.write(plugin.parent / "libenvlock_extra.so", "own/libenvlock_extra.so")
        reports = scan([str(path)], checker)
        assert names(reports) == ["_dependency.so"]
        assert reports[0].verdict == ("compatible" if whole else "incompatible")
        assert reports[0].plugin.path == f"{path}!/own/_dependency.so"
        assert "/tmp/envlock-" not in repr(reports)


def test_a_real_folder_of_wheels(wheel: Path, checker: Checker) -> None:
    assert names(scan([str(wheel.parent)], checker)) == ["_minimal.so"]


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + b"\0" * 100, b"text" * 1000])
def test_a_damaged_wheel_is_one_line(checker: Checker, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    path.write_bytes(content)
    (report,) = scan([str(path)], checker)
    assert report.verdict is None
    assert "is damaged" in (report.plugin.error or "")
    assert "\n" not in (report.plugin.error or "")


@pytest.mark.slow
def test_a_member_that_is_a_bomb(checker: Checker, tmp_path: Path) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/_x.so", b"\x7fELF" + b"\0" * 300_000_000)
    reports = scan([str(path)], checker)
    assert reports[0].verdict is None
    assert "would unpack to 300000004 bytes" in (reports[0].plugin.error or "")


@pytest.mark.parametrize("member", ["../../escape.so", "/absolute.so", "x/../../../up.so"])
def test_members_that_point_out_of_the_wheel(
    env: TfEnvironment, checker: Checker, tmp_path: Path, member: str
) -> None:
    plugin = build("dependency_present", env)
    folder = tmp_path / "inner"
    folder.mkdir()
    path = folder / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(plugin, "x/_dependency.so")
        archive.write(plugin.parent / "libenvlock_extra.so", "x/libenvlock_extra.so")
        archive.write(plugin, member)
    before = sorted(tmp_path.rglob("*"))
    scan([str(path)], checker)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/absolute.so").exists()


def test_a_missing_path_and_a_damaged_wheel_void_nothing_else(
    tree: Path, checker: Checker, tmp_path: Path
) -> None:
    damaged = tmp_path / "x-1-py3-none-any.whl"
    damaged.touch()
    plugin = tree / "deep/er/_minimal.so"
    missing, judged, broken = scan(["/nowhere.so", str(plugin), str(damaged)], checker)
    assert (missing.verdict, missing.plugin.path) == (None, "/nowhere.so")
    assert missing.plugin.error == "`/nowhere.so` cannot be read: No such file or directory"
    assert (judged.verdict, judged.plugin.path) == ("compatible", str(plugin))
    assert (broken.verdict, broken.plugin.path) == (None, str(damaged))


@pytest.mark.parametrize("command", ["scan", "report"])
@pytest.mark.parametrize("format", ["text", "json", "sarif", "junit", "markdown", "html"])
def test_a_missing_path_beside_a_plugin_in_every_format(
    tree: Path, env: TfEnvironment, command: str, format: str
) -> None:
    arguments = [command, "libops.so.1.2", "nope.so", "--env", str(env.prefix), "--format", format]
    done = subprocess.run(
        [sys.executable, "-m", "envlock", *arguments], capture_output=True, text=True, cwd=tree
    )
    assert done.returncode == 3
    # SARIF has results only, and a plugin that fits has none.
    assert "libops.so.1.2" in done.stdout or format == "sarif"
    assert "nope.so" in done.stdout
    assert done.stdout.count("cannot be read") == done.stdout.count("No such file") > 0


def test_progress_is_told(tree: Path, checker: Checker) -> None:
    told: list[tuple[int, int]] = []
    scan([str(tree)], checker, lambda done, total, label: told.append((done, total)))
    total = len(list(candidates([str(tree)])))
    assert told == [(n, total) for n in range(total + 1)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.so", True), ("a.so.1", True), ("a.so.1.2.3", True), ("a.so.txt", False), ("a.sox", False)],
)
def test_library_names(name: str, expected: bool) -> None:
    assert is_library_name(name) is expected


def test_what_is_a_plugin(env: TfEnvironment, tmp_path: Path) -> None:
    unlinked = tmp_path / "unlinked.so"
    source = tmp_path / "u.c"
    source.write_text("void TF_NewStatus(void); void f(void) { TF_NewStatus(); }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", unlinked, source], check=True)
    answers = {}
    for path in (build("minimal", env), build("c_api", env), build("plain", env), unlinked):
        with ElfFile.open(path) as elf:
            answers[path.stem] = is_plugin(elf)
    assert answers == {"minimal": True, "c_api": True, "plain": False, "unlinked": True}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("namespace tensorflow { void f(); } void g() { tensorflow::f(); }", True),
        ("namespace tensorflow { struct S { void f() const; }; } "
         "void g(tensorflow::S *s) { s->f(); }", True),
        ('extern "C" void TFE_NewContext(); void g() { TFE_NewContext(); }', True),
        ('extern "C" void TFile_open(); void g() { TFile_open(); }', False),
        ("namespace tensorflow { void f() {} } void g() { tensorflow::f(); }", False),
    ],
)  # fmt: skip
def test_a_plugin_that_exports_nothing_and_links_nothing_of_tensorflow(
    tmp_path: Path, source: str, expected: bool
) -> None:
    (tmp_path / "p.cc").write_text(source)
    (tmp_path / "p.map").write_text("{ local: *; };")
    # The classic hash table counts the symbols, whether any is exported or not.
    flags = ["-Wl,--version-script=p.map", "-Wl,--hash-style=sysv"]
    command = ["g++", "-shared", "-fPIC", "p.cc", "-o", "p.so", *flags]
    subprocess.run(command, check=True, cwd=tmp_path)
    with ElfFile.open(tmp_path / "p.so") as elf:
        assert is_plugin(elf) is expected


@pytest.mark.parametrize("rich", [True, False])
def test_the_progress_bar_on_a_terminal(
    wheel: Path, env: TfEnvironment, tmp_path: Path, rich: bool
) -> None:
    """On a pseudo-terminal there is a bar, and it is gone at the end; in a pipe there is none."""
    import pty

    if not rich:
        (tmp_path / "rich.py").write_text("raise ImportError\n")
    command = [sys.executable, "-m", "envlock", "scan", str(wheel), "--env", str(env.prefix)]
    environ = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(tmp_path)}
    main, side = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, env=environ)
    os.close(side)
    seen = b""
    while True:
        try:
            chunk = os.read(main, 4096)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(main)
    output = process.communicate()[0].decode()
    assert process.returncode == 0
    assert b"/3" in seen
    assert seen.rstrip().endswith((b"\x1b[K", b"\x1b[2K", b"\x1b[?25h"))
    assert "compatible" in output
    assert "\x1b" not in output
    silent = subprocess.run(command, capture_output=True, env=environ)
    assert silent.stderr == b""
