"""Real conda prefixes, pip packages in them included, recreated from what `recreate` writes."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import yaml

from envlock.inventory.collect import snapshot
from envlock.inventory.files import snapshot_text
from envlock.models.snapshot import Problem, Snapshot
from tests.unit.inventory import conda_world as conda
from tests.unit.inventory.packaging_world import environ, make_wheel, uv_install


@dataclass
class World:
    channel: Path
    wheels: Path
    prefix: Path
    taken: Snapshot
    folder: Path

    def recreate(self, form: str) -> subprocess.CompletedProcess[str]:
        source = self.folder / "taken.json"
        source.write_text(snapshot_text(self.taken))
        command = [sys.executable, "-m", "envlock", "recreate", str(source), "--as", form]
        return subprocess.run(command, capture_output=True, text=True, env=environ())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("conda")
    channel = conda.new_channel(folder)
    conda.make_python(channel)
    for version in ("12.2.0", "13.1.0"):
        levels = {"12.2.0": 30, "13.1.0": 32}[version]
        library = conda.libstdcxx(folder / version, levels)
        conda.make_package(
            channel,
            "libstdcxx-ng",
            version,
            {f"lib/libstdc++.so.6.0.{levels}": library},
            links={"lib/libstdc++.so.6": f"libstdc++.so.6.0.{levels}"},
            form=".tar.bz2",
        )
    for version in ("1.0", "1.1"):
        conda.make_package(
            channel,
            "pure",
            version,
            conda.python_files("pure", version),
            noarch="python",
            depends=["python"],
            build="pyh0",
        )
    conda.make_package(
        channel,
        "tool",
        "2.0",
        {"bin/tool": f"#!/bin/sh\nls {conda.PLACEHOLDER}\n", "etc/tool.conf": "a=1\n"},
        depends=["libstdcxx-ng >=12", "pure"],
        prefix_in=["bin/tool"],
    )
    conda.index_channel(channel)
    wheels = folder / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "frompip", "3.0")
    make_wheel(wheels, "pure", "9.0")
    prefix = folder / "prefix"
    conda.install(channel, prefix, ["python", "tool", "pure=1.0", "libstdcxx-ng=12"])
    uv_install(prefix, "--find-links", wheels, "frompip")
    return World(channel, wheels, prefix, snapshot(prefix), folder)


def test_the_prefix_is_what_was_installed(world: World) -> None:
    taken = world.taken
    assert taken.kind == "conda"
    assert [(c.name, c.version, c.build) for c in taken.packages.conda] == [
        ("libstdcxx-ng", "12.2.0", "0"),
        ("pure", "1.0", "pyh0"),
        ("python", ".".join(map(str, sys.version_info[:3])), "h1_cpython"),
        ("tool", "2.0", "0"),
    ]
    assert all(c.sha256 and c.channel == "channel" for c in taken.packages.conda)
    pip = {p.name: p.conda for p in taken.packages.pip}
    assert pip == {"frompip": None, "pure": "pure"}
    assert taken.problems == ()


def test_its_own_libstdcxx_counts(world: World) -> None:
    """The dynamic linker takes libstdc++ from the prefix only where something leads it there."""
    owners = {c.name for c in world.taken.packages.conda}
    assert "libstdcxx-ng" in owners
    found = world.taken.native.libstdcxx
    assert found is not None
    assert found.glibcxx is not None


def install_yaml(world: World, text: str, prefix: Path) -> None:
    content = yaml.safe_load(text)
    assert content["channels"] == [world.channel.as_uri(), "nodefaults"]
    specs = [d for d in content["dependencies"] if isinstance(d, str) and d != "pip"]
    conda.install(world.channel, prefix, specs)
    for entry in content["dependencies"]:
        if isinstance(entry, dict):
            uv_install(prefix, "--find-links", world.wheels, *entry["pip"])


def test_environment_yml(world: World, tmp_path: Path) -> None:
    answer = world.recreate("conda")
    assert answer.returncode == 0, answer.stderr
    install_yaml(world, answer.stdout, tmp_path / "again")
    again = snapshot(tmp_path / "again")
    assert again.digests.packages == world.taken.digests.packages
    assert again.fingerprint == world.taken.fingerprint


def test_explicit_list(world: World, tmp_path: Path) -> None:
    answer = world.recreate("conda-explicit")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    urls = lines[lines.index("@EXPLICIT") + 1 :]
    assert {url.partition("#")[0][-8:] for url in urls} >= {".tar.bz2"}
    assert any(".conda#sha256:" in url for url in urls)
    for line in urls:
        url, _, digest = line.partition("#sha256:")
        archive = Path(unquote(urlparse(url).path))
        assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    # The archives that are listed, no others: each spec names one by version and build.
    specs = ["=".join(Path(url).name.partition("#")[0].rsplit("-", 2)) for url in urls]
    specs = [re.sub(r"\.(?:conda|tar\.bz2)$", "", spec) for spec in specs]
    installed = conda.install(world.channel, tmp_path / "again", specs)
    assert sorted(f"{u}#sha256:{d}" for u, d in installed) == sorted(urls)
    uv_install(tmp_path / "again", "--find-links", world.wheels, "frompip")
    assert snapshot(tmp_path / "again").digests.packages == world.taken.digests.packages
    assert "left out: frompip 3.0: a pip package" in answer.stderr
    assert "#   frompip 3.0" in answer.stdout


def test_explicit_list_reads_back(world: World, tmp_path: Path) -> None:
    """envlock's own reader of explicit lists sees the same packages."""
    from envlock.inventory.diff import diff

    path = tmp_path / "explicit.txt"
    path.write_text(world.recreate("conda-explicit").stdout)
    document = diff(path, world.prefix)
    assert [c.subject for c in document.changes] == ["frompip"]
    assert document.changes[0].kind == "added"


