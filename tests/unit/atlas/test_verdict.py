"""The whole way: a plugin built with one release, judged for the other, and really run there."""

from __future__ import annotations

from pathlib import Path

import pytest

from envlock.atlas.format import Atlas
from envlock.binary.elf import ElfFile
from envlock.models.dependencies import Dependencies
from envlock.models.manifest import (
    MANIFEST_FORMAT,
    Manifest,
    PlatformFacts,
    PythonFacts,
    TensorFlowFacts,
)
from envlock.models.record import decode, encode
from envlock.models.report import Finding
from envlock.plugin.dependencies.analyse import InterfaceFacts, dependencies
from envlock.plugin.dependencies.narrow import narrow
from envlock.plugin.facts import PluginFacts
from envlock.rules.layout.findings import compare
from envlock.rules.layout.suspects import Suspects
from envlock.rules.releases import release_answers
from tests.unit.atlas.framework import PLUGINS, Framework, strip

#: What is found in each plugin by its debug information.
RULES = {
    "reads_moved": ["abi-class-layout"],
    "reads_unmoved": [],
    "template": ["abi-class-layout"],
    "calls_virtual": ["abi-class-layout"],
    "holds_object": ["abi-class-layout", "abi-class-size"],
    "overrides": ["abi-virtual-table"],
}


def build(releases: dict[int, Framework], built: int, name: str, form: str, folder: Path) -> Path:
    """A plugin with debug information, or stripped of everything that strip takes."""
    plugin = releases[built].build(name, folder / "full.so", "-g")
    return plugin if form == "dwarf" else strip(plugin, folder / "stripped.so")


def judge(plugin: Path, atlas: Atlas, built: str, live: str) -> tuple[Dependencies, list[Finding]]:
    origin, target = atlas.find(built), atlas.find(live)
    assert origin is not None
    assert target is not None
    with ElfFile.open(plugin) as elf:
        recorded = dependencies(InterfaceFacts(elf), atlas, origin)
    # As it comes back out of a manifest.
    recorded = decode(Dependencies, encode(recorded, sparse=True))
    findings, _ = compare(recorded, atlas, target, built)
    return recorded, [one for one in findings if one.verdict == "unsafe"]


def stamped(elf: ElfFile, recorded: Dependencies, built: str) -> PluginFacts:
    """The facts of a plugin whose manifest says this much."""
    facts = PluginFacts.of(elf)
    tensorflow = TensorFlowFacts(version=built)
    facts.manifest = Manifest(
        format=MANIFEST_FORMAT,
        generator="a test",
        tensorflow=tensorflow,
        abi=recorded,
        python=PythonFacts(version="3.11.7", implementation="cpython"),
        platform=PlatformFacts(machine="x86_64"),
    )
    return facts


@pytest.mark.parametrize("form", ["dwarf", "stripped"])
@pytest.mark.parametrize("name", list(PLUGINS))
def test_verdict_is_what_happens(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path, name: str, form: str
) -> None:
    plugin = build(releases, 1, name, form, tmp_path)
    right = str(PLUGINS[name][2])
    assert releases[1].run(plugin) == right
    really_works = releases[2].run(plugin) == right
    recorded, unsafe = judge(plugin, atlas, "9.1.0", "9.2.0")
    assert recorded.evidence == ("dwarf" if form == "dwarf" else "code")
    assert not judge(plugin, atlas, "9.1.0", "9.1.0")[1]
    if name == "calls_virtual" and form == "stripped":
        # Nothing but a slot number and a pointer without a witness is left of it.
        assert not really_works
        return
    assert (not unsafe) == really_works, [one.message for one in unsafe]
    if form == "dwarf":
        assert [one.rule for one in unsafe] == RULES[name]


