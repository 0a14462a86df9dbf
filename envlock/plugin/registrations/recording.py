"""Finding out what a plugin registers by loading it, in a process that may die.

Runs the plugin, so only where it is asked for by name (`envlock stamp --record-ops`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal

from ...models.record import ValidationError, decode
from ...models.registration import KernelRecord, OpRecord, Registrations
from .reading import kernel_key, read_registrations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...binary.elf import ElfFile
    from ...environment.live import Environment

#: Seconds for importing TensorFlow, and then for loading one plugin; both many times over.
IMPORT_TIMEOUT = 180.0
LOAD_TIMEOUT = 60.0
#: More bytes than any plugin's list of ops and kernels; TensorFlow's own is 3 MB.
MAX_ANSWER = 64 << 20

#: How the child's last line ends.
DONE = b'"done": true}\n'


class LoadFailed(Exception):
    """The child could not say what the plugin registers; the text says why."""


def record_registrations(
    elf: ElfFile, environment: Environment, *, timeout: float = LOAD_TIMEOUT
) -> Registrations:
    """What the plugin registers when the environment's own Python loads it.

    `timeout` is in seconds, for the load. Where it cannot be loaded, what the file itself shows,
    with the reason under `limits`.
    """
    shown = read_registrations(elf)
    try:
        return _loaded(ask(elf.path, environment, timeout=timeout), shown)
    except LoadFailed as failure:
        return shown.replace(limits=(f"it could not be loaded: {failure}", *shown.limits))


def _loaded(answer: Mapping[str, Any], shown: Registrations) -> Registrations:
    path = "$"
    try:
        ops = tuple(decode(OpRecord, one, path) for one in answer["ops"])
        kernels = tuple(decode(KernelRecord, one, path) for one in answer["kernels"])
    except (ValidationError, KeyError, TypeError):
        raise LoadFailed("its answer was damaged while it was loaded") from None
    # TensorFlow does not say when it ignores an op because the name is taken: the file does.
    known = {op.name for op in ops}
    ignored = tuple(op for op in shown.ops if op.name not in known)
    limits: tuple[str, ...] = ()
    if ignored:
        names = ", ".join(f"`{op.name}`" for op in ignored[:5])
        limits = (f"TensorFlow has ops of these names already and ignored the plugin's: {names}",)
    return Registrations(
        source="loaded",
        tensorflow=str(answer.get("tensorflow", "unknown")),
        ops=tuple(sorted((*ops, *ignored), key=lambda op: op.name)),
        kernels=tuple(sorted(kernels, key=kernel_key)),
        limits=limits,
    )


def ask(
    plugin: str | None, environment: Environment, *, timeout: float = LOAD_TIMEOUT
) -> dict[str, Any]:
    """Run `asking` with the environment's Python. None: what TensorFlow itself registers.

    `timeout` is in seconds, from when TensorFlow is imported. Raises `LoadFailed`.
    """
    import subprocess
    import tempfile

    paths = environment.paths
    name = "-" if plugin is None else os.path.abspath(plugin)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "asking.py")
    reading, writing = os.pipe()
    folders = tempfile.TemporaryDirectory(prefix="envlock-load-")
    with folders as folder, tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                # -S and -I would hide what the environment's own start-up adds to its path.
                [paths.executable, "-c", _RUN, name, str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=folder,
                env=_variables(paths.running, script),
                pass_fds=(writing,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(reading)
            raise LoadFailed(f"`{paths.executable}` cannot be run: {error.strerror}") from None
        finally:
            os.close(writing)
        try:
            lines, in_time = _collect(reading, timeout)
        finally:
            os.close(reading)
            status = _end(child.pid)
            child.returncode = status or 0
        answer: dict[str, Any] = {}
        for line in lines:
            with contextlib.suppress(ValueError):
                part = json.loads(line)
                answer.update(part if isinstance(part, dict) else {})
        if "ops" in answer:
            return answer
        said.seek(0, os.SEEK_END)
        said.seek(max(0, said.tell() - 4000))
        last = said.read().decode("utf-8", "backslashreplace").strip().splitlines()
    raise LoadFailed(_reason(answer, in_time, timeout, status, last[-1] if last else ""))


#: The script is read and not put on the command line's place, so that `sys.path[0]` is no folder
#: of envlock's own.
_RUN = (
    "import os; p = os.environ.pop('ENVLOCK_ASKING'); "
    "exec(compile(open(p, encoding='utf-8').read(), p, 'exec'))"
)


def _variables(running: bool, script: str) -> dict[str, str]:
    """The child's variables: this process's, without a Python of its own for another one's."""
    variables = dict(os.environ)
    if not running:
        for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
            variables.pop(name, None)
    variables.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    variables["ENVLOCK_ASKING"] = script
    return variables


def _collect(pipe: int, timeout: float) -> tuple[list[bytes], bool]:
    """What the child wrote, and whether it came to an end in time."""
    import select
    import time

    end, imported = time.monotonic() + IMPORT_TIMEOUT, False
    data = bytearray()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while True:
        left = end - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return bytes(data).splitlines(), False
        part = os.read(pipe, 1 << 16)
        data += part
        # What the plugin forked may hold the pipe open longer than the child lives.
        if not part or len(data) > MAX_ANSWER or data.endswith(DONE):
            return bytes(data).splitlines(), True
        if not imported and b"\n" in data:
            end, imported = time.monotonic() + timeout, True


def _end(pid: int) -> int | None:
    """Kill the child with all that it started; its return code as `subprocess` counts, None where
    the host ignores SIGCHLD, so that there is none.

    A child whose answer is complete has ended or is about to; one that hangs is killed.
    """
    import time

    done = 0
    try:
        for _ in range(20):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.02)
        _kill(pid)
        if not done:
            _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        _kill(pid)
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _reason(
    answer: Mapping[str, Any], in_time: bool, timeout: float, status: int | None, last: str
) -> str:
    stage = "while it was loaded" if "tensorflow" in answer else "while TensorFlow was imported"
    if "error" in answer:
        return " ".join(str(answer["error"]).split())[:300]
    if not in_time:
        limit = timeout if "tensorflow" in answer else IMPORT_TIMEOUT
        return f"the process did not end within {limit:g} s {stage}"
    if status is not None and status < 0:
        return f"the process died of {_signal(-status)} {stage}"
    how = "ended" if status is None else f"ended with status {status}"
    return f"the process {how} {stage}" + (f": {last[:200]}" if last else "")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
