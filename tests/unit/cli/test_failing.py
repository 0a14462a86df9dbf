"""A run that fails is told as JSON too, where JSON was asked for: the contract's words.

The document goes where the answer would have gone, the error to stderr as ever.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from envlock.cli import COMMANDS
from tests.support.elves import compile_library

ROOT = Path(__file__).resolve().parents[3]
USAGE, UNREADABLE = 2, 3

#: schema, exit status, what is said, command line; PLUGIN is a library, HERE a folder without any.
CASES = [
    ("report", UNREADABLE, "cannot read the policy", "check PLUGIN --policy /nope"),
    ("report", UNREADABLE, "is not JSON", "check PLUGIN --policy PLUGIN.txt"),
    ("report", UNREADABLE, "environment `/nope` cannot be examined", "check PLUGIN --env /nope"),
    ("report", USAGE, "does not know TensorFlow 9.9", "check PLUGIN --tensorflow 9.9"),
    ("report", USAGE, "two different things", "check PLUGIN --tensorflow 2.15.1 --env /nope"),
    ("report", USAGE, "`--live-headers`", "check PLUGIN --tensorflow 2.15.1 --live-headers"),
    ("report", UNREADABLE, "/nope.atlas", "check PLUGIN ENVLOCK_ATLAS=/nope.atlas"),
    ("report", UNREADABLE, "cannot read the policy", "scan PLUGIN --policy /nope"),
    ("report", UNREADABLE, "environment `/nope` cannot be examined", "scan PLUGIN --env /nope"),
    ("report", UNREADABLE, "cannot read the policy", "report PLUGIN --policy /nope"),
    ("report", UNREADABLE, "cannot read the policy", "report --policy /nope"),
    ("report", UNREADABLE, "environment `/nope` cannot be examined", "report --env /nope"),
    ("report", UNREADABLE, "is not JSON", "report HERE/damaged.json"),
    ("show", UNREADABLE, "cannot open `/nope`", "show /nope"),
    ("stamp", UNREADABLE, "cannot open `/nope`", "stamp /nope"),
    ("stamp", UNREADABLE, "environment `/nope` cannot be examined", "stamp PLUGIN --env /nope"),
    ("stamp", UNREADABLE, "cannot read the key", "stamp PLUGIN --sign /nope"),
    ("compat", UNREADABLE, "cannot open `/nope`", "compat /nope"),
    ("compat", UNREADABLE, "/nope.atlas", "compat PLUGIN ENVLOCK_ATLAS=/nope.atlas"),
    ("atlas", UNREADABLE, "/nope.atlas", "atlas list ENVLOCK_ATLAS=/nope.atlas"),
    ("snapshot", UNREADABLE, "environment `/nope` cannot be examined", "snapshot --env /nope"),
    ("snapshot", USAGE, "cannot name a snapshot", "snapshot --save ../x"),
    ("snapshot", UNREADABLE, "cannot make the folder", "snapshot --save x --store /proc/none/s"),
    ("history", UNREADABLE, "file is not a database", "history --store /etc/passwd"),
    ("history", UNREADABLE, "no snapshot `nope`", "history nope --store HERE/none"),
    ("history", USAGE, "`--forget` needs the name", "history --forget"),
    ("drift", UNREADABLE, "cannot read the policy", "diff HERE HERE --policy /nope"),
    ("drift", UNREADABLE, "no such file or folder", "diff /nope HERE"),
    ("drift", UNREADABLE, "file is not a database", "diff HERE HERE --store /etc/passwd"),
    ("drift", UNREADABLE, "file is not a database", "diff HERE HERE ENVLOCK_STORE=/etc/passwd"),
    ("drift", UNREADABLE, "cannot read the policy", "drift --policy /nope"),
    ("drift", UNREADABLE, "environment `/nope` cannot be examined", "drift --env /nope"),
    ("drift", UNREADABLE, "was saved in", "drift --store HERE/none"),
    ("drift", UNREADABLE, "no such file or folder", "drift /nope --store HERE/none"),
    ("drift", UNREADABLE, "file is not a database", "drift --store /etc/passwd"),
]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failing")
    (folder / "plugin.so.txt").write_text("fail_on: never\n")
    (folder / "damaged.json").write_text('{"format": ')
    return compile_library(folder / "plugin.so")


def words(line: str, plugin: Path) -> tuple[list[str], dict[str, str]]:
    """The arguments and variables of a case's command line."""
    line = line.replace("HERE", str(plugin.parent)).replace("PLUGIN", str(plugin))
    arguments, variables = [], {}
    for word in line.split():
        name, equals, value = word.partition("=")
        if equals and name.isupper():
            variables[name] = value
        else:
            arguments.append(word)
    return arguments, variables


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "envlock", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )


