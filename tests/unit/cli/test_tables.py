"""Tables on a terminal: drawn, whole, safe; and the plain text everywhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envlock.inventory.store import Store
from envlock.models.snapshot import Snapshot

LONG = "/home/somebody/" + "deeply/" * 20 + "env"
HOSTILE = "/tmp/\x1b]0;gotcha\x07[bold]env"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "history.sqlite3"
    taken = Snapshot(format="envlock.snapshot/1", generator="x", fingerprint="sha256:" + "ab" * 32)
    with Store(str(path), create=True) as history:
        for environment in (LONG, HOSTILE):
            history.save("good", environment, taken)
    return path


def run(store: Path, *, terminal: bool, before: str = "") -> str:
    """`envlock history`, its stdout a terminal of 60 columns or a pipe."""
    code = f"{before}\nfrom envlock.cli import script; script()"
    command = [sys.executable, "-c", code, "history", "--store", str(store)]
    environ = {**os.environ, "COLUMNS": "60", "TERM": "xterm"}
    if not terminal:
        return subprocess.run(command, capture_output=True, text=True, env=environ).stdout
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ)
        os.close(theirs)
        told = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # EIO: the other side is closed
                break
            told += part
        assert process.wait() == 0
    finally:
        os.close(ours)
    return told.decode().replace("\r\n", "\n")


def test_on_a_terminal_a_table_is_drawn_and_nothing_is_cut(store: Path) -> None:
    told = run(store, terminal=True)
    assert "─" * 20 in told
    plain = re.sub(r"\x1b\[[0-9;]*m", "", told)
    assert all(len(line) <= 60 for line in plain.splitlines())
    assert "".join(re.findall(r"[\w/.]+$", plain, re.M)).count("deeply") == 20
    # What a name holds is neither a control character nor rich's markup.
    assert "\x1b" not in plain
    assert "\x07" not in plain
    assert "[bold]" in plain


@pytest.mark.parametrize("how", ["a pipe", "a terminal without rich"])
def test_elsewhere_the_text_stays_plain(store: Path, how: str) -> None:
    missing = "import sys; sys.modules['rich'] = sys.modules['rich.box'] = None"
    if how == "a pipe":
        told = run(store, terminal=False)
    else:
        told = run(store, terminal=True, before=missing)
    head, first, second = told.splitlines()
    assert head.split()[:2] == ["id", "name"]
    assert first.endswith(r"/tmp/\x1b]0;gotcha\x07[bold]env")
    assert second.endswith(LONG)
