"""Finding plugins in files, folders, environments and wheels, for every command in the same way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.binary.elf import ElfFile
from envlock.environment.live import Environment
from envlock.inventory.plugins import (
    environment_plugins,
    is_library_name,
    is_plugin,
    libraries_below,
)
from envlock.inventory.scan import candidates, check_many
from envlock.models.report import Report
from envlock.report.formats import FORMATS
from tests.support.building import build
from tests.support.environments import TfEnvironment

VERSION = "2.15.1"


@pytest.fixture(scope="module")
def env(tf_env: Callable[..., TfEnvironment]) -> TfEnvironment:
    return tf_env(VERSION)


Check = Callable[..., tuple[Report, ...]]


@pytest.fixture(scope="module")
def check(env: TfEnvironment) -> Check:
    return lambda *paths, **more: check_many(list(map(str, paths)), env=env.prefix, **more)


def envlock(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envlock", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **more)  # type: ignore[call-overload, no-any-return]


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


def test_a_folder(tree: Path, check: Check) -> None:
    reports = check(str(tree))
    found = sorted(names(reports))
    assert found in (
        ["_minimal.so", "inside.so", "libops.so.1.2"],
        ["_minimal.so", "again.so", "inside.so"],
    )
    assert {report.verdict for report in reports} == {"compatible"}


def test_a_file_that_is_named_is_looked_at(tree: Path, check: Check) -> None:
    reports = check(str(tree / "libplain.so"), str(tree / "empty.so"))
    assert names(reports) == ["libplain.so", "empty.so"]
    assert reports[1].verdict is None


def test_the_environment_itself(env: TfEnvironment, check: Check) -> None:
    """TensorFlow's own libraries are no plugins; the one that comes with it is."""
    expected = ["libtensorflow_io_gcs_filesystem.so"]
    assert [
        os.path.basename(p) for p in environment_plugins(Environment.open(env.prefix))
    ] == expected
    assert names(check(str(env.site_packages))) == expected


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
    wheel: Path, check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is written to disk: there is no temporary folder to write to."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    reports = check(str(wheel))
    assert [r.plugin.path for r in reports] == [f"{wheel}!/acme_ops/_minimal.so"]
    assert reports[0].verdict == "compatible"
    assert "/proc/" not in repr(reports)


@pytest.mark.parametrize("command", ["check", "scan", "report"])
def test_every_command_finds_the_same(
    command: str, tree: Path, wheel: Path, env: TfEnvironment
) -> None:
    """A folder's plugins and wheels, a wheel's plugins, a file that is named, one name a plugin."""
    shutil.move(wheel, tree / wheel.name)
    (tree / "cut.so").write_bytes(build("plain", env).read_bytes()[:3000])
    arguments = (tree, tree / "libplain.so", "--env", env.prefix, "--format", "json")
    done = envlock(command, *arguments)
    found = {
        os.path.basename(one["plugin"]["path"]): one["verdict"]
        for one in json.loads(done.stdout)["reports"]
    }
    linked = {"libops.so.1.2", "again.so"} & set(found)  # one file under two names
    assert len(linked) == 1
    assert found == {
        **dict.fromkeys(["_minimal.so", "inside.so", "libplain.so", *linked], "compatible"),
        "cut.so": None,  # it may have been a plugin
    }
    assert done.returncode == 3


def test_whatever_is_stamped_is_a_plugin(
    tree: Path, env: TfEnvironment, check: Check, tmp_path: Path
) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(tree / "libplain.so", folder)
    assert check(folder) == ()
    assert envlock("stamp", folder / "libplain.so", "--env", env.prefix).returncode == 0
    assert names(check(folder)) == ["libplain.so"]


def test_an_environment_is_checked_against_itself(env: TfEnvironment, tmp_path: Path) -> None:
    (report,) = check_many([str(env.prefix)])
    assert report.environment.tensorflow == VERSION
    assert report.verdict == "compatible"
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", empty], check=True)
    # One that cannot be checked does not void the others.
    other, same = check_many([str(empty), str(env.prefix)])
    assert (other.verdict, same) == (None, report)
    assert "there is no TensorFlow in" in (other.plugin.error or "")
    # Unless another one is named.
    done = envlock("check", env.prefix, "--env", empty)
    assert done.returncode == 3
    assert f"there is no TensorFlow in `{empty}`" in done.stderr


