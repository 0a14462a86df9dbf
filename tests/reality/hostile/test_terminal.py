"""Names that hold line breaks and what steers terminals: shown as escapes, one line each."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.loader import _enforce
from envlock.actions.stamp_writing import write_stamp
from envlock.cli import main
from envlock.models.errors import EnvlockError, IncompatiblePluginError, InputError, StampRefused
from envlock.models.policy import DEFAULT
from envlock.models.registration import KernelRecord, OpRecord, Registrations
from envlock.plugin.manifest import encode_manifest
from envlock.report.formats import SUFFIXES
from tests.reality.hostile.manifests import manifest
from tests.support import bombs
from tests.support.elves import compile_library
from tests.support.environments import TfEnvironment

#: A report's line, an error's line and a colour, as a name may hold them.
FORGED = "forged.so: compatible"
EVIL = f"l\x1b[31m\r\n{FORGED}\nenvlock: fine\u202e\x9b.so"
SHOWN = r"l\x1b[31m\r\nforged.so: compatible\nenvlock: fine\u202e\x9b.so"


def refused_by_dlopen(path: Path) -> Path:
    """A plugin that needs a library of that name."""
    name = EVIL.encode().replace(b"/", b"")
    path.write_bytes(bombs.shared_library(b"\0" + name + b"\0", entries=[(bombs.NEEDED, 1)]))
    return path


def with_names(path: Path) -> Path:
    """A plugin whose manifest has such names everywhere."""
    compile_library(path.with_name("plain.so")).rename(path)
    recorded = manifest()
    assert recorded.tensorflow is not None
    found = Registrations(
        source="file",
        ops=(OpRecord(name=EVIL), OpRecord(name=EVIL)),
        kernels=(KernelRecord(op=EVIL, device=EVIL),) * 2,
        limits=(EVIL,),
    )
    changed = recorded.replace(
        generator=EVIL,
        plugin=recorded.plugin.replace(name=EVIL, soname=EVIL, needed=(EVIL,)),
        tensorflow=recorded.tensorflow.replace(version=EVIL, distribution=EVIL),
        registrations=found,
    )
    write_stamp(path, None, encode_manifest(changed))
    return path


def harmless(said: str, *, html: bool = False) -> None:
    """No line of its own for anything that a name holds, and nothing that is not printable."""
    for line in said.splitlines():
        assert html or line.isprintable(), line
        assert not line.strip("<>/ `#*|-").startswith((FORGED, "envlock: fine")), line
    assert "\x1b" not in said
    assert "\r" not in said


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat", "scan"])
@pytest.mark.parametrize("make", [refused_by_dlopen, with_names])
def test_names_in_the_file(
    make: Callable[[Path], Path],
    command: str,
    tmp_path: Path,
    environment: TfEnvironment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make(tmp_path / "plugin.so")
    options = ["--env", str(environment.prefix)] if command in ("check", "stamp", "scan") else []
    status = main([command, *options, str(path)])
    said = capsys.readouterr()
    assert status in (0, 1, 3)
    harmless(said.out)
    harmless(said.err)
    if command in ("show", "check", "scan"):
        assert SHOWN in said.out + said.err


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize("make", [refused_by_dlopen, with_names])
def test_names_in_reports(
    make: Callable[[Path], Path], suffix: str, tmp_path: Path, environment: TfEnvironment
) -> None:
    path, output = make(tmp_path / "plugin.so"), tmp_path / f"report{suffix}"
    env = str(environment.prefix)
    assert main(["scan", "--env", env, str(path), "-o", str(output)]) in (0, 1, 3)
    # Programs read JSON; its strings have escapes of their own.
    if suffix != ".json":
        harmless(output.read_text(), html=suffix == ".html")


@pytest.mark.parametrize("command", ["show", "check", "stamp", "compat", "scan", "report", "diff"])
@pytest.mark.parametrize("content", [b"not ELF", None])
def test_the_name_of_the_file(
    content: bytes | None,
    command: str,
    tmp_path: Path,
    environment: TfEnvironment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / EVIL
    if content is not None:
        path.write_bytes(content)
    options = ["--env", str(environment.prefix)] if command in ("check", "stamp", "scan") else []
    status = main([command, *options, str(path), *([str(path)] if command == "diff" else [])])
    said = capsys.readouterr()
    assert status in (0, 3)
    harmless(said.out)
    harmless(said.err)


def test_the_hint_of_an_error(
    tmp_path: Path, environment: TfEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    path = compile_library(tmp_path / "plain.so").rename(tmp_path / EVIL)
    path.chmod(0o444)
    assert main(["stamp", "--env", str(environment.prefix), str(path)]) == 3
    said = capsys.readouterr().err
    harmless(said)
    assert said.count("\n") == 2
    assert f"hint: `chmod u+w '{tmp_path}/{SHOWN}'`" in said


def test_a_stamp_that_is_refused(
    tmp_path: Path, environment: TfEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = compile_library(
        tmp_path / "plain.so", source="int nowhere(void); int answer(int a) { return nowhere(); }"
    )
    path = whole.rename(tmp_path / EVIL)
    assert main(["stamp", "--env", str(environment.prefix), str(path)]) == 1
    said = capsys.readouterr().err
    harmless(said)
    assert said.startswith(f"envlock: `{tmp_path}/{SHOWN}` was not stamped: ")


def test_the_gate(tmp_path: Path, environment: TfEnvironment) -> None:
    from envlock.actions.checking import check

    path = refused_by_dlopen(tmp_path / EVIL)
    with pytest.raises(IncompatiblePluginError) as caught:
        _enforce(check(path, env=str(environment.prefix)), DEFAULT)
    harmless(str(caught.value))
    shutil.copy(compile_library(tmp_path / "plain.so"), path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _enforce(check(path, env=str(environment.prefix)), DEFAULT)
    assert told
    for one in told:
        harmless(str(one.message))


def test_what_the_command_line_names(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [EVIL],
        ["check", "--" + EVIL],
        ["check", "x.so", "--format", EVIL],
        ["check", "x.so", "--env", os.path.join("/nonexistent", EVIL)],
        ["check", "x.so", "--policy", EVIL],
        ["history", "--store", "/nonexistent/" + EVIL],
    ):
        assert main(arguments) in (0, 2, 3)
        said = capsys.readouterr()
        harmless(said.out)
        harmless(said.err)


def test_errors_keep_only_their_own_lines() -> None:
    for error in (
        InputError(EVIL, hint=EVIL),
        EnvlockError("x", hint="a\nb"),
    ):
        assert error.message.isprintable()
        assert error.hint is not None
        assert error.hint.isprintable()
    refused = StampRefused("first\nsecond\x1b[31m", None, hint="a\nb")  # type: ignore[arg-type]
    assert refused.message == "first\nsecond\\x1b[31m"
    assert refused.hint == "a\\nb"
