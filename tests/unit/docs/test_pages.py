"""What the pages link to is there, and the generated ones are those that the tools make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from envlock.rules.catalogue import rule_ids
from tools import command_pages, rules_page

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
HOME = "https://github.com/envlock/envlock/blob/main/"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def prose(path: Path) -> str:
    """A page without its blocks and literals, in which brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda found: found[0].replace("](", ""), text)


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.M)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {word.strip().replace(" ", "-") for word in words}


def links(path: Path) -> Iterator[tuple[str, Path, str]]:
    """The links of a page that lead into this repository: as written, file, heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        name, _, heading = target.removeprefix(HOME).partition("#")
        if target.startswith(HOME):
            yield target, ROOT / name, heading
        elif "://" not in target:
            yield target, (path.parent / name if name else path), heading


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = [
        written
        for written, file, heading in links(page)
        if not file.exists() or (heading and heading not in anchors(file))
    ]
    assert lost == []


def test_links_of_the_readme_also_lead_somewhere_on_pypi() -> None:
    relative = [one for one, _, _ in links(ROOT / "README.md") if "://" not in one]
    assert relative == []


def test_every_page_can_be_reached_from_the_map() -> None:
    reached, waiting = set(), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [file for _, file, _ in links(page)]
    assert set(DOCS.rglob("*.md")) - reached == set()


def test_names_of_pages_in_the_source_are_those_of_pages() -> None:
    sources = [
        path
        for folder in ("envlock", "tests", "tools", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    named = {
        (str(path.relative_to(ROOT)), page)
        for path in sources
        for page in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert {(path, page) for path, page in named if not (ROOT / page).is_file()} == set()


def test_the_page_of_commands_is_the_generated_one() -> None:
    committed = command_pages.PAGE.read_text(encoding="utf-8")
    assert committed == command_pages.page(), "run: python -m tools.command_pages"


def test_every_rule_has_an_example_that_was_seen() -> None:
    recorded = rules_page.examples()
    # The last resort of the linker's rules: no plugin has needed it yet.
    assert rule_ids() - set(recorded) == {"dlopen-refuses"}
    assert set(recorded) <= rule_ids()
    for rule, example in recorded.items():
        assert example["message"], rule
        assert "/tmp/" not in str(example), rule
