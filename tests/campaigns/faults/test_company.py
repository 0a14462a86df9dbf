"""Others that use the file at the same time: more stamps, and a process that has it loaded."""

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

import envlock
from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.binary.elf.notes import find_stamp
from tests.campaigns.faults.scene import OTHER, PAYLOAD, Scene
from tests.campaigns.faults.tracing import Call, Order, trace
from tests.support import environments
from tests.support.building import build
from tests.support.elves import ANSWER, call
from tests.support.environments import TfEnvironment

ROOT = Path(__file__).resolve().parents[3]
MANY = """
import sys
from envlock.models.errors import WriteError
from envlock.actions.stamp_writing import write_stamp
import envlock.binary.elf.dynamic
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    payload = b'{"from":%d,"number":%d,"more":"%s"}' % (
        int(sys.argv[2]), number, b"x" * (number * 300))
    try:
        write_stamp(sys.argv[1], None, payload)
        print("written")
    except WriteError as error:
        print(error.message)
"""


def payload_of(plugin: Path) -> bytes:
    with ElfFile.open(plugin) as elf:
        stamp = find_stamp(elf)
    assert stamp is not None
    return stamp.payload


def test_many_stamps_at_once(tmp_path: Path, library: Path) -> None:
    """Each either writes or says that another was faster; no reader ever sees half a file."""
    plugin = Path(shutil.copy(library, tmp_path / "plugin.so"))
    write_stamp(plugin, None, PAYLOAD)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, plugin, str(number)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    original = library.read_bytes()
    looks = 0
    while any(child.poll() is None for child in children) or not looks:
        found = plugin.read_bytes()
        assert found[64 : len(original)] == original[64:]
        with ElfFile.open(plugin) as elf:
            stamp = find_stamp(elf)
        assert stamp is not None
        json.loads(stamp.payload)
        looks += 1
    said = [line for child in children for line in child.communicate()[0].splitlines()]
    assert len(said) == 120
    refused = [line for line in said if line != "written"]
    assert all("was changed by another program while it was being stamped" in r for r in refused)
    assert "written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["plugin.so"]
    assert call(plugin) == ANSWER


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("step", ["openat", "copy_file_range", "fsync", "linkat", "rename"])
def test_a_second_stamp_between_two_steps(step: str, tmp_path: Path, library: Path) -> None:
    """The first one is stopped right before a step while the second one is made from end to end."""
    scene = Scene("in place", tmp_path / "scene", library)
    second: list[bool] = []

    def decide(at: Call) -> Order:
        if (
            at.name == step
            and not second
            and (step != "openat" or at.paths == (str(scene.folder),))
        ):
            second.append(write_stamp(scene.source, None, OTHER).changed)
        return None

    traced = trace(scene.work, decide)
    assert second == [True]
    assert scene.litter() == []
    if step in ("linkat", "rename"):
        # Behind the last look at the file: the later name wins, and both were whole.
        assert traced.said == "written"
        assert payload_of(scene.source) == PAYLOAD
    else:
        assert "was changed by another program" in (traced.said or "")
        assert payload_of(scene.source) == OTHER
    assert call(scene.source) == ANSWER


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("kind", ["in place", "new output", "replaced output"])
def test_a_source_that_is_rewritten_behind_the_copy(
    kind: str, tmp_path: Path, library: Path
) -> None:
    """The copy is of the old build then, whole and no longer wanted."""
    scene = Scene(kind, tmp_path / "scene", library)
    rebuilt: list[bytes] = []

    def decide(at: Call) -> Order:
        if at.name == "fsync" and not rebuilt:
            time.sleep(0.02)  # more than the clock's step for modification times
            rebuilt.append(scene.source.read_bytes())
            scene.source.write_bytes(rebuilt[0])
        return None

    said = trace(scene.work, decide).said
    assert f"`{scene.source}` was changed by another program" in (said or "")
    assert scene.state() == "old"
    assert scene.litter() == []


@pytest.mark.usefixtures("traced")
def test_a_file_that_is_truncated_while_it_is_read(tmp_path: Path, library: Path) -> None:
    """What is mapped and not there any more kills every reader; nothing is written then."""
    scene = Scene("replaced output", tmp_path / "scene", library)

    def decide(at: Call) -> Order:
        if at.name == "access":
            os.truncate(scene.source, 0)
        return None

    assert trace(scene.work, decide).said is None
    assert scene.state() == "old"
    assert scene.litter() == []


IN_USE = """
import os, sys
import tensorflow as tf
path, other = sys.argv[1:]
module = tf.load_op_library(path)
mapped = lambda: [l.split(maxsplit=5)[5].strip() for l in open("/proc/self/maps") if path in l]
assert mapped()[0] == path
print(module.envlock_minimal(x=[1, 2, -3]).numpy().tolist(), flush=True)
sys.stdin.readline()
print(mapped()[0], flush=True)
print(module.envlock_minimal(x=[10]).numpy().tolist(), flush=True)
f = tf.function(lambda x: module.envlock_minimal(x=x))
print(f(tf.constant([1, 2])).numpy().tolist(), flush=True)
print(tf.load_op_library(path) is module, flush=True)
"""
LOAD = """
import sys
import tensorflow as tf
print(tf.load_op_library(sys.argv[1]).envlock_minimal(x=[1, 2, -3]).numpy().tolist())
"""


@pytest.mark.xdist_group("tensorflow")
def test_a_running_tensorflow_has_it_loaded(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """The process goes on with the file that it has mapped, a new one gets the stamped one."""
    env = tf_env("2.15.1")
    plugin = Path(shutil.copy(build("minimal", env), tmp_path / "minimal.so"))
    before = plugin.stat().st_ino
    child = subprocess.Popen(
        [env.python, "-c", IN_USE, plugin, str(tmp_path)],
        env={**environments.clean_environ(), **environments.QUIET},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "[4, 7, -8]\n"
    envlock.stamp(plugin, env=env.prefix)
    assert plugin.stat().st_ino != before
    said, _ = child.communicate("\n")
    assert child.returncode == 0
    assert said.splitlines() == [f"{plugin} (deleted)", "[31]", "[4, 7]", "True"]
    report = envlock.check(plugin, env=env.prefix)
    assert (report.verdict, report.plugin.stamp) == ("compatible", "appended")
    done = env.run("-c", LOAD, str(plugin))
    assert done.stdout == "[4, 7, -8]\n", done.stderr
