"""Runs the sessions of README and docs, and compares what they print: the pages cannot go stale.

A block of a page takes part when the first line of its fence says so:

    ```console run                  each `$ command` is run, and prints the lines below it
    ```console env=tf217:2.17.1     its commands make an environment; the tests give theirs instead
    ```console run copy=PATH        the file or folder PATH of the checkout is there when it starts
    ```cpp file=my_op.cc            the reader saves the block under this name

A command goes on in lines that start with `> `. In the output `...` stands for any text of a line,
and a line of nothing else for any number of lines. All blocks of a page share one shell and one
folder, which is shown as `/project`; `env=NAME:VERSION:copy` gives an environment that a session may
change.

    python -m tests.support.sessions FILE...             # says what differs
    python -m tests.support.sessions --update FILE...    # writes what is printed into the pages
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import environments
from tests.support.environments import TfEnvironment

CHECKOUT = Path(__file__).resolve().parents[2]
SHOWN = "/project"
FENCE = re.compile(r"^```(\w+) +([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """One command of a page with the output that stands below it."""

    command: str
    expected: list[str]
    printed: list[str] = field(default_factory=list)

    def agrees(self) -> bool:
        """Whether the output is what the page shows, as far as it is shown."""
        return matches(self.expected, self.printed)


@dataclass
class Block:
    """A block of a page that takes part; `start` and `end` are where its content stands."""

    words: list[str]
    text: str
    start: int
    end: int
    steps: list[Step] = field(default_factory=list)

    def named(self, key: str) -> list[str]:
        """The values of `key=value` in the fence."""
        return [word[len(key) + 1 :] for word in self.words if word.startswith(f"{key}=")]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page that take part, in order."""
    for found in FENCE.finditer(page):
        block = Block(found[2].split(), found[3], found.start(3), found.end(3))
        if "run" in block.words:
            block.steps = list(_steps(block.text))
        yield block


def _steps(text: str) -> Iterator[Step]:
    step = None
    for line in text.splitlines():
        if line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(line[2:], [])
        elif step is None:
            raise ValueError(f"a session starts with a command, not with {line!r}")
        elif line.startswith("> ") and not step.expected:
            step.command += "\n" + line[2:]
        else:
            step.expected.append(line)
    if step is not None:
        yield step


def matches(expected: list[str], printed: list[str]) -> bool:
    """Compare lines; `...` stands for any text, a line of it for any lines. Blank lines at the end
    do not count."""
    parts = []
    for line in _trimmed(expected):
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(map(re.escape, line.split("..."))) + r"\n")
    text = "".join(f"{line}\n" for line in _trimmed(printed))
    return re.fullmatch("".join(parts), text) is not None


def _trimmed(lines: list[str]) -> list[str]:
    kept = [line.rstrip() for line in lines]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def play(page: str, folder: Path, environment: Callable[[str], TfEnvironment]) -> list[Block]:
    """Run a page's sessions in an empty folder; what was printed is in the steps."""
    given = list(blocks(page))
    linked: dict[str, str] = {}
    with Shell(folder, linked) as shell:
        for block in given:
            for name in block.named("file"):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
            for path in block.named("copy"):
                _copy(CHECKOUT / path, folder / Path(path).name)
            for text in block.named("env"):
                name, version, *how = text.split(":")
                found = environment(version)
                linked[str(found.prefix)] = f"{SHOWN}/{name}"
                if "copy" in how:
                    shutil.copytree(found.prefix, folder / name, symlinks=True, copy_function=_link)
                else:
                    (folder / name).symlink_to(found.prefix)
            for step in block.steps:
                step.printed = shell.run(step.command)
    return given


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def _link(source: str, target: str) -> None:
    """Another name for the same file, which a session may replace and must not write to."""
    os.link(source, target, follow_symlinks=False)


