"""Bad input through the command line: the contract's exit status, one line, the file untouched."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf.notes import MAX_MANIFEST
from envlock.cli import COMMANDS
from envlock.plugin.manifest import encode_manifest
from tests.reality.hostile.manifests import manifest
from tests.support.elves import (
    BARE_SOURCE,
    C_SOURCE,
    add_section,
    compile_library,
    note,
    run,
)
from tests.support.environments import TfEnvironment

#: Commands that take a plugin, as far as they are there.
PLUGIN_COMMANDS = [name for name in ("show", "check", "stamp", "compat") if name in COMMANDS]
OK, FAILS, UNREADABLE = 0, 1, 3

Maker = Callable[[Path], Path]


class Case:
    """A bad input: how it is made, what is said of it, and the exit status of each command."""

    def __init__(
        self, make: Maker, words: str, *, tools: tuple[str, ...] = (), **status: int
    ) -> None:
        self.make = make
        self.words = words
        self.tools = tools
        self.status = {name: status.get(name, UNREADABLE) for name in PLUGIN_COMMANDS}


def plain(folder: Path) -> Path:
    return compile_library(folder / "plugin.so")


def written(content: bytes, name: str = "plugin.so") -> Maker:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return make


def cut(length: int) -> Maker:
    def make(folder: Path) -> Path:
        path = plain(folder)
        os.truncate(path, length if length >= 0 else path.stat().st_size + length)
        return path

    return make


def overwritten(offset: int, layout: str, value: int) -> Maker:
    def make(folder: Path) -> Path:
        path = plain(folder)
        content = bytearray(path.read_bytes())
        struct.pack_into(layout, content, offset, value)
        path.write_bytes(content)
        return path

    return make


def with_section(content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        path = plain(folder)
        add_section(path, content)
        return path

    return make


def with_json(content: bytes) -> Maker:
    def make(folder: Path) -> Path:
        path = plain(folder)
        write_stamp(path, None, content)
        return path

    return make


def missing(folder: Path) -> Path:
    return folder / "missing.so"


def a_folder(folder: Path) -> Path:
    path = folder / "plugin.so"
    path.mkdir()
    return path


def fifo(folder: Path) -> Path:
    path = folder / "plugin.so"
    os.mkfifo(path)
    return path


def a_socket(folder: Path) -> Path:
    path = folder / "plugin.so"
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(folder)  # a socket's path has room for 107 bytes only
        try:
            listener.bind("plugin.so")
        finally:
            os.chdir(before)
    return path


def dangling(folder: Path) -> Path:
    path = folder / "plugin.so"
    path.symlink_to("nowhere.so")
    return path


def loop(folder: Path) -> Path:
    path = folder / "plugin.so"
    path.symlink_to("plugin.so")
    return path


def static_library(folder: Path) -> Path:
    (folder / "a.c").write_text(BARE_SOURCE)
    run("gcc", "-c", folder / "a.c", "-o", folder / "a.o")
    run("ar", "rc", folder / "liba.a", folder / "a.o")
    return folder / "liba.a"


def object_file(folder: Path) -> Path:
    (folder / "a.c").write_text(C_SOURCE)
    run("gcc", "-c", folder / "a.c", "-o", folder / "a.o")
    return folder / "a.o"


def executable(folder: Path) -> Path:
    (folder / "a.c").write_text("int main(void) { return 0; }")
    run("gcc", "-no-pie", folder / "a.c", "-o", folder / "program")
    return folder / "program"


def static_executable(folder: Path) -> Path:
    (folder / "a.c").write_text("int main(void) { return 0; }")
    run("gcc", "-static", folder / "a.c", "-o", folder / "program")
    return folder / "program"


def pie(folder: Path) -> Path:
    (folder / "a.c").write_text("int main(void) { return 0; }")
    run("gcc", "-pie", "-fPIE", folder / "a.c", "-o", folder / "program")
    return folder / "program"


def no_sections(folder: Path) -> Path:
    path = plain(folder)
    run("eu-strip", "--strip-sections", path)
    return path


def foreign(*compiler: str) -> Maker:
    def make(folder: Path) -> Path:
        flags = ("-nostdlib", *(("-fuse-ld=lld",) if "clang" in compiler[0] else ()))
        return compile_library(folder / "plugin.so", *flags, source=BARE_SOURCE, compiler=compiler)

    return make


JSON = encode_manifest(manifest())
#: `stamp` replaces a manifest that cannot be read.
REPLACED = {"stamp": OK, "compat": UNREADABLE, "show": UNREADABLE, "check": UNREADABLE}

CASES = {
    "empty": Case(written(b""), "is empty"),
    "one byte": Case(written(b"\x7f"), "cut off inside the first four bytes"),
    "text": Case(written(b"GROUP ( libm.so.6 )\n"), "is not an ELF file: it is a text file"),
    "a script": Case(written(b"#!/bin/sh\n"), "it is a script"),
    "a zip archive": Case(written(b"PK\x03\x04" + bytes(60)), "it is a zip archive"),
    "a Windows library": Case(written(b"MZ" + bytes(60)), "it is a Windows library"),
    "a macOS library": Case(written(b"\xcf\xfa\xed\xfe" + bytes(60)), "it is a macOS library"),
    "a Git LFS pointer": Case(
        written(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), "Git LFS pointer"
    ),
    "zeros": Case(written(bytes(4096)), "is not an ELF file"),
    "cut in the header": Case(cut(40), "the ELF header"),
    "cut in the program headers": Case(cut(100), "the program header table"),
    "cut in the middle": Case(cut(9000), "is damaged"),
    "cut by one byte": Case(cut(-1), "the section header table"),
    "e_phoff": Case(overwritten(32, "<Q", 1 << 60), "the program header table"),
    "e_shoff": Case(overwritten(40, "<Q", 1 << 60), "the section header table"),
    "e_phnum": Case(overwritten(56, "<H", 0xFFFF), "program headers are more than"),
    "e_shentsize": Case(overwritten(58, "<H", 7), "section headers are 7 bytes"),
    "EI_CLASS": Case(overwritten(4, "<B", 9), "EI_CLASS is 9"),
    "no program headers": Case(overwritten(56, "<H", 0), "has no dynamic section"),
    "missing": Case(missing, "No such file or directory"),
    "a folder": Case(a_folder, "is a folder"),
    "a FIFO": Case(fifo, "is a FIFO, not a file"),
    "a socket": Case(a_socket, "cannot open"),
    "a dangling link": Case(dangling, "No such file or directory"),
    "a link to itself": Case(loop, "Too many levels of symbolic links"),
    "a static library": Case(static_library, "it is a static library (ar archive)"),
    "an object file": Case(object_file, "not a shared library"),
    "an executable": Case(executable, "is an executable, not a shared library",
                          show=OK, check=FAILS, compat=FAILS),
    "a static executable": Case(static_executable, "not a shared library"),
    "a position-independent executable": Case(
        pie, "is a position-independent executable", show=OK, check=FAILS, compat=FAILS),
    "no section headers": Case(
        no_sections, "has no section headers", tools=("eu-strip",), show=OK, check=OK, compat=OK),
    "32-bit": Case(foreign("gcc", "-m32"), "32-bit", show=OK, check=FAILS, stamp=FAILS, compat=FAILS),
    "big-endian, 32-bit": Case(
        foreign("mips-linux-gnu-gcc"), "32-bit", tools=("mips-linux-gnu-gcc",),
        show=OK, check=FAILS, stamp=FAILS, compat=FAILS),
    "big-endian, 64-bit": Case(
        foreign("clang", "--target=powerpc64-linux-gnu", "-mabi=elfv2"), "ppc64",
        tools=("clang", "ld.lld"), show=OK, check=FAILS, stamp=FAILS, compat=FAILS),
    "another machine": Case(
        foreign("aarch64-linux-gnu-gcc"), "aarch64", tools=("aarch64-linux-gnu-gcc",),
        show=OK, check=FAILS, stamp=FAILS, compat=FAILS),
    "a damaged note": Case(with_section(note(JSON)[:-9]), "has a damaged ELF note", **REPLACED),
    "an empty note": Case(with_section(note(b"")), "not JSON", **REPLACED),
    "not JSON": Case(with_json(b"\x89PNG not JSON"), "byte 0 is not UTF-8", **REPLACED),
    "half of the JSON": Case(with_json(JSON[: len(JSON) // 2]), "not JSON", **REPLACED),
    "a newer format": Case(
        with_json(b'{"format":"envlock.manifest/2"}'), "has format `envlock.manifest/2`", **REPLACED),
    "a newer note": Case(
        with_section(note(JSON, kind=2)), "its envlock note has type 2", **REPLACED),
    "100 MB of manifest": Case(
        with_section(note(b" " * 100_000_000)), f"envlock reads at most {MAX_MANIFEST}", **REPLACED),
    "nested 100,000 deep": Case(
        with_json(JSON[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "nested deeper than", **REPLACED),
    "a manifest of another kind": Case(
        with_json(JSON.replace(b'"bits":64', b'"bits":"many"')),
        "`$.plugin.bits`: expected an integer, got a string", **REPLACED),
    "two different notes": Case(
        with_section(note(JSON) + note(JSON.replace(b"2.15.1", b"2.16.1"))),
        "carries two different appended manifests", **REPLACED),
}  # fmt: skip


def envlock(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command; a hang fails the test."""
    return subprocess.run(
        [sys.executable, "-m", "envlock", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environ},
    )


