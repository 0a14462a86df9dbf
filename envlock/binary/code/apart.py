"""Machine code read in a child process, so that the disassembler is not loaded into this one.

The child is a bare Python that gets the file as its stdin and writes what it found to its stdout, by
`marshal`: that is part of every interpreter, where `pickle` would bring a library of its own. It
ends by itself when its time is over.
"""

from __future__ import annotations

import marshal
import os
import sys
from functools import partial
from itertools import starmap

from ...models.errors import DependencyMissing, ElfError
from ..elf.file import ElfFile
from .accesses import Code, missing, read

#: Seconds that the child has, bytes of its memory and of its answer. The 28,000 functions of a
#: library of 16 MB take ten seconds, and their answer has half a megabyte.
MAX_SECONDS = 300
MAX_MEMORY = 4 << 30
MAX_ANSWER = 64 << 20
SIGALRM, SIGKILL = 14, 9

_PROGRAM = (
    "import sys; sys.path += sys.argv[2:]; from envlock.binary.code.apart import answer; answer()"
)


def read_apart(elf: ElfFile) -> Code:
    """`accesses.read` in a child process.

    Raises `DependencyMissing` where the disassembler or a child is not to be had, `ElfError` for
    damaged tables.
    """
    # `importlib.util` would import `typing`.
    found = (finder.find_spec("capstone", None) for finder in sys.meta_path)
    origin = next((spec.origin for spec in found if spec is not None), None)
    if origin is None:
        raise missing()
    folders = [_above(__file__, 4), _above(origin, 2)]
    kind, content = _ask(elf, folders)
    if kind == "damaged":
        raise ElfError(str(content))
    if kind == "missing" or not isinstance(content, dict):
        raise missing()
    code = Code()
    vars(code).update(content)
    return code


def _above(path: str, levels: int) -> str:
    for _ in range(levels):
        path = os.path.dirname(os.path.abspath(path))
    return path


def _ask(elf: ElfFile, folders: list[str]) -> tuple[str, object]:
    """What `answer` writes in a child."""
    program = sys.executable or ""
    if not os.path.basename(program).startswith("python") or hasattr(sys, "frozen"):
        raise _no_child(f"`{program}` is not a Python interpreter")
    opened: list[int] = []
    children: list[int] = []
    ended = False
    try:
        file = _beyond(os.open(elf.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), opened)
        status = os.fstat(file)
        if not os.path.samestat(status, elf.status) or status.st_size != elf.size:
            raise _no_child("the file has been replaced")
        reading, writing = os.pipe()
        opened += [reading]
        writing = _beyond(writing, opened)
        spawn = partial(
            os.posix_spawn,
            program,
            [program, "-I", "-S", "-c", _PROGRAM, elf.path, *folders],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, file, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsigmask=[],
            setsigdef=[SIGALRM],
        )
        # One step for the interpreter: no signal comes between the child and its number.
        children.extend(starmap(spawn, [()]))
        opened.remove(writing)
        os.close(writing)
        data = bytearray()
        while not ended and len(data) <= MAX_ANSWER:
            part = os.read(reading, 1 << 16)
            data += part
            ended = not part
        found = marshal.loads(data)
        if not (isinstance(found, tuple) and len(found) == 2):
            raise ValueError
        return found
    except OSError as error:
        raise _no_child(error.strerror or str(error)) from None
    except (ValueError, EOFError, TypeError):
        raise _no_child("it ended without an answer") from None
    finally:
        for one in opened:
            os.close(one)
        for pid in children:
            _wait(pid, ended)


def _no_child(reason: str) -> DependencyMissing:
    return DependencyMissing(
        f"it is read in a process of its own, which cannot be had: {reason}",
        hint="`envlock check` reads it in its own",
    )


def _beyond(number: int, opened: list[int]) -> int:
    """A descriptor, or a copy of it, that is none of the three standard ones."""
    opened.append(number)
    while number < 3:
        number = os.dup(number)
        opened.append(number)
    return number


def _wait(pid: int, ended: bool) -> None:
    """Wait for the child. One that has not closed its stdout yet is there to be killed."""
    try:
        if not ended:
            os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # the host ignores SIGCHLD, or waits for every child itself


def answer() -> None:
    """The child's part: the name to call the file by is its first argument."""
    import resource
    import signal

    signal.alarm(MAX_SECONDS)
    os.closerange(3, 256)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    found: tuple[str, object]
    try:
        with ElfFile.open("/proc/self/fd/0") as elf:
            elf.path = sys.argv[1]
            found = "code", vars(read(elf))
    except DependencyMissing:
        found = "missing", ""
    except ElfError as error:
        found = "damaged", error.message
    with open(1, "wb", closefd=False) as out:
        marshal.dump(found, out)
