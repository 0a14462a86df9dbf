"""Plugins against recorded environments: the verdict of `check` on the real one, or less, said so.

What is recorded are snapshots of real environments; `check` on those is what the answer must be.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.checking import check
from envlock.actions.showing import read_manifest
from envlock.actions.stamping import stamp
from envlock.inventory.collect import snapshot
from envlock.inventory.diff import diff
from envlock.inventory.files import snapshot_text
from envlock.inventory.sides import Facts, from_snapshot
from envlock.models.policy import PolicyFile
from envlock.models.report import Report
from envlock.models.snapshot import PluginEntry, Snapshot
from tests.support.building import build
from tests.support.environments import TfEnvironment
from tests.unit.inventory.packaging_world import new_venv, site_packages

Envs = Callable[..., TfEnvironment]
PLACE = "{site}/acme/_op.so"

_taken: dict[str, Snapshot] = {}


def recorded(env: TfEnvironment) -> Snapshot:
    """A snapshot of a release's environment, taken once."""
    if env.version not in _taken:
        _taken[env.version] = snapshot(env.prefix, integrity="none")
    return _taken[env.version]


def stamped(op: str, env: TfEnvironment, folder: Path) -> Path:
    plugin = Path(shutil.copy(build(op, env), folder / "_op.so"))
    assert stamp(plugin, env=env.prefix).written
    return plugin


def with_plugin(taken: Snapshot, plugin: Path, **more: object) -> Facts:
    """The recorded environment with a stamped plugin whose file is not at hand."""
    entry = PluginEntry(path=PLACE, digest=None, stamp="appended", manifest=read_manifest(plugin))
    return from_snapshot(taken.replace(plugins=(entry,), **more), "snapshot", "s.json")


def only(reports: tuple[Report, ...]) -> Report:
    (report,) = (r for r in reports if r.plugin.path.endswith("_op.so"))
    return report


def rules(report: Report) -> dict[str, str]:
    return {finding.rule: finding.verdict for finding in report.findings}


def unchecked(report: Report) -> str:
    return "\n".join(f"{one.what}: {one.why}" for one in report.unchecked)


@pytest.mark.parametrize(
    ("op", "built", "other", "verdict"),
    [
        ("minimal", "2.16.2", "2.18.1", "drifted"),  # other minor release, the interface fits
        ("minimal", "2.16.2", "2.20.0", "incompatible"),
        ("inline_readers", "2.18.1", "2.16.2", "unsafe"),
    ],
)
def test_a_plugin_at_hand_is_judged_as_check_does(
    tf_env: Envs, tmp_path: Path, op: str, built: str, other: str, verdict: str
) -> None:
    plugin = stamped(op, tf_env(built), tmp_path)
    live = check(plugin, env=tf_env(other).prefix)
    (tmp_path / "s.json").write_text(snapshot_text(recorded(tf_env(other))))
    document = diff(plugin, tmp_path / "s.json")
    report = only(document.reports)
    assert (live.verdict, report.verdict, document.verdict) == (verdict,) * 3
    abi = {rule: word for rule, word in rules(live).items() if rule.startswith("abi-")}
    assert abi.items() <= rules(report).items()
    assert rules(report).get("tensorflow-version") == rules(live).get("tensorflow-version")
    assert "libraries other than TensorFlow's" in unchecked(report)
    if verdict == "incompatible":
        (finding,) = (f for f in report.findings if f.verdict == verdict)
        assert (finding.remedy or "").startswith("pip install 'tensorflow-cpu==2.16.2'  # fits: ")


def test_the_file_in_a_live_environment_before(tf_env: Envs, tmp_path: Path) -> None:
    """The same plugin is in the environment at hand and in the recorded one."""
    prefix = new_venv(tmp_path / "env")
    folder = site_packages(prefix) / "acme"
    folder.mkdir()
    stamped("minimal", tf_env("2.16.2"), folder)
    here = snapshot(prefix)
    other = recorded(tf_env("2.18.1"))
    same = from_snapshot(other.replace(plugins=here.plugins), "snapshot", "s.json")
    assert only(diff(prefix, same).reports).verdict == "drifted"
    # Another file under that name says nothing about the one that was recorded.
    (entry,) = here.plugins
    changed = entry.replace(digest="sha256:" + "0" * 64)
    facts = from_snapshot(other.replace(plugins=(changed,)), "snapshot", "s.json")
    assert only(diff(prefix, facts).reports).verdict == "unsafe"


def test_the_file_against_a_lock_file(tf_env: Envs, tmp_path: Path) -> None:
    prefix = new_venv(tmp_path / "env")
    folder = site_packages(prefix) / "acme"
    folder.mkdir()
    stamped("minimal", tf_env("2.16.2"), folder)
    lock = tmp_path / "requirements.txt"
    for version, verdict in (("2.18.1", "drifted"), ("2.20.0", "incompatible")):
        lock.write_text(f"tensorflow-cpu=={version}\n")
        report = only(diff(prefix, lock).reports)
        assert report.verdict == verdict
        assert "names the release only" in unchecked(report)
        assert "not the build that the atlas knows" not in unchecked(report)


def test_the_stamp_alone_where_the_interface_fits(tf_env: Envs, tmp_path: Path) -> None:
    """Nothing tells whether it would link, so the rule's word for another release stands."""
    plugin = stamped("minimal", tf_env("2.16.2"), tmp_path)
    report = only(diff(plugin, with_plugin(recorded(tf_env("2.18.1")), plugin)).reports[:1])
    assert rules(report)["tensorflow-version"] == "unsafe"
    (finding,) = (f for f in report.findings if f.rule == "tensorflow-version")
    assert "the same in both" in (finding.why or "")
    assert "dynamic linker" in unchecked(report)


def test_the_stamp_alone_where_a_class_differs(tf_env: Envs, tmp_path: Path) -> None:
    plugin = stamped("inline_readers", tf_env("2.18.1"), tmp_path)
    report = only(diff(plugin, with_plugin(recorded(tf_env("2.16.2")), plugin)).reports[:1])
    assert rules(report)["abi-class-layout"] == "unsafe"
    assert "tensorflow-version" not in rules(report)
    assert "dynamic linker" in unchecked(report)


def test_what_only_the_file_tells_is_unchecked(
    tf_env: Envs, tool: Callable[[str], str], tmp_path: Path
) -> None:
    """A demanded signature, and whether numpy's C API is used."""
    from envlock.models.manifest import NumpyFacts

    plugin = stamped("c_api", tf_env("2.16.2"), tmp_path)
    taken = recorded(tf_env("2.18.1"))
    numpy = NumpyFacts(version="1.0.0", c_api=1, abi=1)
    native = taken.native.replace(numpy=numpy)
    key = tmp_path / "key"
    subprocess.run(
        [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True
    )
    policy = PolicyFile(trust=(f"{key}.pub",))
    facts = with_plugin(taken, plugin, native=native)
    before = from_snapshot(taken, "snapshot", "t.json")
    report = only(diff(before, facts, policy=policy).reports)
    assert "signature: " in unchecked(report)
    assert "numpy's C API: " in unchecked(report)
    assert rules(report)["numpy-abi"] == "drifted"
