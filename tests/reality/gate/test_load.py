"""`envlock.load` in real TensorFlow processes: an op built on one release, tried on both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support.building import build, other_abi_flag
from tests.support.elves import compile_library
from tests.support.environments import TfEnvironment, uv

CHECKOUT = Path(__file__).resolve().parents[3]
ZERO_OUT = CHECKOUT / "examples" / "zero_out" / "zero_out.cc"
OLD, NEW = "2.15.1", "2.17.1"

PRELUDE = """\
import json, os, pathlib, sys, warnings
import envlock
path = sys.argv[1]
def answer(**values):
    print("ANSWER" + json.dumps(values))
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with envlock alone, installed without its dependencies."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [*uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(CHECKOUT)],
        check=True,
    )
    return target


@pytest.fixture
def plugin(tmp_path: Path, tf_env: Callable[[str], TfEnvironment]) -> Path:
    """A stamped zero_out of the older release."""
    env = tf_env(OLD)
    copy = tmp_path / "zero_out.so"
    shutil.copy(build(ZERO_OUT, env), copy)
    envlock("stamp", copy, "--env", env.prefix)
    return copy


def envlock(*arguments: object, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "envlock", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def python(
    env: TfEnvironment, installed: Path, code: str, *arguments: object, cwd: Path | None = None
) -> dict[str, Any]:
    """Run code in an environment's own Python; what it passed to `answer`."""
    done = subprocess.run(
        [env.python, "-c", PRELUDE + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            "PYTHONPATH": str(installed),
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    assert done.returncode == 0, done.stderr
    assert lines, (done.stdout, done.stderr)
    result: dict[str, Any] = json.loads(lines[-1][len("ANSWER") :])
    return result


def test_a_fitting_plugin_loads_and_computes(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    code = """
warnings.simplefilter("error", envlock.EnvlockWarning)
module = envlock.load(path)
again = envlock.load(pathlib.Path(path))
import tensorflow as tf
same = tf.load_op_library(path) is module
relative = envlock.load(os.path.basename(path)).zero_out([7, 8])
answer(out=module.zero_out([5, 4, 3]).numpy().tolist(), same=[again is module, same],
       relative=relative.numpy().tolist())
"""
    got = python(tf_env(OLD), installed, code, plugin, cwd=plugin.parent)
    assert got == {"out": [5, 0, 0], "same": [True, True], "relative": [7, 0]}


def test_another_release_is_refused_before_tensorflow_is_even_imported(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    code = """
try:
    envlock.load(path)
except envlock.IncompatiblePluginError as error:
    answer(text=str(error), verdict=error.report.verdict, runtime=isinstance(error, RuntimeError),
           imported="tensorflow" in sys.modules)
"""
    got = python(tf_env(NEW), installed, code, plugin)
    assert got["verdict"] == "incompatible"
    assert got["runtime"]
    assert not got["imported"]
    assert OLD in got["text"]
    assert NEW in got["text"]
    # Reality agrees: without the gate TensorFlow's own loader fails.
    code = """
import tensorflow as tf
try:
    tf.load_op_library(path)
except tf.errors.NotFoundError as error:
    answer(error=str(error))
"""
    assert "undefined symbol" in python(tf_env(NEW), installed, code, plugin)["error"]


def test_an_unstamped_plugin_is_judged_by_its_binary_with_a_warning(
    tmp_path: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(OLD)
    copy = tmp_path / "bare.so"
    shutil.copy(build(ZERO_OUT, env), copy)
    code = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    module = envlock.load(path)
answer(out=module.zero_out([1, 2]).numpy().tolist(),
       told=[str(w.message) for w in caught if w.category is envlock.EnvlockWarning],
       where=[w.filename for w in caught if w.category is envlock.EnvlockWarning])
"""
    got = python(env, installed, code, copy)
    assert got["out"] == [1, 0]
    assert len(got["told"]) == 1
    assert f"envlock stamp {copy}" in got["told"][0]
    assert got["where"] == ["<string>"]  # the caller's line, not envlock's


def test_policies(plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]) -> None:
    code = """
def outcome(policy):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            envlock.load(path, policy=policy)
        except envlock.IncompatiblePluginError as error:
            return "refused"
        except Exception as error:
            return type(error).__name__ + ":" + type(getattr(error, "envlock_report", None)).__name__
    return "loaded"
policy = pathlib.Path(path).with_name("policy.json")
policy.write_text('{"format": "envlock.policy/1", "require_stamp": true}')
answer(default=outcome(None), strict=outcome("strict"), lenient=outcome("lenient"),
       file=outcome(policy))
"""
    same = python(tf_env(OLD), installed, code, plugin)
    assert same == {"default": "loaded", "strict": "loaded", "lenient": "loaded", "file": "loaded"}
    other = python(tf_env(NEW), installed, code, plugin)
    assert other["default"] == other["strict"] == other["file"] == "refused"
    # Lenient lets TensorFlow fail in its own way, with the findings attached.
    assert other["lenient"] == "NotFoundError:Report"


def test_a_file_that_changes_between_check_and_load_is_refused(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    code = """
from envlock.actions.checking import Checker
check = Checker.check_for_load
def and_then_it_changes(self, name):
    result = check(self, name)
    data = pathlib.Path(path).read_bytes()
    pathlib.Path(path + ".new").write_bytes(data)
    os.replace(path + ".new", path)
    return result
Checker.check_for_load = and_then_it_changes
try:
    envlock.load(path)
except envlock.IncompatiblePluginError as error:
    answer(text=str(error))
"""
    assert (
        "changed while it was being checked" in python(tf_env(OLD), installed, code, plugin)["text"]
    )


def test_from_another_folder(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """A relative path of a loaded plugin means the folder in which it was loaded."""
    code = """
first = envlock.load(os.path.basename(path))
os.chdir("/")
again = envlock.load(path)
os.mkdir(path + ".d")
os.chdir(path + ".d")
# The same relative path, of another file: dlopen alone would return the first one.
copy = os.path.basename(path)
import shutil
shutil.copy(path, copy)
try:
    envlock.load(copy)
except envlock.IncompatiblePluginError as error:
    told = str(error)
answer(same=again is first, out=again.zero_out([1, 2]).numpy().tolist(), told=told)
"""
    got = python(tf_env(OLD), installed, code, plugin, cwd=plugin.parent)
    assert got["same"]
    assert got["out"] == [1, 0]
    assert "the same build already" in got["told"]


def test_a_plugin_that_was_replaced_after_it_was_loaded(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """TensorFlow's own loader hands out the module of the old file."""
    code = """
import shutil, tensorflow as tf
old = envlock.load(path)
shutil.copy(path, path + ".new")
os.replace(path + ".new", path)
try:
    envlock.load(path)
except envlock.IncompatiblePluginError as error:
    told = str(error)
answer(told=told, reality=tf.load_op_library(path) is old)
"""
    got = python(tf_env(OLD), installed, code, plugin)
    assert "was replaced after this process loaded it" in got["told"]
    assert got["reality"]


def test_while_tensorflow_is_being_imported(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """Nothing is mapped yet, so the plugin is judged as before the import."""
    code = """
from envlock.actions.checking import Checker
told = {}
class Hook:
    def find_spec(self, name, *_):
        if name == "tensorflow.python.platform.self_check":
            with Checker.for_process() as checker:
                told["verdict"] = checker.check(path).verdict
            try:
                envlock.load(path)
            except envlock.EnvironmentUnreadable as error:
                told["error"] = error.message
sys.meta_path.insert(0, Hook())
import tensorflow
answer(**told, out=envlock.load(path).zero_out([1, 2]).numpy().tolist())
"""
    assert python(tf_env(OLD), installed, code, plugin) == {
        "verdict": "compatible",
        "error": "TensorFlow is still being imported, so it cannot load plugins yet",
        "out": [1, 0],
    }


@pytest.fixture
def dependent(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment], tool: Callable[[str], str]
) -> Path:
    """A plugin that needs a library which no search path leads to."""
    library = tmp_path / "hidden" / "libbeside.so"
    library.parent.mkdir()
    compile_library(library, "-Wl,-soname,libbeside.so", source="int beside(void) { return 1; }")
    copy = tmp_path / "dependent.so"
    shutil.copy(build(ZERO_OUT, tf_env(OLD)), copy)
    subprocess.run([tool("patchelf"), "--add-needed", "libbeside.so", str(copy)], check=True)
    return copy


def test_what_the_process_has_loaded_counts_before_tensorflow_is_imported_too(
    dependent: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    code = """
import ctypes
warnings.simplefilter("ignore")
try:
    envlock.load(path)
except envlock.IncompatiblePluginError as error:
    rules = [finding.rule for finding in error.report.findings]
early = "tensorflow" in sys.modules
ctypes.CDLL(os.path.join(os.path.dirname(path), "hidden", "libbeside.so"), ctypes.RTLD_GLOBAL)
answer(rules=rules, early=early, out=envlock.load(path).zero_out([1, 2]).numpy().tolist())
"""
    got = python(tf_env(OLD), installed, code, dependent)
    assert got == {"rules": ["missing-library"], "early": False, "out": [1, 0]}


def test_a_lenient_policy_leaves_tensorflows_own_exception(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    code = """
import tensorflow as tf
warnings.simplefilter("ignore")
told = []
try:
    envlock.load(path, policy="lenient")
except tf.errors.NotFoundError as error:
    told += [error.envlock_report.verdict, *getattr(error, "__notes__", [])]
warnings.simplefilter("error", envlock.EnvlockWarning)
try:
    envlock.load(path, policy="lenient")
except envlock.EnvlockWarning:
    told.append("warned")
answer(told=told)
"""
    told = python(tf_env(NEW), installed, code, plugin)["told"]
    assert (told[0], told[-1]) == ("incompatible", "warned")
    assert not any("did not foresee" in text for text in told)


def test_a_demanded_stamp_is_missed_by_name(
    tmp_path: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    copy = tmp_path / "bare.so"
    shutil.copy(build(ZERO_OUT, tf_env(OLD)), copy)
    policy = tmp_path / "policy.json"
    policy.write_text('{"format": "envlock.policy/1", "require_stamp": true}')
    code = """
try:
    envlock.load(path, policy=sys.argv[2])
except envlock.IncompatiblePluginError as error:
    answer(text=str(error))
"""
    text = python(tf_env(OLD), installed, code, copy, policy)["text"]
    assert (
        "unsafe[stamp-missing]: the policy requires a stamp (`require_stamp`); the plugin has none"
        in text
    )
    told = envlock("check", copy, "--env", tf_env(OLD).prefix, "--policy", policy, status=1)
    assert "stamp-missing" in told


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"just text\n"])
def test_what_is_no_plugin_is_refused(
    content: bytes, tmp_path: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    path = tmp_path / "odd.so"
    path.write_bytes(content)
    code = """
try:
    envlock.load(path)
except envlock.IncompatiblePluginError as error:
    answer(text=str(error), verdict=error.report.verdict)
"""
    got = python(tf_env(OLD), installed, code, path)
    assert got["verdict"] is None
    assert "odd.so" in got["text"]


def test_the_other_cxx11_abi_is_named(
    tmp_path: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(OLD)
    copy = tmp_path / "other.so"
    shutil.copy(build(ZERO_OUT, env, flags=[other_abi_flag(env)]), copy)
    report = json.loads(envlock("check", copy, "--env", env.prefix, "--format", "json", status=1))
    (finding,) = [f for f in report["reports"][0]["findings"] if f["verdict"] == "incompatible"]
    assert finding["rule"] == "cxx11-abi"
    assert "-D_GLIBCXX_USE_CXX11_ABI=1" in finding["remedy"]


def test_beside_tensorflow_2_13_nothing_else_changes(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """pydantic 2 cannot live there; envlock installed without dependencies can."""
    env = tf_env("2.13.1")
    freeze = [*uv(), "pip", "freeze", "--python", str(env.python)]
    before = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
    assert "typing-extensions==4.5" in before.replace("_", "-")
    copy = tmp_path / "zero_out.so"
    shutil.copy(build(ZERO_OUT, env), copy)
    envlock("stamp", copy, "--env", env.prefix)
    install = [*uv(), "pip", "install", "--quiet", "--no-deps", "--python", str(env.python)]
    subprocess.run([*install, str(CHECKOUT)], check=True)
    try:
        checked = subprocess.run(
            [env.python.with_name("envlock"), "check", str(copy)], capture_output=True, text=True
        )
        code = "answer(out=envlock.load(path).zero_out([3, 2, 1]).numpy().tolist())"
        loaded = python(env, tmp_path, code, copy)
        with_envlock = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run(
            [*uv(), "pip", "uninstall", "--quiet", "--python", str(env.python), "tf-envlock"],
            check=True,
        )
    assert checked.returncode == 0, checked.stderr
    assert "compatible with TensorFlow 2.13.1" in checked.stdout
    assert loaded == {"out": [3, 0, 0]}
    kept = [line for line in with_envlock.splitlines() if "envlock" not in line]
    assert kept == before.splitlines()


def test_tensorflow_is_asked_about_ops_only_where_others_can_have_added_some(
    plugin: Path, installed: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    """Its first answer about an unknown op takes it longer than the rest of a check."""
    code = """
import tensorflow as tf
from tensorflow.python.framework import op_def_registry
asked = []
get = op_def_registry.get
op_def_registry.get = lambda name: (asked.append(name), get(name))[1]
import shutil
copy = path.replace("zero_out.so", "copy.so")
shutil.copy(path, copy)
envlock.load(path)
before = list(asked)
try:
    envlock.load(copy)
except envlock.IncompatiblePluginError as error:
    rules = sorted({finding.rule for finding in error.report.findings})
answer(before=before, after=sorted(set(asked)), rules=rules)
"""
    got = python(tf_env(OLD), installed, code, plugin)
    assert got["before"] == []
    assert got["after"] == ["ZeroOut"]
    assert "plugin-copy" in got["rules"]
