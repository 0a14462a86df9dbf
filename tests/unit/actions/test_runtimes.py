"""`check --glibc`, and the run time that `compat` and `stamp` name. Needs gcc and g++.

`tests/campaigns/loaders` holds the same answers beside the dlopen of Debian 11 and 13.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from envlock.actions.runtimes import judge_glibc, release_of
from envlock.binary.elf.file import ElfFile
from envlock.inventory.scan import check_many
from envlock.models.errors import UsageError
from envlock.models.runtime import RuntimeNeeds
from envlock.plugin.facts import PluginFacts
from envlock.plugin.runtime import release_of_version, runtime_needs
from tests.unit.linker.workshop import Workshop

PUTS = 'int puts(const char *); int g(void) { return puts(""); }'
#: dlopen moved into libc with glibc 2.34, and came with that version.
NEWER = 'void *dlopen(const char *, int); void *g(void) { return dlopen("", 2); }'


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path.resolve())


def needs(path: Path) -> RuntimeNeeds:
    with ElfFile.open(path) as elf:
        return runtime_needs(elf)


def verdicts(path: Path, *releases: str) -> list[tuple[str, tuple[str, ...]]]:
    reports = check_many([str(path)], glibc=releases)
    assert [report.environment.glibc for report in reports] == list(releases)
    return [(str(r.verdict), tuple(f.rule for f in r.findings)) for r in reports]


def test_a_symbol_that_came_with_a_release(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", NEWER, libc=True)
    assert needs(plugin) == RuntimeNeeds(glibc_oldest="2.34")
    assert verdicts(plugin, "2.33", "2.34") == [
        ("incompatible", ("glibc-too-old",)),
        ("compatible", ()),
    ]


def test_an_executable_stack_has_a_newest_release(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", PUTS, libc=True, flags=["-Wl,-z,execstack"])
    found = needs(plugin)
    assert found == RuntimeNeeds(glibc_oldest="2.2.5", glibc_newest="2.40")
    assert found.sentence() == "needs glibc 2.2.5 to 2.40 (it asks for an executable stack)"
    assert verdicts(plugin, "2.40", "2.41") == [
        ("compatible", ()),
        ("incompatible", ("executable-stack",)),
    ]


def test_packed_relocations_need_a_release(shop: Workshop) -> None:
    flags = ["-Wl,-z,pack-relative-relocs"]
    plugin = shop.lib("plugin.so", PUTS + "int *p[64] = {(int *)p};", libc=True, flags=flags)
    assert needs(plugin).glibc_oldest == "2.36"
    assert [verdict for verdict, _ in verdicts(plugin, "2.35", "2.36")] == [
        "incompatible",
        "compatible",
    ]


def test_the_cxx_library_is_named_by_its_highest_version(shop: Workshop) -> None:
    plugin = shop.path("plugin.so")
    source = "#include <string>\nstd::string f(int i) { return std::to_string(i) + 'x'; }\n"
    subprocess.run(
        ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(plugin)],
        input=source,
        text=True,
        check=True,
    )
    found = needs(plugin)
    assert found.glibcxx_oldest is not None
    assert found.glibcxx_oldest.startswith("3.4")
    assert f"a libstdc++ with GLIBCXX_{found.glibcxx_oldest}" in (found.sentence() or "")


def test_a_library_that_needs_nothing(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", "int f(void) { return 1; }")
    assert needs(plugin) == RuntimeNeeds()
    assert needs(plugin).sentence() is None
    assert verdicts(plugin, "2.17") == [("compatible", ())]


def test_what_is_not_looked_at_is_said(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", PUTS, libc=True)
    with ElfFile.open(plugin) as elf:
        report = judge_glibc(PluginFacts.of(elf), "2.31")
    assert [one.what for one in report.unchecked] == ["everything but the C library"]


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("GLIBC_2.34", (2, 34)),
        ("GLIBC_ABI_DT_RELR", (2, 36)),
        ("GLIBC_ABI_DT_X86_64_PLT", (2, 42)),
        ("GLIBC_PRIVATE", ()),
        ("V86_64", ()),
    ],
)
def test_versions_that_are_no_numbers(version: str, release: tuple[int, ...]) -> None:
    assert release_of_version(version) == release


@pytest.mark.parametrize("text", ["9", "2", "2.31.1", "2.5", "3.0", "new", ""])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(UsageError, match="is no release of glibc"):
        release_of(text)


def test_on_the_command_line(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", PUTS, libc=True, flags=["-Wl,-z,execstack"])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "envlock", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("check", str(plugin), "--glibc", "2.31", "--glibc", "2.41", "--format", "json")
    assert done.returncode == 1, done.stderr
    reports = json.loads(done.stdout)["reports"]
    assert [(r["environment"]["glibc"], r["verdict"]) for r in reports] == [
        ("2.31", "compatible"),
        ("2.41", "incompatible"),
    ]
    assert run("check", str(plugin), "--glibc", "2.31").returncode == 0
    mixed = run("check", str(plugin), "--glibc", "2.31", "--tensorflow", "2.15.1")
    assert "glibc 2.31" in mixed.stdout
    assert "2.15.1" in mixed.stdout
    for other in (["--env", "x"], ["--root", "x"], ["--live-headers"]):
        assert run("check", str(plugin), "--glibc", "2.31", *other).returncode == 2
    assert run("check", str(plugin), "--glibc", "9.9").returncode == 2
    assert "needs glibc 2.2.5 to 2.40" in run("compat", str(plugin)).stdout