class Shell:
    """A bash that runs one command after the other, and gives what each has printed."""

    def __init__(self, folder: Path, shown: dict[str, str]) -> None:
        self.folder = folder
        self.shown = shown
        self.private = Path(tempfile.mkdtemp(prefix="envlock-session-"))
        tools, home = self.private / "bin", self.private / "home"
        packages = self.private / "packages"
        for made in (tools, home, packages):
            made.mkdir()
        (packages / "envlock").symlink_to(CHECKOUT / "envlock")
        for name, words in (
            ("envlock", [sys.executable, "-m", "envlock"]),
            ("uv", environments.uv()),
        ):
            command = tools / name
            command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            command.chmod(0o755)
        environ = {
            **environments.clean_environ(),
            **environments.QUIET,
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{tools}:{os.environ['PATH']}",
            # The environments of the tests have no envlock in them; of the checkout they must see
            # nothing else, or a plugin that was built in it would be one of theirs.
            "PYTHONPATH": str(packages),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={key: text for key, text in environ.items() if not key.startswith("XDG_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self.bash.kill()
        self.bash.communicate()
        shutil.rmtree(self.private)

    def run(self, command: str) -> list[str]:
        """The lines that a command prints, with the paths of this machine replaced."""
        assert self.bash.stdin is not None
        assert self.bash.stdout is not None
        script = self.private / "command"
        script.write_text(command + "\n", encoding="utf-8")
        end = f"end of {script}"
        # `$?` is the status of the command before, as it is for somebody who types.
        self.bash.stdin.write(
            f"(exit ${{status:-0}}); . {script} </dev/null; status=$?; echo; echo '{end}'\n"
        )
        self.bash.stdin.flush()
        lines: list[str] = []
        for line in self.bash.stdout:
            if line.rstrip("\n") == end:
                break
            lines.append(line.rstrip("\n"))
        else:
            raise RuntimeError(f"`{command}` ended the shell:\n" + "\n".join(lines))
        if lines and not lines[-1]:
            lines.pop()
        return [self._plain(line) for line in lines]

    def _plain(self, line: str) -> str:
        for path, shown in self.shown.items():
            line = line.replace(path, shown)
        line = line.replace(str(self.folder), SHOWN).replace(str(self.private / "home"), "~")
        return line.replace(sys.prefix, "/opt/tools")


def differences(played: list[Block]) -> list[str]:
    """What is printed otherwise than the page shows, as a diff for each command."""
    found = []
    for step in (step for block in played for step in block.steps):
        if not step.agrees():
            shown, printed = _trimmed(step.expected), _trimmed(step.printed)
            lines = difflib.unified_diff(shown, printed, "the page", "printed", lineterm="")
            found.append("\n".join([f"$ {step.command}", *lines]))
    return found


def updated(page: str, played: list[Block]) -> str:
    """The page with what was printed in the place of what differs."""
    for block in reversed(played):
        if all(step.agrees() for step in block.steps):
            continue
        lines = []
        for step in block.steps:
            lines += ["$ " + step.command.replace("\n", "\n> ")]
            if step.agrees():
                lines += step.expected
            else:
                lines += merged(step.expected, _trimmed(step.printed))
                lines += [""] if step.expected[-1:] == [""] else []
        page = page[: block.start] + "".join(f"{line}\n" for line in lines) + page[block.end :]
    return page


def merged(expected: list[str], printed: list[str]) -> list[str]:
    """What was printed, with the elisions of the page where its other lines still stand."""
    shown = [line for line in expected if line != "..."]
    # Lines with an elision count as equal to what they match.
    known = [next((line for line in shown if matches([line], [one])), one) for one in printed]
    result: list[str] = []
    before, after = 0, 0
    for block in difflib.SequenceMatcher(
        None, expected, known, autojunk=False
    ).get_matching_blocks():
        skipped, new = expected[before : block.a], known[after : block.b]
        result += ["..."] if skipped == ["..."] and new else new
        result += known[block.b : block.b + block.size]
        before, after = block.a + block.size, block.b + block.size
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the sessions of pages.")
    parser.add_argument("pages", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--update", action="store_true", help="write what is printed into them")
    options = parser.parse_args()
    differing = 0
    for path in options.pages:
        page = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="envlock-pages-") as folder:
            played = play(page, Path(folder), environments.ensure)
        found = differences(played)
        differing += len(found)
        if options.update:
            path.write_text(updated(page, played), encoding="utf-8")
        for text in found:
            print(f"{path}:\n{text}\n")
    return 0 if options.update else int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