def state(path: Path) -> object:
    """What must not change of a file and its folder."""
    status = os.lstat(path) if os.path.lexists(path) else None
    regular = status is not None and path.is_file()
    return (
        sorted(os.listdir(path.parent)),
        status and (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns),
        path.read_bytes() if regular else None,
    )


@pytest.mark.parametrize("command", PLUGIN_COMMANDS)
@pytest.mark.parametrize("what", CASES)
def test_bad_input(
    what: str, command: str, tmp_path: Path, environment: TfEnvironment, tool: Callable[[str], str]
) -> None:
    case = CASES[what]
    for name in case.tools:
        tool(name)
    folder = tmp_path / "input"
    folder.mkdir()
    path = case.make(folder)
    before = state(path)
    options = ["--env", str(environment.prefix)] if command in ("check", "stamp") else []
    expected = case.status[command]

    done = envlock(command, *options, path)
    said = done.stdout + done.stderr
    assert done.returncode == expected, said
    assert "Traceback" not in said
    if expected == UNREADABLE:
        assert case.words in said
        (line,) = [text for text in said.splitlines() if case.words in text]
        assert str(path) in line
        rest = [text for text in said.splitlines() if text and text != line]
        assert all(text.startswith("hint: ") for text in rest), said
        assert len(rest) <= 1
    if command != "stamp" or expected != OK:
        assert state(path) == before

    again = envlock(command, "--format", "json", *options, path)
    document = json.loads(again.stdout)
    assert document["format"] == f"envlock.{'report' if command == 'check' else command}/1"
    assert "Traceback" not in again.stderr
    assert again.returncode == (expected if command != "stamp" or expected != OK else OK)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be unreadable for")
