"""Which release a remedy names: one that takes the plugin, and that the environment can have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable

import pytest

from envlock.actions.checking import check
from envlock.actions.compatibility import compat
from envlock.actions.stamping import stamp
from envlock.models.report import Report
from envlock.report.check_text import report_text
from tests.support.building import build
from tests.support.environments import TfEnvironment
from tests.unit.cli.test_compat import CUDA, using

Env = Callable[[str], TfEnvironment]
#: A name that TensorFlow 2.13 to 2.15 export and no other.
ABSL = "_ZN4absl12lts_202301256Status15UnrefNonInlinedEm"


def stamped(name: str, env: TfEnvironment, folder: Path) -> Path:
    plugin = folder / f"{name}.so"
    shutil.copy(build(name, env), plugin)
    stamp(plugin, env=env.prefix)
    return plugin


def remedies(report: Report) -> set[str]:
    return {f.remedy or "" for f in report.findings if f.verdict in ("unsafe", "incompatible")}


@pytest.mark.parametrize("version", ["2.15.1", "2.16.2"])
def test_a_gpu_plugin_is_sent_to_the_distribution_that_takes_it(
    tmp_path: Path, tf_env: Env, version: str
) -> None:
    plugin = using(tmp_path / "p.so", ABSL, CUDA)
    report = check(plugin, env=tf_env(version).prefix)
    assert report.verdict == "incompatible"
    (remedy,) = remedies(report)
    assert "uninstall -y tensorflow-cpu && " in remedy
    assert " install 'tensorflow==2.15.1'  # fits: 2.13.0, " in remedy
    takes = [
        r.tensorflow
        for r in compat(plugin, distribution="tensorflow").releases
        if r.verdict == "compatible"
    ]
    assert f"# fits: {', '.join(takes)};" in remedy


def test_a_release_that_this_python_cannot_have_is_not_installed_here(
    tmp_path: Path, tf_env: Env
) -> None:
    plugin = stamped("minimal", tf_env("2.8.4"), tmp_path)
    env = tf_env("2.21.0")
    (remedy,) = remedies(check(plugin, env=env.prefix))
    assert str(env.prefix) not in remedy
    assert remedy.startswith("python3.10 -m venv tf2.8.4 && tf2.8.4/bin/python -m pip install ")
    major, minor = env.python_minor
    assert f"2.8.4 needs Python 3.9 or 3.10, this environment has {major}.{minor}" in remedy
    assert remedy.endswith("; or rebuild the plugin against TensorFlow 2.21.0")


def test_of_those_that_fit_one_is_named_that_this_python_can_have(
    tmp_path: Path, tf_env: Env
) -> None:
    plugin = stamped("minimal", tf_env("2.11.1"), tmp_path)
    env = tf_env("2.21.0")
    if env.python_minor != (3, 11):
        pytest.skip("no release that fits has wheels for another Python than 3.11")
    (remedy,) = remedies(check(plugin, env=env.prefix))
    assert f"{env.prefix}/bin/python" in remedy
    assert " install 'tensorflow-cpu==2.12.1'  # fits: 2.12.0, 2.12.1; or rebuild" in remedy


def test_no_release_is_named_where_none_fits(tmp_path: Path, tf_env: Env) -> None:
    plugin = build("other_abi", tf_env("2.16.2"))
    report = check(plugin, env=tf_env("2.21.0").prefix)
    assert {"cxx11-abi", "tensorflow-skew"} <= {f.rule for f in report.findings}
    assert not any("install" in remedy for remedy in remedies(report))
    skew = next(f for f in report.findings if f.rule == "tensorflow-skew")
    assert skew.remedy == "rebuild the plugin against TensorFlow 2.21.0"


@pytest.mark.parametrize("version", ["2.11.1", "2.21.0"])
def test_a_stamped_plugin_of_another_release_is_told_that_and_nothing_else(
    tmp_path: Path, tf_env: Env, version: str
) -> None:
    plugin = stamped("minimal", tf_env("2.8.4"), tmp_path)
    report = check(plugin, env=tf_env(version).prefix)
    (finding,) = [f for f in report.findings if f.verdict == "incompatible"]
    assert (finding.rule, finding.built, finding.live) == ("tensorflow-skew", "2.8.4", version)
    # What the stamp explains is evidence, no cause of its own.
    assert "`_GLIBCXX_USE_CXX11_ABI` is 0 there and 1 here" in finding.message


def test_a_stamp_does_not_explain_flags_that_its_own_tensorflow_does_not_have(
    tmp_path: Path, tf_env: Env
) -> None:
    env = tf_env("2.16.2")
    plugin = tmp_path / "p.so"
    shutil.copy(build("other_abi", env), plugin)
    stamp(plugin, env=env.prefix, force=True)
    rules = {f.rule for f in check(plugin, env=tf_env("2.21.0").prefix).findings}
    assert "cxx11-abi" in rules


def test_an_unstamped_plugin_of_another_release_is_not_sent_to_other_flags(tf_env: Env) -> None:
    report = check(build("minimal", tf_env("2.8.4")), env=tf_env("2.11.1").prefix)
    assert {"cxx11-abi", "tensorflow-skew"} <= {f.rule for f in report.findings}
    (remedy,) = remedies(report)
    assert " install 'tensorflow-cpu==2.8.4'" in remedy


def test_a_remedy_is_said_once(tmp_path: Path, tf_env: Env) -> None:
    plugin = stamped("minimal", tf_env("2.8.4"), tmp_path)
    report = check(plugin, env=tf_env("2.6.5").prefix)
    unsafe = [f for f in report.findings if f.verdict == "unsafe"]
    assert len(unsafe) > 1
    text = report_text(report)
    assert text.count("    fix: ") == 1
    # After all that it is for.
    assert text.index("    fix: ") > text.index(unsafe[-1].message)
