"""Atlases of one's own TensorFlow: written by the command, found again, and used beside the shipped one."""

from __future__ import annotations

import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from envlock.actions.checking import Checker, check
from envlock.atlas.format import Atlas
from envlock.models.errors import InputError
from tests.support.descriptors import gives_back
from tests.unit.atlas.framework import Framework, strip
from tests.unit.atlas.own import ROOT, envlock, install


class World:
    """Two environments with a TensorFlow of their own, and the user's folders."""

    def __init__(self, root: Path, releases: dict[int, Framework]) -> None:
        self.root = root
        self.releases = releases
        self.envs = {
            number: install(one, root / f"env{number}") for number, one in releases.items()
        }
        self.atlases = {number: root / f"{number}.atlas" for number in releases}
        for number, path in self.atlases.items():
            done = self.run("atlas", "add", "--env", self.envs[number], "-o", path)
            assert done.returncode == 0, done.stderr
            assert f"tensorflow-own 9.{number}.0" in done.stdout
            assert f"export ENVLOCK_ATLAS={path}" in done.stdout

    def run(self, *arguments: object, atlas: str = "", home: Path | None = None) -> Any:
        """The command with an atlas at hand, and a user's folders of its own."""
        place = home or self.root / "home"
        return envlock(
            *arguments,
            ENVLOCK_ATLAS=atlas,
            XDG_DATA_HOME=str(place / "data"),
            XDG_CACHE_HOME=str((home or self.root) / "cache"),
        )

    @property
    def both(self) -> str:
        return ":".join(map(str, self.atlases.values()))

    def stamped(self, folder: Path, name: str, *flags: str, atlas: str = "") -> Path:
        """A plugin built with release 1 and stamped there."""
        plugin = self.releases[1].build(name, folder / f"{name}.so", *flags)
        done = self.run("stamp", plugin, "--env", self.envs[1], atlas=atlas or self.both)
        assert done.returncode == 0, done.stderr
        return plugin

    def check(self, plugin: Path, env: int, *more: object, atlas: str = "") -> dict[str, Any]:
        done = self.run(
            "check", plugin, "--env", self.envs[env], "--format", "json", *more, atlas=atlas
        )
        report: dict[str, Any] = json.loads(done.stdout)["reports"][0]
        report["status"] = done.returncode
        return report


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, releases: dict[int, Framework]) -> World:
    return World(tmp_path_factory.mktemp("own"), releases)


def valid(text: str, schema: str) -> Any:
    document = json.loads(text)
    jsonschema.validate(document, json.loads((ROOT / "schemas" / schema).read_text()))
    return document


def rules(report: dict[str, Any]) -> set[str]:
    return {finding["rule"] for finding in report["findings"]}