@pytest.mark.parametrize("command", PLUGIN_COMMANDS)
def test_an_unreadable_file(command: str, tmp_path: Path, environment: TfEnvironment) -> None:
    """Root reads everything, so the command runs without that power."""
    capsh = shutil.which("setpriv")
    if capsh is None:
        pytest.skip("`setpriv` is not installed")
    path = plain(tmp_path)
    path.chmod(0)
    os.chown(path, 65534, 65534)
    options = ["--env", str(environment.prefix)] if command in ("check", "stamp") else []
    done = subprocess.run(
        [capsh, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all",
         sys.executable, "-m", "envlock", command, *options, str(path)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == UNREADABLE, done.stdout + done.stderr
    assert f"cannot open `{path}`: Permission denied" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["check", "stamp"])
def test_an_environment_without_tensorflow(command: str, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare")
    path = plain(tmp_path)
    before = path.read_bytes()
    done = envlock(command, "--env", tmp_path / "bare", path)
    assert done.returncode == UNREADABLE
    assert done.stderr.startswith(f"envlock: there is no TensorFlow in `{tmp_path / 'bare'}`\n")
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("env", ["missing", "a file", "a folder without Python"])
@pytest.mark.parametrize("command", ["check", "stamp"])
def test_what_is_no_environment(command: str, env: str, tmp_path: Path) -> None:
    place = tmp_path / "env"
    if env == "a file":
        place.write_text("x")
    elif env == "a folder without Python":
        place.mkdir()
    done = envlock(command, "--env", place, plain(tmp_path))
    assert done.returncode == UNREADABLE, done.stderr
    assert done.stderr.startswith("envlock: ")
    assert str(place) in done.stderr
    assert "Traceback" not in done.stderr


BROKEN = {
    "METADATA is gone": lambda info: (info / "METADATA").unlink(),
    "METADATA is empty": lambda info: (info / "METADATA").write_bytes(b""),
    "METADATA is binary": lambda info: (info / "METADATA").write_bytes(bytes(range(256)) * 9),
    "METADATA is a folder": lambda info: (
        (info / "METADATA").unlink(),
        (info / "METADATA").mkdir(),
    ),
    "RECORD is gone": lambda info: (info / "RECORD").unlink(),
    "RECORD is binary": lambda info: (info / "RECORD").write_bytes(bytes(range(256)) * 9),
    "RECORD has unclosed quotes": lambda info: (info / "RECORD").write_text('"a,b\n' * 500),
    "everything is gone": lambda info: shutil.rmtree(info),
    "it is a file": lambda info: (shutil.rmtree(info), info.write_text("x")),
    "it is a link to itself": lambda info: (shutil.rmtree(info), info.symlink_to(info.name)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_dist_info(how: str, tmp_path: Path, environment: TfEnvironment) -> None:
    """TensorFlow itself is whole; the record of its installation is not."""
    env = tmp_path / "env"
    python = os.path.realpath(environment.python)
    run(python, "-m", "venv", "--without-pip", env)
    packages = env / environment.site_packages.relative_to(environment.prefix)
    for entry in environment.site_packages.iterdir():
        if entry.name.startswith("tensorflow_cpu") and entry.name.endswith(".dist-info"):
            shutil.copytree(entry, packages / entry.name)
        else:
            (packages / entry.name).symlink_to(entry)
    (info,) = packages.glob("tensorflow_cpu*.dist-info")
    whole = envlock("check", "--env", env, plain(tmp_path))
    assert whole.returncode in (OK, FAILS), whole.stderr
    BROKEN[how](info)
    done = envlock("check", "--env", env, tmp_path / "plugin.so")
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert done.returncode in (OK, FAILS, UNREADABLE)
    if done.returncode == UNREADABLE:
        (line,) = [text for text in done.stderr.splitlines() if not text.startswith("hint: ")]
        assert line.startswith("envlock: ")
