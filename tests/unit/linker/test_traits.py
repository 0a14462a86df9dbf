"""What differs between loaders: by their texts, by their release, and what tunables change.

`tests/campaigns/loaders` holds the same against the real loaders of other systems.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envlock.linker.prediction import Prediction
from envlock.linker.resolve import predict
from envlock.linker.rtld import processor
from envlock.linker.traits import Traits
from envlock.linker.tunables import Tunables
from tests.campaigns.loaders.cases import Bench, cases
from tests.unit.linker.workshop import have

BUILD = {name: build for _, name, build in cases()}
OLD, NEW = (2, 31), (2, 43)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty workshop that the loaders' cases are built in."""
    return Bench(tmp_path.resolve())


def as_on(bench: Bench, plugin: Path, release: tuple[int, int]) -> Prediction:
    """The prediction for this machine's program, would its loader be that release's."""
    bench.host()
    scope = bench.scope()
    scope.host.traits = Traits.of_release(release)
    return predict(str(plugin), scope)


#: Case, what 2.31 says, what 2.43 says; measured on Debian 11 and sid.
DIFFERENT = [
    ("ISA level 0x40000000", "", "CPU ISA level is lower than required"),
    ("p_align 0x200", "ELF load command alignment not page-aligned", ""),
    ("p_align 0x2000", "ELF load command address/offset not properly aligned", ""),
    ("executable stack, execstack=None", "", "cannot enable executable stack"),
    ("executable stack, execstack=2", "", ""),
    ("a newer kernel asked for", "No such file or directory", ""),
    (
        "DT_RELR without the version, libc needed",
        "",
        "DT_RELR without GLIBC_ABI_DT_RELR dependency",
    ),
    ("ELFOSABI_GNU, ABI version 3", "", ""),
    ("DF_1_PIE", "position-independent executable", "position-independent executable"),
]


@pytest.mark.parametrize(("name", "old", "new"), DIFFERENT)
def test_what_releases_refuse(bench: Bench, name: str, old: str, new: str) -> None:
    plugin = BUILD[name](bench)
    for release, text in ((OLD, old), (NEW, new)):
        found = as_on(bench, plugin, release)
        assert (text in (found.error or "") and not found.ok) if text else found.ok, found


def test_a_symbol_must_be_in_the_file_that_its_version_names(bench: Bench) -> None:
    plugin = BUILD["a version's symbol that moved to another library"](bench)
    assert as_on(bench, plugin, (2, 30)).ok
    for release, comma in (((2, 29), ""), ((2, 23), ",")):
        found = as_on(bench, plugin, release)
        assert found.error == (
            f"{plugin}: symbol vf{comma} version V1 not defined in file libver.so "
            "with link time reference"
        )
        assert [one.name for one in found.missing_symbols] == ["vf"]


def test_versions_of_a_library_without_any(bench: Bench) -> None:
    plugin = BUILD["versions needed of a library without any"](bench)
    assert as_on(bench, plugin, (2, 41)).outcome == "crash"
    assert as_on(bench, plugin, (2, 42)).ok


def test_relr_where_it_is_not_known(bench: Bench) -> None:
    plugin = BUILD["DT_RELR and constructors"](bench)
    assert (as_on(bench, plugin, OLD).outcome, as_on(bench, plugin, NEW).ok) == ("crash", True)
    plain = BUILD["DT_RELR without the version, libc not needed"](bench)
    assert as_on(bench, plain, OLD).unrelocated == (str(plain),)
    assert not as_on(bench, plain, OLD).unremarkable
    assert as_on(bench, plain, NEW).unremarkable


def test_older_versions_before_position_independence_was_refused(bench: Bench) -> None:
    assert as_on(bench, BUILD["DF_1_PIE"](bench), (2, 29)).ok
    late = BUILD["ELFOSABI_GNU, ABI version 3"](bench)
    assert "ABI version invalid" in (as_on(bench, late, (2, 27)).error or "")


def test_texts_decide_where_a_distribution_carried_a_change_back() -> None:
    banner = b"\0ld.so (Debian GLIBC 2.41-12) stable release version 2.41.\0"
    assertion = b"version->filename == NULL || ! _dl_name_match_p (version->filename, map)\0"
    upstream = Traits.of_file("/lib/ld.so", banner + assertion)
    debian = Traits.of_file("/lib/ld.so", banner)
    assert upstream.release == debian.release == (2, 41)
    assert (upstream.asserts_versions, debian.asserts_versions) == (True, False)
    assert Traits.of_release((2, 41)).asserts_versions


def test_a_loader_without_a_release_is_taken_for_the_nearest_to_all() -> None:
    unknown = Traits.of_file("/nowhere/ld.so", b"")
    assert (unknown.release, unknown.searches_legacy) == ((0, 0), True)
    assert not unknown.refuses_executable_stack


def test_this_machines_loader_is_known_by_its_texts(bench: Bench) -> None:
    bench.host()
    traits = bench.scope().interpreter.traits
    assert os.confstr("CS_GNU_LIBC_VERSION") == f"glibc {traits.release[0]}.{traits.release[1]}"
    known = Traits.of_release(traits.release)
    same = ("searches_hwcaps", "searches_legacy", "checks_alignment", "checks_kernel")
    same += ("refuses_pie", "refuses_executable_stack", "checks_processor", "applies_relr")
    same += ("insists_on_file", "sorts_depth_first", "tunes_static_tls", "strict_tunables")
    assert {name: getattr(traits, name) for name in same} == {
        name: getattr(known, name) for name in same
    }


@pytest.mark.parametrize(
    ("text", "strict", "loose"),
    [
        ("a.b=5", 5, 5),
        ("a.b=0x10", 16, 16),
        ("a.b=010", 8, 8),
        ("a.b=5x", 3, 5),
        ("a.b=many", 3, 0),
        ("a.b=5:nothing", 3, 5),
        ("a.b=5:a.b=6", 6, 6),
        ("a.b=99", 3, 3),
        ("a.c=5", 3, 3),
        ("", 3, 3),
        ("a.b=", 3, 0),
    ],
)
def test_numbers_of_tunables(text: str, strict: int, loose: int) -> None:
    assert Tunables(text, True).number("a.b", 3, 0, 50) == strict
    assert Tunables(text, False).number("a.b", 3, 0, 50) == loose


def test_a_feature_that_is_switched_off_takes_its_folders_away() -> None:
    new = Traits.of_release(NEW)
    whole = processor(62, new, Tunables())
    if "x86-64-v3" not in whole.hwcaps:
        assert processor(62, new, Tunables("glibc.cpu.hwcaps=-AVX2")).hwcaps == whole.hwcaps
    else:
        less = processor(62, new, Tunables("glibc.cpu.hwcaps=-AVX2"))
        assert less.hwcaps == ("x86-64-v2",)
        assert less.isa_level == whole.isa_level
        assert processor(62, new, Tunables("glibc.cpu.hwcaps=-avx2")).hwcaps == whole.hwcaps


@pytest.mark.parametrize(
    "name",
    [
        name
        for row, name, _ in cases()
        if row in ("14", "17d", "18", "19", "20") or "alignment 64" in name or "behind" in name
    ],
)
def test_as_this_machines_loader_does(bench: Bench, name: str) -> None:
    if not have("gcc"):
        pytest.skip("needs gcc")
    bench.agree(BUILD[name](bench))
