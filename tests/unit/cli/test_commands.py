"""The commands as users meet them: exit status, streams, JSON against the committed schemas."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import jsonschema
import pytest

from envlock.cli import COMMANDS
from tests.support.building import build
from tests.support.environments import TfEnvironment

ROOT = Path(__file__).resolve().parents[3]
ZERO_OUT = ROOT / "examples" / "zero_out" / "zero_out.cc"
OLD, NEW = "2.15.1", "2.17.1"


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "envlock", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ)


def valid(text: str, schema: str) -> Any:
    document = json.loads(text)
    jsonschema.Draft202012Validator(json.loads((ROOT / "schemas" / schema).read_text())).validate(
        document
    )
    return document


@pytest.fixture
def bare(tmp_path: Path, tf_env: Callable[[str], TfEnvironment]) -> Path:
    copy = tmp_path / "zero_out.so"
    shutil.copy(build(ZERO_OUT, tf_env(OLD)), copy)
    return copy


@pytest.fixture
def stamped(bare: Path, tf_env: Callable[[str], TfEnvironment]) -> Path:
    done = run("stamp", bare, "--env", tf_env(OLD).prefix)
    assert done.returncode == 0, done.stderr
    return bare


def test_without_a_command_usage_is_shown() -> None:
    done = run()
    assert done.returncode == 2
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("option", ["--help", "-h", "help"])
def test_help(option: str) -> None:
    done = run(option)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_has_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Exit status" in done.stdout


def test_version() -> None:
    from envlock import __version__

    assert run("--version").stdout == f"envlock {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("lift",),
        ("check",),
        ("check", "x.so", "--fail-on", "harmless"),
        ("show", "a", "b"),
        ("stamp",),
    ],
)
def test_wrong_usage_is_status_two(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_stamp_show_check_in_json(bare: Path, tf_env: Callable[[str], TfEnvironment]) -> None:
    env = tf_env(OLD)
    done = run("stamp", bare, "--env", env.prefix, "--format", "json")
    stamp = valid(done.stdout, "stamp-v1.schema.json")
    assert (done.returncode, stamp["written"], stamp["replaced"]) == (0, True, False)
    shown = valid(run("show", bare, "--format", "json").stdout, "show-v1.schema.json")
    assert shown["stamp"] == "appended"
    assert shown["manifest"] == stamp["manifest"]
    done = run("check", bare, "--env", env.prefix, "--format", "json")
    report = valid(done.stdout, "report-v1.schema.json")["reports"][0]
    assert (done.returncode, report["verdict"], report["findings"]) == (0, "compatible", [])
    assert report["plugin"]["tensorflow"] == OLD


def test_the_manifest_in_the_file_is_valid_and_holds_no_path(
    stamped: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    from envlock.binary.elf import ElfFile
    from envlock.binary.elf.notes import find_stamp

    with ElfFile.open(stamped) as elf:
        stamp = find_stamp(elf)
    assert stamp is not None
    manifest = valid(stamp.payload.decode(), "manifest-v1.schema.json")
    assert manifest["tensorflow"]["version"] == OLD
    text = stamp.payload.decode()
    for hidden in (str(tf_env(OLD).prefix), str(Path.home()), str(ROOT), '"/'):
        assert hidden not in text


def test_stamping_twice_gives_the_same_bytes(
    stamped: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    first = stamped.read_bytes()
    done = run("stamp", stamped, "--env", tf_env(OLD).python)
    assert (done.returncode, stamped.read_bytes()) == (0, first)
    assert "stamped again" in done.stdout


def test_a_refusal_in_text_and_json(stamped: Path, tf_env: Callable[[str], TfEnvironment]) -> None:
    env = tf_env(NEW).prefix
    done = run("check", stamped, "--env", env, "--format", "json")
    report = valid(done.stdout, "report-v1.schema.json")["reports"][0]
    assert (done.returncode, report["verdict"]) == (1, "incompatible")
    finding = report["findings"][0]
    assert (finding["rule"], finding["built"], finding["live"]) == ("tensorflow-skew", OLD, NEW)
    assert f" install 'tensorflow-cpu=={OLD}'  # fits: " in finding["remedy"]
    assert str(env) in finding["remedy"], "what is pasted changes the environment that was checked"
    text = run("check", stamped, "--env", env)
    assert text.returncode == 1
    assert "incompatible[tensorflow-skew]" in text.stdout
    assert finding["remedy"] in text.stdout
    assert run("check", stamped, "--env", env, "--fail-on", "never").returncode == 0


def test_stamping_in_the_wrong_environment_is_refused_unless_forced(
    bare: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    before = bare.read_bytes()
    done = run("stamp", bare, "--env", tf_env(NEW).prefix, "--format", "json")
    answer = valid(done.stdout, "stamp-v1.schema.json")
    assert (done.returncode, answer["written"]) == (1, False)
    assert answer["findings"]
    assert bare.read_bytes() == before
    assert "--force" in done.stderr
    forced = run("stamp", bare, "--env", tf_env(NEW).prefix, "--force")
    assert forced.returncode == 0, forced.stderr
    assert "forced" in forced.stdout
    report = run("check", bare, "--env", tf_env(NEW).prefix, "--format", "json")
    rules = {f["rule"] for f in json.loads(report.stdout)["reports"][0]["findings"]}
    assert "stamp-forced" in rules


@pytest.mark.parametrize("command", ["show", "check", "stamp"])
def test_unreadable_input_is_status_three_and_valid_json(
    command: str, tmp_path: Path, tf_env: Any
) -> None:
    missing = tmp_path / "missing.so"
    env = () if command == "show" else ("--env", tf_env(OLD).prefix)
    done = run(command, missing, *env, "--format", "json")
    schema = "report" if command == "check" else command
    document = valid(done.stdout, f"{schema}-v1.schema.json")
    assert done.returncode == 3
    assert "missing.so" in json.dumps(document)


@pytest.mark.parametrize("command", ["check", "stamp"])
def test_an_environment_without_tensorflow_is_status_three(
    command: str, bare: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    done = run(command, bare, "--env", tmp_path / "empty", "--format", "json")
    valid(done.stdout, "report-v1.schema.json" if command == "check" else "stamp-v1.schema.json")
    assert done.returncode == 3
    assert "TensorFlow" in done.stderr
    assert "Traceback" not in done.stderr


def test_many_plugins_and_folders_at_once(
    stamped: Path, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    folder = tmp_path / "more" / "deep"
    folder.mkdir(parents=True)
    shutil.copy(stamped, folder / "a.so")
    (folder / "broken.so").write_bytes(b"\x7fELF")
    (folder / "readme.txt").write_text("not a plugin")
    done = run("check", stamped, tmp_path / "more", "--env", tf_env(OLD).prefix, "--format", "json")
    reports = valid(done.stdout, "report-v1.schema.json")["reports"]
    assert [Path(r["plugin"]["path"]).name for r in reports] == ["zero_out.so", "a.so", "broken.so"]
    assert [r["verdict"] for r in reports] == ["compatible", "compatible", None]
    assert done.returncode == 3


@pytest.mark.parametrize("command", ["check", "check --tensorflow", "scan", "report"])
def test_a_folder_without_a_library_fails(
    command: str, stamped: Path, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """A mistyped folder must not pass as one in which all is well."""
    folder = tmp_path / "wrong folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "readme.txt").write_text("no plugin")
    name, _, option = command.partition(" ")
    against = (option, OLD) if option else ("--env", tf_env(OLD).prefix)
    for plugins in ((folder,), (folder, stamped)):
        done = run(name, *plugins, *against, "--format", "json")
        assert done.returncode == 3
        reports = valid(done.stdout, "report-v1.schema.json")["reports"]
        told = {r["plugin"]["path"]: (r["verdict"], r["plugin"]["error"]) for r in reports}
        assert len(told) == len(plugins)
        assert told.get(str(stamped), ("compatible", None)) == ("compatible", None)
        verdict, error = told[str(folder)]
        assert verdict is None
        assert f"`{folder}` is a folder without a shared library" in error
        assert f"`find '{folder}' -name '*.so*'`" in error
    text = run(name, folder, *against)
    assert (text.returncode, text.stdout.count("is a folder without")) == (3, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be unreadable for")
def test_a_folder_that_cannot_be_read(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment], tool: Callable[[str], str]
) -> None:
    """Root reads everything, so the command runs without that power."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0)
    os.chown(folder, 65534, 65534)
    powerless = (
        tool("setpriv"),
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-all",
    )
    for command in ("check", "scan"):
        done = subprocess.run(
            [*powerless, sys.executable, "-m", "envlock", command, folder, "--env", tf_env(OLD).prefix],
            capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 3
        assert f"cannot read the folder `{folder}`: Permission denied" in done.stdout


def test_output_goes_to_a_file_whole_or_not_at_all(
    stamped: Path, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(OLD).prefix
    target = tmp_path / "report.json"
    done = run("check", stamped, "--env", env, "--format", "json", "-o", target)
    assert (done.returncode, done.stdout) == (0, "")
    valid(target.read_text(), "report-v1.schema.json")
    done = run("check", stamped, "--env", env, "-o", tmp_path / "no" / "such" / "folder")
    assert done.returncode == 3
    assert "cannot write" in done.stderr


def test_a_closed_pipe_is_no_error(stamped: Path, tf_env: Callable[[str], TfEnvironment]) -> None:
    command = f"'{sys.executable}' -m envlock show '{stamped}' | true"
    done = subprocess.run(
        command,
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_names_from_a_hostile_file_cannot_steer_the_terminal(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    source = tmp_path / "empty.c"
    source.write_text("int answer(void) { return 42; }\n")
    hostile = tmp_path / "odd\x1b[31m\nname.so"
    soname = "-Wl,-soname,lib\x1b]0;owned\x07.so"
    subprocess.run(["gcc", "-shared", "-fPIC", soname, "-o", hostile, source], check=True)
    for command in (("show", hostile), ("check", hostile, "--env", tf_env(OLD).prefix)):
        done = run(*command)
        assert "\x1b" not in done.stdout + done.stderr
        assert "\x07" not in done.stdout + done.stderr


def test_a_linked_in_note_is_read_and_a_later_stamp_wins(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(OLD)
    note = tmp_path / "note.S"
    assert run("note", "--env", env.prefix, "-o", note).returncode == 0
    assembled = tmp_path / "note.o"
    subprocess.run(["gcc", "-c", note, "-o", assembled], check=True)
    plugin = tmp_path / "linked.so"
    shutil.copy(build(ZERO_OUT, env, flags=[str(assembled)]), plugin)
    shown = json.loads(run("show", plugin, "--format", "json").stdout)
    assert (shown["stamp"], shown["manifest"]["plugin"]) == ("linked-in", None)
    checked = json.loads(run("check", plugin, "--env", env.prefix, "--format", "json").stdout)
    assert checked["reports"][0]["verdict"] == "compatible"
    assert checked["reports"][0]["plugin"]["stamp"] == "linked-in"
    assert run("stamp", plugin, "--env", env.prefix).returncode == 0
    shown = json.loads(run("show", plugin, "--format", "json").stdout)
    assert (shown["stamp"], shown["linked_in_too"]) == ("appended", True)


def test_a_release_that_is_only_named_drifts_as_an_installed_one_does(stamped: Path) -> None:
    done = run("check", stamped, "--tensorflow", "2.14.1", "--format", "json", "--policy", "strict")
    assert done.returncode == 1
    (report,) = valid(done.stdout, "report-v1.schema.json")["reports"]
    assert [(f["rule"], f["verdict"]) for f in report["findings"]] == [
        ("tensorflow-version", "drifted")
    ]
    assert run("check", stamped, "--tensorflow", OLD, "--policy", "strict").returncode == 0


def test_help_speaks_of_environments_where_one_can_be_named() -> None:
    assert "ENV is a virtual environment's" in run("check", "--help").stdout
    assert "ENV is a virtual environment's" not in run("show", "--help").stdout
    assert "which TensorFlow releases" in run("compat", "--help").stdout
