"""The published wheels of the truth data, unpacked in the cache folder and not installed.

    folder = unpacked("tensorflow_text-2.14.0")
    folder / "tensorflow_text/python/ops/_wordpiece_tokenizer.so"

uv unpacks with `--target`, which resolves nothing, runs nothing of the wheel, and leaves the
members where the wheel has them. As a command it fetches every wheel that the truth names.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import environments

# The recorded loads used the wheel for CPython 3.9 where there is one.
_PYTHONS = ("3.9", "3.11", "3.10", "3.12", "3.13")
_PLATFORM = "x86_64-manylinux_2_31"


def unpacked(dist: str) -> Path:
    """The folder that holds the members of `name-version`, fetched now if the cache lacks it.

    Raises environments.CannotEnsure when no Linux x86-64 wheel of it can be had.
    """
    root = environments.cache_root() / "wheels"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / dist
    with open(root / f".{dist}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(dist, folder)
    return folder


def _fetch(dist: str, folder: Path) -> None:
    name, _, version = dist.rpartition("-")
    unfinished = folder.with_name(f".{dist}.unfinished")
    errors = []
    for python in _PYTHONS:
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [*environments.uv(), "pip", "install", "--quiet", "--no-deps", "--no-config"]
        command += ["--python", sys.executable, "--python-version", python]
        command += ["--python-platform", _PLATFORM, "--only-binary=:all:", "--no-compile-bytecode"]
        command += ["--link-mode=hardlink", "--target", str(unfinished), f"{name}=={version}"]
        answer = subprocess.run(
            command, capture_output=True, text=True, env=environments.clean_environ()
        )
        if answer.returncode == 0:
            os.rename(unfinished, folder)
            return
        errors.append(f"CPython {python}: {answer.stderr.strip()}")
    raise environments.CannotEnsure(f"no wheel of {dist}:\n" + "\n".join(errors))


def main() -> int:
    from tests.campaigns.truth import records

    failed = 0
    for dist in sorted({record.dist for record in records.load()}):
        try:
            print(unpacked(dist), flush=True)
        except environments.CannotEnsure as problem:  # noqa: PERF203
            print(problem, file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
