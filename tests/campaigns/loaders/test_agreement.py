"""A sample of the loaders' table: Debian 11 and 13, every case, live and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from envlock.actions.runtimes import judge_glibc
from envlock.binary.elf.file import ElfFile
from envlock.models.verdict import Verdict
from envlock.plugin.facts import PluginFacts
from tests.campaigns.loaders import roots
from tests.campaigns.loaders.asking import Answer, Case, ask, build
from tests.campaigns.loaders.table import PAGE, ROWS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    """Every case, built once."""
    folder = tmp_path_factory.mktemp("loaders").resolve()
    return folder, build(folder / "built")


@pytest.mark.parametrize("suite", roots.SAMPLE)
@pytest.mark.xdist_group("loaders")
def test_every_case_is_foreseen(suite: str, built: tuple[Path, list[Case]]) -> None:
    try:
        root = roots.ensure(suite)
    except roots.CannotMake as problem:
        pytest.skip(str(problem))
    folder, listed = built
    answers: dict[str, Answer] = ask(root, folder, listed)
    assert set(answers) == {case.name for case in listed}
    assert [text for answer in answers.values() for text in answer.differences()] == []
    # The release is found, also where ld.so has no banner (2.31).
    assert {r for answer in answers.values() for r in answer.releases} == {roots.DEBIAN[suite][1]}
    assert {text for answer in answers.values() for text in answer.unchecked} == set()
    # Both answers occur: a judge that always says the same would prove nothing.
    outcomes = {answer.real[0] for answer in answers.values()}
    assert outcomes == {"ok", "refused"} | ({"crash"} if suite == "bullseye" else set())


#: Rows that the file itself and the release decide.
ALONE = ("5, 6", "10", "11", "12", "14", "14b")


@pytest.mark.parametrize("suite", roots.SAMPLE)
@pytest.mark.xdist_group("loaders")
def test_a_named_release_says_what_its_loader_does(
    suite: str, built: tuple[Path, list[Case]]
) -> None:
    """`check --glibc 2.31` beside dlopen in Debian 11."""
    try:
        root = roots.ensure(suite)
    except roots.CannotMake as problem:
        pytest.skip(str(problem))
    folder, listed = built
    alone = [case for case in listed if case.row in ALONE]
    for case in alone:
        case.bench.env.clear()
    answers = ask(root, folder, alone)
    for case in alone:
        with ElfFile.open(case.plugin) as elf:
            report = judge_glibc(PluginFacts.of(elf), roots.DEBIAN[suite][1])
        # A library that it needs is not looked into.
        if case.name == "a newer kernel in a library":
            continue
        refused = answers[case.name].real[0] != "ok"
        assert (report.verdict == Verdict.INCOMPATIBLE) == refused, (case.name, report.findings)


def test_the_page_has_a_row_for_every_case() -> None:
    from tests.campaigns.loaders.cases import cases

    assert {row for row, _, _ in cases()} == set(ROWS)
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| {about} |" in text for about in ROWS.values())
    assert all(name in text for name, _ in roots.DEBIAN.values())
