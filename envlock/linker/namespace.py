"""The loaded objects of a process and their names.

`Namespace` is glibc's list of loaded objects with the name rules of `_dl_lookup_map`
(`_dl_name_match_p`: file path and every name it was asked for; then DT_SONAME).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .library import Library


class LoadedObject:
    """One mapped object (`struct link_map`): path as the linker spells it, names, loader.

    `file` is where the file is: the path, save for a relative one whose folder the process has
    left; None where it is gone. `library` is opened when it is first asked for; None when it is
    gone or unreadable.
    """

    __slots__ = (
        "_library",
        "_opener",
        "_origin",
        "_soname",
        "file",
        "how",
        "loader",
        "needed",
        "new",
        "owner",
        "path",
    )

    def __init__(
        self,
        path: str,
        library: Library | None = None,
        *,
        opener: Callable[[str], Library | None] | None = None,
        loader: LoadedObject | None = None,
        how: str = "loaded",
        owner: str | None = None,
        new: bool = False,
        soname: str | bool | None = False,
        origin: str | None = None,
        file: str | None = "",
    ) -> None:
        self.path = path
        self.file = path if file == "" else file
        self._library = library
        self._opener = opener
        self.loader = loader
        self.how = how
        self.owner = owner
        self.new = new
        self.needed: list[LoadedObject] = []
        self._soname = soname
        self._origin = origin

    @property
    def library(self) -> Library | None:
        """The parsed file."""
        if self._library is None and self._opener is not None:
            self._library = None if self.file is None else self._opener(self.file)
            self._opener = None
        return self._library

    @property
    def soname(self) -> str | None:
        """DT_SONAME."""
        if self._soname is False:
            library = self.library
            self._soname = None if library is None else library.soname
        return self._soname  # type: ignore[return-value]

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the file (`l_file_id`); None when it is gone. It is not opened."""
        if self._library is not None:
            return self._library.identity
        try:
            status = os.stat(self.file or "")
        except (OSError, ValueError):
            return None
        return status.st_dev, status.st_ino

    @property
    def origin(self) -> str:
        """`l_origin`: the folder of the path as spelled, of the real file for the executable."""
        if self._origin is None:
            path = self.file or self.path
            path = path if path.startswith("/") else os.path.join(os.getcwd(), path)
            self._origin = path[: path.rindex("/")] or "/"
        return self._origin

    def __repr__(self) -> str:
        return f"LoadedObject({self.path!r})"


class Namespace:
    """Loaded objects in load order, and their names. An overlay leaves its parent untouched."""

    def __init__(self, parent: Namespace | None = None) -> None:
        self.parent = parent
        self.objects: list[LoadedObject] = []
        self._names: dict[str, LoadedObject] = {}
        self._sonames: dict[str, LoadedObject] = {}
        self._unnamed: list[LoadedObject] = []
        self._identities: dict[tuple[int, int], LoadedObject] = {}
        self._unidentified: list[LoadedObject] = []
        #: Adds objects that are only worth finding when a name is known to nothing else.
        self.more: Callable[[], None] | None = None

    def add(self, loaded: LoadedObject, *names: str) -> None:
        """Append an object that is known by its path and by these names."""
        self.objects.append(loaded)
        for name in (loaded.path, *names):
            self._names.setdefault(name, loaded)
        self._unnamed.append(loaded)
        self._unidentified.append(loaded)

    def add_name(self, loaded: LoadedObject, name: str) -> None:
        """One more name for an object (`add_name_to_object`)."""
        self._names.setdefault(name, loaded)

    def named(self, name: str) -> LoadedObject | None:
        """`_dl_name_match_p` over all objects: paths and names asked for, no sonames."""
        if self.parent is not None:
            found = self.parent.named(name)
            if found is not None:
                return found
        return self._names.get(name)

    def find(self, name: str) -> LoadedObject | None:
        """`_dl_lookup_map`: by name, else by DT_SONAME, which then becomes a name."""
        found = self._names.get(name)
        if self.parent is not None:
            earlier = self.parent._lookup(name)
            if earlier is not None:
                self._names.setdefault(name, earlier)
                return earlier
        if found is None:
            found = self._by_soname(name)
            if found is not None:
                self._names.setdefault(name, found)
        return found

    def _lookup(self, name: str) -> LoadedObject | None:
        """`find` without remembering."""
        if self.parent is not None:
            found = self.parent._lookup(name)
            if found is not None:
                return found
        return self._names.get(name) or self._by_soname(name)

    def _by_soname(self, name: str) -> LoadedObject | None:
        if self._unnamed:
            pending, self._unnamed = self._unnamed, []
            for loaded in pending:
                soname = loaded.soname
                if soname is not None:
                    self._sonames.setdefault(soname, loaded)
        found = self._sonames.get(name)
        if found is None and self.more is not None and "/" not in name:
            more, self.more = self.more, None
            more()
            found = self._names.get(name) or self._by_soname(name)
        return found

    def by_identity(self, identity: tuple[int, int]) -> LoadedObject | None:
        """The object that is this very file (device and inode)."""
        if self.parent is not None:
            found = self.parent.by_identity(identity)
            if found is not None:
                return found
        if self._unidentified:
            pending, self._unidentified = self._unidentified, []
            for loaded in pending:
                known = loaded.identity
                if known is not None:
                    self._identities.setdefault(known, loaded)
        return self._identities.get(identity)
