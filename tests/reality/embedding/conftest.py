"""Plugins, and an environment's own Python with envlock on its path and nothing else added."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import envlock
from tests.support.building import build
from tests.support.environments import QUIET, TfEnvironment, clean_environ, uv

CHECKOUT = Path(__file__).resolve().parents[3]
ZERO_OUT = CHECKOUT / "examples" / "zero_out" / "zero_out.cc"
RELEASE, ANOTHER = "2.15.1", "2.18.1"

PRELUDE = """\
import json, os, sys
fitting, copy, other, unfit = sys.argv[1:5]
def answer(**values):
    print("ANSWER" + json.dumps(values), flush=True)
"""


class Place:
    """One TensorFlow environment, and four plugins to load in it.

    `fitting` and `copy` are the same stamped op in two files, `other` is another op, `unfit` was
    built for another release.
    """

    def __init__(self, env: TfEnvironment, folder: Path, unfit: Path) -> None:
        self.env = env
        self.path = folder / "path"
        self.path.mkdir()
        (self.path / "envlock").symlink_to(CHECKOUT / "envlock")
        self.fitting, self.copy, self.other = (
            folder / name for name in ("zero_out.so", "copied.so", "minimal.so")
        )
        shutil.copy(build(ZERO_OUT, env), self.fitting)
        shutil.copy(build("minimal", env), self.other)
        self.unfit = folder / "unfit.so"
        shutil.copy(unfit, self.unfit)
        for plugin in (self.fitting, self.other):
            envlock.stamp(plugin, env=env.prefix)
        shutil.copy(self.fitting, self.copy)

    @property
    def plugins(self) -> list[str]:
        return [str(path) for path in (self.fitting, self.copy, self.other, self.unfit)]

    def environ(self, *more: Path) -> dict[str, str]:
        path = os.pathsep.join(str(part) for part in (self.path, *more))
        return {**clean_environ(), **QUIET, "PYTHONPATH": path}

    def run(self, script: Path) -> tuple[dict[str, Any], str]:
        """What the script passed to `answer`, and everything else that was printed."""
        done = subprocess.run(
            [self.env.python, "-X", "dev", str(script), *self.plugins],
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        lines = done.stdout.splitlines()
        found = [line for line in lines if line.startswith("ANSWER")]
        assert len(found) == 1, (done.stdout, done.stderr[-4000:])
        rest = "\n".join(line for line in lines if not line.startswith("ANSWER"))
        result: dict[str, Any] = json.loads(found[0][len("ANSWER") :])
        return result, rest + done.stderr


@pytest.fixture(scope="session")
def place(
    tf_env: Callable[[str], TfEnvironment], tmp_path_factory: pytest.TempPathFactory
) -> Place:
    unfit = build("minimal", tf_env(ANOTHER))
    return Place(tf_env(RELEASE), tmp_path_factory.mktemp("embedding"), unfit)


@pytest.fixture(scope="session")
def extra(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Jupyter's kernel and pytest for the environment, which itself stays as it is."""
    folder = tmp_path_factory.mktemp("extra")
    command = [*uv(), "pip", "install", "--quiet", "--target", str(folder)]
    subprocess.run([*command, "--python", str(place.env.python), "ipykernel", "pytest"], check=True)
    return folder
