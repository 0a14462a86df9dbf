"""Regular expressions that wait for their first use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from envlock.models.patterns import pattern

ROOT = Path(__file__).resolve().parents[3]


def test_it_answers_as_the_compiled_expression_does() -> None:
    lazy, compiled = pattern(r"(?im)^b(\d)"), re.compile(r"(?im)^b(\d)")
    for _ in range(2):
        assert lazy.findall("a\nB1\nb2") == compiled.findall("a\nB1\nb2")
        assert (lazy.groups, lazy.flags, lazy.pattern) == (1, compiled.flags, compiled.pattern)
    assert lazy.sub(r"\1", "b3") == "3"


def test_a_wrong_expression_is_told_at_its_first_use() -> None:
    wrong = pattern("(")
    with pytest.raises(re.error):
        wrong.match("")


def test_re_is_imported_for_the_first_use() -> None:
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from envlock.models.patterns import pattern\n"
        "number = pattern('[0-9]+')\n"
        "before = 're' in sys.modules\n"
        "print(before, number.match('12')[0], 're' in sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("False 12 True\n", "")