def test_reports_come_in_the_order_of_the_paths(env: TfEnvironment, tmp_path: Path) -> None:
    """Also where an environment between them is checked against itself."""
    for name in ("first.so", "last.so"):
        shutil.copy(build("minimal", env), tmp_path / name)
    paths = [tmp_path / "first.so", env.prefix, tmp_path / "last.so"]
    done = envlock("check", *paths, "--format", "json", "--env", env.prefix)
    between = [os.path.basename(p) for p in environment_plugins(Environment.open(env.prefix))]
    reports = json.loads(done.stdout)["reports"]
    found = [os.path.basename(report["plugin"]["path"]) for report in reports]
    assert found == ["first.so", *between, "last.so"]


def test_a_link_in_a_circle_hides_no_plugin(env: TfEnvironment, tmp_path: Path) -> None:
    shutil.copy(build("minimal", env), tmp_path / "_minimal.so")
    (tmp_path / "loop.so").symlink_to("loop.so")
    reports = check_many([str(tmp_path)], env=env.prefix)
    verdicts = {os.path.basename(report.plugin.path): report.verdict for report in reports}
    assert verdicts["_minimal.so"] == "compatible"
    assert list(libraries_below(str(tmp_path))) == [
        str(tmp_path / name) for name in os.listdir(tmp_path)
    ]