def valid(text: str, schema: str) -> Any:
    document = json.loads(text)
    path = ROOT / "schemas" / f"{schema}-v1.schema.json"
    jsonschema.Draft202012Validator(json.loads(path.read_text())).validate(document)
    return document


@pytest.mark.parametrize(
    ("schema", "status", "said", "line"), CASES, ids=[line for *_, line in CASES]
)
def test_a_failed_run_in_json(
    schema: str, status: int, said: str, line: str, plugin: Path, tmp_path: Path
) -> None:
    arguments, variables = words(line, plugin)
    done = run(*arguments, "--format", "json", **variables)
    assert done.returncode == status, done.stderr
    document = valid(done.stdout, schema)
    assert said in json.dumps(document, ensure_ascii=False)
    if schema == "report":
        assert document["reports"]
        assert all(one["verdict"] is None for one in document["reports"])

    told = done.stderr.splitlines()
    assert told[0].startswith("envlock: ")
    assert said in told[0]
    assert all(line.startswith("hint: ") for line in told[1:]), done.stderr

    text = run(*arguments, "--format", "text", **variables)
    assert (text.returncode, text.stdout, text.stderr) == (status, "", done.stderr)

    if schema in ("show", "stamp", "compat", "atlas"):
        return  # these take no file to write the document to
    target = tmp_path / "failed.json"
    filed = run(*arguments, "--format", "json", "-o", target, **variables)
    assert (filed.returncode, filed.stdout, filed.stderr) == (status, "", done.stderr)
    assert json.loads(target.read_text()) == document


def test_no_command_is_forgotten() -> None:
    """Every command that can write JSON has a case above."""
    tried = {line.split()[0] for *_, line in CASES}
    for command in COMMANDS:
        words = [command, "list"] if command == "atlas" else [command]
        assert ("json" in run(*words, "--help").stdout.lower()) <= (command in tried), command


def test_where_the_document_cannot_be_written_both_errors_are_told(tmp_path: Path) -> None:
    target = tmp_path / "none" / "report.json"
    done = run("check", "x.so", "--policy", "/nope", "--format", "json", "-o", target)
    assert (done.returncode, done.stdout) == (UNREADABLE, "")
    assert "cannot read the policy `/nope`" in done.stderr
    assert f"cannot write `{target}`" in done.stderr


@pytest.mark.parametrize("form", ["markdown", "sarif", "junit", "html"])
@pytest.mark.parametrize("line", ["scan PLUGIN", "report PLUGIN", "diff HERE HERE", "drift"])
def test_other_formats_say_it_too(line: str, form: str, plugin: Path) -> None:
    arguments, _ = words(line, plugin)
    done = run(*arguments, "--policy", "/nope", "--format", form)
    assert done.returncode == UNREADABLE
    assert "cannot read the policy" in done.stdout
    assert "cannot read the policy" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
@pytest.mark.parametrize("name", [b"\xc3\xa9.so", b"\xff\xc3\xa9.so", "\U0001f600.so".encode()])
def test_json_is_json_whatever_stdout_can_hold(encoding: str, name: bytes) -> None:
    """Such names are in failed documents for certain: it is they that cannot be opened."""
    path = os.fsdecode(b"/nope/" + name)
    commands = (
        ("show", path),
        ("snapshot", "--env", path),
        ("diff", path, path),
        ("check", path, "--policy", "/nope"),
    )
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "envlock", *command, "--format", "json"],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        )
        assert done.returncode == UNREADABLE
        assert "/nope/" in repr(json.loads(done.stdout.decode(encoding)))
