"""Line coverage of the readers by their corpora: `python -m tests.campaigns.fuzz.coverage_of`.

Reads every committed input and every one that fuzzing kept, once, under coverage.py. Needs what
`tests.campaigns.fuzz.run` installs.
"""

from __future__ import annotations

import contextlib
import os

import coverage

from tests.campaigns.fuzz.guard import HERE, check

ROOT = str(HERE.parents[2])
#: Inputs of one reader that are looked at; the newest hold all that the older ones found.
MOST = 400
#: What the readers are, and what else of envlock runs with them is left out.
READERS = (
    "binary/elf/*",
    "binary/debug/dwarf.py",
    "plugin/dependencies/debuginfo.py",
    "binary/debug/classes.py",
    "plugin/dependencies/imports.py",
    "binary/code/accesses.py",
    "binary/code/functions.py",
    "binary/code/x86_64_*.py",
    "plugin/registrations/reading.py",
    "binary/code/constructors.py",
    "registration/x86_64.py",
    "registration/aarch64.py",
    "binary/code/calls.py",
    "plugin/manifest.py",
    "models/record.py",
    "rules/policy.py",
    "atlas/format.py",
    "linker/cache.py",
    "linker/header.py",
    "linker/soundness.py",
    "inventory/files.py",
    "inventory/store.py",
    "inventory/index.py",
    "inventory/lockfiles/*",
    "inventory/packages.py",
    "inventory/urls.py",
    "inventory/wheels.py",
    "environment/conda.py",
    "environment/distributions.py",
    "files/reading.py",
    "environment/headers.py",
    "environment/binary.py",
    "plugin/signature/keys.py",
    "plugin/signature/note.py",
    "plugin/signature/statement.py",
    "plugin/signature/linking.py",
    "plugin/signature/loaded.py",
)


def main() -> None:
    """Print a table."""
    measured = coverage.Coverage(
        data_file=None, include=[os.path.join(ROOT, "envlock", name) for name in READERS]
    )
    measured.start()
    from tests.campaigns.fuzz.run import home
    from tests.campaigns.fuzz.targets import TARGETS

    for name, target in TARGETS.items():
        kept = home() / "corpus" / name
        grown = (
            sorted(kept.iterdir(), key=lambda path: -path.stat().st_mtime)[:MOST]
            if (kept.is_dir())
            else []
        )
        for path in [*target.seeds(), *grown]:
            with contextlib.suppress(AssertionError):  # slower under coverage than its limit
                check(target, path.read_bytes(), patience=50.0)
    measured.stop()
    print("| module | lines | covered |\n|---|---|---|")
    total = missed = 0
    for path in sorted(measured.get_data().measured_files()):
        _, lines, _, missing, _ = measured.analysis2(path)
        total += len(lines)
        missed += len(missing)
        shown = os.path.relpath(path, os.path.join(ROOT, "envlock"))
        print(f"| `{shown}` | {len(lines)} | {_percent(len(lines), len(missing))} |")
    print(f"| all | {total} | {_percent(total, missed)} |")


def _percent(lines: int, missing: int) -> str:
    return f"{100 * (lines - missing) / max(lines, 1):.0f} %"


if __name__ == "__main__":
    main()
