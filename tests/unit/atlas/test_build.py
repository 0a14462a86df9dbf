"""Building an atlas is repeatable: the same wheels give the same bytes, release by release."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from envlock.atlas import extract, probe, write
from envlock.atlas.format import Atlas
from envlock.models.errors import InputError
from tests.unit.atlas.by_the_book import Book, symbol_number
from tests.unit.atlas.framework import Framework
from tools import atlas as build

READ = """\
import sys
from envlock.atlas import extract, probe
part = extract.read_package(sys.argv[1], "9.1.0", "tensorflow", probe.Compiler())
sys.stdout.buffer.write(extract.part_bytes(part))
"""
MERGE = """\
import sys
from envlock.atlas import extract, write
parts = [extract.load_part(path) for path in sys.argv[1:]]
sys.stdout.buffer.write(write.atlas_bytes(parts))
"""


def in_a_process(script: str, seed: int, *arguments: str) -> bytes:
    """What a script writes in a process of its own, whose sets are ordered by that seed."""
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        check=True,
    )
    return run.stdout


@pytest.fixture(scope="module")
def wheels(releases: dict[int, Framework], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both releases of the small framework as wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    for one in releases.values():
        name = f"tensorflow-{one.version}-cp39-cp39-manylinux2014_x86_64.whl"
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(one.package.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(one.package.parent))
    return folder


@pytest.fixture(scope="module")
def kept(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what was read of the wheels, and with the atlas that was made of it."""
    folder = tmp_path_factory.mktemp("parts")
    assert run_build(wheels, "--parts", str(folder), "-o", str(folder / "made.atlas")) == 0
    return folder


def run_build(wheels: Path, *arguments: str) -> int:
    chosen = ["--releases", "9.1.0", "9.2.0", "--distributions", "tensorflow"]
    return build.main([*chosen, "--wheels", str(wheels), *arguments])


def test_part_depends_on_package_alone(releases: dict[int, Framework], tmp_path: Path) -> None:
    """Not on the folder where it lies, nor on the order in which a process keeps its sets."""
    here = shutil.copytree(releases[1].package, tmp_path / "here" / "tensorflow")
    there = shutil.copytree(here, tmp_path / "some where else" / "tensorflow")
    first, second = in_a_process(READ, 1, str(here)), in_a_process(READ, 2, str(there))
    assert first == second
    part = json.loads(first)
    assert part["abi"]["classes"]["tensorflow::Resource"]["slots"]
    assert symbol_number(b"make_context") in part["libraries"][0]["exports"]


def test_atlas_depends_on_parts_alone(parts: list[extract.Part], tmp_path: Path) -> None:
    """Not on their order, nor on the order of sets, nor on whether one comes twice."""
    files = [str(tmp_path / f"{part['version']}.json.gz") for part in parts]
    for part, file in zip(parts, files):
        extract.save_part(part, file)
    expected = write.atlas_bytes(parts)
    assert write.atlas_bytes(reversed(parts)) == expected
    assert write.atlas_bytes([*parts, parts[0]]) == expected
    writer = write.Writer()
    writer.add(parts[1])
    assert writer.data() != expected
    writer.add(parts[0])
    assert writer.data() == expected
    assert in_a_process(MERGE, 1, *files) == expected
    assert in_a_process(MERGE, 2, *reversed(files)) == expected


