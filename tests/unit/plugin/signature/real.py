"""Signatures on every library of some folders, and what strip and patchelf make of them.

    python -m tests.unit.plugin.signature.real [--tools N] [--patchelf PROGRAM...] FOLDER...

Every library is signed and verified. Of the first N, copies are stripped and patched, and judged;
where a copy is called broken, it is loaded in a process of its own, as the original is, to see who
is right. Libraries of more than 30 MB are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from envlock.binary.elf import ElfFile
from envlock.models.errors import EnvlockError
from envlock.models.signature import Statement
from envlock.plugin.signature.statement import BROKEN, INTACT, build_statement, compare

MANIFEST = b"{}"
LARGEST = 30_000_000
RPATH = "$ORIGIN/" + "long/" * 40


def libraries(folders: list[Path]) -> Iterator[Path]:
    """Every ELF library once, however many names it has."""
    seen = set()
    for folder in folders:
        for parent, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                path = Path(parent, name)
                if not (name.endswith(".so") or ".so." in name) or not path.is_file():
                    continue
                status = path.stat()
                if status.st_size > LARGEST or (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        yield path


def state(path: Path, statement: Statement) -> str:
    try:
        with ElfFile.open(path) as elf:
            return compare(elf, statement, MANIFEST).kind
    except EnvlockError as error:
        return f"error: {error.message}"


def loads(path: Path) -> bool:
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True).returncode == 0


def work(
    path: Path, statement: Statement, commands: dict[str, list[str]], seen: Counter[str]
) -> None:
    """Let each tool work on a copy, and judge what it made."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        for name, command in commands.items():
            shutil.copyfile(path, copy)
            copy.chmod(0o755)
            if subprocess.run([*command, copy], capture_output=True).returncode:
                seen[f"{name}: the tool failed"] += 1
                continue
            found = state(copy, statement)
            if found == BROKEN and loads(path):
                found += (
                    ", and it still loads" if loads(copy) else ", and it does not load any more"
                )
            seen[f"{name}: {found}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--tools", type=int, default=500, help="copies of so many are worked on")
    parser.add_argument("--patchelf", action="append", default=[])
    arguments = parser.parse_args()
    commands = {"strip": ["strip"]}
    for program in arguments.patchelf or ["patchelf"]:
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        commands[f"{version.strip()} --set-rpath"] = [program, "--set-rpath", RPATH]
        commands[f"{version.strip()} --add-needed"] = [program, "--add-needed", "libm.so.6"]
    seen: Counter[str] = Counter()
    for number, path in enumerate(libraries(arguments.folders)):
        try:
            with ElfFile.open(path) as elf:
                statement = build_statement(elf, MANIFEST)
        except EnvlockError as error:
            seen["not signed"] += 1
            print(error.message)
            continue
        seen["signed and verified" if state(path, statement) == INTACT else "not verified"] += 1
        if number < arguments.tools:
            work(path, statement, commands, seen)
    for what, count in sorted(seen.items()):
        print(f"{count:6} {what}")


if __name__ == "__main__":
    main()
