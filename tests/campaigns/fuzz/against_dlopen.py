"""Damaged plugins against dlopen itself: `python -m tests.campaigns.fuzz.against_dlopen --number 3000`.

A small plugin and the library that it needs are built with gcc; the plugin is damaged by the ELF
mutator, predicted, and really loaded in a child process that counts how often both say the same.
What differs is kept in a folder that is named at the end.
"""

from __future__ import annotations

import argparse
import collections
import random
import subprocess
import tempfile
from pathlib import Path

from envlock.linker.resolve import predict
from envlock.models.errors import EnvlockError
from tests.campaigns.fuzz import elf_mutator
from tests.unit.linker.workshop import Workshop

LIBRARY = "int f(void) { return 1; } int data = 7;"
#: Its constructor traps when its own relocations were not carried out.
PLUGIN = """
#include <stdio.h>
int f(void); extern int data; static int one(void) { return 7; }
int *p = &data; void *q[] = {&data, &p, (void *)f};
__attribute__((constructor)) static void begin(void) {
    if (f() + data != 8) __builtin_trap();
    printf("");
}
int g(void) { return f() + data + one(); }
"""


def main() -> None:
    """Print a table of what was foreseen and what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="envlock-dlopen-"))
    shop = Workshop(folder)
    versions = "V1 { global: f; data; local: *; };"
    library = shop.lib("libf.so", LIBRARY, soname="libf.so", versions=versions)
    flags = ("-s", "-Wl,-z,now", "-Wl,--hash-style=both")
    plugin = shop.lib("plugin.so", PLUGIN, [library], runpath="$ORIGIN", libc=True, flags=flags)
    assert shop.agree(plugin).ok
    whole = plugin.read_bytes()
    chance = random.Random(arguments.seed)
    seen: collections.Counter[tuple[bool, bool]] = collections.Counter()
    for number in range(arguments.number):
        data = elf_mutator.mutate(whole, chance)
        plugin.write_bytes(data)
        foreseen, works = _predicted(shop, plugin), _works(shop, plugin)
        seen[works, foreseen] += 1
        if foreseen != works:
            (folder / f"{'missed' if foreseen else 'refused'}-{number}").write_bytes(data)
    bad, good = (sum(seen[works, some] for some in (True, False)) for works in (False, True))
    print(f"{arguments.number} damaged plugins, seed {arguments.seed}")
    print(f"dlopen refuses or dies: {bad}, foreseen: {seen[False, False]}")
    print(f"loads: {good}, refused all the same: {seen[True, False]}")
    print(f"those that differ are in {folder}")


def _predicted(shop: Workshop, plugin: Path) -> bool:
    try:
        return predict(str(plugin), shop.scope()).ok
    except EnvlockError:
        return False


def _works(shop: Workshop, plugin: Path) -> bool:
    try:
        return shop.judge(plugin).outcome == "ok"
    except (AssertionError, subprocess.TimeoutExpired):
        return False  # it ended the program, or never came back


if __name__ == "__main__":
    main()
