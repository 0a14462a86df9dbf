"""A real environment, recreated from every pip format into a new one, has the same packages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envlock.inventory.collect import snapshot
from envlock.inventory.files import snapshot_text
from envlock.models.snapshot import Snapshot
from tests.support.environments import uv
from tests.unit.inventory.packaging_world import (
    LocalIndex,
    environ,
    local_index,
    make_git_repository,
    make_project,
    make_wheel,
    new_venv,
    pip_install,
    run,
    uv_install,
)


@dataclass
class World:
    index: LocalIndex
    commit: str
    env: Path
    taken: Snapshot
    folder: Path

    def envlock(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        import sys

        command = [sys.executable, "-m", "envlock", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environ())

    def recreate(self, form: str, *options: str) -> Path:
        source = self.folder / "taken.json"
        source.write_text(snapshot_text(self.taken))
        name = {"pylock": "pylock.toml"}.get(form, f"{form}{len(options)}.txt")
        target = self.folder / name
        answer = self.envlock("recreate", source, "--as", form, "-o", target, *options)
        assert answer.returncode == 0, answer.stderr
        return target


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    served = folder / "served"
    served.mkdir()
    make_wheel(served, "alpha", "1.0", scripts=["alpha-tool"])
    make_wheel(served, "alpha", "1.1", scripts=["alpha-tool"])
    make_wheel(served, "beta", "2.0rc1", requires=["alpha"], files={"beta/data.txt": "x,y\n"})
    make_wheel(served, "Gamma.Thing", "3.0", build="2", tag="py2.py3-none-any")
    make_wheel(served, "Gamma.Thing", "3.0", build="1", tag="py2.py3-none-any", files={"g.txt": ""})
    make_wheel(
        served, "native", "1.0", tag="py3-none-linux_x86_64", files={"native/a.bin": b"\0\1"}
    )
    make_wheel(served, "native", "1.0", tag="py3-none-any", files={"native/a.bin": b"pure"})
    direct = folder / "served" / "files"
    direct.mkdir()
    archive = make_wheel(direct, "delta", "4.0")
    checkout = make_project(served / "epsilon", "epsilon", "5.0")
    commit = make_git_repository(checkout)
    local = make_wheel(folder, "local_one", "6.0")
    editable = make_project(folder / "editable", "zeta", "7.0")
    with local_index(served) as index:
        env = new_venv(folder / "env")
        wanted = ["alpha==1.0", "beta==2.0rc1", "gamma-thing", "native"]
        wanted += [f"delta @ {index.root}/files/{archive.name}"]
        wanted += [f"epsilon @ git+{index.root}/epsilon/.git@{commit}"]
        pip_install(env, *wanted, index=index.url)
        pip_install(env, local)
        pip_install(env, "--editable", editable)
        yield World(index, commit, env, snapshot(env), folder)


def test_the_environment_is_what_was_installed(world: World) -> None:
    packages = {p.name: p for p in world.taken.packages.pip}
    assert sorted(packages) == [
        *("alpha", "beta", "delta", "epsilon", "gamma-thing", "local-one", "native", "zeta"),
    ]
    assert packages["gamma-thing"].build == "2"
    assert packages["gamma-thing"].tags == ("py2-none-any", "py3-none-any")
    assert packages["native"].tags == ("py3-none-linux_x86_64",)
    assert packages["alpha"].installer == "pip"
    vcs = packages["epsilon"].direct_url
    assert vcs is not None
    assert (vcs.kind, vcs.vcs, vcs.commit) == ("vcs", "git", world.commit)
    assert packages["zeta"].direct_url is not None
    assert packages["zeta"].direct_url.editable
    assert packages["local-one"].direct_url is not None
    assert packages["local-one"].direct_url.url == "file:local_one-6.0-py3-none-any.whl"


def without_the_unreproducible(taken: Snapshot) -> object:
    """The digest input of packages, less the two that the recreated file says it leaves out."""
    from envlock.inventory.fingerprint import _pip

    left_out = ("local-one", "zeta")
    return [_pip(p) for p in taken.packages.pip if p.name not in left_out]


def check_same(world: World, env: Path) -> None:
    again = snapshot(env)
    expected = without_the_unreproducible(world.taken)
    assert without_the_unreproducible(again) == expected
    assert len(again.packages.pip) == len(world.taken.packages.pip) - 2


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_requirements(world: World, installer: str, tmp_path: Path) -> None:
    target = world.recreate("pip")
    env = new_venv(tmp_path / "env")
    install = pip_install if installer == "pip" else uv_install
    install(env, "--no-deps", "-r", target, index=world.index.url)
    check_same(world, env)
    assert snapshot(env).packages.pip[0].installer == installer


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_requirements_with_hashes(world: World, installer: str, tmp_path: Path) -> None:
    """Every package from an index carries the digest of the very file; a checkout has none."""
    clean = new_venv(tmp_path / "clean")
    pip_install(clean, "alpha==1.0", "gamma-thing", "native", index=world.index.url)
    target = tmp_path / "requirements.txt"
    answer = world.envlock(
        *("recreate", clean, "--as", "pip", "--hashes", "--index", world.index.url, "-o", target)
    )
    assert answer.returncode == 0, answer.stderr
    assert target.read_text().count("--hash=sha256:") == 3
    env = new_venv(tmp_path / "env")
    install = pip_install if installer == "pip" else uv_install
    install(env, "--no-deps", "--require-hashes", "-r", target, index=world.index.url)
    assert snapshot(env).digests.packages == snapshot(clean).digests.packages
    # A digest of another file is refused, so the digests do their work.
    text = target.read_text()
    digest = re.search(r"alpha==1.0 .*?sha256:([0-9a-f]{64})", text, re.S)
    assert digest is not None
    target.write_text(text.replace(digest[1], "0" * 64))
    with pytest.raises(AssertionError, match=r"(?i)hash"):
        install(new_venv(tmp_path / "not"), "--no-deps", "-r", target, index=world.index.url)


@pytest.mark.parametrize("as_json", [True, False])
def test_pylock(world: World, as_json: bool, tmp_path: Path) -> None:
    world.index.as_json = as_json
    target = world.recreate("pylock", "--index", world.index.url)
    # pip refuses a lock with a checkout in it.
    assert "\n# uv pip sync pylock.toml\n" in target.read_text()
    env = new_venv(tmp_path / "env")
    run(
        *(*uv(), "pip", "sync", "--quiet", "--preview", "--python", env / "bin/python"),
        *("--no-index", target),
    )
    check_same(world, env)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_pylock_without_a_checkout(world: World, installer: str, tmp_path: Path) -> None:
    """With the commands that the file's own comment names."""
    clean = new_venv(tmp_path / "clean")
    pip_install(clean, "alpha==1.0", "gamma-thing", "native", index=world.index.url)
    target = tmp_path / "pylock.toml"
    answer = world.envlock(
        *("recreate", clean, "--as", "pylock", "--index", world.index.url, "-o", target)
    )
    assert answer.returncode == 0, answer.stderr
    told = "# pip install -r pylock.toml (pip 26.1 or later), uv pip sync pylock.toml\n"
    assert told in target.read_text()
    env = new_venv(tmp_path / "env")
    if installer == "pip":
        pip_install(env, "-r", target)
    else:
        sync = ("pip", "sync", "--quiet", "--preview", "--python", env / "bin/python", "--no-index")
        run(*uv(), *sync, target)
    assert snapshot(env).digests.packages == snapshot(clean).digests.packages


