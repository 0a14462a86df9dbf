"""Stamp on real disks of other file systems: `python -m tests.campaigns.faults.disks` (as root).

Each is made in a file and mounted through a loop device, which not every container permits: so
this is a command and no test. On each a stamp is killed before every call, the disk is filled, and
what the copy was made with is shown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns.faults.scene import Scene, nameless
from tests.campaigns.faults.tracing import Traced, each_kill, trace, unsupported
from tests.support.elves import C_SOURCE, compile_library

#: Name -> the command that makes it, size in MiB (xfs and btrfs have a smallest one).
DISKS = {
    "ext4": (("mkfs.ext4", "-q"), 32),
    "ext4, no journal": (("mkfs.ext4", "-q", "-O", "^has_journal"), 32),
    "xfs": (("mkfs.xfs", "-q"), 320),
    "btrfs": (("mkfs.btrfs", "-q"), 160),
    "vfat": (("mkfs.vfat",), 32),
}


@contextmanager
def mounted(name: str, folder: Path) -> Iterator[Path]:
    command, size = DISKS[name]
    image, place = folder / "image", folder / "disk"
    with image.open("wb") as file:
        file.truncate(size << 20)
    subprocess.run([*command, str(image)], check=True, capture_output=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


def way(traced: Traced) -> str:
    """How the copy was made, and whether the new file had a name while it was made."""
    clone = [c for c in traced.named("ioctl") if c.arguments[1] == 0x40049409 and c.result == 0]
    ranges = [c for c in traced.named("copy_file_range") if c.result and c.result > 0]
    how = "shared blocks" if clone else "copy_file_range" if ranges else "another way"
    hidden = [c for c in traced.calls if nameless(c) and (c.result or -1) >= 0]
    return f"{how}, {'without' if hidden else 'with'} a name"


def killed(scene: Scene) -> tuple[int, int]:
    """Kills, and how many of them left something beside old or new; raises AssertionError."""
    kills = left = 0
    for traced in each_kill(scene.work, scene.prepare, scene.folder):
        assert scene.state() in ("old", "new"), traced.calls[-1]
        assert scene.only_known_litter()
        kills += traced.said is None
        left += bool(scene.litter())
    assert scene.state() == "new"
    return kills, left


def filled(scene: Scene, place: Path) -> tuple[int, int]:
    """Stamps that were refused and made, while the disk gets room a page at a time."""
    filler = place / "filler"
    scene.prepare()
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    os.sync()
    refused = made = 0
    size = filler.stat().st_size
    while not made and size > 0:
        said = scene.work()
        assert scene.state() == ("new" if said == "written" else "old"), said
        assert scene.litter() == [], said
        if said == "written":
            made += 1
        else:
            assert said.endswith("No space left on device"), said
            refused += 1
            size -= 4096 if refused < 100 else 1 << 20
            os.truncate(filler, max(size, 0))
            os.sync()
    filler.unlink()
    assert made
    return refused, made


def main() -> int:
    problem = unsupported() or ("only root may mount" if os.geteuid() != 0 else None)
    if problem is not None:
        print(problem)
        return 2
    with tempfile.TemporaryDirectory(prefix="envlock-disks-") as text:
        folder = Path(text)
        source = "const char filling[1 << 18] = {1, 2, 3};\n" + C_SOURCE
        library = compile_library(folder / "plugin.so", source=source)
        for name, (command, _) in DISKS.items():
            if shutil.which(command[0]) is None:
                print(f"{name}: left out, `{command[0]}` is not installed")
                continue
            if f"\t{name.split(',')[0]}\n" not in Path("/proc/filesystems").read_text():
                print(f"{name}: left out, this kernel has no such file system")
                continue
            with mounted(name, folder) as place:
                scene = Scene("in place", place / "scene", library)
                how = way(trace(scene.work))
                kills, left = killed(scene)
                refused, _ = filled(scene, place)
            print(
                f"{name}: {how}; killed {kills} times, {left} with a file left over; refused "
                f"{refused} times on a full disk, then made",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
