"""The sdist is the whole repository, so that its tests run from it; the wheel is the package alone."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made of it, as a release has them."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    build(next(path for path in folder.iterdir() if path.is_dir()), "wheel", folder)
    return folder


def build(source: Path, target: str, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder]
    subprocess.run(command, cwd=source, check=True)


def repository() -> set[str]:
    """What git tracks, or would if asked to add everything."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is nothing to compare the sdist with")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_the_sdist_is_the_repository(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames()}
    assert inside - {"PKG-INFO"} == repository()


def test_the_wheel_is_the_package_alone(built: Path) -> None:
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    package = {name for name in names if not name.split("/", 1)[0].endswith(".dist-info")}
    assert package == {name for name in repository() if name.startswith("envlock/")}
    assert {"envlock/py.typed", "envlock/atlas/data/tensorflow.atlas"} < package


def test_readmes_links_work_on_pypi() -> None:
    """Relative links lead nowhere there; those into the repository must name what it holds."""
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    named = re.findall(
        r"https://(?:raw\.githubusercontent|github)\.com/envlock/envlock/(?:(?:blob|tree|raw)/)?main/([^)\s#]+)",
        text,
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