def test_pylock_is_valid(world: World) -> None:
    from packaging.pylock import Pylock

    from envlock.inventory.lockfiles.base import parse_toml

    target = world.recreate("pylock", "--index", world.index.url)
    lock = Pylock.from_dict(parse_toml("pylock.toml", target.read_text()))
    assert [p.name for p in lock.packages] == [
        *("alpha", "beta", "delta", "epsilon", "gamma-thing", "native"),
    ]


def test_pylock_needs_an_index(world: World) -> None:
    answer = world.envlock("recreate", world.env, "--as", "pylock", "--offline")
    assert answer.returncode == 2
    assert "only a package index knows" in answer.stderr


def test_dockerfile(world: World, tmp_path: Path) -> None:
    """Its steps, run one by one with the environment's Python in place of the image's."""
    target = world.recreate("dockerfile")
    env = new_venv(tmp_path / "env")
    uv_install(env, "alpha==1.1", index=world.index.url)
    base, steps = docker_steps(target.read_text())
    version = world.taken.interpreter
    assert version is not None
    assert base == f"python:{version.version}-slim"
    run_docker_steps(steps, env, tmp_path, world.index.url)
    check_same(world, env)


def docker_steps(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """(base image, [(COPY, path, content) or (RUN, command, "")]) of a Dockerfile with heredocs."""
    lines = iter(text.splitlines())
    base = ""
    steps = []
    for line in lines:
        if line.startswith("ARG BASE="):
            base = line[len("ARG BASE=") :]
        copy = re.fullmatch(r'COPY <<"(\w+)" (\S+)', line)
        if copy:
            content = []
            for inner in lines:
                if inner == copy[1]:
                    break
                content.append(inner)
            steps.append(("COPY", copy[2], "\n".join(content) + "\n"))
        elif line.startswith("RUN "):
            steps.append(("RUN", line[4:], ""))
    return base, steps


def run_docker_steps(
    steps: list[tuple[str, str, str]], env: Path, folder: Path, index: str
) -> None:
    """pip comes from the machine's own Python, told to work on the environment."""
    import sys

    (folder / "tmp").mkdir()
    pip = f"{sys.executable} -m pip --python {env}/bin/python"
    for kind, what, content in steps:
        if kind == "COPY":
            (folder / what.lstrip("/")).write_text(content)
        else:
            command = what.replace("/tmp/", f"{folder}/tmp/").replace("python -m pip", pip)
            run("sh", "-ec", command, PIP_INDEX_URL=index)


def test_what_cannot_be_had_again_is_said(world: World) -> None:
    answer = world.envlock("recreate", world.env, "--as", "pip")
    assert answer.returncode == 0
    comments = [line for line in answer.stdout.splitlines() if line.startswith("#")]
    assert any("local-one 6.0: installed from a local file" in line for line in comments)
    assert any("zeta 7.0: an editable install" in line for line in comments)
    assert answer.stderr.count("left out:") == 2
    assert not re.search(r"^(local-one|zeta)", answer.stdout, re.M)
    assert str(world.folder) not in answer.stdout


def test_an_unreachable_index_is_one_line(world: World) -> None:
    answer = world.envlock(
        *("recreate", world.env, "--as", "pylock", "--index", "http://127.0.0.1:9/simple")
    )
    assert answer.returncode == 3
    assert "cannot be reached" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_two_machines(world: World, tmp_path: Path) -> None:
    """Equal environments in two places, by two installers, with the other one's byte code."""
    first, second = new_venv(tmp_path / "a"), new_venv(tmp_path / "elsewhere" / "b")
    pip_install(first, "--compile", "alpha==1.0", "beta==2.0rc1", index=world.index.url)
    uv_install(second, "beta==2.0rc1", "alpha==1.0", index=world.index.url)
    one, two = snapshot(first), snapshot(second)
    assert one.fingerprint == two.fingerprint
    assert one.digests == two.digests
    uv_install(second, "alpha==1.1", index=world.index.url)
    three = snapshot(second)
    assert three.digests.packages != one.digests.packages
    assert three.digests.native == one.digests.native
    assert three.digests.interpreter == one.digests.interpreter
