"""What a stamp takes from the compile command where the plugin's own file says nothing."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from envlock import read_manifest, stamp
from envlock.models.manifest import Compilation
from envlock.plugin.compilation import completed
from tests.support.building import flags_of
from tests.support.environments import TfEnvironment

ZERO_OUT = Path(__file__).resolve().parents[3] / "examples" / "zero_out" / "zero_out.cc"
FLAGS = ("-O2", "-DNDEBUG", "-march=haswell")
NAMED = ("eigen_max_align_bytes", "flags", "march", "ndebug")


def compiled(
    folder: Path,
    words: Sequence[str],
    source: Path,
    *,
    link: Sequence[str] = (),
    strip: bool = True,
) -> tuple[Path, list[str]]:
    """A source compiled as users do it, stripped; and the command."""
    plugin = folder / "plugin.so"
    command = ["g++", "-shared", "-fPIC", "-w", *words, str(source), "-o", str(plugin), *link]
    subprocess.run(command, check=True)
    if strip:
        subprocess.run(["strip", "--strip-all", "-R", ".comment", plugin], check=True)
    return plugin, command


@pytest.fixture(scope="module")
def example(
    tf_env: Callable[[str], TfEnvironment], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], TfEnvironment]:
    env = tf_env("2.15.1")
    folder, ours = tmp_path_factory.mktemp("example"), flags_of(env)
    words = [*ours.compile, *FLAGS, "-DEIGEN_MAX_ALIGN_BYTES=32"]
    return (*compiled(folder, words, ZERO_OUT, link=ours.link), env)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """What takes no TensorFlow to compile."""
    source = tmp_path / "small.cc"
    source.write_text('extern "C" long answer(long n) { return 2 * n + (n >> 3) * (n & 5); }\n')
    return source


@pytest.mark.parametrize("form", ["command", "database"])
def test_a_stripped_plugin_is_stamped_with_what_its_command_says(
    form: str, example: tuple[Path, list[str], TfEnvironment], tmp_path: Path
) -> None:
    built, command, env = example
    plugin = Path(shutil.copy(built, tmp_path))
    stamp(plugin, env=env.prefix)
    alone = read_manifest(plugin).plugin
    assert alone is not None
    assert {getattr(alone.compilation, name) for name in NAMED} == {None, ()}
    assert alone.compilation.from_command == ()
    if form == "command":
        stamp(plugin, env=env.prefix, compile_command=[shlex.join(command)])
    else:
        database = tmp_path / "compile_commands.json"
        entry = {"directory": str(tmp_path), "file": str(ZERO_OUT), "arguments": command}
        database.write_text(json.dumps([entry]))
        stamp(plugin, env=env.prefix, compile_commands=database)
    found = read_manifest(plugin).plugin
    assert found is not None
    made = found.compilation
    assert (made.ndebug, made.march, made.eigen_max_align_bytes) == (True, "haswell", 32)
    # TensorFlow's own -DEIGEN_MAX_ALIGN_BYTES=64 comes first on the line, so it does not hold.
    assert made.flags == (
        "-DEIGEN_MAX_ALIGN_BYTES=32",
        "-DNDEBUG",
        "-D_GLIBCXX_USE_CXX11_ABI=1",
        "-march=haswell",
        "-std=c++17",
    )
    assert made.from_command == NAMED
    assert made.some_flags == ()


def test_what_the_file_tells_is_not_told_by_the_command(
    small: Path, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    plugin, command = compiled(tmp_path, [*FLAGS, "-g"], small, strip=False)
    stamp(plugin, env=tf_env("2.15.1").prefix, compile_command=[shlex.join(command)])
    found = read_manifest(plugin).plugin
    assert found is not None
    assert found.compilation.march == "haswell"
    assert found.compilation.from_command == ("flags", "ndebug")


def test_the_processor_behind_native_is_recorded(
    small: Path, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    plugin, command = compiled(tmp_path, ["-O2", "-march=native"], small)
    stamp(plugin, env=tf_env("2.15.1").prefix, compile_command=[shlex.join(command)])
    found = read_manifest(plugin).plugin
    assert found is not None
    assert found.compilation.march not in (None, "native")


def told(*commands: str, found: Compilation | None = None) -> Compilation:
    return completed(found or Compilation(), [((), shlex.split(one)) for one in commands])


def test_the_last_flag_about_a_thing_holds() -> None:
    line = "-D NDEBUG -march=native -UNDEBUG -mavx -mno-avx -march=core2 -std=c++14 --std=c++17"
    made = told(line)
    assert made.flags == ("-UNDEBUG", "-march=core2", "-mno-avx", "-std=c++17")
    assert (made.ndebug, made.march, made.cxx_standard) == (False, "core2", 17)


def test_a_flag_inside_another_argument_is_none() -> None:
    made = told("'-DTEXT=a -DNDEBUG -march=haswell'")
    assert (made.flags, made.ndebug, made.march) == ((), False, None)


def test_sources_that_differ_claim_nothing_of_the_whole() -> None:
    made = told(
        "-DNDEBUG -mavx512f -DEIGEN_MAX_ALIGN_BYTES=64 -march=haswell", "-mavx -march=haswell"
    )
    assert (made.ndebug, made.eigen_max_align_bytes, made.march) == (None, None, "haswell")
    assert made.some_flags == ("-mavx", "-mavx512f")
    assert "-DNDEBUG" in made.flags


def test_the_files_own_evidence_stays() -> None:
    own = Compilation(flags=("-march=core2",), march="core2", ndebug=False)
    made = told("-DNDEBUG -march=haswell -DEIGEN_MAX_ALIGN_BYTES=16", found=own)
    assert (made.march, made.ndebug, made.eigen_max_align_bytes) == ("core2", False, 16)
    assert made.from_command == ("eigen_max_align_bytes", "flags")