def test_finding_names_class_member_both_offsets_and_remedy(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin = build(releases, 1, "reads_moved", "dwarf", tmp_path)
    _, unsafe = judge(plugin, atlas, "9.1.0", "9.2.0")
    (finding,) = unsafe
    assert finding.rule == "abi-class-layout"
    assert finding.subject == "tensorflow::OpKernelContext::Params"
    assert finding.built == "inputs@8"
    assert finding.live == "inputs@16"
    assert "24 to 32 bytes" in finding.message
    assert finding.why
    assert finding.remedy == "rebuild the plugin against TensorFlow 9.2.0"


def test_all_releases_are_judged(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin = build(releases, 1, "reads_moved", "dwarf", tmp_path)
    recorded, _ = judge(plugin, atlas, "9.1.0", "9.2.0")
    with ElfFile.open(plugin) as elf:
        answers = release_answers(stamped(elf, recorded, "9.1.0"), atlas, "tensorflow")
    assert [(a.release.version, a.verdict) for a in answers] == [
        ("9.1.0", "compatible"),
        ("9.2.0", "unsafe"),
    ]


@pytest.mark.parametrize(("built", "live"), [(1, 2), (2, 1)])
def test_both_directions(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path, built: int, live: int
) -> None:
    plugin = build(releases, built, "reads_moved", "stripped", tmp_path)
    versions = f"9.{built}.0", f"9.{live}.0"
    assert judge(plugin, atlas, *versions)[1]
    assert releases[live].run(plugin) != "7"


def test_without_machine_code_the_kind_is_assumed(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    plugin = build(releases, 1, "reads_moved", "stripped", tmp_path)
    origin = atlas.find("9.1.0")
    assert origin is not None
    with ElfFile.open(plugin) as elf:
        evidence = InterfaceFacts(elf, read_code=False)
        assert evidence.level == "symbols"
        assert dependencies(evidence, atlas, origin).evidence == "symbols"


@pytest.mark.parametrize("form", ["dwarf", "stripped"])
@pytest.mark.parametrize("name", ["reads_moved", "overrides"])
@pytest.mark.parametrize("built", [1, 2])
def test_code_tells_the_release_of_an_unstamped_plugin(
    releases: dict[int, Framework],
    atlas: Atlas,
    tmp_path: Path,
    name: str,
    form: str,
    built: int,
) -> None:
    plugin = build(releases, built, name, form, tmp_path)
    with ElfFile.open(plugin) as elf:
        evidence = InterfaceFacts(elf)
        found = narrow(evidence, atlas, atlas.releases)
        suspects = Suspects(PluginFacts.of(elf), atlas, atlas.releases, atlas.releases)
        assert f"9.{built}.0" in [release.version for release in found]
        other = atlas.find(f"9.{3 - built}.0")
        assert other is not None
        findings, _ = suspects.against(atlas, other)
    assert any(one.verdict == "unsafe" for one in findings)


def test_missing_symbol_makes_a_release_incompatible(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    source = tmp_path / "uses.cc"
    source.write_text(
        "namespace tensorflow { struct Resource { int Between() const; }; }\n"
        'extern "C" int run(tensorflow::Resource* r) { return r->Between(); }\n'
    )
    plugin = tmp_path / "uses.so"
    from tests.unit.atlas.framework import compile_shared

    compile_shared(source, plugin, str(releases[2].library))
    with ElfFile.open(plugin) as elf:
        answers = release_answers(PluginFacts.of(elf), atlas, "tensorflow")
    assert [answer.verdict for answer in answers] == ["incompatible", "compatible"]
    (finding,) = answers[0].findings
    assert finding.rule == "link-symbol"
    assert finding.examples == ("tensorflow::Resource::Between() const",)


def test_missing_library_makes_a_release_incompatible(
    releases: dict[int, Framework], atlas: Atlas, tmp_path: Path
) -> None:
    empty, plugin = tmp_path / "empty.cc", tmp_path / "needs.so"
    empty.write_text("")
    from tests.unit.atlas.framework import compile_shared

    library = tmp_path / "libtensorflow_cc.so.2"
    compile_shared(empty, library, f"-Wl,-soname,{library.name}")
    compile_shared(empty, plugin, "-Wl,--no-as-needed", str(library))
    with ElfFile.open(plugin) as elf:
        answers = release_answers(PluginFacts.of(elf), atlas, "tensorflow")
    assert {answer.verdict for answer in answers} == {"incompatible"}
    (finding,) = answers[0].findings
    assert (finding.rule, finding.subject) == ("link-library", library.name)
