"""Apply treatments to specimens, and say what is left of the stamp."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from envlock.binary.elf import ElfFile
from envlock.binary.elf.digest import code_digest
from envlock.binary.elf.dynamic import build_id
from envlock.binary.elf.notes import find_stamp
from envlock.models.errors import EnvlockError
from tests.campaigns.survival.machines import Specimen
from tests.campaigns.survival.treatments import GRAFTED, TREATMENTS

KEPT, LOST, REFUSED = "kept", "lost", "tool refuses"


@dataclass(frozen=True)
class Identity:
    """What `envlock check` recognises a build by."""

    machine: int
    build_id: str | None
    code: str | None

    def same_build(self, other: Identity) -> bool:
        """As the rule `stamp-mismatch` asks: whatever both have is the same."""
        return all(
            one is None or two is None or one == two
            for one, two in (
                (self.machine, other.machine),
                (self.build_id, other.build_id),
                (self.code, other.code),
            )
        )


def identity(plugin: Path) -> Identity:
    with ElfFile.open(plugin) as elf:
        code = code_digest(elf)
        return Identity(elf.machine_number, build_id(elf), None if code is None else code.value)


def stamp_in(plugin: Path, form: str, payload: bytes) -> str:
    """KEPT when exactly the manifest comes out of it, in the form that it was put in."""
    try:
        with ElfFile.open(plugin) as elf:
            found = find_stamp(elf)
    except EnvlockError as error:
        return f"damaged: {error.message}"
    if found is None:
        return LOST
    return KEPT if (found.kind, found.payload) == (form, payload) else "another manifest"


@dataclass(frozen=True)
class Treated:
    """A plugin after a treatment; `stamp` says what is left of its stamp."""

    plugin: Path
    stamp: str
    same_build: bool
    complaint: str


def treat(specimen: Specimen, treatment: str, folder: Path) -> Treated:
    """A treated copy of the specimen, with the libraries that lie beside it, in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for library in specimen.plugin.parent.glob("*.so"):
        shutil.copy(library, folder)
    plugin = folder / specimen.plugin.name
    extra = folder / "libextra.so"
    if extra.exists():
        shutil.copy(extra, folder / GRAFTED)
    debug = folder / "plugin.debug"
    debug.write_text("not yet\n")
    before = identity(plugin)
    words = {
        **specimen.machine.tools(), "file": str(plugin), "debug": str(debug),
        "folder": str(folder), "name": plugin.name,
    }  # fmt: skip
    for command in TREATMENTS[treatment]:
        if command == ("{link}",):
            filled = [*specimen.link, str(plugin)]
        else:
            filled = [word.format(**words) for word in command]
        done = subprocess.run(
            filled, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            return Treated(plugin, REFUSED, True, said[0] if said else str(done.returncode))
    same = before.same_build(identity(plugin))
    return Treated(
        plugin, stamp_in(plugin, specimen.form, specimen.payload), same, _complaint(plugin)
    )


def _complaint(plugin: Path) -> str:
    """What readelf finds wrong with the file."""
    done = subprocess.run(
        ["readelf", "--file-header", "--sections", "--segments", "--notes", "--dynamic", "--wide",
         plugin],
        capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "Warning" in line or "Error" in line]
    return lines[0].replace(str(plugin), plugin.name) if lines else ""