# --- used --------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [("-g",), ("-s",)], ids=["with -g", "stripped"])
def test_two_releases_of_ones_own_are_told_apart(
    world: World, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    moved = world.stamped(tmp_path, "reads_moved", *flags)
    unmoved = world.stamped(tmp_path, "reads_unmoved", *flags)
    assert world.releases[2].run(moved) != "7"
    assert world.releases[2].run(unmoved) == "5"
    bad = world.check(moved, 2, atlas=world.both)
    assert (bad["verdict"], bad["status"]) == ("unsafe", 1)
    (finding,) = bad["findings"]
    assert (finding["rule"], finding["built"], finding["live"]) == (
        "abi-class-layout",
        "inputs@8",
        "inputs@16",
    )
    assert "24 to 32 bytes" in finding["message"], "each release's layout is in another atlas"
    assert world.check(unmoved, 2, atlas=world.both)["verdict"] == "drifted"
    assert world.check(moved, 1, atlas=world.both)["verdict"] == "compatible"


@pytest.mark.parametrize("form", ["full", "stripped"])
def test_an_unstamped_plugin_is_judged_by_the_own_release_that_its_code_fits(
    world: World, tmp_path: Path, form: str
) -> None:
    plugin = world.releases[1].build("reads_moved", tmp_path / "full.so", "-g")
    if form == "stripped":
        plugin = strip(plugin, tmp_path / "stripped.so")
    assert world.check(plugin, 2, atlas=world.both)["verdict"] == "unsafe"
    report = world.check(plugin, 1, atlas=world.both)
    assert report["verdict"] == "compatible"
    assert any("without a stamp" in one["why"] for one in report["unchecked"])


def test_compat_lists_them_after_the_public_ones_of_lower_number(
    world: World, tmp_path: Path
) -> None:
    plugin = world.stamped(tmp_path, "reads_moved")
    done = world.run("compat", plugin, "--format", "json", atlas=world.both)
    answer = valid(done.stdout, "compat-v1.schema.json")
    added = [(r["tensorflow"], r["verdict"]) for r in answer["releases"] if r["added"]]
    assert added == [("9.1.0", "compatible"), ("9.2.0", "unsafe")]
    assert answer["releases"][-2]["tensorflow"] == "9.1.0"
    text = world.run("compat", plugin, atlas=world.both).stdout
    assert "9.1.0 (added)" in text
    done = world.run("check", plugin, "--tensorflow", "9.2.0", "--format", "json", atlas=world.both)
    assert (json.loads(done.stdout)["reports"][0]["verdict"], done.returncode) == ("unsafe", 1)


def test_list_names_added_and_shipped_ones(world: World) -> None:
    done = world.run("atlas", "list", "--format", "json", atlas=world.both)
    listed = valid(done.stdout, "atlas-v1.schema.json")["releases"]
    added = [one for one in listed if not one["shipped"]]
    assert [(one["tensorflow"], one["distribution"]) for one in added] == [
        ("9.1.0", "tensorflow-own"),
        ("9.2.0", "tensorflow-own"),
    ]
    library = world.releases[1].library
    sizes = {one["name"]: one["size"] for one in added[0]["libraries"]}
    assert sizes[library.name] == library.stat().st_size
    assert len(listed) > len(added)
    text = world.run("atlas", "list", atlas=world.both).stdout.splitlines()
    assert text[0] == f"{world.atlases[1]}:"
    assert text[1].split() == ["9.1.0", "tensorflow-own"]


def test_without_a_file_name_it_is_written_where_every_check_finds_it(
    world: World, tmp_path: Path
) -> None:
    done = world.run("atlas", "add", "--env", world.envs[2], home=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "data/envlock/atlas/tensorflow-own-9.2.0.atlas"
    assert path.read_bytes() == world.atlases[2].read_bytes()
    assert "ENVLOCK_ATLAS" not in done.stdout
    listed = world.run("atlas", "list", home=tmp_path).stdout
    assert f"{path}:\n9.2.0" in listed


def test_a_folder_of_atlases_is_read(world: World, tmp_path: Path) -> None:
    shutil.copy(world.atlases[2], tmp_path / "one.atlas")
    (tmp_path / "notes.txt").write_text("not an atlas")
    assert "9.2.0" in world.run("atlas", "list", atlas=str(tmp_path)).stdout


def test_an_older_atlas_is_overwritten_whole(world: World, tmp_path: Path) -> None:
    path = tmp_path / "own.atlas"
    path.write_text("what was there before")
    path.chmod(0o640)
    done = world.run("atlas", "add", "--env", world.envs[2], "-o", path)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == world.atlases[2].read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_conda_keeps_other_headers_in_the_prefix(
    world: World, tmp_path: Path, copied: Path
) -> None:
    header = header_of(copied)
    header.write_text('#include "of_conda/base.h"\n' + header.read_text())
    beside = copied / "include/of_conda/base.h"
    beside.parent.mkdir(parents=True)
    beside.write_text(
        "namespace absl { struct OfConda { long one, two; long Get() { return two; } }; }\n"
    )
    add = ("atlas", "add", "--env", copied, "-o", tmp_path / "own.atlas")
    one_line(world.run(*add), 3, "of_conda/base.h: No such file")
    (copied / "conda-meta").mkdir()
    done = world.run(*add)
    assert done.returncode == 0, done.stderr
    shape = Atlas.open(str(tmp_path / "own.atlas")).shape("absl::OfConda", 0)
    assert shape is not None
    assert (shape.size, shape.members["two"][0]) == (16, 8)


# --- not at hand -------------------------------------------------------------------------------


def test_an_unknown_tensorflow_is_unchecked_with_the_command_that_adds_it(
    world: World, tmp_path: Path
) -> None:
    plugin = world.stamped(tmp_path, "reads_unmoved")
    report = world.check(plugin, 2)
    assert rules(report) == {"tensorflow-version"}
    (why,) = [one["why"] for one in report["unchecked"] if one["what"] == "binary interface"]
    assert f"`envlock atlas add --env {world.envs[2]}`" in why
    assert "`--live-headers`" in why


def test_stamping_there_says_that_nothing_is_recorded(world: World, tmp_path: Path) -> None:
    plugin = world.releases[1].build("reads_moved", tmp_path / "p.so")
    done = world.run("stamp", plugin, "--env", world.envs[1])
    assert done.returncode == 0
    assert "no atlas knows this TensorFlow 9.1.0" in done.stdout
    assert f"`envlock atlas add --env {world.envs[1]}`" in done.stdout


def test_live_headers_are_compiled_once(world: World, tmp_path: Path) -> None:
    plugin = world.stamped(tmp_path, "reads_moved")
    live = world.check(plugin, 2, "--live-headers")
    assert (live["verdict"], rules(live)) == ("unsafe", {"abi-class-layout"})
    kept = [path for path in (world.root / "cache").rglob("*") if path.is_file()]
    # Nothing is compiled now: there is no such compiler.
    again = world.check(plugin, 2, "--live-headers", "--compiler", "/nonexistent/g++")
    assert again == live
    assert sorted(kept) == sorted(p for p in (world.root / "cache").rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["nowhere.so", "text.so", "empty", "x-1-py3-none-any.whl"])
def test_files_are_looked_at_before_headers_are_compiled(
    world: World, tmp_path: Path, name: str
) -> None:
    """The compiler leaves a mark where it is started."""
    compiler = tmp_path / "loud-g++"
    compiler.write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\nexit 1\n")
    compiler.chmod(0o755)
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name != "nowhere.so":
        path.write_text("text")
    options = ("--env", world.envs[2], "--live-headers", "--compiler", compiler)
    home = tmp_path / "home"  # where nothing is kept of headers that were read before
    done = world.run("check", path, *options, home=home)
    assert done.returncode == 3
    assert f"{path}: unreadable: " in done.stdout
    assert not (tmp_path / "started").exists()
    plugin = world.releases[2].build("reads_moved", tmp_path / "p.so")
    assert world.run("check", path, plugin, *options, home=home).returncode == 3
    assert (tmp_path / "started").exists()


def test_live_headers_from_python(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = world.stamped(tmp_path, "reads_moved")
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.root / "cache"))
    monkeypatch.setenv("ENVLOCK_ATLAS", "")
    assert [f.rule for f in check(plugin, env=world.envs[2]).findings] == ["tensorflow-version"]
    report = check(plugin, env=world.envs[2], live_headers="g++")
    assert [f.rule for f in report.findings] == ["abi-class-layout"]


def test_headers_that_do_not_compile_leave_nothing_open(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = world.stamped(tmp_path, "reads_moved")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ENVLOCK_ATLAS", "")

    def refused() -> None:
        with pytest.raises(InputError):
            check(plugin, env=world.envs[2], live_headers="/nonexistent/g++")

    gives_back(refused)


def test_changed_headers_are_read_anew(
    world: World, tmp_path: Path, releases: dict[int, Framework]
) -> None:
    plugin = world.stamped(tmp_path, "reads_moved")
    env = install(releases[1], tmp_path / "env", "9.1.1")
    command = ("check", plugin, "--env", env, "--live-headers", "--format", "json")
    assert json.loads(world.run(*command).stdout)["reports"][0]["verdict"] == "drifted"
    (header,) = env.glob("lib/*/site-packages/tensorflow/include/tensorflow/*/*/op_kernel.h")
    text = header.read_text()
    header.write_text(text.replace("long inputs;", "long vendors_own;\n    long inputs;", 1))
    done = world.run(*command)
    assert json.loads(done.stdout)["reports"][0]["verdict"] == "unsafe"


def test_live_headers_are_not_read_of_what_an_atlas_knows(world: World, tmp_path: Path) -> None:
    plugin = world.stamped(tmp_path, "reads_moved")
    report = world.check(
        plugin, 2, "--live-headers", "--compiler", "/nonexistent/g++", atlas=world.both
    )
    assert report["verdict"] == "unsafe"


# --- errors ------------------------------------------------------------------------------------


def one_line(done: Any, status: int, *said: str) -> None:
    lines = [line for line in done.stderr.splitlines() if not line.startswith("hint: ")]
    assert len(lines) == 1, done.stderr
    assert done.returncode == status
    for text in said:
        assert text in lines[0]


def test_no_tensorflow(world: World, tmp_path: Path) -> None:
    from tests.unit.environment import making

    done = world.run("atlas", "add", "--env", making.venv(tmp_path / "env"), "-o", tmp_path / "a")
    one_line(done, 3, "TensorFlow is not installed")


@pytest.mark.parametrize("compiler", ["/nonexistent/g++", "/dev/null"])
def test_no_compiler(world: World, tmp_path: Path, compiler: str) -> None:
    done = world.run(
        "atlas", "add", "--env", world.envs[1], "-o", tmp_path / "a", "--compiler", compiler
    )
    one_line(done, 3, f"the compiler `{compiler}` cannot be run")
    assert not list(tmp_path.iterdir())


def test_what_is_no_gcc(world: World, tmp_path: Path) -> None:
    done = world.run(
        "atlas", "add", "--env", world.envs[1], "-o", tmp_path / "a", "--compiler", "true"
    )
    one_line(done, 3, "`true` does not work as g++ does")


@pytest.fixture
def copied(world: World, tmp_path: Path) -> Path:
    env = tmp_path / "env"
    shutil.copytree(world.envs[1], env, symlinks=True)
    return env


def header_of(env: Path) -> Path:
    (include,) = env.glob("lib/*/site-packages/tensorflow/include")
    return include / "tensorflow/core/framework/op_kernel.h"


def test_no_headers(world: World, tmp_path: Path, copied: Path) -> None:
    shutil.rmtree(header_of(copied).parents[3])
    done = world.run("atlas", "add", "--env", copied, "-o", tmp_path / "a")
    one_line(done, 3, "has no C++ headers in")
    plugin = world.releases[1].build("reads_moved", tmp_path / "p.so")
    done = world.run("check", plugin, "--env", copied, "--live-headers", "--format", "json")
    assert done.returncode == 3
    assert (
        "has no C++ headers in"
        in valid(done.stdout, "report-v1.schema.json")["reports"][0]["plugin"]["error"]
    )


def test_broken_headers(world: World, tmp_path: Path, copied: Path) -> None:
    header = header_of(copied)
    header.write_text(header.read_text() + "\nnamespace tensorflow { struct Unfinished {\n")
    done = world.run("atlas", "add", "--env", copied, "-o", tmp_path / "a")
    one_line(done, 3, "does not compile", "op_kernel.h:")
    assert not (tmp_path / "a").exists()


def test_a_damaged_library(world: World, tmp_path: Path, copied: Path) -> None:
    (library,) = copied.glob("lib/*/site-packages/tensorflow/libtensorflow_framework.so.2")
    library.write_bytes(library.read_bytes()[:2000])
    one_line(world.run("atlas", "add", "--env", copied, "-o", tmp_path / "a"), 3, str(library))


def test_an_output_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    add = ("atlas", "add", "--env", world.envs[1], "-o")
    one_line(world.run(*add, tmp_path), 3, "it is a folder")
    one_line(world.run(*add, tmp_path / "no" / "a"), 3, f"there is no folder `{tmp_path / 'no'}`")
    one_line(world.run(*add, "/proc/own.atlas"), 3, "cannot write `/proc/own.atlas`")


def damage(content: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "text": b"this is no atlas\n" * 4,
        "cut": content[:5000],
        "newer": content[:8] + b"\x63" + content[9:],
        "list": content.replace(b'"releases"', b'"relieves"'),
        "field": content.replace(b'"global_scope":', b'"global_scoop":'),
        # As long as it was, for the sections behind it.
        "listed": re.sub(
            rb'"headers":{[^}]*}',
            lambda m: b'"headers":[' + b" " * (len(m[0]) - 12) + b"]",
            content,
        ),
    }[how]


DAMAGE = {
    "empty": "", "text": "", "cut": "", "newer": "", "missing": "",
    "listed": "$.headers: Input should be an object",
    "list": "its list of releases, at `$` ('releases')",
    "field": "its list of releases, at `$.releases[0]` ('global_scope')",
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_added_atlas_is_one_line(world: World, tmp_path: Path, how: str) -> None:
    path = tmp_path / "bad.atlas"
    if how != "missing":
        path.write_bytes(damage(world.atlases[1].read_bytes(), how))
    done = world.run("atlas", "list", atlas=str(path))
    one_line(done, 3, str(path), DAMAGE[how])
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["check", "compat", "atlas"])
def test_a_damaged_added_atlas_is_an_error_of_every_command(
    world: World, tmp_path: Path, command: str
) -> None:
    plugin = world.releases[1].build("reads_moved", tmp_path / "p.so")
    (tmp_path / "bad.atlas").write_bytes(damage(world.atlases[1].read_bytes(), "cut"))
    arguments, schema = {
        "check": (("check", plugin, "--env", world.envs[1]), "report-v1.schema.json"),
        "compat": (("compat", plugin), "compat-v1.schema.json"),
        "atlas": (("atlas", "list"), "atlas-v1.schema.json"),
    }[command]
    one_line(world.run(*arguments, atlas=str(tmp_path)), 3, "bad.atlas")
    done = world.run(*arguments, "--format", "json", atlas=str(tmp_path))
    assert done.returncode == 3
    assert "bad.atlas" in json.dumps(valid(done.stdout, schema))


def test_a_load_is_not_stopped_by_a_damaged_added_atlas(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = world.stamped(tmp_path, "reads_unmoved")
    (tmp_path / "bad.atlas").write_text("this is no atlas\n")
    monkeypatch.setenv("ENVLOCK_ATLAS", str(tmp_path / "bad.atlas"))
    # What `load` asks; `check` and the command look at the atlases first.
    report = Checker.for_environment(world.envs[2]).check(str(plugin))
    assert (report.verdict, [f.rule for f in report.findings]) == ("unsafe", ["tensorflow-version"])
    assert any("bad.atlas` is not an atlas" in one.why for one in report.unchecked)
    with pytest.raises(InputError, match="is not an atlas"):
        check(plugin, env=world.envs[2])


def test_live_headers_have_nothing_to_do_with_a_public_release(tmp_path: Path) -> None:
    done = envlock("check", tmp_path / "x.so", "--tensorflow", "2.18.1", "--live-headers")
    one_line(done, 2, "`--live-headers`")
