"""README, the tutorial and the guides print what their sessions show, command by command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import sessions
from tests.support.environments import TfEnvironment

CHECKOUT = sessions.CHECKOUT
PAGES = [
    path
    for path in (CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md")))
    if any(block.steps for block in sessions.blocks(path.read_text(encoding="utf-8")))
]


def test_the_pages_for_newcomers_have_sessions() -> None:
    names = {str(path.relative_to(CHECKOUT)) for path in PAGES}
    assert {"README.md", "docs/tutorial.md"} <= names
    assert sum(name.startswith("docs/guides/") for name in names) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_page_shows_what_is_printed(
    page: Path, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    played = sessions.play(page.read_text(encoding="utf-8"), tmp_path, tf_env)
    found = sessions.differences(played)
    where = page.relative_to(CHECKOUT)
    told = f"\nwrite it anew: python -m tests.support.sessions --update {where}"
    assert not found, "\n\n".join(found) + told
