"""The table of docs/loaders.md: how many cases of each row agree, by loader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.campaigns.loaders import roots
from tests.campaigns.loaders.asking import Answer

PAGE = Path(__file__).resolve().parents[3] / "docs/loaders.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->"

#: What the rows are about.
ROWS = {
    "plain": "missing libraries, symbols and versions",
    "2": "folders `tls/`, `x86_64/`, `haswell/`",
    "3": "folders `glibc-hwcaps/`",
    "4": "instruction set level (`x86-64-v4`)",
    "5, 6": "alignment of segments",
    "8": "a version's symbol is gone from its library",
    "9": "a version's symbol is in another library",
    "10": "position-independent executables",
    "11": "ELF OS ABI and its version",
    "12": "a note that asks for a newer kernel",
    "13": "hardware folders in `ld.so.cache`",
    "14": "`DT_RELR` without its version",
    "14b": "`DT_RELR` that the loader does not know",
    "15": "executable stacks, `glibc.rtld.execstack`",
    "16": "versions of a library that has none",
    "17": "static TLS, to the byte",
    "17d": "static TLS with tunables",
    "18": "`$PLATFORM`",
    "19": "`glibc.cpu.hwcaps`",
    "20": "order of relocation, `glibc.rtld.dynamic_sort`",
}


def render(found: Mapping[str, Mapping[str, Answer]]) -> str:
    """The table, and below it every difference."""
    heads = [_head(suite) for suite in found]
    lines = ["| what differs | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for row, about in ROWS.items():
        cells = [_cell([a for a in answers.values() if a.row == row]) for answers in found.values()]
        lines.append(f"| {about} | " + " | ".join(cells) + " |")
    cells = [_cell(list(answers.values())) for answers in found.values()]
    lines.append("| **all** | " + " | ".join(cells) + " |")
    different = [
        f"- {_head(suite)}: {text}"
        for suite, answers in found.items()
        for answer in answers.values()
        for text in answer.differences()
    ]
    lines += ["", *(different or ["No answer differs."])]
    return "\n".join(lines) + "\n"


def _head(suite: str) -> str:
    release = ".".join(map(str, roots.version(roots.folder(suite))))
    return f"{release} ({roots.named(roots.folder(suite))})"


def _cell(answers: list[Answer]) -> str:
    """Agreeing predictions of all; a case asked in two modes counts twice."""
    asked = [answer.agrees(mode) for answer in answers for mode in answer.predicted]
    return f"{sum(asked)} of {len(asked)}" if asked else "not tried"


def replace(text: str, table: str) -> str:
    """The page with another table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table + END + after
