"""Symbol versions: DT_VERNEED, DT_VERDEF and DT_VERSYM (LSB Core, chapter 10.7)."""

from __future__ import annotations

from .dynamic import DT_VERDEF, DT_VERNEED, MAX_NAMES, DynamicSection

VER_FLG_BASE, VER_FLG_WEAK = 1, 2
MAX_VERSIONS = 1 << 15


class NeededVersion:
    """One version needed from a library (Elf64_Vernaux)."""

    __slots__ = ("flags", "hidden", "index", "name", "name_hash")

    def __init__(
        self, name: bytes, name_hash: int, flags: int, index: int, hidden: bool = False
    ) -> None:
        self.name = name
        self.name_hash = name_hash
        self.flags = flags
        self.index = index
        self.hidden = hidden

    @property
    def sound(self) -> bool:
        """Whether its hash is its name's; with another, no definition of it is ever found."""
        from .symbols import sysv_hash

        return self.name_hash == sysv_hash(self.name)

    @property
    def weak(self) -> bool:
        """A missing weak version is a warning, not an error."""
        return bool(self.flags & VER_FLG_WEAK)


class VersionNeed:
    """All versions needed from one library (Elf64_Verneed)."""

    __slots__ = ("library", "versions")

    def __init__(self, library: bytes, versions: tuple[NeededVersion, ...]) -> None:
        self.library = library
        self.versions = versions


class VersionDefinitions:
    """The versions a library defines: index to name, and the set of names."""

    __slots__ = ("by_index", "names", "present")

    def __init__(self, by_index: dict[int, bytes], names: frozenset[bytes], present: bool) -> None:
        self.by_index = by_index
        self.names = names
        self.present = present


def read_needs(dynamic: DynamicSection) -> tuple[VersionNeed, ...]:
    """Walk the verneed chain as `_dl_check_map_versions` (elf/dl-version.c) does: to its end,
    whatever DT_VERNEEDNUM and vn_cnt say.

    A chain that loops or leaves the file, or records of another format, raise `ElfError`.
    """
    elf = dynamic.elf
    address = dynamic.get(DT_VERNEED)
    if address is None:
        return ()
    header, aux = elf.struct("HHIII"), elf.struct("IHHII")
    found: list[VersionNeed] = []
    total, left = 0, MAX_NAMES
    while True:
        at = elf.offset_of(address, 16, "a version need")
        version, _, file, first, following = elf.unpack(header, at, "a version need")
        if version != 1:
            raise elf.damaged(f"a version need has format {version}; the dynamic linker knows 1")
        versions = []
        place = address + first
        while True:
            total += 1
            if total > MAX_VERSIONS:
                raise elf.damaged(f"more than {MAX_VERSIONS} needed versions")
            name_hash, flags, index, name, step = elf.unpack(
                aux, elf.offset_of(place, 16, "a needed version"), "a needed version"
            )
            text = dynamic.string(name, "a needed version's name")
            left -= len(text)
            if left < 0:
                raise dynamic.too_long("needed versions")
            hidden = bool(index & 0x8000)
            versions.append(NeededVersion(text, name_hash, flags, index & 0x7FFF, hidden))
            if not step:
                break
            place += step
        library = dynamic.string(file, "a version need's file")
        left -= len(library)
        if left < 0:
            raise dynamic.too_long("needed versions")
        found.append(VersionNeed(library, tuple(versions)))
        if not following:
            return tuple(found)
        address += following


def read_definitions(dynamic: DynamicSection) -> VersionDefinitions:
    """Walk the verdef chain to its end; the base definition (the soname) is not a version."""
    elf = dynamic.elf
    address = dynamic.get(DT_VERDEF)
    if address is None:
        return VersionDefinitions({}, frozenset(), False)
    header, aux = elf.struct("HHHHIII"), elf.struct("II")
    by_index: dict[int, bytes] = {}
    names = set()
    left = MAX_NAMES
    for _ in range(MAX_VERSIONS):
        at = elf.offset_of(address, 20, "a version definition")
        _, flags, index, count, _, first, following = elf.unpack(header, at, "a version definition")
        if count:
            place = elf.offset_of(address + first, 8, "a version definition's name")
            name, _ = elf.unpack(aux, place, "a version definition's name")
            text = dynamic.string(name, "a version definition's name")
            left -= len(text)
            if left < 0:
                raise dynamic.too_long("version definitions")
            by_index[index & 0x7FFF] = text
            if not flags & VER_FLG_BASE:
                names.add(text)
        if not following:
            return VersionDefinitions(by_index, frozenset(names), True)
        address += following
    raise elf.damaged(f"more than {MAX_VERSIONS} defined versions")
