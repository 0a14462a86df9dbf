"""The example, built as documented: nothing is said of it that nobody needs to know."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock import check, stamp
from tests.support.building import build, command
from tests.support.environments import TfEnvironment

ZERO_OUT = Path(__file__).resolve().parents[3] / "examples" / "zero_out" / "zero_out.cc"
#: Each with another release of its island, where one is at hand.
PAIRS = [("2.6.5", None), ("2.8.4", None), ("2.15.1", "2.13.1"), ("2.18.1", "2.16.2")]


@pytest.mark.parametrize(
    ("form", "release", "sibling"),
    [
        *(("plain", *pair) for pair in PAIRS),
        *(("stripped", *pair) for pair in PAIRS),
        ("command", "2.15.1", "2.13.1"),
    ],
)
def test_no_line_that_is_not_needed(
    form: str,
    release: str,
    sibling: str | None,
    tmp_path: Path,
    tf_env: Callable[[str], TfEnvironment],
) -> None:
    env = tf_env(release)
    flags = ("-g",) if form == "stripped" else ()
    plugin = Path(shutil.copy(build(ZERO_OUT, env, flags=flags), tmp_path))
    # All that TensorFlow's own flags say is recorded then, the Eigen alignment too.
    line = [shlex.join(command(ZERO_OUT, env))] if form == "command" else []
    stamp(plugin, env=env.prefix, compile_command=line)
    if form == "stripped":
        subprocess.run(["strip", plugin], check=True)
    report = check(plugin, env=env.prefix)
    assert (report.verdict, report.findings, report.unchecked) == ("compatible", (), ())
    if sibling is not None:
        other = check(plugin, env=tf_env(sibling).prefix)
        assert (other.verdict, other.unchecked) == ("drifted", ())
        assert {finding.rule for finding in other.findings} <= {"tensorflow-version", "numpy-abi"}


def test_a_policy_can_require_a_stamp(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env("2.15.1")
    plugin = Path(shutil.copy(build(ZERO_OUT, env), tmp_path))
    policy = tmp_path / "policy.json"
    policy.write_text('{"format": "envlock.policy/1", "require_stamp": true}')
    bare = check(plugin, env=env.prefix, policy=policy)
    assert (bare.verdict, [finding.rule for finding in bare.findings]) == (
        "unsafe",
        ["stamp-missing"],
    )
    stamp(plugin, env=env.prefix)
    assert check(plugin, env=env.prefix, policy=policy).verdict == "compatible"