def test_environment_yml_reads_back(world: World, tmp_path: Path) -> None:
    from envlock.inventory.diff import diff

    path = tmp_path / "environment.yml"
    path.write_text(world.recreate("conda").stdout)
    # conda wants `pip` beside a list for pip; this prefix got along without.
    assert [c.subject for c in diff(path, world.prefix).changes] == ["pip"]


def test_pip_formats_hold_what_pip_owns(world: World) -> None:
    answer = world.recreate("pip")
    assert "frompip==3.0" in answer.stdout
    assert not re.search(r"^pure", answer.stdout, re.M)
    assert "left out: conda's tool 2.0: a conda package" in answer.stderr


def test_dockerfile(world: World) -> None:
    answer = world.recreate("dockerfile")
    lines = answer.stdout.splitlines()
    assert lines[0] == "# syntax=docker/dockerfile:1"
    start = lines.index('COPY <<"END_OF_FILE" /tmp/explicit.txt')
    explicit = lines[start + 1 : lines.index("END_OF_FILE", start)]
    assert explicit.count("@EXPLICIT") == 1
    assert sum(line.startswith("file://") for line in explicit) == 4
    assert any(line.startswith("RUN micromamba install") for line in lines)
    assert "frompip==3.0" in lines


# --- integrity -----------------------------------------------------------------------------------


def fresh(world: World, folder: Path, *specs: str) -> Path:
    prefix = folder / "prefix"
    conda.install(world.channel, prefix, specs or ["python", "tool", "pure=1.0", "libstdcxx-ng=12"])
    return prefix


def problems(prefix: Path, integrity: str = "quick") -> dict[str, Problem]:
    return {f"{p.kind} {p.subject}": p for p in snapshot(prefix, integrity=integrity).problems}


def replace(path: Path, content: str) -> None:
    """As an editor does: a new file, so that the package cache behind the hard link is spared."""
    path.unlink()
    path.write_text(content)


@pytest.mark.parametrize("integrity", ["quick", "full"])
def test_an_edited_file_is_named(world: World, tmp_path: Path, integrity: str) -> None:
    prefix = fresh(world, tmp_path)
    assert problems(prefix, integrity) == {}
    replace(prefix / "etc/tool.conf", "a=2\n")
    found = problems(prefix, integrity)
    assert list(found) == ["modified-files tool"]
    assert found["modified-files tool"].paths == ("etc/tool.conf",)
    (prefix / "etc/tool.conf").unlink()
    assert list(problems(prefix, integrity)) == ["missing-files tool"]


def test_pip_over_conda_is_named(world: World, tmp_path: Path) -> None:
    prefix = fresh(world, tmp_path)
    uv_install(prefix, "--find-links", world.wheels, "pure==9.0")
    found = problems(prefix)
    assert "two-managers pure" in found
    assert "9.0 over conda's `pure` 1.0" in found["two-managers pure"].message


def test_a_damaged_record_becomes_an_entry(world: World, tmp_path: Path) -> None:
    prefix = fresh(world, tmp_path)
    record = next((prefix / "conda-meta").glob("tool-*.json"))
    record.write_text('{"name": "tool", ')
    taken = snapshot(prefix)
    entry = next(c for c in taken.packages.conda if c.name == "tool")
    assert entry.problem is not None
    assert "not JSON" in entry.problem
    assert "damaged-metadata tool" in problems(prefix)


def test_secrets_in_channel_addresses_are_not_recorded(world: World, tmp_path: Path) -> None:
    import json

    prefix = fresh(world, tmp_path)
    record = next((prefix / "conda-meta").glob("tool-*.json"))
    content = json.loads(record.read_text())
    content["url"] = (
        "https://me:secret1@host.example/t/secret2/chan/linux-64/tool-2.0-0.conda?k=secret3"
    )
    content["channel"] = "https://me:secret1@host.example/t/secret2/chan"
    record.write_text(json.dumps(content))
    text = snapshot_text(snapshot(prefix))
    assert "secret" not in text
    assert "https://host.example/chan/linux-64/tool-2.0-0.conda" in text
