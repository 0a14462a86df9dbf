"""Forked children: the same answers in the same order, whatever happens to one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from envlock.files.parallel import Died, map_forked, workers_for
from envlock.linker.resolve import predict
from tests.support.elves import add_section, compile_library
from tests.support.environments import TfEnvironment
from tests.unit.linker.workshop import Workshop


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 100])
def test_results_in_order(workers: int) -> None:
    assert map_forked(lambda item: item * item, list(range(50)), workers) == [
        item * item for item in range(50)
    ]


def test_nothing_to_do() -> None:
    assert map_forked(lambda item: item, [], 4) == []


def test_large_results() -> None:
    assert map_forked(lambda item: b"x" * item, [1 << 20] * 9, 3) == [b"x" * (1 << 20)] * 9


def test_a_child_that_dies_costs_one_item() -> None:
    def work(item: int) -> int:
        if item in (3, 4, 11):
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    results = map_forked(work, list(range(20)), 3)
    died = [index for index, result in enumerate(results) if isinstance(result, Died)]
    assert died == [3, 4, 11]
    assert results[5] == 5
    assert results[19] == 19
    assert isinstance(results[3], Died)
    assert results[3].args == (signal.SIGKILL,)


def test_threads_forbid_forks() -> None:
    assert workers_for(1) == 1
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        assert workers_for(1000) == 1
    finally:
        release.set()
        thread.join()


def test_predictions_share_one_scope(shop: Workshop) -> None:
    f = shop.lib("libf.so", "int f(void) { return 1; }", soname="libf.so")
    source = "int {0}(void); int g(void) {{ return {0}(); }}"
    good = shop.lib("good.so", source.format("f"), [f], runpath="$ORIGIN")
    bad = shop.lib("bad.so", source.format("missing"), [f], runpath="$ORIGIN")
    shop.host()
    scope = shop.scope()

    def answer(path: str) -> tuple[str, str | None]:
        prediction = predict(path, scope)
        return prediction.outcome, prediction.error

    results = map_forked(answer, [str(good), str(bad)] * 20, 2)
    assert results[::2] == [("ok", None)] * 20
    assert results[1::2] == [("refused", f"{bad}: undefined symbol: missing")] * 20


#: Hosts of every kind; each is a process of its own, since what it does cannot be undone.
HOSTS = {
    "ignores SIGCHLD": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "waits for all children itself": """
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, reap)
""",
    "has pipes of one page": """
real = os.pipe
def small():
    ends = real()
    fcntl.fcntl(ends[1], 1031, 4096)  # F_SETPIPE_SZ
    return ends
os.pipe = small
""",
    "may start no process": """
def refuse():
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = refuse
""",
    "has no pipes left": """
def refuse():
    raise OSError(24, "Too many open files")
os.pipe = refuse
""",
    "has 1,500 open files": """
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]
""",
    "has no stdout": "os.close(1); sys.stdout = None",
}


def in_host(host: str, code: str, *arguments: object) -> str:
    """Run code in such a process; what it says on stderr. One that hangs fails the test."""
    imports = "import fcntl, os, resource, signal, sys, time\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}{HOSTS[host]}\n{code}", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("host", HOSTS)
def test_in_any_host(host: str) -> None:
    code = """
from envlock.files.parallel import Beside, map_forked
assert map_forked(lambda item: b"x" * item, [100_000] * 50, 3) == [b"x" * 100_000] * 50
assert map_forked(lambda item: item, range(20_000), 3) == list(range(20_000))
with Beside(lambda: b"x" * 1_000_000) as beside:
    assert beside.result() == b"x" * 1_000_000
with Beside(lambda: time.sleep(1000)):
    pass
with Beside(lambda: 1):
    time.sleep(0.5)
"""
    in_host(host, code)


@pytest.mark.parametrize("host", ["ignores SIGCHLD", "waits for all children itself"])
def test_a_child_that_dies_where_nobody_tells_how(host: str) -> None:
    code = """
from envlock.files.parallel import Died, map_forked
def work(item):
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item
results = map_forked(work, range(20), 3)
died = results.pop(3)
assert isinstance(died, Died) and died.args[0] in (None, signal.SIGKILL), died
assert results == [item for item in range(20) if item != 3]
print(died, file=sys.stderr)
"""
    assert in_host(host, code) in ("the reason is not known\n", "9\n")


@pytest.mark.parametrize("host", ["ignores SIGCHLD", "waits for all children itself"])
def test_envlock_in_a_host_that_leaves_no_children(
    host: str, tmp_path: Path, tf_envs: list[TfEnvironment]
) -> None:
    """What works with children: a snapshot, the stamp of a large library, a check of many."""
    large = compile_library(tmp_path / "large.so")
    add_section(large, bytes(range(256)) * (10 << 12), ".large")
    code = """
import envlock
from envlock.inventory.scan import check_many
_, prefix, large = sys.argv
taken = envlock.snapshot(prefix)
envlock.stamp(large, env=prefix)
reports = check_many([large] * 20, env=prefix)
assert taken.plugins is not None
assert [report.verdict for report in reports] == ["compatible"] * 20, reports[0]
assert reports[0].plugin.stamped
"""
    assert in_host(host, code, tf_envs[0].prefix, large) == ""


@pytest.mark.parametrize("host", ["ignores SIGCHLD", "waits for all children itself"])
def test_recording_in_a_host_that_leaves_no_children(
    host: str, tmp_path: Path, tf_envs: list[TfEnvironment]
) -> None:
    good, bad = compile_library(tmp_path / "good.so"), tmp_path / "bad.so"
    source = "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }"
    compile_library(bad, source=source)
    code = """
import envlock
from envlock.environment.live import Environment
from envlock.plugin.registrations.recording import LoadFailed, ask
_, prefix, good, bad = sys.argv
environment = Environment.open(prefix)
assert ask(good, environment)["ops"] == []
try:
    ask(bad, environment)
except LoadFailed as error:
    print(error, file=sys.stderr)
"""
    said = in_host(host, code, tf_envs[0].prefix, good, bad)
    assert "while it was loaded" in said
