"""`atlas add` of real TensorFlow: a public release again, and a vendor's build of it.

The atlas of a public release has to give the verdicts that the shipped one gives. The vendor's
TensorFlow is a copy whose `OpKernelContext::Params` has one member more. What g++ made of the
headers is kept in the tests' cache folder, under the digest of headers and reading code.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envlock.actions.checking import Checker
from envlock.actions.stamping import stamp
from envlock.atlas.collection import open_atlas
from envlock.atlas.format import Atlas
from envlock.binary.elf import ElfFile
from envlock.environment.live import Environment
from envlock.models.report import Report
from envlock.plugin.dependencies.analyse import InterfaceFacts, dependencies
from envlock.rules.releases import release_answers
from tests.support.building import build
from tests.support.environments import TfEnvironment, cache_root
from tests.unit.atlas.own import envlock
from tests.unit.atlas.test_verdict import stamped

RELEASE, OTHER = "2.18.1", "2.16.2"
OPS = ("minimal", "inline_readers", "resource", "lookup", "dataset", "protobuf", "c_api")
VENDOR = "2.18.1+vendor"
#: Headers of the probe that the vendor does not install; without them it compiles faster.
LEFT_OUT = ("public/session.h", "graph/graph.h", "common_runtime", "grappler", "util", "profiler")


def add(env: Path, path: Path) -> Path:
    done = envlock("atlas", "add", "--env", env, "-o", path, XDG_CACHE_HOME=str(cache_root()))
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def public(
    tf_env: Callable[[str], TfEnvironment], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An atlas of the public release, made by the command."""
    return add(tf_env(RELEASE).prefix, tmp_path_factory.mktemp("own") / "public.atlas")


@pytest.fixture(scope="module")
def vendor(tf_env: Callable[[str], TfEnvironment]) -> Iterator[Path]:
    """A copy of the environment, by hard links, whose TensorFlow a vendor changed."""
    original = tf_env(RELEASE)
    with tempfile.TemporaryDirectory(prefix=".vendor-", dir=cache_root()) as folder:
        prefix = Path(folder) / "env"
        subprocess.run(["cp", "-al", str(original.prefix), str(prefix)], check=True)
        site = prefix / original.site_packages.relative_to(original.prefix)
        (info,) = site.glob("tensorflow_cpu-*.dist-info")
        renamed = info.rename(site / f"tensorflow_cpu-{VENDOR}.dist-info")
        change(renamed / "METADATA", f"\nVersion: {RELEASE}\n", f"\nVersion: {VENDOR}\n")
        core = site / "tensorflow/include/tensorflow/core"
        change(
            core / "framework/op_kernel.h",
            "  struct Params {\n",
            "  struct Params {\n    int64_t of_the_vendor = 0;\n",
        )
        for name in LEFT_OUT:
            path = core / name
            if path.is_dir():
                for header in path.rglob("*.h"):
                    if name != "util" or header.name == "work_sharder.h":
                        header.unlink()
            else:
                path.unlink()
        yield prefix


