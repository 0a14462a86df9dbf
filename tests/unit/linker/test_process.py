"""The running process as scope: what it really has mapped, judged by its own dlopen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.unit.linker.workshop import Workshop

REPOSITORY = Path(__file__).resolve().parents[3]
F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"

# Opens what it is told to, predicts the last one from inside, then really opens it.
CHILD = """
import ctypes, json, os, sys
for step in sys.argv[1:-1]:
    ctypes.CDLL(step[1:], os.RTLD_NOW | (os.RTLD_GLOBAL if step[0] == "G" else os.RTLD_LOCAL))
from envlock.linker.resolve import predict
from envlock.linker.process import from_process
scope = from_process()
prediction = predict(sys.argv[-1], scope)
error = None
try:
    ctypes.CDLL(sys.argv[-1], os.RTLD_NOW | os.RTLD_LOCAL)
except OSError as problem:
    error = str(problem)
maps = {line.split(None, 5)[5] for line in open("/proc/self/maps") if line.count("/") > 1}
print(json.dumps({
    "outcome": prediction.outcome, "predicted": prediction.error, "error": error,
    "already": prediction.already_loaded,
    "paths": [item.path for item in scope.namespace.objects],
    "startup": [item.path for item in scope.startup],
    "sonames": {item.path: item.soname for item in scope.namespace.objects},
    "closure": {d.name: [d.path, d.how] for d in prediction.closure},
    "maps": [line.strip() for line in maps],
}))
"""


def ask(*steps: str, env: dict[str, str] | None = None) -> dict[str, object]:
    """Run the child; the prediction and the truth must be the same."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("LD_")}
    answer = subprocess.run(
        [sys.executable, "-c", CHILD, *steps],
        capture_output=True,
        text=True,
        env={**base, "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C", **(env or {})},
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    told: dict[str, object] = json.loads(answer.stdout)
    assert told["predicted"] == told["error"]
    assert (told["outcome"] == "ok") == (told["error"] is None)
    return told


def test_a_plugin_that_loads(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    told = ask(str(plugin))
    assert told["closure"] == {"libf.so": [str(f), "runpath"]}


def test_a_plugin_that_does_not(shop: Workshop) -> None:
    assert ask(str(shop.lib("plugin.so", USES_F)))["outcome"] == "refused"


def test_what_is_loaded_locally_is_known_by_name_but_not_seen(shop: Workshop) -> None:
    f = shop.lib("deep/x.so", F, soname="libf.so")
    stub = shop.lib("stub/libf.so", F, soname="libf.so")
    assert ask("L" + str(f), str(shop.lib("a.so", USES_F)))["outcome"] == "refused"
    told = ask("L" + str(f), str(shop.lib("b.so", USES_F, [stub])))
    assert told["closure"] == {"libf.so": [str(f), "loaded"]}


def test_what_is_loaded_globally_is_seen(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    assert ask("G" + str(f), str(shop.lib("plugin.so", USES_F)))["outcome"] == "ok"


def test_versions_in_the_global_scope(shop: Workshop) -> None:
    one = shop.lib("one/libf.so", F, soname="libf.so", versions="V1 { global: f; };")
    two = shop.lib("two/libf2.so", F, soname="libf2.so", versions="V2 { global: f; };")
    plugin = shop.lib("plugin.so", USES_F, [one])
    # libf.so is known by its soname; its symbols come from wherever the version fits.
    assert ask("G" + str(one), str(plugin))["outcome"] == "ok"
    assert ask("G" + str(two), str(plugin))["outcome"] == "refused"


def test_the_plugin_is_loaded_already(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F)
    assert ask("L" + str(plugin), str(plugin))["already"] is True


def test_every_mapped_library_is_known(shop: Workshop) -> None:
    told = ask("L" + str(shop.lib("x.so", F)), str(shop.lib("plugin.so", F)))
    known = {os.path.realpath(path) for path in told["paths"]}  # type: ignore[attr-defined]
    mapped = {
        path
        for path in told["maps"]  # type: ignore[attr-defined]
        if ".so" in path and "plugin.so" not in path and not path.endswith(".cache")
    }
    assert {os.path.realpath(path) for path in mapped} <= known
    sonames = told["sonames"]
    assert isinstance(sonames, dict)
    assert "libc.so.6" in sonames.values()
    assert os.path.realpath(sys.executable) in known


def test_library_path_is_the_one_the_process_began_with(shop: Workshop) -> None:
    f = shop.lib("env/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f])
    env = {"LD_LIBRARY_PATH": str(shop.folder / "env")}
    told = ask(str(plugin), env=env)
    assert told["closure"] == {"libf.so": [str(f), "LD_LIBRARY_PATH"]}


def test_a_preloaded_library(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    told = ask(str(shop.lib("plugin.so", USES_F)), env={"LD_PRELOAD": str(f)})
    assert told["outcome"] == "ok"
    assert str(f) in told["startup"]  # type: ignore[operator]


def test_a_library_whose_file_is_gone(shop: Workshop) -> None:
    script = (
        "import ctypes, os, sys; ctypes.CDLL(sys.argv[1]); os.unlink(sys.argv[1]);"
        "from envlock.linker.process import from_process;"
        "from envlock.linker.resolve import predict;"
        "p = predict(sys.argv[2], from_process()); print(p.outcome, p.closure[0].how)"
    )
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", "", [f])
    answer = subprocess.run(
        [sys.executable, "-c", script, str(f), str(plugin)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert answer.stdout.split() == ["ok", "loaded"], answer.stderr


def test_looking_maps_nothing_and_knows_the_global_scope(shop: Workshop) -> None:
    f, g = shop.lib("libf.so", F, soname="libf.so"), shop.lib("libg.so", F, soname="libg.so")
    script = """
import ctypes, json, os, sys
ctypes.CDLL(sys.argv[1], os.RTLD_NOW | os.RTLD_GLOBAL)
ctypes.CDLL(sys.argv[2], os.RTLD_NOW | os.RTLD_LOCAL)
def mapped():
    with open("/proc/self/maps") as file:
        return {line.split(None, 5)[5] for line in file if "/" in line and "/lib-dynload/" not in line}
from envlock.linker.process import from_process
before = mapped()
scope = from_process()
paths = [loaded.path for loaded in scope.process.global_scope]
assert paths[0] == scope.main.path and sys.argv[1] in paths and sys.argv[2] not in paths, paths
scope.close()
assert mapped() == before, mapped() - before
"""
    base = {k: v for k, v in os.environ.items() if not k.startswith("LD_")}
    subprocess.run(
        [sys.executable, "-c", script, str(f), str(g)],
        check=True,
        env={**base, "PYTHONPATH": str(REPOSITORY)},
    )


def test_without_proc_the_link_map_is_read_all_the_same() -> None:
    """Here for want of descriptors; a process that may not be traced is another case."""
    script = """
import ctypes, os, resource
from envlock.linker.link_map import read_link_map
def told():
    return [(x.address, x.base, x.path, x.dynamic, x.soname, x.strings) for x in read_link_map()]
before = told()
assert len(before) > 3
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    pass
assert told() == before
"""
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def test_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    from envlock.linker import process
    from envlock.models.errors import EnvironmentUnreadable

    def gone(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(process.os, "readlink", gone)
    with pytest.raises(EnvironmentUnreadable, match="/proc/self/exe"):
        process.from_process()


#: Takes the interpreter away from under itself, then predicts from inside and really opens.
REPLACED = """
import ctypes, os, shutil, sys
how, plugin = sys.argv[1:]
path = os.readlink("/proc/self/exe")
identity = os.stat(path).st_ino
if how == "replaced":
    shutil.copy(path, path + ".new")
    os.replace(path + ".new", path)
elif how == "deleted":
    os.unlink(path)
from envlock.linker.resolve import predict
from envlock.linker.process import from_process
scope = from_process()
assert scope.main.path == path, scope.main.path
assert scope.main.origin == os.path.dirname(path), scope.main.origin
assert scope.main.identity[1] == identity
assert scope.startup[1:], "the libraries that the executable needs"
prediction = predict(plugin, scope)
try:
    ctypes.CDLL(plugin, os.RTLD_NOW)
except OSError as error:
    assert prediction.error == str(error), (prediction.error, error)
else:
    assert prediction.ok, prediction.error
"""


@pytest.mark.parametrize("how", ["kept", "replaced", "deleted"])
@pytest.mark.parametrize("name", ["python", "python (deleted)"])
@pytest.mark.parametrize("source", [F, USES_F])
def test_the_interpreter_is_not_what_it_was(
    source: str, name: str, how: str, shop: Workshop
) -> None:
    """An upgrade replaces the file of a Python that is at work."""
    python = shop.path(name)
    shutil.copy(os.path.realpath(sys.executable), python)
    plugin = shop.lib("plugin.so", source)
    answer = subprocess.run(
        [str(python), "-S", "-c", REPLACED, how, str(plugin)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONHOME": sys.base_prefix,
            "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
            "LC_ALL": "C",
        },
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr


def test_an_executable_that_cannot_be_read() -> None:
    """Here for want of descriptors; a program without read permission is another case."""
    script = """
import os, resource
import ctypes, envlock.binary.elf, envlock.linker.header, envlock.linker.library, envlock.linker.rtld
import envlock.linker.search, envlock.linker.scope, envlock.linker.process
from envlock.models.errors import EnvironmentUnreadable
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    pass
try:
    envlock.linker.process.from_process()
except EnvironmentUnreadable as error:
    print(error.message)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert answer.stdout == "cannot open `/proc/self/exe`: Too many open files\n", answer.stderr
