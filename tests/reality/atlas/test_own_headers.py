"""Stamps of real ops hold what their own debug information says against TensorFlow's headers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import envlock
from envlock.binary.elf import ElfFile
from envlock.inventory.plugins import is_plugin
from tests.support import building
from tests.support.building import build
from tests.support.environments import TfEnvironment
from tests.support.reality import Trial, judge

ZERO_OUT = Path(__file__).resolve().parents[3] / "examples" / "zero_out" / "zero_out.cc"
RELEASE = "2.15.1"


def test_a_build_that_changes_layouts_is_no_build_of_this_environment(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """`-D_GLIBCXX_DEBUG` links, loads, and corrupts memory in its own build environment."""
    env = tf_env(RELEASE)
    plugin = tmp_path / "debug.so"
    shutil.copy(build(ZERO_OUT, env, flags=["-g", "-D_GLIBCXX_DEBUG"]), plugin)
    with pytest.raises(envlock.StampRefused, match="cannot use it safely") as refused:
        envlock.stamp(plugin, env=env.prefix)
    assert refused.value.report.verdict == "unsafe"
    assert "abi-class-size" in {finding.rule for finding in refused.value.report.findings}
    forced = envlock.stamp(plugin, env=env.prefix, force=True)
    assert forced.manifest is not None
    assert forced.manifest.forced
    assert envlock.check(plugin, env=env.prefix).verdict == "unsafe"


def test_a_weaker_stamp_says_what_it_loses(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(RELEASE)
    plugin = tmp_path / "op.so"
    shutil.copy(build(ZERO_OUT, env, flags=["-g"]), plugin)
    assert envlock.stamp(plugin, env=env.prefix).notes == ()
    subprocess.run(["strip", str(plugin)], check=True)
    (note,) = envlock.stamp(plugin, env=env.prefix).notes
    assert "was known from its debug information before" in note


@pytest.mark.parametrize("strip", [False, True])
def test_a_plugin_that_exports_nothing_is_read_all_the_same(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment], strip: bool
) -> None:
    """GNU ld's hash table then says that there is one symbol; dlopen goes by the relocations."""
    script = tmp_path / "nothing.map"
    script.write_text("{ local: *; };\n")
    built, live = tf_env("2.18.1"), tf_env("2.16.2")
    command = [*building.command("inline_readers", built), f"-Wl,--version-script={script}"]
    plugin = tmp_path / "closed.so"
    subprocess.run([*command, "-o", str(plugin)], check=True)
    if strip:
        subprocess.run(["strip", str(plugin)], check=True)
    outcome = judge([Trial(plugin, "inline_readers")], live)[0]
    assert outcome.dangerous
    with ElfFile.open(plugin) as elf:
        assert len(elf.dynamic.symbols) > 20
        assert is_plugin(elf)
    assert envlock.check(plugin, env=live.prefix).verdict == "unsafe"
    assert envlock.check(plugin, env=built.prefix).verdict == "compatible"


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_code_that_hides_what_it_reads_is_listed_as_unchecked(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment], level: str
) -> None:
    env = tf_env(RELEASE)
    plugin = tmp_path / "op.so"
    shutil.copy(build(ZERO_OUT, env, flags=[level]), plugin)
    subprocess.run(["strip", str(plugin)], check=True)
    unchecked = envlock.check(plugin, env=env.prefix).unchecked
    assert any("-O0" in one.why for one in unchecked) == (level == "-O0")
    assert envlock.stamp(plugin, env=env.prefix).manifest is not None
    again = envlock.check(plugin, env=tf_env("2.13.1").prefix).unchecked
    assert any("-O0" in one.why for one in again) == (level == "-O0")
