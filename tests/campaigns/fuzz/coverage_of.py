"""Line coverage of the readers by their corpora: `python -m tests.campaigns.fuzz.coverage_of`.

Reads every committed input and every one that fuzzing kept, once, under coverage.py. Needs what
`tests.campaigns.fuzz.run` installs.
"""

from __future__ import annotations

import contextlib
import os

import coverage

from tests.campaigns.fuzz.guard import check

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: Inputs of one reader that are looked at; the newest hold all that the older ones found.
MOST = 400
#: What the readers are, and what else of envlock runs with them is left out.
READERS = (
    "elf/*",
    "abi/dwarf.py",
    "abi/debuginfo.py",
    "abi/classes.py",
    "abi/imports.py",
    "abi/machine.py",
    "registration/reading.py",
    "registration/constructors.py",
    "registration/x86_64.py",
    "registration/aarch64.py",
    "registration/calls.py",
    "manifest_io.py",
    "models/record.py",
    "policies.py",
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
    "environment/files.py",
    "environment/headers.py",
    "environment/binary.py",
    "trust/keys.py",
    "trust/note.py",
    "trust/statement.py",
    "trust/linking.py",
    "trust/loaded.py",
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
