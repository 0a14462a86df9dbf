"""Machine code read in a child process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envlock.binary.code import accesses, apart
from envlock.binary.code.calls import PT_GNU_EH_FRAME
from envlock.binary.elf.file import ElfFile
from envlock.models.errors import DependencyMissing, ElfError

SOURCE = """
struct inner { long a, b; };
struct outer { long x; struct inner *inner; };
extern long use(struct outer *);
long get(struct outer *o) { return o->inner->b + use(o); }
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    source = tmp_path / "plugin.c"
    source.write_text(SOURCE)
    path = tmp_path / "plugin.so"
    command = ["gcc", "-O2", "-fPIC", "-shared", str(source), "-o", str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def elf(plugin: Path) -> Iterator[ElfFile]:
    with ElfFile.open(plugin) as file:
        yield file


def test_the_child_finds_the_same(elf: ElfFile) -> None:
    found = vars(apart.read_apart(elf))
    assert found == vars(accesses.read(elf))
    assert (8, 8) in found["windows"]
    assert any(("use", 0) in seen for seen in found["windows"][8, 8])


def test_a_damaged_file_is_named_as_it_was_given(plugin: Path) -> None:
    data = bytearray(plugin.read_bytes())
    with ElfFile.open(plugin) as elf:
        header = next(s for s in elf.segments if s.type == PT_GNU_EH_FRAME)
    data[header.offset + 8 : header.offset + 12] = b"\xff" * 4
    plugin.write_bytes(data)
    with ElfFile.open(plugin) as elf, pytest.raises(ElfError) as child:
        apart.read_apart(elf)
    with ElfFile.open(plugin) as elf, pytest.raises(ElfError) as here:
        accesses.read(elf)
    assert child.value.message == here.value.message


def test_a_file_that_was_replaced_is_not_read(elf: ElfFile, plugin: Path) -> None:
    shutil.copy(plugin, plugin.with_suffix(".new"))
    os.replace(plugin.with_suffix(".new"), plugin)
    with pytest.raises(DependencyMissing, match="the file has been replaced"):
        apart.read_apart(elf)


@pytest.mark.parametrize("program", ["", "/usr/sbin/uwsgi", "/nowhere/python3"])
def test_no_interpreter(elf: ElfFile, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(DependencyMissing, match="in a process of its own, which cannot be had"):
        apart.read_apart(elf)


def test_a_child_that_dies(elf: ElfFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(DependencyMissing, match="it ended without an answer"):
        apart.read_apart(elf)


def test_the_host_may_ignore_its_children(plugin: Path) -> None:
    """And have closed its standard streams, whose numbers the next files get."""
    script = f"""
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from envlock.binary.code import apart
from envlock.binary.elf.file import ElfFile
with ElfFile.open({str(plugin)!r}) as elf:
    for number in (0, 1):
        os.close(number)
    known = sorted(os.listdir("/proc/self/fd"))
    assert (8, 8) in apart.read_apart(elf).windows
    assert sorted(os.listdir("/proc/self/fd")) == known
"""
    root = Path(__file__).resolve().parents[3]
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(root)}
    )


def test_an_interrupted_check_leaves_no_child(
    elf: ElfFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid\nkill -INT {os.getpid()}\nexec sleep 600\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            apart.read_apart(elf)
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
