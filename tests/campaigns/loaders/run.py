"""Make the table of docs/loaders.md: `python -m tests.campaigns.loaders.run` (`make loaders`).

Builds the cases once, then has each root's own Python open them and predict them: live, and from
its files as another environment's. Where that Python is too old for envlock, a program on the
root's C library does the opening. Takes some minutes and needs to be root.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.campaigns.loaders import roots
from tests.campaigns.loaders.asking import Answer, ask, ask_program, build
from tests.campaigns.loaders.table import PAGE, render, replace


def main() -> int:
    parser = argparse.ArgumentParser(description="What loaders do, beside what is predicted.")
    parser.add_argument("--suites", nargs="*", help="default: Debian's, and what else is there")
    parser.add_argument("--rows", nargs="*", default=(), help="only these; writes no table")
    options = parser.parse_args()
    for suite in options.suites or roots.DEBIAN:
        roots.ensure(suite)
    suites = sorted(
        options.suites or roots.available(), key=lambda s: roots.version(roots.folder(s))
    )
    found: dict[str, dict[str, Answer]] = {}
    with tempfile.TemporaryDirectory(prefix="envlock-loaders-") as name:
        folder = Path(name).resolve()
        built = build(folder / "built", options.rows)
        for suite in suites:
            root = roots.folder(suite)
            if roots.python(root) >= (3, 9):
                found[suite] = ask(root, folder, built)
            else:
                found[suite] = ask_program(root, folder / suite, options.rows)
            wrong = [text for answer in found[suite].values() for text in answer.differences()]
            print(f"{suite}: {len(found[suite])} cases, {len(wrong)} differences", flush=True)
            for text in wrong:
                print(f"  {text}")
    if not options.rows and not options.suites:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(replace(text, render(found)), encoding="utf-8")
    return int(any(a.differences() for answers in found.values() for a in answers.values()))


if __name__ == "__main__":
    sys.exit(main())