def change(path: Path, old: str, new: str) -> None:
    """Replace a file of one environment only, not the one that is hard-linked to it."""
    text = path.read_text()
    assert text.count(old) == 1
    path.unlink()
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def plugins(
    tf_env: Callable[[str], TfEnvironment], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Stripped ops of two releases, stamped and not."""
    folder = tmp_path_factory.mktemp("plugins")
    found = {}
    for version in (RELEASE, OTHER):
        env = tf_env(version)
        for op in OPS:
            bare = folder / f"{op}-{version}.so"
            subprocess.run(["strip", "-o", str(bare), str(build(op, env))], check=True)
            stamped = folder / f"{op}-{version}-stamped.so"
            shutil.copy(bare, stamped)
            found[bare.stem], found[stamped.stem] = bare, stamped
        paths = [path for name, path in found.items() if name.endswith(f"{version}-stamped")]
        for path in paths:
            stamp(path, env=Environment.open(env.prefix))
    return found


def said(report: Report) -> tuple[str | None, set[tuple[str | None, ...]]]:
    return report.verdict, {
        (f.rule, f.verdict, f.subject, f.built, f.live) for f in report.findings
    }


def test_an_added_public_release_gives_the_shipped_verdicts(
    tf_env: Callable[[str], TfEnvironment],
    public: Path,
    plugins: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checker = Checker.for_environment(tf_env(RELEASE).prefix)
    shipped = {name: said(checker.check(str(path))) for name, path in plugins.items()}
    monkeypatch.setenv("ENVLOCK_ATLAS", str(public))
    added = {name: said(checker.check(str(path))) for name, path in plugins.items()}
    assert added == shipped
    assert shipped[f"inline_readers-{OTHER}-stamped"][0] == "unsafe"
    assert shipped[f"minimal-{OTHER}-stamped"][0] == "drifted"
    assert shipped[f"minimal-{RELEASE}"][0] == "compatible"


@pytest.mark.parametrize("op", [op for op in OPS if op != "c_api"])
def test_stamping_with_it_records_enough_for_every_public_release(
    public: Path, plugins: dict[str, Path], op: str
) -> None:
    shipped, added = open_atlas(), Atlas.open(str(public))
    with ElfFile.open(plugins[f"{op}-{RELEASE}"]) as elf:
        verdicts = []
        for atlas in (shipped, added):
            release = atlas.find(RELEASE, "tensorflow-cpu")
            assert release is not None
            needed = dependencies(InterfaceFacts(elf), atlas, release)
            answers = release_answers(stamped(elf, needed, RELEASE), shipped, "tensorflow-cpu")
            verdicts.append([(one.release.version, one.verdict) for one in answers])
    assert verdicts[0] == verdicts[1]
    assert {verdict for _, verdict in verdicts[0]} >= {"compatible", "incompatible"}


def test_a_vendors_build_is_judged_by_its_own_atlas(
    vendor: Path, plugins: dict[str, Path], tmp_path: Path
) -> None:
    def check(name: str, atlas: str) -> dict[str, Any]:
        done = envlock(
            *("check", plugins[f"{name}-{RELEASE}-stamped"], "--env", vendor, "--format", "json"),
            ENVLOCK_ATLAS=atlas,
        )
        report: dict[str, Any] = json.loads(done.stdout)["reports"][0]
        return report

    unknown = check("inline_readers", "")
    assert unknown["verdict"] == "drifted"
    (why,) = [one["why"] for one in unknown["unchecked"] if one["what"] == "binary interface"]
    assert f"does not know TensorFlow {VENDOR}" in why
    assert f"`envlock atlas add --env {vendor}`" in why
    atlas = str(add(vendor, tmp_path / "vendor.atlas"))
    known = check("inline_readers", atlas)
    assert known["verdict"] == "unsafe"
    # The plugin is stripped: its stamp is from machine code, searched for what differs in public.
    # It calls a `Device`, whose header this vendor leaves out.
    assert [one["what"] for one in known["unchecked"]] == [
        "the layout of 1 classes, among them `tensorflow::Device`",
        "inline functions that never differed between public releases",
    ]
    (finding,) = [one for one in known["findings"] if one["verdict"] == "unsafe"]
    assert finding["subject"] == "tensorflow::OpKernelContext::Params"
    assert (finding["built"], finding["live"]) == ("inputs@176", "inputs@184")
    assert check("minimal", atlas)["verdict"] == "drifted"
    done = envlock(
        *("compat", plugins[f"inline_readers-{RELEASE}-stamped"], "--format", "json"),
        ENVLOCK_ATLAS=atlas,
    )
    verdicts = {one["tensorflow"]: one["verdict"] for one in json.loads(done.stdout)["releases"]}
    assert (verdicts[RELEASE], verdicts[VENDOR]) == ("compatible", "unsafe")
