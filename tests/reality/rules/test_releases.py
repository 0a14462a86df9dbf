"""What `compat` finds in real ops about releases that are not installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from envlock import compat
from envlock.models.report import Finding
from tests.support.building import build
from tests.support.environments import TfEnvironment


def found(plugin: Path, release: str, rule: str) -> list[Finding]:
    """The findings of one rule about one release."""
    (answer,) = (one for one in compat(plugin).releases if one.tensorflow == release)
    return [finding for finding in answer.findings if finding.rule == rule]


def test_a_virtual_function_that_the_plugin_overrides_has_moved(
    tf_env: Callable[[str], TfEnvironment],
) -> None:
    moved = found(build("dataset", tf_env("2.16.2")), "2.17.1", "abi-virtual-table")
    assert {finding.verdict for finding in moved} == {"unsafe"}
    assert "tensorflow::data::DatasetBase" in {finding.subject for finding in moved}


def test_a_dataset_without_ndebug_dies_in_old_releases(
    tf_env: Callable[[str], TfEnvironment],
) -> None:
    assert found(build("dataset_debug", tf_env("2.6.5")), "2.6.5", "abi-assertion")
    assert not found(build("dataset", tf_env("2.6.5")), "2.6.5", "abi-assertion")


def test_a_library_that_a_release_does_not_have(tf_env: Callable[[str], TfEnvironment]) -> None:
    flags = ("-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2")
    env = tf_env("2.15.1")
    plugin = build("minimal", env, flags=(f"-L{env.tensorflow}", *flags))
    (missing,) = found(plugin, "2.5.3", "link-library")
    assert missing.subject == "libtensorflow_cc.so.2"
    assert not found(plugin, "2.14.1", "link-library")
