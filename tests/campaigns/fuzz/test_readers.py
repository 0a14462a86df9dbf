"""Every reader against its seeds, its former findings, and a short run of new inputs.

Children do it, so that the limits on memory and time can be real.
"""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from envlock.linker.cache import LinkerCache, compare
from tests.campaigns.fuzz.guard import HERE, check
from tests.campaigns.fuzz.targets import TARGETS

#: Those that a test process can run itself: what they read is small whatever it says.
READERS = sorted(TARGETS)
#: Ten seconds and more: a machine may be busy, and what these limits are for has no end at all.
UNHURRIED = 20.0


def child(*arguments: str) -> str:
    """`tests.campaigns.fuzz.replay` under limits; what it says about what went wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.fuzz.replay", *arguments],
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_every_reader_has_seeds_that_it_takes() -> None:
    said = child("--taken")
    assert said.split() == READERS


def test_former_findings_and_seeds_stay_read() -> None:
    assert child("--seeds") == ""


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@seed(20260101)
@given(data=st.data())
@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs(name: str, data: st.DataObject) -> None:
    """Seeds damaged in ways that hypothesis can make smaller: the same mutators as in long runs."""
    target = TARGETS[name]
    content = data.draw(st.sampled_from([path.read_bytes() for path in target.seeds()]))
    for _ in range(data.draw(st.integers(1, 3))):
        # Not `st.randoms()`: what a mutator draws may depend on more than its input.
        chance = random.Random(data.draw(st.integers(0, 1 << 32)))
        content = target.mutate(content, chance)[: target.largest]
    check(target, content, patience=UNHURRIED)


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@seed(20260102)
@given(content=st.binary(max_size=2048))
@pytest.mark.parametrize("name", READERS)
def test_any_bytes(name: str, content: bytes) -> None:
    check(TARGETS[name], content, patience=UNHURRIED)


def test_numbers_of_a_million_digits_are_compared_as_the_dynamic_linker_does() -> None:
    """An `int` wraps around; a number of unlimited size would take minutes."""
    digits = b"9" * 1_000_000
    assert compare(b"lib" + digits, b"lib" + digits) == 0
    assert compare(b"a4294967297", b"a1") == 0
    assert compare(b"a2147483648", b"a0") < 0


def test_names_of_a_cache_have_an_end() -> None:
    assert LinkerCache(b"glibc-ld.so.cache1.1" + bytes(28), 0x303).lookup("l" * 10_000_000) is None
