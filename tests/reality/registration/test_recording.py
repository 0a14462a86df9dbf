"""`envlock stamp --record-ops`, and what the file itself shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock import check
from envlock.binary.elf import ElfFile
from envlock.environment.live import Environment
from envlock.models.registration import OpRecord, Registrations, TypeConstraint
from envlock.plugin.registrations.reading import read_registrations
from envlock.plugin.registrations.recording import record_registrations
from tests.reality.registration.plugins import MACROS, SOURCE, plugin
from tests.support.building import build
from tests.support.environments import TfEnvironment

ZERO_OUT = Path(__file__).resolve().parents[3] / "examples" / "zero_out" / "zero_out.cc"


def envlock(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "envlock", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def recorded(path: Path, env: TfEnvironment, timeout: float = 60) -> Registrations:
    with ElfFile.open(path) as elf:
        return record_registrations(elf, Environment.open(env.prefix), timeout=timeout)


def shown(path: Path) -> Registrations:
    with ElfFile.open(path) as elf:
        return read_registrations(elf)


@pytest.mark.parametrize("version", ["2.8.4", "2.20.0"])
def test_the_stamp_holds_ops_and_kernels(
    version: str, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(version)
    path = tmp_path / "zero_out.so"
    shutil.copy(build(ZERO_OUT, env), path)
    answer = envlock("stamp", path, "--env", env.prefix, "--record-ops", "--format", "json")
    found = json.loads(answer)["manifest"]["registrations"]
    assert found["source"] == "loaded"
    assert found["tensorflow"] == version
    assert found["ops"] == [
        {
            "name": "ZeroOut",
            "inputs": ["values: T"],
            "outputs": ["zeroed: T"],
            "attrs": ["T: {int32, float, double} = DT_INT32", "keep: int >= 0 = 0"],
            "stateful": False,
        }
    ]
    assert [(k["op"], k["device"], k["constraints"]) for k in found["kernels"]] == [
        ("ZeroOut", "CPU", [{"attr": "T", "types": [name]}])
        for name in ("double", "float", "int32")
    ]
    assert found["limits"] == []
    # The file shows the same, but for the definition of the op.
    from_file = shown(path)
    assert from_file.source == "file"
    assert from_file.ops == (OpRecord(name="ZeroOut"),)
    assert [k.constraints for k in from_file.kernels] == [
        (TypeConstraint(attr="T", types=(name,)),) for name in ("double", "float", "int32")
    ]
    # Without the option nothing is run, and the manifest says so.
    again = json.loads(envlock("stamp", path, "--env", env.prefix, "--format", "json"))
    assert again["manifest"]["registrations"]["source"] == "file"
    assert again["manifest"]["registrations"]["ops"][0]["inputs"] is None


@pytest.mark.parametrize("version", ["2.8.4", "2.15.1", "2.20.0"])
def test_the_file_shows_what_it_registers(
    version: str, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(version)
    for name, macros in MACROS.items():
        found = shown(plugin(name, env))
        wanted = [macros[key] for key in ("FIRST", "OTHER") if key in macros]
        assert [f'"{op.name}"' for op in found.ops] == sorted(map(str, wanted)), name
        kernels = [macros[key] for key in ("OTHER", "KERNEL", "TYPED") if key in macros]
        assert [f'"{k.op}"' for k in found.kernels] == sorted(map(str, kernels)), name
        assert {k.device for k in found.kernels} == {"CPU"}
        if "TYPED" in macros:
            assert [k.priority for k in found.kernels] == [macros["PRIORITY"]]
        assert found.limits == ()
    (kernel,) = shown(plugin("addv2", env)).kernels
    assert kernel.constraints == (TypeConstraint(attr="T", types=("float",)),)


@pytest.mark.parametrize(
    "flags",
    [
        ["-O0"],
        ["-O3", "-fno-plt"],
        ["-fvisibility=hidden", "-fvisibility-inlines-hidden"],
    ],
    ids=["O0", "no-plt", "hidden"],
)
def test_however_it_was_compiled(flags: list[str], tf_env: Callable[[str], TfEnvironment]) -> None:
    found = shown(build(ZERO_OUT, tf_env("2.15.1"), flags=flags))
    assert [op.name for op in found.ops] == ["ZeroOut"]
    assert [(k.device, k.constraints) for k in found.kernels] == [
        ("CPU", (TypeConstraint(attr="T", types=(name,)),)) for name in ("double", "float", "int32")
    ]
    assert found.limits == ()


def test_the_c_functions(tf_env: Callable[[str], TfEnvironment]) -> None:
    found = shown(build("c_api", tf_env("2.15.1")))
    assert [op.name for op in found.ops] == ["EnvlockCApi"]
    assert [(k.op, k.device) for k in found.kernels] == [("EnvlockCApi", "CPU")]


CONSTRUCTOR = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void at_load(void) { %s }
"""
MISBEHAVIOUR = {
    "dies": ("raise(SIGSEGV);", "died of SIGSEGV while it was loaded"),
    "leaves": ("_exit(7);", "ended with status 7 while it was loaded"),
    "hangs": ("for (;;) pause();", "did not end within 2 s while it was loaded"),
    "daemon": ("if (fork() == 0) { for (;;) pause(); }", None),
    "prints": (
        'for (int i = 0; i < 20000; ++i) { puts("{}"); fputs("noise\\n", stderr); } fflush(stdout);'
        " for (int fd = 0; fd < 3; ++fd) close(fd);",
        None,
    ),
}


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
def test_a_plugin_that_misbehaves_harms_its_own_process_only(
    kind: str, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    body, reason = MISBEHAVIOUR[kind]
    source = tmp_path / "plugin.c"
    source.write_text(CONSTRUCTOR % body)
    path = tmp_path / "plugin.so"
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", path], check=True)
    handles = len(os.listdir("/proc/self/fd"))
    found = recorded(path, tf_env("2.15.1"), timeout=2 if kind == "hangs" else 60)
    if reason is None:
        assert found.source == "loaded"
        assert found.limits == ()
    else:
        assert found.source == "file"
        assert reason in found.limits[0]
    assert len(os.listdir("/proc/self/fd")) == handles
    for _ in range(50):
        if not _users_of(path):
            break
        time.sleep(0.1)
    assert _users_of(path) == []  # nothing that it started is left


def _users_of(path: Path) -> list[str]:
    """Processes that have the file mapped."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            maps = (process / "maps").read_text(errors="replace")
        except OSError:
            continue
        if str(path) in maps:
            found.append(process.name)
    return found


def test_a_plugin_that_cannot_be_loaded_is_read(
    tf_env: Callable[[str], TfEnvironment],
) -> None:
    old, new = tf_env("2.8.4"), tf_env("2.20.0")
    found = recorded(plugin("second", old), new)
    assert found.source == "file"
    assert "NotFoundError" in found.limits[0]
    assert [op.name for op in found.ops] == ["EnvlockOther", "EnvlockTwice"]


def test_an_ignored_op_is_recorded_all_the_same(tf_env: Callable[[str], TfEnvironment]) -> None:
    env = tf_env("2.15.1")
    found = recorded(plugin("builtin", env), env)
    assert found.source == "loaded"
    assert [(op.name, op.inputs) for op in found.ops] == [
        ("AddV2", None),
        ("EnvlockOther", ("x: float",)),
    ]
    assert "`AddV2`" in found.limits[0]


def test_kernels_for_different_values_of_an_attribute_do_not_compete(
    tf_env: Callable[[str], TfEnvironment],
) -> None:
    """Which values is not read, so nothing is claimed of them."""
    env = tf_env("2.15.1")
    path = build(SOURCE, env, flags=['-DREG_FIRST="EnvlockAttr"', '-DREG_ATTR="EnvlockAttr"'])
    assert [kernel.constraints for kernel in shown(path).kernels] == [None, None]
    report = check(path, env=env.prefix)
    assert "kernel-twice" not in {finding.rule for finding in report.findings}
    assert any("constraints of 2 kernels" in one.why for one in report.unchecked)
