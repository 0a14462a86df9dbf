"""An open ELF file: its image, and the tables that the dynamic section leads to.

Each table is read at first use. The modules below know nothing of this one.
"""

from __future__ import annotations

from .dynamic import DynamicSection
from .image import ElfImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    import os

    from .symbols import SymbolTable
    from .versions import VersionDefinitions, VersionNeed


class Dynamic(DynamicSection):
    """The dynamic section with its symbol and version tables."""

    def __init__(self, elf: ElfImage) -> None:
        super().__init__(elf)
        self._symbols: SymbolTable | None = None
        self._needs: tuple[VersionNeed, ...] | None = None

    @property
    def symbols(self) -> SymbolTable:
        """The dynamic symbol table, made at first use."""
        if self._symbols is None:
            from .symbols import SymbolTable

            self._symbols = SymbolTable(self)
        return self._symbols

    @property
    def version_needs(self) -> tuple[VersionNeed, ...]:
        """DT_VERNEED."""
        if self._needs is None:
            from .versions import read_needs

            self._needs = read_needs(self)
        return self._needs

    @property
    def version_definitions(self) -> VersionDefinitions:
        """DT_VERDEF."""
        from .versions import read_definitions

        return read_definitions(self)


class ElfFile(ElfImage):
    """One mapped ELF file. Use as a context manager or call `close`."""

    def __init__(self, path: str, data: mmap.mmap, status: os.stat_result) -> None:
        super().__init__(path, data, status)
        self._dynamic: Dynamic | None = None

    @property
    def dynamic(self) -> Dynamic:
        """The dynamic section. Raises `ElfError` when there is none or it is damaged."""
        if self._dynamic is None:
            self._dynamic = Dynamic(self)
        return self._dynamic
