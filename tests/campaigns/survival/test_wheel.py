"""After `auditwheel repair` the check knows the plugin again, and what was grafted beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import envlock
from envlock.actions.checking import Checker
from envlock.binary.elf import ElfFile
from envlock.linker.grafts import name_before_graft
from envlock.plugin.manifest import read_embedded
from tests.campaigns.survival.machines import Specimen, ToolMissing
from tests.campaigns.survival.ops import FRAMEWORK, op_object, repaired
from tests.support.building import OPS, flags_of
from tests.support.elves import run
from tests.support.environments import TfEnvironment
from tests.support.reality import Outcome, Trial, judge

#: One process compiles and stamps the op for all.
pytestmark = pytest.mark.xdist_group("survival")

VERSION = "1.2.3"


def versioned_library(folder: Path, version: str = VERSION, source: str = "") -> Path:
    """libextra.so.1 as distributions install it: a link to a file with the whole version."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"libextra.so.{version}"
    text = folder / "extra.c"
    text.write_text((OPS / "extra.c").read_text() + source)
    flags = ("-shared", "-fPIC", "-O2", "-Wl,-soname,libextra.so.1", "-Wl,--build-id")
    run("gcc", *flags, text, "-o", library)
    for name in ("libextra.so.1", "libextra.so"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(library.name)
    return library


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("system")


@pytest.fixture(scope="module")
def stamped(env: TfEnvironment, tmp_path_factory: pytest.TempPathFactory, system: Path) -> Path:
    """The op, linked to a library of the system and stamped there. It has no build-id."""
    versioned_library(system)
    plugin = tmp_path_factory.mktemp("stamped") / "plugin.so"
    run(
        "g++", "-shared", op_object(env), system / "libextra.so", "-Wl,--build-id=none",
        f"-Wl,-rpath,$ORIGIN/../{system.name}", *flags_of(env).link, "-o", plugin,
    )  # fmt: skip
    envlock.stamp(plugin, env=env.prefix)
    with ElfFile.open(plugin) as elf:
        embedded = read_embedded(elf)
    assert embedded is not None
    recorded = {lib.soname: lib.version for lib in embedded.manifest.libraries}
    assert recorded["libextra.so.1"] == VERSION
    return plugin


def wheel_of(
    plugin: Path, system: Path, folder: Path, *options: str, exclude: str = FRAMEWORK
) -> Path:
    try:
        return repaired(plugin, system, folder, *options, exclude=exclude)
    except ToolMissing as missing:
        pytest.skip(str(missing))


def grafts(plugin: Path) -> list[str]:
    with ElfFile.open(plugin) as elf:
        names = [name.decode() for name in elf.dynamic.needed]
    return [name for name in names if name_before_graft(name) is not None]


@pytest.fixture(scope="module")
def variants(
    stamped: Path, system: Path, env: TfEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The plugin repaired, repaired and stripped, alone without the rest of the wheel, and in a
    wheel that TensorFlow's own library was grafted into."""
    folder = tmp_path_factory.mktemp("wheels")
    found = {
        "repaired": wheel_of(stamped, system, folder / "plain"),
        "stripped": wheel_of(stamped, system, folder / "strip", "--strip"),
    }
    everything = tmp_path_factory.mktemp("everything")
    for library in (*system.glob("libextra*"), env.tensorflow / FRAMEWORK):
        (everything / library.name).symlink_to(library.resolve())
    found["framework"] = wheel_of(stamped, everything, folder / "all", exclude="libnone.so")
    found["alone"] = Path(shutil.copy(found["repaired"], folder / "alone.so"))
    return found


@pytest.fixture(scope="module")
def outcomes(variants: dict[str, Path], env: TfEnvironment) -> dict[str, Outcome]:
    """What really happens when TensorFlow loads them."""
    trials = [Trial(plugin, "dependency") for plugin in variants.values()]
    return dict(zip(variants, judge(trials, env)))


@pytest.mark.parametrize("how", ["repaired", "stripped"])
def test_a_repaired_plugin_is_the_one_that_was_stamped(
    how: str, variants: dict[str, Path], outcomes: dict[str, Outcome], env: TfEnvironment
) -> None:
    plugin = variants[how]
    (graft,) = grafts(plugin)
    assert name_before_graft(graft) == f"libextra.so.{VERSION}"
    assert (plugin.parent.parent / "demo.libs" / graft).is_file()
    report = envlock.check(plugin, env=env.prefix)
    assert (report.verdict, report.findings, report.unchecked) == ("compatible", (), ())
    assert (report.plugin.stamp, report.plugin.tensorflow) == ("appended", env.version)
    assert (outcomes[how].outcome, outcomes[how].functional) == ("loads", "pass")


def test_a_changed_instruction_is_noticed_in_a_repaired_plugin(
    variants: dict[str, Path], env: TfEnvironment, tmp_path: Path
) -> None:
    """By the digest of its code, since it has no build-id: repair has not made it blind."""
    site = shutil.copytree(variants["stripped"].parent.parent, tmp_path / "site")
    plugin = site / "demo" / "plugin.so"
    with ElfFile.open(plugin) as elf:
        text = elf.section(".text")
    assert text is not None
    content = bytearray(plugin.read_bytes())
    content[text.offset + text.size // 2] ^= 1
    plugin.write_bytes(content)
    report = envlock.check(plugin, env=env.prefix)
    assert "stamp-mismatch" in [finding.rule for finding in report.findings]
    assert report.verdict == "unsafe"


def test_a_wheel_repaired_with_another_release_of_the_library(
    stamped: Path, env: TfEnvironment, tmp_path: Path
) -> None:
    """The grafted copy is compared with what the manifest recorded under the old name."""
    other = tmp_path / "other"
    versioned_library(other, "1.3.0", "int32_t envlock_extra_thrice(int32_t v) { return 3 * v; }\n")
    plugin = wheel_of(stamped, other, tmp_path / "wheel")
    report = envlock.check(plugin, env=env.prefix)
    (finding,) = report.findings
    assert (finding.rule, finding.verdict) == ("library-version", "drifted")
    assert (finding.subject, finding.built, finding.live) == ("libextra.so.1", VERSION, "1.3.0")


def test_a_repaired_plugin_without_what_was_grafted(
    variants: dict[str, Path], outcomes: dict[str, Outcome], env: TfEnvironment
) -> None:
    """The file alone, copied out of the wheel: said as it is, and truly not loadable."""
    (graft,) = grafts(variants["alone"])
    report = envlock.check(variants["alone"], env=env.prefix)
    (finding,) = report.findings
    assert (finding.rule, finding.verdict) == ("missing-library", "incompatible")
    assert f"the plugin needs `{graft}`" in finding.message
    assert (
        f"it is the copy of `libextra.so.{VERSION}` that a wheel repair put into the wheel"
        in finding.message
    )
    assert outcomes["alone"].outcome == "load_error"
    assert graft in (outcomes["alone"].message or "")


def test_a_wheel_with_its_own_copy_of_the_framework(
    variants: dict[str, Path], outcomes: dict[str, Outcome], env: TfEnvironment
) -> None:
    """What repair does without `--exclude`: the op is registered where nobody asks for it."""
    report = envlock.check(variants["framework"], env=env.prefix)
    assert "stamp-mismatch" not in [finding.rule for finding in report.findings]
    (finding,) = (f for f in report.findings if f.rule == "grafted-framework")
    assert finding.verdict == report.verdict == "unsafe"
    assert finding.remedy == f"auditwheel repair --exclude {FRAMEWORK} WHEEL"
    assert (outcomes["framework"].outcome, outcomes["framework"].ops) == ("loads", 0)
    assert "has no attribute 'envlock_dependency'" in (outcomes["framework"].message or "")


def test_a_linked_in_manifest_of_a_repaired_plugin(
    ops: dict[str, Specimen], env: TfEnvironment, tmp_path: Path
) -> None:
    specimen = ops["linked-in"]
    plugin = wheel_of(specimen.plugin, specimen.plugin.parent, tmp_path / "wheel", "--strip")
    report = Checker.for_environment(env.prefix).check(str(plugin))
    assert (report.verdict, report.findings) == ("compatible", ())
    assert report.plugin.stamp == "linked-in"


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("libz-3a4b5c6d.so.1.2.13", "libz.so.1.2.13"),
        ("libgfortran-040039e1.so.5.0.0", "libgfortran.so.5.0.0"),
        ("libextra-bb7e47ec.so", "libextra.so"),
        ("libtensorflow_framework-1a2b3c4d.so.2", "libtensorflow_framework.so.2"),
        ("libstdc++.so.6", None),
        ("libboost_python-py311.so.1.74.0", None),
        ("ld-linux-x86-64.so.2", None),
        ("libc-2.31.so", None),
    ],
)
def test_names_that_repair_gives(name: str, before: str | None) -> None:
    assert name_before_graft(name) == before
