"""Demangled names beside those of binutils' `c++filt`, for what TensorFlow's libraries name."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from envlock.binary.elf.file import ElfFile
from envlock.binary.names.demangle import demangle
from tests.support.environments import TfEnvironment

LIBRARIES = (
    "libtensorflow_framework.so.2",
    "libtensorflow_cc.so.2",
    "python/_pywrap_tensorflow_internal.so",
)
SAMPLE = 6000
#: Share of names that are written exactly alike. What differs is what GNU writes of a reference to
#: a template parameter in another template's scope, and some expressions.
ALIKE = 0.99


def names_of(env: TfEnvironment) -> list[str]:
    """Every dynamic symbol's mangled C++ name, defined or not."""
    found: set[str] = set()
    for library in LIBRARIES:
        path = env.site_packages / "tensorflow" / library
        if path.exists():
            with ElfFile.open(str(path)) as elf:
                table = elf.dynamic.symbols
                for index in range(1, len(table)):
                    name = table.symbol(index).name
                    if name.startswith(b"_Z"):
                        found.add(name.decode("ascii"))
    return sorted(found)


@pytest.mark.parametrize("release", ["2.6.5", "2.15.1", "2.20.0"])
def test_names_are_written_as_binutils_does(
    release: str, tf_env: Callable[[str], TfEnvironment], tool: Callable[[str], str]
) -> None:
    names = names_of(tf_env(release))
    sample = names[:: max(1, len(names) // SAMPLE)]
    assert len(sample) >= SAMPLE
    # Without `-i`, standard streams and strings are written in full.
    done = subprocess.run(
        [tool("c++filt"), "-i"], input="\n".join(sample), capture_output=True, text=True, check=True
    )
    wanted = done.stdout.splitlines()
    assert len(wanted) == len(sample)
    found = [demangle(name) for name in sample]
    different = [pair for pair in zip(sample, wanted, found) if pair[1] != pair[2]]
    assert len(different) <= (1 - ALIKE) * len(sample), different[:3]
    unread = [name for name, text, own in zip(sample, wanted, found) if own == name != text]
    assert len(unread) <= 0.002 * len(sample), unread[:3]
