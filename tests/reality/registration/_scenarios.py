"""What TensorFlow really does with ops and kernels, beside what envlock says before the load.

Runs inside a TensorFlow environment: `python _scenarios.py FOLDER` with the plugins of
`plugins.py` in FOLDER. TensorFlow is imported once, each scenario is a forked child of its own.
Prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any, Callable

FOLDER = Path(sys.argv[1])
tf: Any = None
envlock: Any = None


def path(name: str) -> str:
    return str(FOLDER / f"{name}.so")


def attempt(call: Callable[[], Any]) -> Any:
    """What a call gives, or its exception in words."""
    try:
        return call()
    except BaseException as problem:
        return f"{type(problem).__name__}: {problem}"


def values(tensor: Any) -> Any:
    return tensor.numpy().tolist()


def ops_of(module: Any) -> list[str]:
    names = ("envlock_twice", "envlock_other", "add_v2")
    return [name for name in names if hasattr(module, name)]


def refused(name: str, policy: str | None = None) -> Any:
    """The findings with which `envlock.load` refuses a plugin; its ops where it does not."""
    try:
        module = envlock.load(name, policy=policy)
    except envlock.IncompatiblePluginError as error:
        return {f.rule: [f.verdict, f.message, f.live] for f in error.report.findings}
    return ops_of(module)


def add() -> Any:
    return values(tf.constant([1.0]) + tf.constant([1.0]))


def add_in_graph() -> Any:
    return values(tf.function(lambda a, b: a + b)(tf.constant([1.0]), tf.constant([1.0])))


def second_plugin() -> dict[str, Any]:
    first = envlock.load(path("first"))
    told = refused(path("second"))
    second = tf.load_op_library(path("second"))
    return {
        "told": told,
        "ops": ops_of(second),
        "other": attempt(lambda: values(second.envlock_other([1.0]))),
        "first": attempt(lambda: values(first.envlock_twice([1.0]))),
    }


def second_plugin_after_a_call() -> dict[str, Any]:
    first = envlock.load(path("first"))
    before = values(first.envlock_twice([1.0]))
    tf.load_op_library(path("second"))
    return {
        "before": before,
        "eager": attempt(lambda: values(first.envlock_twice([1.0]))),
        "graph": attempt(lambda: values(tf.function(first.envlock_twice)(tf.constant([1.0])))),
    }


def copied() -> dict[str, Any]:
    first = envlock.load(path("first"))
    copy = str(FOLDER / f"copy-{os.getpid()}.so")
    shutil.copy(path("first"), copy)
    told = refused(copy)
    module = tf.load_op_library(copy)
    return {
        "told": told,
        "ops": ops_of(module),
        "first": attempt(lambda: values(first.envlock_twice([1.0]))),
    }


def same_file() -> dict[str, Any]:
    plain = tf.load_op_library(path("first"))
    link = str(FOLDER / f"link-{os.getpid()}.so")
    os.symlink(path("first"), link)
    spelled = str(FOLDER / ".." / FOLDER.name / "first.so")
    linked, other = envlock.load(link), envlock.load(spelled)
    bare = tf.load_op_library(spelled)
    return {
        "same": [envlock.load(path("first")) is plain, linked is plain, other is plain],
        "without": ops_of(bare),
        "works": values(linked.envlock_twice([1.0])),
    }


def builtin_kernel() -> dict[str, Any]:
    told = refused(path("addv2"))
    tf.load_op_library(path("addv2"))
    return {"told": told, "add": attempt(add), "graph": attempt(add_in_graph)}


def kernel_of_higher_priority() -> dict[str, Any]:
    before = add()
    told = refused(path("priority"), "strict")
    ops = refused(path("priority"))
    return {"told": told, "ops": ops, "before": before, "graph": attempt(add_in_graph)}


def builtin_name() -> dict[str, Any]:
    told = refused(path("builtin"), "strict")
    module = envlock.load(path("builtin"))
    return {
        "told": told,
        "ops": ops_of(module),
        "other": values(module.envlock_other([1.0])),
        "add": attempt(add),
    }


def same_twice() -> dict[str, Any]:
    return {
        "told": refused(path("same_twice")),
        "load": attempt(lambda: ops_of(tf.load_op_library(path("same_twice")))),
        "again": attempt(lambda: ops_of(tf.load_op_library(path("same_twice")))),
    }


def everything() -> dict[str, Any]:
    """What TensorFlow registers by itself."""
    from envlock.plugin.registrations import asking

    ops, kernels = asking.registered()
    return {"ops": sorted(ops), "kernels": [kernel for _, kernel in kernels.values()]}


SCENARIOS = (
    everything,
    second_plugin,
    second_plugin_after_a_call,
    copied,
    same_file,
    builtin_kernel,
    kernel_of_higher_priority,
    builtin_name,
    same_twice,
)


def in_child(scenario: Callable[[], dict[str, Any]]) -> Any:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(attempt(scenario), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(told) if told else f"died, status {status}"


def main() -> None:
    global tf, envlock
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    tf = importlib.import_module("tensorflow")
    envlock = importlib.import_module("envlock")
    json.dump({scenario.__name__: in_child(scenario) for scenario in SCENARIOS}, answers)
    answers.flush()


if __name__ == "__main__":
    main()
