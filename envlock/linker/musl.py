"""musl's dynamic linker, where it does otherwise than glibc's (ldso/dynlink.c of musl 1.2).

It knows no symbol versions, looks into other places, and has its own words. What it is called by is
enough to be itself: every name that begins like one of its own libraries means the C library.
"""

from __future__ import annotations

import os
import re

from ..models.versions import of_glibc
from .search import NotFound, Searcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .library import Library
    from .namespace import LoadedObject
    from .search import Found, Search, Searched

#: The libraries that are part of it (`reserved` in `load_library`), and names that stand for them.
_RESERVED = ("c", "pthread", "rt", "m", "dl", "util", "xnet")
_ENDINGS = (".so", ".so.0", ".so.1", ".so.2", ".so.6", ".musl-x86_64.so.1", ".musl-aarch64.so.1")
OWN_NAMES = tuple(f"lib{name}{ending}" for name in _RESERVED for ending in _ENDINGS)
#: Bytes of the file that lists its folders.
_MAX_LIST = 1 << 16


class MuslSearcher(Searcher):
    """Finds libraries as musl's `load_library` does."""

    def find(self, name: str, loader: LoadedObject | None, main: LoadedObject) -> Found | NotFound:
        """Look for a name on behalf of `loader`; a failure has musl's words."""
        found = super().find(name, loader, main)
        if isinstance(found, NotFound):
            owner = f" (needed by {loader.path})" if loader is not None else ""
            cause = found.error.rpartition(": ")[2]
            words = cause if found.reason in ("library", "file") else "Exec format error"
            found.error = f"Error loading shared library {name}: {words}{owner}"
            found.outcome = "refused"
        return found

    def plan(
        self, loader: LoadedObject | None, main: LoadedObject
    ) -> list[tuple[str, str | None, tuple[str, ...]]]:
        """LD_LIBRARY_PATH, then the search paths of whoever needs it and of those above, then
        the folders of /etc/ld-musl-ARCH.path."""
        steps: list[tuple[str, str | None, tuple[str, ...]]] = []
        folders = self._environment_folders(main)
        if folders:
            steps.append(("LD_LIBRARY_PATH", None, folders))
        link: LoadedObject | None = loader or main
        while link is not None:
            for kind in ("runpath", "rpath"):
                folders = self._paths_of(link, kind)
                if folders:
                    steps.append((kind, link.path, folders))
                    break
            link = link.loader or (main if link is not main else None)
        steps.append(("default", None, self._listed()))
        return steps

    def _listed(self) -> tuple[str, ...]:
        """The folders of the list beside the loader, else those that are built in."""
        known = self._folders_listed
        if known is None:
            known = self._folders_listed = self._read_list()
        return known

    _folders_listed: tuple[str, ...] | None = None

    def _read_list(self) -> tuple[str, ...]:
        name = re.search(r"^(.*)/lib/ld-musl-([^/]+)\.so\.1$", self.interpreter.path)
        if name is None:
            return self.interpreter.system_dirs
        try:
            path = f"{name[1]}/etc/ld-musl-{name[2]}.path"
            with open(path, "rb", buffering=0) as file:
                text = os.fsdecode(file.read(_MAX_LIST) or b"")
        except OSError:
            return self.interpreter.system_dirs
        folders = [part for part in re.split("[:\n]", text) if part]
        return tuple(self._place(folder.rstrip("/") + "/") for folder in folders)

    def _variants(self, folder: str) -> tuple[str, ...]:
        return (folder,)

    def _failure(self, name: str, state: Search, searched: tuple[Searched, ...]) -> NotFound:
        state.errno = state.errno or 2
        return super()._failure(name, state, searched)


def linked_to_glibc(library: Library) -> bool:
    """Whether a library was linked against glibc: it needs versions that only glibc has."""
    return any(
        of_glibc(os.fsdecode(need.library))
        and any(version.name.startswith(b"GLIBC_") for version in need.versions)
        for need in library.needs
    )


def missing_symbol(path: str, name: str) -> str:
    """`error` in `do_relocs`."""
    return f"Error relocating {path}: {name}: symbol not found"
