"""Without a build-id the check goes by the code, or says that it could not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.checking import Checker
from envlock.binary.elf import ElfFile
from envlock.binary.elf.dynamic import build_id
from envlock.models.report import Report
from tests.campaigns.survival.machines import Specimen
from tests.support.elves import run
from tests.support.environments import TfEnvironment

#: One process compiles and stamps the op for all.
pytestmark = pytest.mark.xdist_group("survival")


@pytest.fixture
def check(env: TfEnvironment) -> Callable[[Path], Report]:
    checker = Checker.for_environment(env.prefix)
    return lambda plugin: checker.check(str(plugin))


@pytest.fixture
def plugin(ops: dict[str, Specimen], tmp_path: Path) -> Path:
    """A stamped op with a build-id, beside the library that it needs."""
    specimen = ops["appended"]
    shutil.copy(specimen.plugin.with_name("libextra.so"), tmp_path)
    copy = Path(shutil.copy(specimen.plugin, tmp_path))
    with ElfFile.open(copy) as elf:
        assert build_id(elf) is not None
    return copy


def change_an_instruction(plugin: Path) -> None:
    with ElfFile.open(plugin) as elf:
        assert build_id(elf) is None
        text = elf.section(".text")
    assert text is not None
    content = bytearray(plugin.read_bytes())
    content[text.offset + text.size // 2] ^= 1
    plugin.write_bytes(content)


def test_a_build_id_that_was_taken_away(
    plugin: Path, check: Callable[[Path], Report], tool: Callable[[str], str]
) -> None:
    run(tool("llvm-objcopy"), "--remove-section=.note.gnu.build-id", plugin)
    report = check(plugin)
    assert (report.plugin.stamped, report.verdict) == (True, "compatible")
    assert (report.findings, report.unchecked) == ((), ())
    change_an_instruction(plugin)
    report = check(plugin)
    assert [finding.rule for finding in report.findings] == ["stamp-mismatch"]
    assert report.verdict == "unsafe"


def test_what_goes_by_neither_is_said_to_be_unchecked(
    plugin: Path, check: Callable[[Path], Report]
) -> None:
    """GNU strip takes the header away with which the digest finds initialised data."""
    run("strip", "-R", ".note.gnu.build-id", plugin)
    report = check(plugin)
    assert (report.plugin.stamped, report.verdict, report.findings) == (True, "compatible", ())
    (unchecked,) = report.unchecked
    assert unchecked.what == "that the manifest describes this file"
    assert "no build-id to compare" in unchecked.why
