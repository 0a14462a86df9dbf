"""A real TensorFlow op with a library of its own: stamped in both forms, treated, repaired, loaded."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import envlock
from envlock.actions.recording import note_payload
from envlock.binary.elf import ElfFile
from envlock.binary.elf.note_source import linked_note_source
from envlock.binary.elf.notes import find_stamp
from tests.campaigns.survival.machines import MACHINES, Specimen, ToolMissing, auditwheel
from tests.support import environments
from tests.support.building import OPS, RECIPES, flags_of, standard
from tests.support.elves import run, search_path
from tests.support.environments import TfEnvironment

#: The release that the real part of the matrix is made with.
RELEASE = "2.15.1"
#: The function of `tests.campaigns.conformance.answers` that knows what it must compute.
ANSWER = RECIPES["dependency_present"].answer
SOURCE = OPS / "dependency.cc"


def op_object(env: TfEnvironment) -> Path:
    """The op compiled, not linked; kept, since that takes a compiler ten seconds and more."""
    command = ["g++", "-c", "-fPIC", "-O2", "-g1", "-w", standard(env), f"-I{OPS}"]
    command += [f"-DTF_MINOR={env.minor[1]}", *flags_of(env).compile]
    inputs = b"".join(path.read_bytes() for path in (SOURCE, *sorted(OPS.glob("*.h"))))
    version = run("g++", "--version").encode()
    digest = hashlib.sha256(inputs + version + " ".join(command).encode()).hexdigest()[:16]
    kept = environments.cache_root() / "survival" / f"{env.prefix.name}-{digest}.o"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = kept.with_suffix(f".{os.getpid()}")
        run(*command, SOURCE, "-o", made)
        made.rename(kept)
    return kept


def op_specimen(env: TfEnvironment, form: str, folder: Path) -> Specimen:
    """The op beside the library that it needs, stamped by `envlock stamp` or `envlock note`."""
    folder.mkdir(parents=True)
    plugin, extra = folder / "plugin.so", folder / "libextra.so"
    run("gcc", "-shared", "-fPIC", "-O2", OPS / "extra.c", "-Wl,-soname,libextra.so", "-o", extra)
    objects = [str(op_object(env))]
    payload = b""
    if form == "linked-in":
        payload = note_payload(env.prefix)
        (folder / "note.S").write_text(linked_note_source(payload, "S"))
        run("gcc", "-c", folder / "note.S", "-o", folder / "note.o")
        objects.append(str(folder / "note.o"))
    rpath = "-Wl,-rpath,$ORIGIN/some/folder:$ORIGIN"
    link = ("g++", "-shared", *objects, str(extra), rpath, *flags_of(env).link, "-o")
    run(*link, plugin)
    if form == "appended":
        envlock.stamp(plugin, env=env.prefix)
        with ElfFile.open(plugin) as elf:
            stamp = find_stamp(elf)
        assert stamp is not None
        payload = stamp.payload
    return Specimen(MACHINES["x86-64"], form, plugin, link, payload)


FRAMEWORK = "libtensorflow_framework.so.2"


def repaired(
    plugin: Path, libraries: Path, folder: Path, *options: str, exclude: str = FRAMEWORK
) -> Path:
    """The plugin out of a wheel that auditwheel repaired; the grafted library lies in its place.

    What is grafted is found in the folder `libraries`, outside of the wheel, as libraries of the
    system are. Raises ToolMissing.
    """
    folder.mkdir(parents=True)
    wheel = folder / "demo-1.0-py3-none-linux_x86_64.whl"
    parts = {
        "demo/__init__.py": b"",
        "demo/plugin.so": plugin.read_bytes(),
        "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        "demo-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\n"
        b"Root-Is-Purelib: false\nTag: py3-none-linux_x86_64\n",
    }
    record = "".join(f"{name},,\n" for name in [*parts, "demo-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**parts, "demo-1.0.dist-info/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    done = subprocess.run(
        [auditwheel(), "repair", "--plat", "auto", "--exclude", exclude, *options,
         "-w", folder / "out", wheel],
        capture_output=True, text=True,
        env={**os.environ, "PATH": search_path(), "LD_LIBRARY_PATH": str(libraries)},
    )  # fmt: skip
    if done.returncode != 0 and "patchelf" in done.stderr and "find" in done.stderr:
        raise ToolMissing("`patchelf` is not installed")
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "out").glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(folder / "site")
    return folder / "site" / "demo" / "plugin.so"