def test_output_does_not_overwrite_what_is_checked(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("a text")
    done = envlock("check", tmp_path / "text.so", "-o", tmp_path / "text.so")
    assert (done.returncode, (tmp_path / "text.so").read_text()) == (2, "a text")
    assert "would overwrite what is to be checked" in done.stderr


def test_a_mistyped_release_is_an_error_where_there_is_no_plugin(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("INPUT(libc.so.6)\n")
    done = envlock("check", tmp_path, "--tensorflow", "9.9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the atlas does not know TensorFlow 9.9" in done.stderr


def test_a_plugin_of_the_environment_that_lies_elsewhere(
    env: TfEnvironment, tmp_path: Path
) -> None:
    """An editable installation: a .pth file leads out of the environment."""
    made = tmp_path / "made"
    subprocess.run([env.python, "-m", "venv", "--without-pip", made], check=True)
    site = next(made.glob("lib/python*/site-packages"))
    (site / "more.pth").write_text(f"{env.site_packages}\n{tmp_path / 'elsewhere'}\n")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(build("minimal", env), tmp_path / "elsewhere" / "_minimal.so")
    assert "_minimal.so" in names(check_many([str(made)]))


def test_a_matrix_of_plugins_and_releases(tree: Path, wheel: Path, env: TfEnvironment) -> None:
    paths = [str(tree / "libops.so.1.2"), str(wheel), str(tree / "empty.so")]
    reports = check_many(paths, releases=["2.14.1", "2.17.1"])
    assert [(os.path.basename(r.plugin.path), r.environment.tensorflow) for r in reports] == [
        (name, release)
        for name in ("libops.so.1.2", "_minimal.so", "empty.so")
        for release in ("2.14.1", "2.17.1")
    ]
    verdicts = [r.verdict for r in reports]
    assert verdicts[4:] == [None, None]
    assert None not in verdicts[:4]
    done = envlock("check", *paths, "--tensorflow", "2.14.1", "--tensorflow", "2.17.1")
    assert done.returncode == 3
    assert done.stdout.startswith("Of 6 combinations of plugin and release, ")
    table = [line.split() for line in done.stdout.splitlines()[2:9]]
    assert table[0] == ["2.14.1", "2.17.1"]
    assert [word for row in table[1:] for word in row if "/" not in word] == [
        verdict or "unreadable" for verdict in verdicts
    ]
    unknown = envlock("check", *paths, "--tensorflow", "2.14.1", "--tensorflow", "9.9")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "does not know TensorFlow 9.9" in unknown.stderr


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_tells_the_releases_of_a_matrix_apart(format: str, env: TfEnvironment) -> None:
    releases = ("--tensorflow", "2.14.1", "--tensorflow", "2.5.0")
    done = envlock("check", build("minimal", env), *releases, "--format", format)
    assert done.returncode == 1
    assert "2.5.0" in done.stdout
    if format == "codequality":
        prints = [issue["fingerprint"] for issue in json.loads(done.stdout)]
        assert len(prints) == len(set(prints)) > 0


def test_a_wheel_with_libraries_of_its_own(
    env: TfEnvironment, check: Check, tmp_path: Path
) -> None:
    """$ORIGIN leads to what stands beside the plugin in the wheel."""
    plugin = build("dependency_present", env)
    path = tmp_path / "own-1.0-py3-none-any.whl"
    for whole in (True, False):
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(plugin, "own/_dependency.so")
            if whole:
                archive.write(plugin.parent / "libenvlock_extra.so", "own/libenvlock_extra.so")
        reports = check(str(path))
        assert names(reports) == ["_dependency.so"]
        assert reports[0].verdict == ("compatible" if whole else "incompatible")
        assert reports[0].plugin.path == f"{path}!/own/_dependency.so"
        assert "/tmp/envlock-" not in repr(reports)


def test_a_real_folder_of_wheels(wheel: Path, check: Check) -> None:
    assert names(check(str(wheel.parent))) == ["_minimal.so"]


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + b"\0" * 100, b"text" * 1000])
def test_a_damaged_wheel_is_one_line(check: Check, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    path.write_bytes(content)
    (report,) = check(str(path))
    assert report.verdict is None
    assert "is damaged" in (report.plugin.error or "")
    assert "\n" not in (report.plugin.error or "")


@pytest.mark.slow
def test_a_member_that_is_a_bomb(check: Check, tmp_path: Path) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/_x.so", b"\x7fELF" + b"\0" * 300_000_000)
    reports = check(str(path))
    assert reports[0].verdict is None
    assert "would unpack to 300000004 bytes" in (reports[0].plugin.error or "")


@pytest.mark.parametrize("member", ["../../escape.so", "/absolute.so", "x/../../../up.so"])
def test_members_that_point_out_of_the_wheel(
    env: TfEnvironment, check: Check, tmp_path: Path, member: str
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
    check(str(path))
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/absolute.so").exists()


def test_a_missing_path_and_a_damaged_wheel_void_nothing_else(
    tree: Path, check: Check, tmp_path: Path
) -> None:
    damaged = tmp_path / "x-1-py3-none-any.whl"
    damaged.touch()
    plugin = tree / "deep/er/_minimal.so"
    missing, judged, broken = check("/nowhere.so", str(plugin), str(damaged))
    assert (missing.verdict, missing.plugin.path) == (None, "/nowhere.so")
    assert missing.plugin.error == "cannot open `/nowhere.so`: No such file or directory"
    assert (judged.verdict, judged.plugin.path) == ("compatible", str(plugin))
    assert (broken.verdict, broken.plugin.path) == (None, str(damaged))


@pytest.mark.parametrize("command", ["check", "scan", "report"])
@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_path_beside_a_plugin_in_every_format(
    tree: Path, env: TfEnvironment, command: str, format: str
) -> None:
    arguments = [command, "libops.so.1.2", "nope.so", "--env", str(env.prefix), "--format", format]
    done = subprocess.run(
        [sys.executable, "-m", "envlock", *arguments], capture_output=True, text=True, cwd=tree
    )
    assert done.returncode == 3
    # These have results only, and a plugin that fits has none.
    assert "libops.so.1.2" in done.stdout or format in ("sarif", "codequality")
    assert "nope.so" in done.stdout
    assert done.stdout.count("cannot open") == done.stdout.count("No such file") > 0


def test_progress_is_told(tree: Path, check: Check) -> None:
    told: list[tuple[int, int]] = []
    check(tree, progress=lambda done, total, label: told.append((done, total)))
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
