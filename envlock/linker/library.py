"""Parsed libraries, shared between plugins: `Library` and the `LibraryPool` that opens them.

`Library` is what glibc's `struct link_map` is after `_dl_map_object_from_fd` and before
relocation: names, search paths, flags and the tables that `do_lookup_x` reads. Nothing is read
before it is asked for, so a library costs what its use costs, not what its size is.
"""

from __future__ import annotations

import os
import sys

from ..binary.elf.dynamic import DT_NEEDED, DT_SYMBOLIC
from ..binary.elf.file import ElfFile
from ..binary.elf.image import PT_GNU_PROPERTY
from ..models.errors import ElfError, FileAccessError
from .header import Host, Rejection, inspect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..binary.elf.relocations import Relocations
    from ..binary.elf.symbols import SymbolTable
    from ..binary.elf.versions import VersionDefinitions, VersionNeed
    from ..files.roots import Root

#: Paths, most of nothing, whose answers are remembered, so that memory stays flat over many plugins.
MOST_PATHS = 1 << 16


#: Words of a filter that are kept as a list, which is read faster than a view: 32,000 symbols have
#: as many, TensorFlow's libraries more.
FEW_WORDS = 1 << 12


class Version:
    """The version of a reference (`struct r_found_version`)."""

    __slots__ = ("file", "hidden", "name")

    def __init__(self, name: bytes, hidden: bool, file: bytes | None) -> None:
        self.name = name
        self.hidden = hidden
        self.file = file


class Library:
    """One ELF object as the dynamic linker sees it. Strings from the file are `os.fsdecode`d."""

    __slots__ = (
        "_bloom",
        "_definitions",
        "_needs",
        "_origin",
        "_relocations",
        "_rpath",
        "_runpath",
        "_soname",
        "_symbols",
        "_versions",
        "elf",
        "identity",
        "last_version",
        "loads",
        "path",
    )

    def __init__(self, elf: ElfFile, path: str) -> None:
        self.elf = elf
        self.path = path
        self.identity = (elf.status.st_dev, elf.status.st_ino)
        self.loads = tuple([(tag, os.fsdecode(name)) for tag, name in elf.dynamic.loads])
        self._soname: str | bool | None = False
        self._rpath: str | bool | None = False
        self._runpath: str | bool | None = False
        self._symbols: SymbolTable | None = None
        self._bloom: tuple[Sequence[int], int, int] | bool | None = False
        self._relocations: Relocations | None = None
        self._needs: tuple[VersionNeed, ...] | None = None
        self._definitions: VersionDefinitions | None = None
        self._versions: dict[int, Version] | None = None
        #: The highest index in `versions`, once these are read.
        self.last_version = 0xFFFF
        self._origin: str | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """DT_NEEDED names in order."""
        return tuple(name for tag, name in self.loads if tag == DT_NEEDED)

    @property
    def soname(self) -> str | None:
        """DT_SONAME."""
        if self._soname is False:
            raw = self.elf.dynamic.soname
            self._soname = None if raw is None else os.fsdecode(raw)
        return self._soname  # type: ignore[return-value]

    @property
    def rpath(self) -> str | None:
        """DT_RPATH, None beside a DT_RUNPATH (`elf_get_dynamic_info` drops it)."""
        if self._rpath is False:
            raw = None if self.runpath is not None else self.elf.dynamic.rpath
            self._rpath = None if raw is None else os.fsdecode(raw)
        return self._rpath  # type: ignore[return-value]

    @property
    def runpath(self) -> str | None:
        """DT_RUNPATH."""
        if self._runpath is False:
            raw = self.elf.dynamic.runpath
            self._runpath = None if raw is None else os.fsdecode(raw)
        return self._runpath  # type: ignore[return-value]

    @property
    def symbolic(self) -> bool:
        """DT_SYMBOLIC or DF_SYMBOLIC: the library's own definitions come first."""
        dynamic = self.elf.dynamic
        return dynamic.get(DT_SYMBOLIC) is not None or bool(dynamic.flags & 2)

    @property
    def has_properties(self) -> bool:
        """Whether a PT_GNU_PROPERTY is there, which may name an instruction set level."""
        return any(segment.type == PT_GNU_PROPERTY for segment in self.elf.segments)

    @property
    def symbols(self) -> SymbolTable:
        """The dynamic symbol table."""
        if self._symbols is None:
            self._symbols = self.elf.dynamic.symbols
        return self._symbols

    @property
    def relocations(self) -> Relocations:
        """The references that dlopen resolves for this library."""
        if self._relocations is None:
            from ..binary.elf.relocations import read_relocations

            self._relocations = read_relocations(self.elf.dynamic)
        return self._relocations

    @property
    def needs(self) -> tuple[VersionNeed, ...]:
        """DT_VERNEED."""
        if self._needs is None:
            self._needs = self.elf.dynamic.version_needs
        return self._needs

    @property
    def definitions(self) -> VersionDefinitions:
        """DT_VERDEF."""
        if self._definitions is None:
            self._definitions = self.elf.dynamic.version_definitions
        return self._definitions

    @property
    def versions(self) -> dict[int, Version]:
        """`l_versions`: versions by index, without a name where they are none; empty: unversioned."""
        if self._versions is None:
            table: dict[int, Version] = {}
            for need in self.needs:
                for version in need.versions:
                    table[version.index] = Version(version.name, version.hidden, need.library)
            definitions = self.definitions
            for index, name in definitions.by_index.items():
                if name in definitions.names:
                    table[index] = Version(name, False, None)
                else:
                    table.setdefault(index, Version(b"", False, None))
            self.last_version = max(table, default=0xFFFF)
            self._versions = table
        return self._versions

    @property
    def bloom(self) -> tuple[Sequence[int], int, int] | None:
        """Words, index mask and shift of the GNU hash table's filter, when a view can serve it."""
        if self._bloom is False:
            self._bloom = None
            gnu = self.symbols.gnu
            if gnu is not None and self.elf.byte_order == sys.byteorder and self.elf.bits == 64:
                _, _, words, shift, start, _ = gnu
                view = self.elf.words(start, words, 8)
                self._bloom = (view if words > FEW_WORDS else view.tolist(), words - 1, shift)
        return self._bloom  # type: ignore[return-value]

    def close(self) -> None:
        """Unmap the file; the library is unusable afterwards."""
        self._bloom = None
        self.elf.close()


