"""Every named damage: envlock's exact words, and dlopen, really asked, agrees."""

from __future__ import annotations

import shutil

import pytest

from tests.campaigns.corruptions.damages import DAMAGES, damaged
from tests.campaigns.corruptions.plugin import PLUGIN, RELEASE
from tests.campaigns.corruptions.run import PAGE, WHY, Row, page, rows, tools
from tests.support import environments


@pytest.fixture(scope="module")
def found() -> list[Row]:
    reason = environments.can_ensure(RELEASE)
    if reason is not None:
        pytest.skip(reason)
    return list(rows(readelf=shutil.which("readelf") is not None))


def test_there_are_more_than_sixty_and_all_differ() -> None:
    content = PLUGIN.read_bytes()
    made = {damaged(group, name, content) for group, inside in DAMAGES.items() for name in inside}
    assert len(made) == sum(map(len, DAMAGES.values())) > 160
    assert content not in made


def test_the_whole_plugin_works(found: list[Row]) -> None:
    assert (found[0].outcome, found[0].verdict) == ("works", "compatible")


def test_what_dlopen_refuses_or_dies_of_is_refused(found: list[Row]) -> None:
    assert [
        row.name
        for row in found
        if row.outcome in ("refused", "dies", "undefined") and not row.refused
    ] == []


def test_what_works_is_refused_for_a_named_reason_only(found: list[Row]) -> None:
    unnamed = [row.name for row in found if row.outcome == "works" and row.refused and not row.note]
    assert unnamed == []


def test_every_named_reason_is_needed(found: list[Row]) -> None:
    used = {(row.group, row.name) for row in found if row.note}
    spare = {key for key in WHY if key not in used and key[0] != "cut off"}
    assert spare == set()


def test_every_message_is_one_line_about_the_file(found: list[Row]) -> None:
    for row in found:
        assert row.message.isprintable()
        assert bool(row.message) == row.refused
        if row.status == 3:
            assert "zero_out.so" in row.message


def test_envlocks_column_of_the_page_is_what_it_says(found: list[Row]) -> None:
    written = PAGE.read_text().splitlines()
    for row in found:
        start = "|".join(row.line.split(" | ")[:2])
        assert any("|".join(line.split(" | ")[:2]) == start for line in written), row.line


def test_the_whole_page_is_current(found: list[Row], tool: object) -> None:
    """Word by word where the machine has the tools whose words it holds."""
    assert callable(tool)
    tool("readelf")
    written = PAGE.read_text()
    if tools() in written:
        assert page(found) == written
    else:
        outcomes = [row.dlopen.split(":")[0] for row in found]
        assert all(outcome in written for outcome in outcomes)
