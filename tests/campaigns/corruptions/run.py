"""Makes docs/corruptions.md: `python -m tests.campaigns.corruptions.run`.

Each damage of the plugin is checked by envlock, loaded for real by TensorFlow in a child process,
and shown to readelf. Needs readelf (binutils); the TensorFlow environment is made if need be.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from envlock.actions.checking import Checker
from envlock.models.report import Report
from tests.campaigns.corruptions.damages import DAMAGES, damaged
from tests.campaigns.corruptions.plugin import ANSWER, PLUGIN, RELEASE
from tests.support import environments
from tests.support.reality import Outcome, Trial, judge

PAGE = Path(__file__).resolve().parents[3] / "docs" / "corruptions.md"
WHOLE = ("", "none: the plugin as it is")
_READELF = ("readelf", "--wide", "-h", "-l", "-S", "-d", "-V", "-r", "-n", "--dyn-syms", "-I")
_SAID = re.compile(r"^readelf: (?:Error|Warning): (.*)$", re.M)

_TAIL = "the end of the file with its section headers is gone or damaged, and with it the manifest"
_LUCK = "dlopen works as long as nothing is looked up in the plugin itself"
_MANIFEST = "dlopen does not read it; a manifest that cannot be read proves nothing"
#: Why envlock refuses what dlopen takes, or takes what then does not work; every one is named.
WHY = {
    ("ELF header", "e_shoff behind the end"): _TAIL,
    ("ELF header", "e_shentsize 1"): _TAIL,
    ("ELF header", "e_shnum 60,000"): _TAIL,
    ("dynamic section", "DT_SONAME outside"): "each later dlopen compares names with it",
    ("dynamic section", "DT_INIT_ARRAYSZ 0"): "dlopen is right; no constructor runs, so no op",
    ("hash tables", "GNU hash: a billion buckets"): _LUCK,
    ("hash tables", "GNU hash: filter shift 99"): _LUCK,
    ("hash tables", "classic hash: a billion chains"): _LUCK,
    ("versions", "vd_aux outside"): "dlopen works until something needs the plugin's own version",
    ("relocations", "DT_RELASZ 0"): "ld.so takes both tables for one with the sum of their sizes",
    ("relocations", "TPOFF64 of no variable"): "dlopen is right; the op dies when it is called",
    **{("notes", name): _MANIFEST for name in DAMAGES["notes"] if name.startswith("manifest")},
    **{("cut off", name): _TAIL for name in DAMAGES["cut off"]},
}
#: What ld.so then reads lies outside of the table and differs from run to run, as does what it does
#: with it: each of these was seen to load and work, and to end the process.
UNDEFINED = {
    ("hash tables", "GNU hash: no filter words"),
    ("versions", "all symbols of version 99"),
    ("versions", "an import of version 0x7fff"),
    ("program headers", "PT_LOAD longer than the file"),
    ("relocations", "symbol 1,000,000"),
}


class Row:
    """What everybody says about one damage."""

    def __init__(self, group: str, name: str, report: Report, real: Outcome, readelf: str) -> None:
        self.group = group
        self.name = name
        self.verdict = report.verdict or "unreadable"
        self.status = 3 if report.verdict is None else 1 if self.refused else 0
        self.message = _message(report)
        self.outcome, self.dlopen = _real(real)
        if (group, name) in UNDEFINED:
            self.outcome, self.dlopen = "undefined", "works or dies, by what lies in memory"
        self.readelf = readelf

    @property
    def refused(self) -> bool:
        """Whether `check` ends with an exit status that stops a pipeline."""
        return self.verdict in ("unreadable", "incompatible", "unsafe")

    @property
    def note(self) -> str:
        """Why envlock and dlopen differ, empty where they agree."""
        differs = self.refused != (self.outcome != "works")
        return WHY.get((self.group, self.name), "") if differs else ""

    @property
    def line(self) -> str:
        """The row of the table."""
        said = f"{self.status}: {self.message}" if self.message else f"{self.status}"
        cells = (self.name, said, self.dlopen, self.readelf, self.note)
        return "| " + " | ".join(_cell(text) for text in cells) + " |"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _message(report: Report) -> str:
    if report.plugin.error is not None:
        return report.plugin.error
    serious = [f for f in report.findings if f.verdict in ("incompatible", "unsafe")]
    return serious[0].message if serious else ""


def _real(real: Outcome) -> tuple[str, str]:
    text = (real.message or "").strip().splitlines()
    last = text[-1] if text else ""
    if real.outcome == "load_error":
        return "refused", f"refuses: {last}"
    if real.outcome == "crash":
        name = signal.Signals(real.signal).name if real.signal else "exit status 127"
        return "dies", f"dies ({name}){f': {last}' if 'Inconsistency' in last else ''}"
    if real.functional == "pass":
        return "works", "loads, works"
    if real.functional == "crash":
        return "broken", "loads, dies when used"
    return "broken", "loads, without its op"


def _plain(text: str, path: str) -> str:
    """A message with what is only so in this run taken out of it."""
    # What really happened may be remembered from a run in another folder.
    text = re.sub(r"[^\s`:]*/zero_out\.so", "zero_out.so", text.replace(path, "zero_out.so"))
    text = re.sub(r"/[^\s`]*/\d+/libs", "$ORIGIN/libs", text)
    text = re.sub(r"(?<=`)/\S*/(?=lib[\w+-]+\.so)|(?<!\S)/\S*/(?=lib[\w+-]+\.so)", "", text)
    return text[:240]


def _readelf(path: str) -> str:
    done = subprocess.run(
        [*_READELF, path], capture_output=True, text=True, errors="replace", timeout=120,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    said = _SAID.findall(done.stderr) or _SAID.findall(done.stdout)
    if done.returncode < 0:
        return f"dies ({signal.Signals(-done.returncode).name})"
    if not said:
        return "says nothing"
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return said[0].strip()[:120] + more


def rows(*, readelf: bool = True) -> Iterator[Row]:
    """All damages, the whole plugin first."""
    content = PLUGIN.read_bytes()
    env = environments.ensure(RELEASE)
    checker = Checker.for_environment(str(env.prefix))
    names = [WHOLE] + [(group, name) for group, inside in DAMAGES.items() for name in inside]
    with tempfile.TemporaryDirectory(prefix="envlock-corruptions-") as folder:
        paths = []
        for number, (group, name) in enumerate(names):
            path = Path(folder, str(number), "zero_out.so")
            path.parent.mkdir()
            path.write_bytes(damaged(group, name, content) if group else content)
            paths.append(path)
        reals = judge([Trial(path, ANSWER) for path in paths], env)
        for (group, name), path, real in zip(names, paths, reals):
            said = _readelf(str(path)) if readelf else ""
            row = Row(group, name, checker.check(str(path)), real, _plain(said, str(path)))
            row.message = _plain(row.message, str(path))
            row.dlopen = _plain(row.dlopen, str(path))
            yield row


def tools() -> str:
    """The versions whose words the table has."""
    version = subprocess.run(
        ["readelf", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    return f"{' '.join(platform.libc_ver())}, {version}"


HEAD = """\
# Damaged plugins