class LibraryPool:
    """Opens each file once, however many plugins need it and under whatever names.

    `host` is the machine that libraries must be for. `open` answers as `open_verify` does: a
    `Library`, a `Rejection` (why the linker does not take that file), or an errno when it cannot
    be opened. `load` is for files named by the user and raises.
    """

    def __init__(self, host: Host, root: Root | None = None) -> None:
        self.host = host
        self.root = root
        self._by_path: dict[str, Library | Rejection | int] = {}
        self._by_identity: dict[tuple[int, int], Library] = {}

    def open(self, path: str) -> Library | Rejection | int:
        """The library at a path, parsed at most once."""
        known = self._by_path.get(path)
        if known is None:
            if len(self._by_path) >= MOST_PATHS:
                self._by_path.clear()  # libraries are known by their files as well
            known = self._by_path[path] = self._open(path)
        return known

    def _open(self, path: str) -> Library | Rejection | int:
        spelled = path
        if self.root is not None:
            path = self.root.real(path)
        try:
            status = os.stat(path)
        except OSError as error:
            return error.errno or 2
        except ValueError:
            return 2
        shared = self._by_identity.get((status.st_dev, status.st_ino))
        if shared is not None:
            return shared
        answer = inspect(path, self.host)
        if isinstance(answer, ElfFile):
            try:
                library = Library(answer, spelled)
            except ElfError as error:
                answer.close()
                return Rejection("crash", "damaged", error.message)
            self._by_identity[library.identity] = library
            return library
        return answer

    def add(self, library: Library) -> None:
        """Let other plugins share a library that was opened elsewhere."""
        self._by_identity.setdefault(library.identity, library)

    def forget(self) -> None:
        """Give pages that were read back to the system, see `ElfFile.forget`."""
        for library in self._by_identity.values():
            library.elf.forget()

    def close(self) -> None:
        """Unmap everything."""
        for library in self._by_identity.values():
            library.close()
        self._by_identity.clear()
        self._by_path.clear()


def open_plugin(path: str) -> Library:
    """Open a file that the user named. Raises `FileAccessError` or `ElfError`."""
    elf = ElfFile.open(path)
    try:
        return Library(elf, path)
    except BaseException:
        elf.close()
        raise


__all__ = ["FileAccessError", "Library", "LibraryPool", "open_plugin"]
