"""The table of docs/survival.md: written by `run`, read back by the test that holds it."""

from __future__ import annotations

from pathlib import Path

from tests.campaigns.survival.machines import MACHINES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "survival.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
LOADS, CHECK = "in TensorFlow", "`envlock check`"
COLUMNS = (LOADS, CHECK, *MACHINES)

#: Of a treatment: column -> what was found for the appended and for the linked-in form.
Row = dict[str, tuple[str, ...]]


def cell(found: tuple[str, ...]) -> str:
    """Both forms in one cell, appended before linked-in; one word where they agree."""
    return found[0] if len(set(found)) == 1 else " / ".join(found)


def render(rows: dict[str, Row]) -> str:
    lines = [
        "| treatment | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for treatment, row in rows.items():
        cells = [cell(row[column]) if column in row else "" for column in COLUMNS]
        lines.append(f"| {treatment} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read(text: str) -> dict[str, dict[str, str]]:
    """Treatment -> column -> cell, of a page."""
    between = text.split(BEGIN, 1)[1].split(END, 1)[0]
    lines = [line for line in between.splitlines() if line.startswith("| ")]
    head = [word.strip() for word in lines[0].strip("|").split("|")]
    rows: dict[str, dict[str, str]] = {}
    for line in lines[1:]:
        cells = [word.strip() for word in line.strip().strip("|").split("|")]
        rows[cells[0]] = dict(zip(head[1:], cells[1:]))
    return rows


def replace(text: str, table: str) -> str:
    """The page with another table."""
    head, rest = text.split(BEGIN, 1)
    return f"{head}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}"
