"""Another root file system (a container's, a chroot's) seen from outside.

Paths are kept as they are here, with the root's folder in front; what its files call `/usr` is
`FOLDER/usr`, and absolute symbolic links lead to where they would inside, as chroot(2) has it.
"""

from __future__ import annotations

import os

#: Symbolic links that are followed for one path (the kernel's MAXSYMLINKS).
MAX_LINKS = 40
#: What is behind a root's ld.so, and makes a folder look like one.
_LOADERS = ("lib64/ld-*.so.*", "lib/ld-*.so.*", "lib/*-linux-gnu/ld-*.so*")


class Root:
    """A root file system that is a folder here."""

    __slots__ = ("_known", "folder")

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self._known: dict[str, str] = {}

    def holds(self, path: str) -> bool:
        """Whether a path, as it is here, lies in it."""
        return path == self.folder or path.startswith(self.folder + "/")

    def outside(self, path: str) -> str:
        """The path here for what the root's own files call so; a relative one stays as it is."""
        return self.folder + path if path.startswith("/") and not self.holds(path) else path

    def inside(self, path: str) -> str:
        """What the root's own files call a path that is given as it is here."""
        return path[len(self.folder) :] or "/" if self.holds(path) else path

    def real(self, path: str) -> str:
        """`os.path.realpath` as a process inside would see it; a path elsewhere stays as it is.

        A link that leads nowhere, or in circles, is followed as far as possible.
        """
        if not self.holds(path):
            return path
        folder, name = os.path.split(path)
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = self._walk(folder)
        return self._walk(f"{known}/{name}", known)

    def _walk(self, path: str, start: str | None = None) -> str:
        at = start or self.folder
        left = path[len(at) :].split("/")[::-1]
        links = 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                at = os.path.dirname(at) if at != self.folder else at
                continue
            place = f"{at}/{part}"
            try:
                target = os.readlink(place)
            except OSError:
                at = place  # no link
                continue
            links += 1
            if links > MAX_LINKS:
                return place
            if target.startswith("/"):
                at = self.folder
            left += target.split("/")[::-1]
        return at


def root_of(path: str) -> Root | None:
    """The root that a path lies in, by its looks: a folder above with usr/lib, etc and an ld.so.

    None where there is no such folder but `/`.
    """
    import glob

    folder = os.path.abspath(path)
    while folder != "/":
        if os.path.isdir(f"{folder}/etc") and os.path.isdir(f"{folder}/usr/lib"):
            # lib may be an absolute link to usr/lib.
            tops = (folder, f"{folder}/usr")
            if any(glob.glob(f"{glob.escape(top)}/{name}") for top in tops for name in _LOADERS):
                return Root(folder)
        folder = os.path.dirname(folder)
    return None
