"""Environments whose TensorFlow no shipped atlas knows: the small framework, installed like a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.unit.atlas.framework import Framework, compile_shared
from tests.unit.environment import making

ROOT = Path(__file__).resolve().parents[3]


def install(framework: Framework, prefix: Path, version: str | None = None) -> Path:
    """A virtual environment with one release of the framework as its `tensorflow`."""
    making.venv(prefix)
    internal = framework.package / "python/_pywrap_tensorflow_internal.so"
    if not internal.exists():
        internal.parent.mkdir(exist_ok=True)
        empty = prefix / "empty.cc"
        empty.touch()
        compile_shared(
            empty, internal, "-Wl,--no-as-needed,-rpath,$ORIGIN/..", str(framework.library)
        )
    contents = {
        f"tensorflow/{path.relative_to(framework.package)}": path.read_bytes()
        for path in framework.package.rglob("*")
        if path.is_file()
    }
    contents["tensorflow/__init__.py"] = b""
    contents["tensorflow/include/tensorflow/core/framework/op.h"] = b""
    making.distribution(
        making.site_packages(prefix), "tensorflow-own", version or framework.version, contents
    )
    return prefix


def envlock(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "envlock", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )
