"""Run a function in a child process and meddle with its system calls, one by one.

    seen = trace(lambda: write_stamp(path, None, payload))          # what it did, in order
    trace(work, lambda call: KILL if call.index == 17 else None)    # SIGKILL before the 17th
    trace(work, lambda call: Fail(EIO) if call.name == "fsync" else None)

The child is a real process under ptrace(2); the kernel itself answers, unless told otherwise. Only
calls that touch files are shown and counted, over all of the child's threads and children.
"""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import os
import platform
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

#: Of x86-64, asm/unistd_64.h: everything that touches files and that Python or envlock may use.
CALLS = {
    0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 5: "fstat", 6: "lstat", 8: "lseek",
    9: "mmap", 16: "ioctl", 17: "pread64", 18: "pwrite64", 21: "access", 32: "dup", 40: "sendfile",
    72: "fcntl", 73: "flock", 74: "fsync", 75: "fdatasync", 76: "truncate", 77: "ftruncate",
    82: "rename", 86: "link", 87: "unlink", 89: "readlink", 90: "chmod", 91: "fchmod",
    92: "chown", 93: "fchown", 162: "sync", 188: "setxattr", 190: "fsetxattr", 191: "getxattr",
    193: "fgetxattr", 196: "flistxattr", 199: "fremovexattr", 217: "getdents64",
    221: "fadvise64", 257: "openat", 262: "newfstatat", 263: "unlinkat", 264: "renameat",
    265: "linkat", 267: "readlinkat", 269: "faccessat", 277: "sync_file_range", 280: "utimensat",
    285: "fallocate", 295: "preadv", 296: "pwritev", 306: "syncfs", 316: "renameat2",
    326: "copy_file_range", 327: "preadv2", 332: "statx", 439: "faccessat2",
}  # fmt: skip
#: Which argument is a descriptor of the file that the call is about, which are paths.
_DESCRIPTORS = {
    **dict.fromkeys(
        ("read", "write", "close", "fstat", "lseek", "ioctl", "pread64", "pwrite64", "dup")
        + ("fcntl", "flock", "fsync", "fdatasync", "ftruncate", "fchmod", "fchown", "fsetxattr")
        + ("fgetxattr", "flistxattr", "fremovexattr", "getdents64", "fadvise64", "fallocate")
        + ("preadv", "pwritev", "preadv2", "sync_file_range", "syncfs", "sendfile", "linkat"),
        0,
    ),
    "copy_file_range": 2,
    "mmap": 4,
}
_PATHS = {
    **dict.fromkeys(("open", "stat", "lstat", "access", "truncate", "unlink", "readlink"), (0,)),
    **dict.fromkeys(("chmod", "chown", "setxattr", "getxattr"), (0,)),
    **dict.fromkeys(("rename", "link"), (0, 1)),
    **dict.fromkeys(("openat", "newfstatat", "unlinkat", "readlinkat", "faccessat"), (1,)),
    **dict.fromkeys(("utimensat", "statx", "faccessat2"), (1,)),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), (1, 3)),
}
#: Where user_regs_struct keeps what is changed here: the arguments in order, the call, the result.
_ARGUMENTS, _RESULT, _CALL = (14, 13, 12, 7, 9, 8), 10, 15

_TRACEME, _SYSCALL, _SETOPTIONS, _GETREGSET, _SETREGSET = 0, 24, 0x4200, 0x4204, 0x4205
_GET_SYSCALL_INFO = 0x420E
_SYSGOOD, _TRACEFORK, _TRACEVFORK, _TRACECLONE, _EXITKILL = 1, 2, 4, 8, 0x100000
_FOLLOWED = _TRACEFORK | _TRACEVFORK | _TRACECLONE
_NT_PRSTATUS = 1
_WALL = 0x40000000
_ENTRY, _EXIT = 1, 2

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class _Kill:
    """The process dies (SIGKILL) instead of making the call, and its children with it."""


KILL = _Kill()


@dataclass(frozen=True)
class Fail:
    """The call answers `errno`. With `done`, it has done its work nevertheless."""

    errno: int
    done: bool = False


@dataclass(frozen=True)
class Shorten:
    """The argument that says how much is replaced by a smaller number."""

    argument: int
    value: int


Order = Union[_Kill, Fail, Shorten, None]


@dataclass
class Call:
    """One system call: its number in order, arguments, paths or the open file's name, result."""

    index: int
    name: str
    arguments: tuple[int, ...]
    paths: tuple[str, ...]
    inode: int | None
    result: int | None = None
    order: Order = None

    @property
    def path(self) -> str:
        return self.paths[0] if self.paths else ""


@dataclass
class Traced:
    """What became of the child: `said` is None when it was killed."""

    said: str | None
    calls: list[Call] = field(default_factory=list)

    def named(self, *names: str) -> list[Call]:
        return [call for call in self.calls if call.name in names]


def unsupported() -> str | None:
    """Why this machine cannot do it, None where it can."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        return f"this processor ({platform.machine()}) has other system call numbers than x86-64"
    return None


def trace(work: Callable[[], str], decide: Callable[[Call], Order] = lambda _: None) -> Traced:
    """Run `work` in a child process; `decide` is asked before each call that touches files."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(work, writer)
    os.close(writer)
    os.set_blocking(reader, False)
    try:
        calls = _follow(pid, decide)
        said = _drain(reader)
    finally:
        os.close(reader)
    return Traced(said or None, calls)


