"""A program of this machine that runs on the C library of a root, without entering it.

For roots whose Python envlock does not run on: the program names that root's ld.so as its
interpreter, and finds libc beside it by RPATH. It is linked against that very libc, so that nothing
newer is asked for.
"""

from __future__ import annotations

from pathlib import Path

from tests.campaigns.loaders.cases import Bench
from tests.unit.linker.workshop import HOST

# crt1.o is part of a package that the roots lack; older releases take no constructors' table.
START = r"""
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rdx, %r9\n pop %rsi\n mov %rsp, %rdx\n"
        "and $-16, %rsp\n push %rax\n push %rsp\n xor %r8d, %r8d\n xor %ecx, %ecx\n"
        "lea main(%rip), %rdi\n call *__libc_start_main@GOTPCREL(%rip)\n hlt\n");
"""


class Program(Bench):
    """A workshop whose program runs on a root's C library. `libraries` is the folder with libc."""

    def __init__(self, folder: Path, libraries: Path) -> None:
        super().__init__(folder)
        self.libraries = libraries

    def host(self, *flags: str) -> Path:
        """Build the program."""
        named = ("libc.so.6", "libdl.so.2", "ld-linux-x86-64.so.2")
        files = [str((self.libraries / name).resolve()) for name in named]
        self.gcc(
            "-O0",
            "-nostdlib",
            "-nostartfiles",
            "-no-pie",
            "-x",
            "c",
            "-",
            "-x",
            "none",
            "-Wl,--no-as-needed",
            "-Wl,--allow-shlib-undefined",
            *files,
            f"-Wl,--dynamic-linker={files[-1]}",
            f"-Wl,--disable-new-dtags,-rpath,{self.libraries}",
            "-Wl,-z,noexecstack",
            *flags,
            "-o",
            self.host_path,
            source=HOST + START,
        )
        self._built_host = True
        return self.host_path
