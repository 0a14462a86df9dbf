"""What the command does when nobody takes its output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envlock.cli import COMMANDS
from tests.support.elves import compile_library
from tests.support.environments import TfEnvironment

FULL = "envlock: cannot write the output: No space left on device\n"
CLOSED = (
    "envlock: cannot write the output: stdout is closed\n"
    "hint: send it somewhere (`>FILE`), or to `/dev/null`\n"
)
#: Everything that has something to say without an environment; {so} is a plugin.
TALKERS = [
    ["--version"],
    ["--help"],
    ["help"],
    *([command, "--help"] for command in COMMANDS),
    ["atlas", "list", "--help"],
    ["atlas", "list"],
    ["show", "{so}"],
    ["show", "{so}", "--format", "json"],
    ["compat", "{so}"],
    ["note", "--help"],
]


def run(*arguments: object, shell: str) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -m envlock "$@" {shell}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("output") / "plugin.so")


@pytest.mark.parametrize("arguments", TALKERS, ids=" ".join)
@pytest.mark.parametrize(("shell", "words"), [(">/dev/full", FULL), (">&-", CLOSED)])
def test_output_that_cannot_be_written_is_told(
    arguments: list[str], shell: str, words: str, plugin: Path
) -> None:
    answer = run(*(word.format(so=plugin) for word in arguments), shell=shell)
    assert (answer.returncode, answer.stdout, answer.stderr) == (3, "", words)


@pytest.mark.parametrize("shell", [">&-", ">/dev/full", ">&- 2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("number", [1, 20])
def test_a_check_that_cannot_be_written(
    shell: str, number: int, plugin: Path, tf_envs: list[TfEnvironment]
) -> None:
    """Twenty plugins are checked by children, where the machine has cores for them."""
    answer = run("check", "--env", tf_envs[0].prefix, *[plugin] * number, shell=shell)
    assert answer.returncode == 3
    assert answer.stderr in (FULL, CLOSED, "")


@pytest.mark.parametrize("shell", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_the_verdict_does_not_need_stderr(
    shell: str, tmp_path: Path, plugin: Path, tf_envs: list[TfEnvironment]
) -> None:
    checked = run("check", "--env", tf_envs[0].prefix, plugin, shell=shell)
    assert (checked.returncode, "plugin.so: compatible" in checked.stdout) == (0, True)
    for wrong, status in ((["check"], 2), (["nonsense"], 2), (["show", tmp_path / "none"], 3)):
        answer = run(*wrong, shell=shell)
        # What is said on stderr must not get into the data.
        assert (answer.returncode, answer.stdout) == (status, "")


@pytest.mark.parametrize("shell", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_file_is_written_whatever_is_closed(
    shell: str, tmp_path: Path, plugin: Path, tf_envs: list[TfEnvironment]
) -> None:
    output = tmp_path / "report.txt"
    answer = run("check", "--env", tf_envs[0].prefix, plugin, "-o", output, shell=shell)
    assert answer.returncode == 0, answer.stderr
    assert output.read_text().startswith(f"{plugin}: compatible")


def test_scan_without_stderr(plugin: Path, tf_envs: list[TfEnvironment]) -> None:
    answer = run("scan", plugin.parent, "--env", tf_envs[0].prefix, shell="2>&-")
    assert (answer.returncode, answer.stdout == "") == (0, False)


def test_drift_without_stdout(tmp_path: Path, tf_envs: list[TfEnvironment]) -> None:
    prefix = tf_envs[0].prefix
    assert run("snapshot", "--env", prefix, "-o", tmp_path / "a", shell="").returncode == 0
    answer = run("diff", tmp_path / "a", tmp_path / "a", shell=">&-")
    assert (answer.returncode, answer.stderr) == (3, CLOSED)


def test_a_reader_that_went_away_is_no_error() -> None:
    answer = run("atlas", "list", shell="| true; exit 0")
    assert answer.stderr == ""


def test_the_verdict_counts_also_when_nobody_reads_why(
    tmp_path: Path, tf_envs: list[TfEnvironment]
) -> None:
    source = "int nowhere(void); int answer(int which) { return nowhere(); }"
    path = compile_library(tmp_path / "plugin.so", source=source)
    # The pipe's reader is gone before the check begins.
    shell = '| true; exit "${PIPESTATUS[0]}"'
    delayed = f'"$0" -c "import time; time.sleep(1)"; "$0" -m envlock "$@"; }} {shell}'
    answer = subprocess.run(
        ["bash", "-c", "{ " + delayed, sys.executable, "check", "--env", tf_envs[0].prefix, path],
        capture_output=True,
        text=True,
    )
    assert (answer.returncode, answer.stderr) == (1, "")


def test_everything_is_out_when_the_process_ends() -> None:
    answer = run("atlas", "list", shell="")
    assert answer.returncode == 0
    assert answer.stdout.endswith("\n")
    assert answer.stdout.count("2.15.") >= 1
