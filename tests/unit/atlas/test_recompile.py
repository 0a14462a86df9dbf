"""Stamping by the sources: commands taken apart, objects found in the plugin, the same dependencies."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from envlock.actions.showing import read_manifest
from envlock.atlas.format import Atlas
from envlock.binary.elf import ElfFile
from envlock.models.dependencies import Dependencies
from envlock.models.errors import InputError
from envlock.plugin.dependencies.analyse import InterfaceFacts, dependencies
from envlock.plugin.dependencies.recompile import Command, belonging, read_database, read_line
from envlock.plugin.dependencies.sources import from_sources
from tests.support.building import build, command
from tests.support.environments import TfEnvironment
from tests.unit.atlas.framework import PLUGINS, Framework, strip
from tests.unit.atlas.own import ROOT, envlock

# --- command lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("g++ -O2 -c x.cc -o x.o", "g++ -O2"),
        ("g++ -shared -fPIC x.cc -o x.so -L/lib -l:libtf.so.2 -lm -s -Wl,-z,now", "g++ -fPIC"),
        ("g++ -shared -ox.so -fPIC x.cc other.o lib.a /lib/libz.so.1 -Xlinker -s", "g++ -fPIC"),
        ("ccache g++ -Wall x.cc", "g++ -Wall"),
        ("/usr/bin/env CCACHE_DIR=/c ccache /opt/bin/g++-12 -Wall x.cc", "/opt/bin/g++-12 -Wall"),
        ("g++ -MD -MF x.d -MT x.o -MMD -MP -MQ x -Wp,-MD,x.d -I inc x.cc", "g++ -I inc"),
        ("g++ -g0 -g -ggdb3 -gsplit-dwarf -gz -g1 -DN=1 x.cc", "g++ -DN=1"),
        ("g++ -flto=auto -ffat-lto-objects -fuse-linker-plugin -O3 x.cc", "g++ -O3"),
        ("g++ -save-temps -fdump-tree-all -fsyntax-only -O1 x.cc", "g++ -O1"),
        ("g++ -D A='b c' -isystem /i x.cc", "g++ -D 'A=b c' -isystem /i"),
        ("g++ -std=c++17 -include pre.h x.cc", "g++ -std=c++17 -include pre.h"),
    ],
)
def test_only_what_compiling_needs_is_kept(line: str, kept: str) -> None:
    (found,) = read_line(line, "/build")
    assert list(found.arguments) == shlex.split(kept)
    assert (found.source, found.path) == ("x.cc", "/build/x.cc")


def test_each_source_of_a_line_is_a_command() -> None:
    found = read_line("g++ -shared -fPIC a.cc sub/b.cpp c.o -o x.so", "/build")
    assert [one.path for one in found] == ["/build/a.cc", "/build/sub/b.cpp"]
    assert {one.output for one in found} == {"x.so"}


def test_a_language_option_makes_any_name_a_source() -> None:
    (found,) = read_line("g++ -x c++ kernel.inc lib.so.2 -c", "/build")
    assert (found.source, found.arguments) == ("kernel.inc", ("g++", "-x", "c++"))


def test_response_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "flags").write_text("-DONE='1 2' -o x.o\nx.cc")
    (found,) = read_line("g++ @flags -O2", str(tmp_path))
    assert found.arguments == ("g++", "-DONE=1 2", "-O2")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "names no compiler"),
        ("ccache", "names no compiler"),
        ("g++ -shared x.o -o x.so", "names no C or C++ source"),
        ("cd build && g++ x.cc", "is a shell's command (`&&`)"),
        ("g++ x.cc $(python flags.py)", "is a shell's command (`$(python`)"),
        ("g++ 'x.cc", "is not a command line"),
    ],
)
def test_what_is_no_compiler_command_is_refused(line: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_line(line, "/build")
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def database(folder: Path, *entries: object) -> Path:
    path = folder / "compile_commands.json"
    path.write_text(json.dumps(list(entries)))
    return path


def test_a_database_has_commands_or_arguments_and_folders_of_its_own(tmp_path: Path) -> None:
    path = database(
        tmp_path,
        {"directory": "out", "file": "../a.cc", "command": "g++ -DX='1 2' -c ../a.cc -o a.o"},
        {"directory": "/abs", "file": "b.cc", "arguments": ["g++", "-DX=1 2", "-c", "b.cc"]},
        {"directory": "/abs", "file": "b.s", "arguments": ["as", "b.s"]},
    )
    first, second = read_database(str(path))
    assert (first.path, first.directory) == (str(tmp_path / "a.cc"), str(tmp_path / "out"))
    assert (second.path, second.output) == ("/abs/b.cc", None)
    assert first.arguments == second.arguments == ("g++", "-DX=1 2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "does not hold a list"),
        ("[]", "names no C or C++ source"),
        ("[1]", "entry 0 of"),
        ('[{"file": "x.cc"}]', "neither `arguments` nor `command`"),
        ('[{"file": 1, "command": "g++"}]', "no `directory` and `file`"),
        ('[{"file": "x.cc", "arguments": [1]}]', "neither `arguments` nor `command`"),
        ('[{"file": "x\\u0000.cc", "command": "g++ x.cc"}]', "no `directory` and `file`"),
    ],
)
def test_a_damaged_database_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "compile_commands.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_database(str(path))
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_the_plugins_own_commands_are_chosen() -> None:
    def made(source: str, output: str) -> Command:
        return Command("/build", (), ("g++",), source, output)

    ops = [made("ops/a.cc", "CMakeFiles/ops.dir/a.o"), made("ops/b.cc", "CMakeFiles/ops.dir/b.o")]
    test = made("tests/t.cc", "CMakeFiles/tests.dir/t.o")
    every = [*ops, test]
    assert belonging(every, "/x/libops.so", ["crtstuff.c", "t.cc"]) == [test]
    assert belonging(every, "/x/libops.so", []) == ops
    assert belonging(every, "/x/ops.so", ["crtstuff.c"]) == ops
    assert belonging(every, "/x/other.so", []) == every


# --- the objects and the plugin ----------------------------------------------------------------


def line(framework: Framework, source: Path, *flags: str) -> str:
    """How `Framework.build` compiles a source, as a command line."""
    words = ["g++", "-shared", "-fPIC", "-w", str(source), "-o", "x.so"]
    return shlex.join([*words, f"-I{framework.include}", "-O2", *flags, str(framework.library)])


def by_sources(
    plugin: Path, commands: Sequence[Command], atlas: Atlas
) -> tuple[Dependencies, tuple[str, ...]]:
    release = atlas.find("9.1.0")
    assert release is not None
    with ElfFile.open(plugin) as elf:
        evidence, notes = from_sources(elf, commands)
        return dependencies(evidence, atlas, release), notes


def by_itself(plugin: Path, atlas: Atlas) -> Dependencies:
    release = atlas.find("9.1.0")
    assert release is not None
    with ElfFile.open(plugin) as elf:
        return dependencies(InterfaceFacts(elf), atlas, release)


@pytest.mark.parametrize(
    ("name", "form"), [("overrides", "full"), *((name, "stripped") for name in PLUGINS)]
)
def test_sources_tell_what_a_build_with_debug_information_tells(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path, name: str, form: str
) -> None:
    debug = releases[1].build(name, tmp_path / "debug.so", "-g")
    plugin = releases[1].build(name, tmp_path / "plugin.so")
    commands = read_line(line(releases[1], tmp_path / "plugin.cc"))
    if form == "stripped":
        plugin = strip(plugin, tmp_path / "stripped.so")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    found, notes = by_sources(plugin, commands, atlas)
    assert found == by_itself(debug, atlas)
    assert (found.evidence, notes) == ("dwarf", ())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


SECOND = """
#include "tensorflow/core/framework/op_kernel.h"
long second(tensorflow::OpKernelContext* ctx) {
  return ctx->num_inputs() * 3 + 0 * ctx->Describe();
}
"""


def two_sources(framework: Framework, folder: Path) -> tuple[Path, list[Command]]:
    """A plugin of two sources of which one uses the framework inline; and their commands."""
    (folder / "second.cc").write_text(SECOND)
    (folder / "first.cc").write_text("long twice(long n) { return 2 * n + (n >> 3) * (n & 5); }\n")
    both = [folder / "first.cc", folder / "second.cc"]
    words = line(framework, both[0]).replace("x.so", str(folder / "two.so"))
    subprocess.run([*shlex.split(words), str(both[1])], check=True)
    return folder / "two.so", [c for source in both for c in read_line(line(framework, source))]


def test_a_source_of_another_plugin_is_left_out(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin, commands = two_sources(releases[1], tmp_path)
    other = releases[1].build("calls_virtual", tmp_path / "other.so").with_suffix(".cc")
    stripped = strip(plugin, tmp_path / "stripped.so")
    found, notes = by_sources(stripped, [*commands, *read_line(line(releases[1], other))], atlas)
    assert found.evidence == "dwarf"
    assert found == by_sources(stripped, commands, atlas)[0]
    (note,) = notes
    assert note == f"what `{other}` compiles to is not in the plugin, left out"


def test_where_a_source_is_missing_the_machine_code_counts_too(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin, commands = two_sources(releases[1], tmp_path)
    found, notes = by_sources(plugin, commands[:1], atlas)
    assert found.evidence == "code"
    assert "1 of the plugin's 2 functions are not what these sources compile to" in notes[0]
    params = {use.name: use.members for use in found.classes}["tensorflow::OpKernelContext::Params"]
    assert any(member.startswith("inputs=8") for member in params)


def test_other_flags_than_the_builds_are_noticed(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin = releases[1].build("overrides", tmp_path / "plugin.so")
    own = read_line(line(releases[1], tmp_path / "plugin.cc", "-DNDEBUG"))
    others = read_line(line(releases[1], tmp_path / "plugin.cc", "-O0", "-DNDEBUG"))
    found, notes = by_sources(plugin, others, atlas)
    assert found.evidence == "code"
    assert "flags or compiler" in notes[0]
    with ElfFile.open(plugin) as elf:
        assert "-DNDEBUG" in from_sources(elf, own)[0].commands[0][1]
        assert from_sources(elf, others)[0].commands == []


def test_code_made_by_the_linker_cannot_be_compared(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    hidden = '__attribute__((visibility("hidden"))) long far(long n)'
    (tmp_path / "far.cc").write_text(f"{hidden} {{ return 2 * n + (n >> 3) * (n & 5); }}\n")
    source = releases[1].build("reads_moved", tmp_path / "plugin.so").with_suffix(".cc")
    text = source.read_text().replace("return ", "return far(2) + ")
    source.write_text(text.replace('extern "C"', f'{hidden};\nextern "C"'))
    words = line(releases[1], source, "-flto").replace("x.so", str(tmp_path / "late.so"))
    subprocess.run([*shlex.split(words), str(tmp_path / "far.cc")], check=True)
    found, notes = by_sources(
        tmp_path / "late.so", read_line(f"{words} {tmp_path / 'far.cc'}"), atlas
    )
    assert found.evidence == "code"
    assert "made by the linker (`-flto`)" in notes[-1]
    members = {use.name: use.members for use in found.classes}
    assert any(m.startswith("inputs=8") for m in members["tensorflow::OpKernelContext::Params"])


def test_sources_of_another_plugin_alone_are_refused(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin = releases[1].build("overrides", tmp_path / "plugin.so")
    other = releases[1].build("reads_moved", tmp_path / "other.so", "-Drun=another")
    command = read_line(line(releases[1], other.with_suffix(".cc"), "-Drun=another"))
    with pytest.raises(InputError, match="is not in the plugin, so nothing is known of"):
        by_sources(strip(plugin, tmp_path / "stripped.so"), command, atlas)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("g++ -fPIC -I{include} broken.cc", "`broken.cc` does not compile: broken.cc:2:"),
        ("g++ -fPIC absent.cc", "`absent.cc` does not compile: "),
        ("/nonexistent/g++ ok.cc", "`/nonexistent/g++` cannot be run: No such file or directory"),
        ("false ok.cc", "the compiler says nothing"),
        ("true ok.cc", "`ok.cc` does not compile"),
    ],
)
def test_a_failing_compiler_is_one_line_with_the_source_and_its_first_error(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "broken.cc").write_text("int fine;\nnot c++ at all;\nint neither this;\n")
    (tmp_path / "ok.cc").write_text("int fine;\n")
    plugin = releases[1].build("overrides", tmp_path / "plugin.so")
    commands = read_line(line.format(include=releases[1].include), str(tmp_path))
    with pytest.raises(InputError) as caught:
        by_sources(plugin, commands, atlas)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_folder_that_is_gone_is_named(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin = releases[1].build("overrides", tmp_path / "plugin.so")
    gone = read_line("g++ x.cc", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=f"there is no folder `{tmp_path / 'gone'}`"):
        by_sources(plugin, gone, atlas)


# --- the command, on real plugins --------------------------------------------------------------

RELEASE = "2.18.1"
ZERO_OUT = ROOT / "examples" / "zero_out" / "zero_out.cc"


def abi_of(plugin: Path) -> Dependencies:
    found = read_manifest(plugin).abi
    assert found is not None
    return found


def stamp(plugin: Path, env: TfEnvironment, *more: object) -> str:
    done = envlock("stamp", plugin, "--env", env.prefix, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_zero_out_by_its_command_line(
    tf_env: Callable[[str], TfEnvironment], tool: Callable[[str], str], tmp_path: Path
) -> None:
    env = tf_env(RELEASE)
    debug, plugin = tmp_path / "debug.so", tmp_path / "zero_out.so"
    shutil.copy(build(ZERO_OUT, env, flags=["-g"]), debug)
    shutil.copy(build(ZERO_OUT, env), plugin)
    stamp(debug, env)
    words = shlex.join([*command(ZERO_OUT, env), "-o", "zero_out.so", "-MD", "-MF", "zero_out.d"])
    said = stamp(plugin, env, "--compile-command", words)
    assert "note:" not in said
    assert abi_of(plugin) == abi_of(debug)
    assert abi_of(plugin).evidence == "dwarf"
    stripped = tmp_path / "stripped.so"
    subprocess.run([tool("strip"), "-o", str(stripped), str(plugin)], check=True)
    assert stripped.stat().st_size < plugin.stat().st_size
    assert abi_of(stripped) == abi_of(debug)
    assert not list(tmp_path.glob("*.[od]"))


def test_a_conformance_op_by_its_compilation_database(
    tf_env: Callable[[str], TfEnvironment], tool: Callable[[str], str], tmp_path: Path
) -> None:
    env = tf_env(RELEASE)
    op = "inline_readers"
    debug, plugin = tmp_path / "debug.so", tmp_path / "op.so"
    shutil.copy(build(op, env, flags=["-g"]), debug)
    subprocess.run([tool("strip"), "-o", str(plugin), str(build(op, env))], check=True)
    stamp(debug, env)
    words = command(op, env)
    (source,) = [word for word in words if word.endswith(".cc")]
    path = database(
        tmp_path,
        {
            "directory": os.path.relpath(Path(source).parent, tmp_path),
            "file": Path(source).name,
            "arguments": [Path(word).name if word == source else word for word in words],
        },
    )
    said = stamp(plugin, env, "--compile-commands", path)
    assert "note:" not in said
    assert abi_of(plugin) == abi_of(debug)


def test_a_source_that_does_not_compile_leaves_the_plugin_alone(
    tf_env: Callable[[str], TfEnvironment], tmp_path: Path
) -> None:
    env = tf_env(RELEASE)
    plugin, source = tmp_path / "zero_out.so", tmp_path / "zero_out.cc"
    shutil.copy(build(ZERO_OUT, env), plugin)
    before = plugin.read_bytes()
    source.write_text('#include "absent.h"\n')
    done = envlock(
        *("stamp", plugin, "--env", env.prefix, "--format", "json"),
        *("--compile-command", f"g++ -c {source}"),
    )
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["written"]) == (3, False)
    assert answer["error"]["message"].startswith(f"`{source}` does not compile: {source}:1:")
    assert "absent.h: No such file or directory" in answer["error"]["message"]
    assert plugin.read_bytes() == before
