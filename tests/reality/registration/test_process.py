"""What a second registration does to a TensorFlow process, and that envlock says so before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envlock.atlas.registrations import BuiltIn
from tests.reality.registration.plugins import MACROS, plugin
from tests.support.environments import TfEnvironment
from tools.registrations import kernel_line

ROOT = Path(__file__).resolve().parents[3]
TWO_KERNELS = "Multiple OpKernel registrations match NodeDef"


@pytest.fixture(scope="session", params=["2.8.4", "2.15.1", "2.20.0"])
def seen(
    request: pytest.FixtureRequest,
    tf_env: Callable[[str], TfEnvironment],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What `_scenarios.py` saw in one release."""
    env = tf_env(request.param)
    folder = tmp_path_factory.mktemp("plugins")
    for name in MACROS:
        shutil.copy(plugin(name, env), folder / f"{name}.so")
    script = Path(__file__).with_name("_scenarios.py")
    answer = env.run(str(script), str(folder), PYTHONPATH=str(ROOT))
    assert answer.returncode == 0, answer.stderr[-2000:]
    result: dict[str, Any] = json.loads(answer.stdout)
    return {**result, "folder": str(folder), "env": env}


def test_an_op_that_another_plugin_has(seen: dict[str, Any]) -> None:
    got = seen["second_plugin"]
    verdict, message, live = got["told"]["op-taken"]
    assert verdict == "unsafe"
    assert "`EnvlockTwice`" in message
    assert live == f"{seen['folder']}/first.so"
    assert "EnvlockOther" not in str(got["told"])
    # Reality: the new module lacks the op, and the first plugin's is broken.
    assert got["ops"] == ["envlock_other"]
    assert got["other"] == [1001.0]
    assert TWO_KERNELS in got["first"]


def test_what_ran_before_goes_on_until_it_is_needed_anew(seen: dict[str, Any]) -> None:
    got = seen["second_plugin_after_a_call"]
    assert got["before"] == got["eager"] == [2.0]
    assert TWO_KERNELS in got["graph"]


def test_a_copy_of_a_loaded_plugin(seen: dict[str, Any]) -> None:
    got = seen["copied"]
    assert list(got["told"]) == ["plugin-copy"]
    verdict, message, live = got["told"]["plugin-copy"]
    assert verdict == "unsafe"
    assert live == f"{seen['folder']}/first.so"
    assert live in message
    assert got["ops"] == []
    assert TWO_KERNELS in got["first"]


def test_one_file_under_several_paths_is_one_plugin(seen: dict[str, Any]) -> None:
    got = seen["same_file"]
    assert got["same"] == [True, True, True]
    assert got["works"] == [2.0]
    # Without envlock another spelling gives a module without ops.
    assert got["without"] == []


def test_a_second_kernel_of_a_builtin_op(seen: dict[str, Any]) -> None:
    got = seen["builtin_kernel"]
    verdict, message, _ = got["told"]["kernel-twice"]
    assert verdict == "unsafe"
    assert "`AddV2` has a kernel for CPU (T = float) already, by TensorFlow itself" in message
    assert TWO_KERNELS in got["add"]
    assert TWO_KERNELS in got["graph"]


def test_a_kernel_of_higher_priority_takes_over(seen: dict[str, Any]) -> None:
    got = seen["kernel_of_higher_priority"]
    verdict, message, _ = got["told"]["kernel-priority"]
    assert verdict == "drifted"
    assert "`AddV2`" in message
    assert got["before"] == [2.0]
    assert got["graph"] == [8.0]


def test_an_op_named_like_a_builtin_one_is_ignored(seen: dict[str, Any]) -> None:
    got = seen["builtin_name"]
    assert list(got["told"]) == ["op-builtin"]
    assert got["told"]["op-builtin"][0] == "drifted"
    assert got["ops"] == ["envlock_other"]
    assert got["other"] == [1001.0]
    assert got["add"] == [2.0]


def test_the_same_op_twice_in_one_file_does_not_load(seen: dict[str, Any]) -> None:
    got = seen["same_twice"]
    assert got["told"]["op-twice"][0] == "incompatible"
    assert got["load"].startswith("AlreadyExistsError: ")
    assert "EnvlockOther" in got["load"]
    assert got["again"] == []


def test_the_tables_are_what_the_release_registers(seen: dict[str, Any]) -> None:
    env = seen["env"]
    builtin = BuiltIn(str(env.tensorflow), env.version)
    assert builtin.known
    ops = seen["everything"]["ops"]
    assert [op for op in ops if not builtin.has(op)] == []
    assert not builtin.has("EnvlockOther")
    assert not builtin.has("AddV")
    # Another release of the future: its own list of wrapped ops must do.
    unknown = BuiltIn(str(env.tensorflow), "2.99.0")
    assert not unknown.known
    assert unknown.has("AddV2")
    assert not unknown.has("EnvlockOther")
    assert unknown.cpu_kernels("AddV2") is None
    real: dict[str, set[str]] = {}
    for kernel in seen["everything"]["kernels"]:
        if kernel["device"] == "CPU":
            real.setdefault(kernel["op"], set()).add(kernel_line(kernel))
    for op in ("AddV2", "Relu", "Conv2D", "HashTableV2", "VarHandleOp"):
        found = builtin.cpu_kernels(op)
        assert found is not None
        shown = {
            kernel_line(
                {
                    "op": k.op,
                    "priority": k.priority,
                    "label": k.label,
                    "constraints": [
                        {"attr": c.attr, "types": c.types} for c in k.constraints or ()
                    ],
                }
            )
            for k in found
        }
        assert shown == real[op]
