"""What envlock leaves alone in the process that it is used in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.reality.embedding.conftest import PRELUDE, Place

# Everything that a library could change behind its user's back, as one comparable value.
STATE = """\
import atexit, builtins, faulthandler, gc, locale, logging, signal, threading, warnings

def descriptors():
    # The atlas, once read, stays mapped for as long as the process lives.
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if not target.endswith(".atlas"):
            yield target

def text(path):
    with open(path) as file:
        return file.read()

def state():
    handlers = {number: repr(signal.getsignal(number)) for number in signal.valid_signals()
                if number not in (signal.SIGKILL, signal.SIGSTOP)}
    root = logging.getLogger()
    return {
        "signals": handlers,
        "wakeup": signal.set_wakeup_fd(-1),
        "locale": locale.setlocale(locale.LC_ALL),
        "logging": [root.level, [repr(h) for h in root.handlers], logging.root.manager.disable,
                    sorted(n for n in logging.root.manager.loggerDict if "envlock" in n),
                    repr(logging.getLogRecordFactory()), repr(logging.getLoggerClass())],
        "warnings": [repr(f) for f in warnings.filters],
        "showwarning": repr(warnings.showwarning),
        "hooks": [repr(x) for x in (sys.excepthook, sys.displayhook, sys.unraisablehook,
                                    threading.excepthook, builtins.__import__, sys.gettrace(),
                                    sys.getprofile())],
        "importers": [repr(x) for x in (*sys.meta_path, *sys.path_hooks)],
        "path": list(sys.path),
        "environ": dict(os.environ),
        "threads": sorted(t.name for t in threading.enumerate()),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        "switching": sys.getswitchinterval(),
        "recursion": sys.getrecursionlimit(),
        "faulthandler": faulthandler.is_enabled(),
        "atexit": atexit._ncallbacks(),
        "umask": text("/proc/self/status").split("Umask:")[1].split()[0],
        "folder": os.getcwd(),
        "descriptors": sorted(descriptors()),
        "children": text(f"/proc/self/task/{os.getpid()}/children"),
    }

def changes(before, after):
    return {key: [before[key], after[key]] for key in before if before[key] != after[key]}
"""

HEAVY = """\
{"tensorflow", "numpy", "pydantic", "packaging", "elftools", "cryptography",
 "logging", "dataclasses", "typing", "subprocess", "multiprocessing", "asyncio"}"""


def test_checking_changes_nothing_in_the_process(place: Place, tmp_path: Path) -> None:
    """Import, check, and a refused load: all of it before TensorFlow is imported."""
    script = tmp_path / "quiet.py"
    script.write_text(
        PRELUDE
        + STATE
        + f"""
known = set(sys.modules)
before = state()
import envlock
imported = sorted({HEAVY} & (set(sys.modules) - known))
envlock.check(fitting)
try:
    envlock.load(unfit)
except envlock.IncompatiblePluginError as error:
    refused = error.report.verdict
answer(changed=changes(before, state()), imported=imported, refused=refused,
       heavy=sorted({HEAVY} & (set(sys.modules) - known)))
"""
    )
    got, printed = place.run(script)
    assert got == {"changed": {}, "imported": [], "refused": "incompatible", "heavy": []}
    assert printed == ""


def test_a_bare_interpreter_has_nothing_heavy_after_the_import(place: Place) -> None:
    code = f"import sys, envlock; envlock.load; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(place.path)!r})\n"
         + code],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
    assert done.stderr == ""
