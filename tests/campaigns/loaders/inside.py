"""What runs inside a root, with the root's own Python: dlopen in a child, and what is predicted.

Reads a list of cases as JSON from a file, writes the answers as JSON to its output. Nothing but the
standard library, and envlock's linker.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

#: A Python process that opens libraries and then asks: the argument list is JSON.
OPEN = """
import sys, json, _ctypes
before, plugin = json.loads(sys.argv[1])
for path in before:
    _ctypes.dlopen(path, 2)
maps = lambda: {line.split(None, 5)[5].strip() for line in open("/proc/self/maps")
                if len(line.split(None, 5)) == 6}
known = maps()
try:
    _ctypes.dlopen(plugin, 2)
except OSError as error:
    print(json.dumps(["refused", str(error), []]))
else:
    print(json.dumps(["ok", None, sorted(p for p in maps() - known if p[0] == "/")]))
sys.stdout.flush()
import os
os._exit(0)
"""

PREDICT = """
import sys, json, _ctypes, os
before, plugin = json.loads(sys.argv[1])
from envlock.linker.resolve import predict
from envlock.linker.process import from_process
from envlock.linker.simulate import load, start_process
def told(scope):
    try:
        found = predict(plugin, scope)
    except Exception as error:
        return ["input", str(error), []]
    new = [os.path.realpath(d.path) for d in found.closure if d.new]
    mapped = sorted([os.path.realpath(plugin), *new]) if found.ok else []
    if found.ok and found.already_loaded:
        mapped = []
    return [found.outcome, found.error if found.outcome == "refused" else None, mapped,
            ".".join(map(str, scope.interpreter.traits.release)), scope.unchecked,
            list(found.unrelocated)]
scope = start_process(sys.executable, os.environ)
for path in before:
    load(scope, path)
simulated = told(scope)
for path in before:
    _ctypes.dlopen(path, 2)
print(json.dumps([simulated, told(from_process())]))
sys.stdout.flush()
os._exit(0)
"""


def run(code: str, case: dict[str, object], environ: dict[str, str]) -> object:
    """One child; a crash is an answer."""
    argument = json.dumps([case["before"], case["plugin"]])
    done = subprocess.run(
        [sys.executable, "-c", code, argument],
        env={**os.environ, **environ},
        cwd=str(case["folder"]),
        capture_output=True,
        timeout=60,
    )
    for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("["):
            return json.loads(line)
    error = done.stderr.decode("utf-8", "replace")
    if done.returncode < 0:
        return ["crash", signal.Signals(-done.returncode).name, []]
    if "Inconsistency detected by ld.so" in error:
        return ["crash", "assertion", []]
    return ["failed", error[-2000:], []]


def main() -> None:
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    answers = {}
    for name, case in cases.items():
        environ = {key: str(value) for key, value in case["environ"].items()}
        cached = case["ldconfig"]
        if cached:
            conf, cache = case["folder"] + "/ld.so.conf", case["folder"] + "/ld.so.cache"
            with open(conf, "w") as file:
                file.write("\n".join(cached) + "\n")
            subprocess.check_call(["/sbin/ldconfig", "-f", conf, "-C", cache])
            subprocess.check_call(["mount", "--bind", cache, "/etc/ld.so.cache"])
        real = run(OPEN, case, environ)
        if os.environ.get("PREDICT", "1") == "1":
            answers[name] = [real, run(PREDICT, case, environ)]
        else:
            answers[name] = [real, None]
        if cached:
            subprocess.check_call(["umount", "/etc/ld.so.cache"])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