def test_saved_parts_have_the_same_bytes(parts: list[extract.Part], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    extract.save_part(parts[0], str(first))
    os.utime(first, (1, 1))
    extract.save_part(extract.load_part(str(first)), str(second))
    assert first.read_bytes() == second.read_bytes()


def test_wheels_give_the_same_atlas_again(wheels: Path, kept: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.atlas"
    assert run_build(wheels, "-o", str(again)) == 0
    assert again.read_bytes() == (kept / "made.atlas").read_bytes()


def test_kept_parts_need_no_wheel(kept: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.atlas"
    assert run_build(tmp_path, "--parts", str(kept), "-o", str(again)) == 0
    assert again.read_bytes() == (kept / "made.atlas").read_bytes()


def test_atlas_says_which_wheel_it_was_made_of(wheels: Path, kept: Path) -> None:
    releases = Atlas.open(str(kept / "made.atlas")).releases
    assert [release.version for release in releases] == ["9.1.0", "9.2.0"]
    for release in releases:
        wheel = wheels / release.facts["wheel"]["name"]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        assert release.facts["wheel"]["sha256"] == digest
        assert release.facts["machine"] == os.uname().machine


def test_verify_tells_a_changed_wheel(
    wheels: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = str(kept / "made.atlas")
    # Layouts that were compiled already are taken from there, by the digest of their headers.
    layouts = tmp_path / "layouts"
    shutil.copytree(kept, layouts, ignore=shutil.ignore_patterns("tensorflow-*"))
    assert run_build(wheels, "--parts", str(layouts), "--verify", made) == 0
    assert capsys.readouterr().out == "tensorflow 9.1.0: the same\ntensorflow 9.2.0: the same\n"
    # The same number on another release's content: what a vendor's rebuild looks like.
    other = tmp_path / "other"
    other.mkdir()
    names = sorted(path.name for path in wheels.iterdir())
    shutil.copy(wheels / names[1], other / names[0])
    shutil.copy(wheels / names[1], other / names[1])
    (layouts / "tensorflow-9.1.0.json.gz").unlink()
    assert run_build(other, "--parts", str(layouts), "--verify", made) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("tensorflow 9.1.0: differs: libraries is ")
    assert said[1] == "tensorflow 9.2.0: the same"


def test_damaged_wheel_is_an_input_error(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in wheels.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"9\.1\.0.* cannot be unpacked"):
        build.read_release("tensorflow", "9.1.0", probe.Compiler(), None, str(tmp_path))
    assert run_build(tmp_path, "-o", str(tmp_path / "none.atlas")) == InputError.exit_status
    assert not (tmp_path / "none.atlas").exists()
    assert capsys.readouterr().err.startswith("envlock: `"), "told as any command tells it"


def test_release_is_the_same_alone_and_among_others(parts: list[extract.Part]) -> None:
    """What the atlas says of a release does not depend on which others it holds."""
    together = Atlas("together", write.atlas_bytes(parts))
    for part in parts:
        alone = Atlas("alone", write.atlas_bytes([part]))
        here, there = alone.releases[0], together.find(part["version"])
        assert there is not None
        assert {**here.facts, "abi": 0} == {**there.facts, "abi": 0}
        for name in part["abi"]["classes"]:
            assert shown(alone, name, here.abi) == shown(together, name, there.abi) != ""
            assert alone.slots(name, here.abi) == together.slots(name, there.abi)
        for name, facts in part["abi"]["functions"].items():
            if facts:
                found = together.facts(name, there.abi)
                assert sorted(found or ()) == sorted(map(tuple, facts))
                assert sorted(alone.facts(name, here.abi) or ()) == sorted(found or ())


def test_access_paths_are_those_that_move(parts: list[extract.Part]) -> None:
    """By name and all at once; of those that no release moves, nothing is kept."""
    atlas = Atlas("both", write.atlas_bytes(parts))
    inputs = "_ZNK10tensorflow15OpKernelContext10num_inputsEv"
    step = "_ZNK10tensorflow15OpKernelContext4stepEv"
    for release, part in zip(atlas.releases, parts):
        assert part["abi"]["paths"][step]
        assert windows_of(atlas, step, release.abi) == ()
        named = {name: windows_of(atlas, name, release.abi) for name in part["abi"]["paths"]}
        assert json.loads(json.dumps(named[inputs])) == part["abi"]["paths"][inputs]
        assert sorted(set(filter(None, named.values()))) == sorted(atlas.windows(release.abi))


def windows_of(atlas: Atlas, function: str, abi: int) -> tuple[Any, ...]:
    """The access paths that a function's own record leads to."""
    at = atlas._record(b"FUNK", b"FUNR", function)
    assert at is not None
    _, at = atlas._run_value(at, abi)
    value, _ = atlas._run_value(at, abi)
    return atlas._window_list(value - 1) if value else ()


def shown(atlas: Atlas, name: str, abi: int) -> str:
    shape = atlas.shape(name, abi)
    return "" if shape is None else json.dumps([shape.size, shape.bases, shape.members])


def test_tables_are_shared_by_releases_that_agree(parts: list[extract.Part]) -> None:
    patch = {**parts[0], "version": "9.1.1"}
    size = len(write.atlas_bytes(parts))
    data = write.atlas_bytes([*parts, patch])
    atlas = Atlas("patched", data)
    assert [(r.version, r.abi) for r in atlas.releases] == [
        ("9.1.0", 0),
        ("9.1.1", 0),
        ("9.2.0", 1),
    ]
    members = atlas.membership(b"make_context")
    assert all(members >> release.units[0] & 1 for release in atlas.releases)
    # A patch release that changes nothing costs its entry in the list, and little else.
    entry = len(json.dumps(atlas.releases[1].facts))
    assert len(data) - size < entry + 200


def test_file_is_as_described(
    releases: dict[int, Framework], atlas_path: Path, parts: list[extract.Part]
) -> None:
    book = Book(atlas_path)
    exported = book.exports()
    assert [key for key, _ in exported] == sorted({key for key, _ in exported})
    written = [(part, library) for part in parts for library in part["libraries"]]
    described = list(book.units())
    assert len(described) == len(written)
    for (release, entry, unit), (part, library) in zip(described, written):
        assert (release["version"], entry["name"]) == (part["version"], library["name"])
        assert book.meta["needed"][entry["needed"]] == library["needed"]
        held = {key for key, members in exported if members >> unit & 1}
        assert held == set(library["exports"])
    assert symbol_number(b"make_context") in {key for key, _ in exported}