def _child(work: Callable[[], str], writer: int) -> None:
    try:
        os.setpgid(0, 0)
        faulthandler.disable()  # pytest's, for a child that is to die of a signal
        _ask(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            said = work()
        except Exception:
            said = "unexpected: " + traceback.format_exc()
        _ask(_TRACEME, 0, check=False)
        os.write(writer, said.encode()[:60_000])
    finally:
        os._exit(0)


def _drain(reader: int) -> str:
    try:
        return os.read(reader, 65_536).decode()
    except BlockingIOError:
        return ""


def _ask(
    request: int, tid: int, address: object = None, data: object = None, *, check: bool = True
) -> int:
    answer = int(_ptrace(request, tid, address, data))
    if answer < 0 and check:
        raise OSError(ctypes.get_errno(), f"ptrace request {request:#x}")
    return answer


def _follow(pid: int, decide: Callable[[Call], Order]) -> list[Call]:
    os.waitpid(pid, _WALL)
    _ask(_SETOPTIONS, pid, None, _SYSGOOD | _FOLLOWED | _EXITKILL)
    calls: list[Call] = []
    pending: dict[int, Call] = {}
    killed = False
    _ask(_SYSCALL, pid)
    while True:
        try:
            tid, status = os.waitpid(-pid, _WALL)
        except ChildProcessError:
            return calls
        if not os.WIFSTOPPED(status):
            continue
        stopped = os.WSTOPSIG(status)
        passed_on = 0
        if stopped == signal.SIGTRAP | 0x80 and not killed:
            try:
                killed = _at_call(pid, tid, decide, calls, pending)
            except ProcessLookupError:
                killed = True
            if killed:
                os.killpg(pid, signal.SIGKILL)
                continue
        elif stopped not in (signal.SIGTRAP, signal.SIGTRAP | 0x80, signal.SIGSTOP):
            passed_on = stopped
        _ask(_SYSCALL, tid, None, passed_on, check=False)


def _at_call(
    pid: int,
    tid: int,
    decide: Callable[[Call], Order],
    calls: list[Call],
    pending: dict[int, Call],
) -> bool:
    info = ctypes.create_string_buffer(88)
    _ask(_GET_SYSCALL_INFO, tid, len(info), ctypes.addressof(info))
    kind = info.raw[0]
    if kind == _ENTRY:
        number, *arguments = struct.unpack_from("<7Q", info.raw, 24)
        name = CALLS.get(number)
        if name is None or (name == "mmap" and ctypes.c_int(arguments[4]).value < 0):
            return False
        call = _describe(tid, len(calls), name, tuple(arguments))
        if name == "write" and call.path.startswith("pipe:"):
            return False  # the child's own report
        calls.append(call)
        pending[tid] = call
        call.order = decide(call)
        if isinstance(call.order, _Kill):
            return True
        if isinstance(call.order, Fail) and not call.order.done:
            _set_register(tid, _CALL, -1)
        elif isinstance(call.order, Shorten):
            _set_register(tid, _ARGUMENTS[call.order.argument], call.order.value)
    elif kind == _EXIT:
        ended = pending.pop(tid, None)
        if ended is not None:
            if isinstance(ended.order, Fail):
                _set_register(tid, _RESULT, -ended.order.errno)
                ended.result = -ended.order.errno
            else:
                (ended.result,) = struct.unpack_from("<q", info.raw, 24)
    return False


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def _set_register(tid: int, which: int, value: int) -> None:
    registers = (ctypes.c_int64 * 27)()
    vector = _Iovec(ctypes.addressof(registers), ctypes.sizeof(registers))
    _ask(_GETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
    registers[which] = value
    _ask(_SETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))


def _describe(tid: int, index: int, name: str, arguments: tuple[int, ...]) -> Call:
    paths: list[str] = []
    inode = None
    described = _DESCRIPTORS.get(name)
    if name in _PATHS:
        paths += [_text(tid, arguments[at]) for at in _PATHS[name]]
        if name == "newfstatat" and paths == [""]:
            name, described = "fstat", 0
            paths.clear()
    if described is not None:
        link = f"/proc/{tid}/fd/{ctypes.c_int(arguments[described]).value}"
        try:
            inode = os.stat(link).st_ino
            paths = paths or [os.readlink(link)]
        except OSError:
            pass
    return Call(index, name, arguments, tuple(paths), inode)


def _text(tid: int, address: int) -> str:
    if not address:
        return ""
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        content = memory.read(4096 - address % 4096)
        if b"\0" not in content:
            content += memory.read(4096)
    return content.split(b"\0", 1)[0].decode(errors="replace")


def each_kill(
    work: Callable[[], str],
    prepare: Callable[[], None],
    folder: Path,
    decide: Callable[[Call], Order] = lambda _: None,
) -> Iterator[Traced]:
    """Run `work` again and again, each time killed one call later, until it lives to the end.

    Only calls about `folder` and what is in it are counted: what the interpreter does elsewhere,
    such as closing a file that its garbage collector found, differs from one run to the next.
    """
    for last in itertools.count():
        prepare()
        traced = trace(work, _KillAt(last, str(folder), decide))
        yield traced
        if traced.said is not None:
            return


@dataclass
class _KillAt:
    """Kills before the call about `folder` that has the number `left` (from 0)."""

    left: int
    folder: str
    decide: Callable[[Call], Order]

    def __call__(self, call: Call) -> Order:
        if any(path == self.folder or path.startswith(self.folder + "/") for path in call.paths):
            self.left -= 1
            if self.left < 0:
                return KILL
        return self.decide(call)
