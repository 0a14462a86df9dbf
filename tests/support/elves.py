"""Small ELF files, compiled on the spot, for tests of reading and writing them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: A C library with everything a digest or a tool could stumble over: data, constants,
#: constructors, thread-local and zeroed data, relocations, imports.
C_SOURCE = """\
#include <stdlib.h>
#include <string.h>
static int table[64] = {1, 2, 3, 5, 8, 13};
const double constants[16] = {3.25, 2.5};
const char *names[] = {"alpha", "beta", "gamma"};
static char zeroed[4096];
static __thread int counter = 7;
static int (*const operations[])(int) = {abs};
__attribute__((constructor)) static void begin(void) { zeroed[1] = 41; }
int answer(int which) {
    char *copy = malloc(8);
    strcpy(copy, names[which % 3]);
    int result = table[which & 63] + (int)constants[which & 15] + copy[0] + counter++;
    free(copy);
    switch (which) {
    case 1: return zeroed[1] + 1;
    case 2: return operations[0](-2) * 3;
    case 3: return result ^ 5;
    default: return result;
    }
}
"""
#: What `answer(1)` returns in a process that has loaded the library for the first time.
ANSWER = 42

CXX_SOURCE = """\
#include <cassert>
#include <stdexcept>
#include <string>
#include <vector>
struct Base { virtual ~Base() {} virtual int run(int) = 0; };
struct One : Base { int run(int a) override { return a + 1; } };
Base *make() { return new One; }
std::string join(const std::vector<std::string> &parts) {
    std::string all;
    for (const auto &part : parts) all += part;
    if (all.empty()) throw std::runtime_error("empty");
#ifdef WITH_ASSERT
    assert(all.size() < 100);
#endif
    return all;
}
extern "C" int answer(int which) { return make()->run(41) + which - 1; }
"""

#: No library needed, so every cross compiler can make it.
BARE_SOURCE = """\
static int table[4] = {1, 2, 3, 42};
int answer(int which) { return table[(which + 2) & 3]; }
int twice(int which) { return 2 * answer(which); }
"""

#: Prints the largest memory, in KiB, that a process has had since its program was started; what
#: the kernel reports through getrusage counts the parent before that, too.
PEAK = "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"


def run(*command: str | Path, **environ: str) -> str:
    """Run a tool that has to succeed; its output."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def compile_library(
    output: Path, *flags: str, source: str = C_SOURCE, compiler: Sequence[str] = ("gcc",)
) -> Path:
    """Compile `source` into a shared library."""
    suffix = ".cc" if "++" in compiler[0] else ".c"
    text = output.with_suffix(suffix)
    text.write_text(source)
    run(*compiler, "-shared", "-fPIC", "-O1", *flags, text, "-o", output)
    return output


def call(library: Path, which: int = 1) -> int:
    """`answer(which)` of a library, in a process of its own that really loads it."""
    code = f"import ctypes; print(ctypes.CDLL({str(library.resolve())!r}).answer({which}))"
    return int(run(sys.executable, "-c", code))


def note(payload: bytes, *, owner: bytes = b"envlock\0", kind: int = 1, order: str = "<") -> bytes:
    """An ELF note, written down independently of envlock."""
    head = struct.pack(order + "III", len(owner), len(payload), kind)
    return head + owner + b"\0" * (-len(owner) % 4) + payload + b"\0" * (-len(payload) % 4)


def add_section(library: Path, content: bytes, name: str = ".note.envlock") -> None:
    """Add a non-allocated note section the way binutils does."""
    blob = library.with_suffix(".section")
    blob.write_bytes(content)
    run("objcopy", f"--add-section={name}={blob}", f"--set-section-flags={name}=readonly", library)


def beside_python(name: str) -> str | None:
    """A program installed into this virtual environment, else one on PATH."""
    return shutil.which(name, path=search_path())


def search_path() -> str:
    """PATH with this virtual environment's programs first."""
    return os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