A real plugin (`tests/campaigns/corruptions/zero_out.elf`, 22 KB, stamped) with {number} damages, each made by
hand, one at a time. What `envlock check` says stands beside what really happened when TensorFlow
{release} loaded the file in a child process of its own (`tf.load_op_library`, then the op called
with known values), and beside readelf's opinion. Made by

    python -m tests.campaigns.corruptions.run

and held by a test: the messages word by word; envlock refuses (exit status 1 or 3) wherever dlopen
refuses, dies or may die; where dlopen takes a file that works and envlock does not, the last column
says why. Tools: {tools}.

dlopen refuses {refused} of them and dies of {dies}; {works} load and work, {broken} load and do
not work, {undefined} end otherwise from run to run. readelf has nothing to say about {silent} of
the {bad} that are refused or deadly.
"""


def page(found: list[Row]) -> str:
    """docs/corruptions.md."""
    damages = [row for row in found if row.group]
    count = {
        word: sum(row.outcome == word for row in damages)
        for word in ("refused", "dies", "works", "broken", "undefined")
    }
    bad = [row for row in damages if row.outcome in ("refused", "dies", "undefined")]
    text = HEAD.format(
        number=len(damages), release=RELEASE, tools=tools(), bad=len(bad),
        silent=sum(row.readelf == "says nothing" for row in bad), **count,
    )  # fmt: skip
    columns = "| damage | envlock | dlopen | readelf | why they differ |\n|---|---|---|---|---|"
    parts = [text, columns.replace("damage", "", 1), found[0].line, ""]
    for group in DAMAGES:
        parts += [f"## {group[0].upper()}{group[1:]}", "", columns]
        parts += [row.line for row in damages if row.group == group]
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(list(rows())))
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
