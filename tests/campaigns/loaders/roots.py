"""Root file systems with other C libraries, made once with debootstrap and kept in the cache folder.

    root = ensure("bullseye")       # .../roots/bullseye, Debian 11 with its own Python
    with inside(root, [folder]) as run:
        run("python3", "-c", "...")     # in the root, with `folder` at the same path

debootstrap and what runs inside need root, or a kernel that lets users make namespaces.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.environments import cache_root

#: Suite to what it is called and the release of glibc that it has.
DEBIAN = {
    "bullseye": ("Debian 11", "2.31"),
    "bookworm": ("Debian 12", "2.36"),
    "trixie": ("Debian 13", "2.41"),
    "sid": ("Debian sid", "2.43"),
}
#: The ones that continuous integration looks at.
SAMPLE = ("bullseye", "trixie")


class CannotMake(Exception):
    """Why a root cannot be had."""


def folder(suite: str) -> Path:
    """Where the root of a suite is kept."""
    return cache_root() / "roots" / suite


def available() -> list[str]:
    """The suites that are there already, the oldest first; others than Debian's are put there by
    hand (debootstrap SUITE, with python3)."""
    found = [p.name for p in (cache_root() / "roots").glob("*") if (p / "usr/bin/python3").exists()]
    return sorted(found, key=lambda suite: version(folder(suite)))


def libraries(root: Path) -> Path:
    """The folder with the root's libc.so.6."""
    for place in ("usr/lib", "lib"):
        for libc in (root / place).glob("*-linux-gnu/libc.so.6"):
            return libc.parent
    raise CannotMake(f"`{root}` has no libc.so.6")


def version(root: Path) -> tuple[int, ...]:
    """The release of the root's glibc, as its own libc.so.6 says it."""
    data = (libraries(root) / "libc.so.6").read_bytes()
    at = data.find(b"release version ")
    return tuple(int(n) for n in data[at + 16 : at + 20].split(b"."))


def python(root: Path) -> tuple[int, ...]:
    """The version of the root's Python, by the name of its file."""
    name = os.path.basename(os.readlink(root / "usr/bin/python3"))
    return tuple(int(n) for n in name[len("python") :].split("."))


def named(root: Path) -> str:
    """The distribution's name, from its os-release: "Debian 13"."""
    lines = (root / "usr/lib/os-release").read_text().splitlines()
    known = dict(line.split("=", 1) for line in lines if "=" in line)
    release = known.get("VERSION_ID", "sid").strip('"')
    return f"{known['NAME'].strip(chr(34)).split()[0]} {release}"


def ensure(suite: str) -> Path:
    """The root of a suite, made now if it is not there. Raises CannotMake."""
    target = folder(suite)
    if (target / "usr/bin/python3").exists():
        return target
    if shutil.which("debootstrap") is None:
        raise CannotMake("needs debootstrap (apt-get install debootstrap)")
    if os.geteuid() != 0:
        raise CannotMake("debootstrap has to be run by root")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / "usr/bin/python3").exists():
            return target
        unfinished = target.with_name(f".{suite}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=python3", suite, str(unfinished)],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise CannotMake(f"debootstrap {suite}: {(done.stdout + done.stderr).strip()[-300:]}")
        unfinished.rename(target)
    return target


_ENTER = r"""
set -e
root=$1; shift
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --bind "$1" "$root$1"; shift; done
shift
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"""


def run_inside(
    root: Path, folders: Sequence[Path], *command: str, timeout: float = 900, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a root, with some folders of this machine at the same paths.

    What it mounts goes with it; the exit status is not checked.
    """
    unshare = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    arguments = [str(root), *map(str, folders), "--", *command]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return subprocess.run(
        [*unshare, "sh", "-c", _ENTER, "sh", *arguments],
        env={"PATH": path, "LC_ALL": "C", "HOME": "/root", **environ},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
    )
