"""Would a release's libraries resolve a plugin's symbols: the linker's answer from the atlas.

The same rule as dlopen's, without the files: every strong undefined symbol must be exported by
what the plugin needs or by the global scope. Symbols with a version belong to the system's
libraries (glibc, libstdc++), Python's own to the interpreter; both are left to the check of a
real environment.
"""

from __future__ import annotations

from ..binary.elf.relocations import read_relocations
from ..binary.elf.symbols import STB_LOCAL, STB_WEAK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..binary.elf import ElfFile
    from .format import Atlas, Release

_SYSTEM = (
    "libc.so.",
    "libm.so.",
    "libdl.so.",
    "libpthread.so.",
    "librt.so.",
    "libstdc++.so.",
    "libgcc_s.so.",
    "libgomp.so.",
    "ld-linux",
    "libutil.so.",
    "libresolv.so.",
)
#: What libstdc++ defines, mangled: operators new and delete, and namespace std.
_RUNTIME = ("_Znw", "_Zna", "_Zdl", "_Zda", "_ZSt", "_ZNSt", "_ZNKSt", "_ZTVSt", "_ZTISt")
_C_INTERFACES = ("TF_", "TFE_", "TSL_", "SE_", "SP_")
_FRAMEWORK = ("tensorflow", "3tsl", "4absl", "3xla", "6google8protobuf", "5Eigen")


class Wants:
    """What a plugin asks of its surroundings, read once."""

    __slots__ = ("needed", "others", "symbols")

    def __init__(self, elf: ElfFile) -> None:
        dynamic = elf.dynamic
        self.needed = tuple(name.decode("utf-8", "replace") for name in dynamic.needed)
        #: Libraries that are neither the system's nor TensorFlow's: their exports are not known.
        self.others = tuple(
            name
            for name in self.needed
            if not name.startswith(_SYSTEM) and not _is_framework_library(name)
        )
        table = dynamic.symbols
        owners = {
            version.index: need.library.decode("utf-8", "replace")
            for need in dynamic.version_needs
            for version in need.versions
        }
        symbols = []
        # The dynamic linker looks up what relocations name, nothing else.
        for index in sorted({index for index, _ in read_relocations(dynamic).references}):
            symbol = table.symbol(index)
            if symbol.defined or symbol.binding in (STB_WEAK, STB_LOCAL) or not symbol.name:
                continue
            version = table.version_index(index)
            if version is not None and version & 0x7FFF > 1:
                # Some releases give their own symbols a version, too.
                owner = owners.get(version & 0x7FFF, "")
                if not _is_framework_library(owner):
                    continue
            if symbol.name.startswith((b"Py", b"_Py")):
                continue
            symbols.append(symbol.name)
        self.symbols = tuple(symbols)


def _is_framework_library(name: str) -> bool:
    return "tensorflow" in name


class Missing:
    """Why a release's libraries would not do; empty lists: they would.

    `hidden` are symbols that the release exports, by a library that the plugin is not linked to:
    the symbol and that library.
    """

    __slots__ = ("hidden", "libraries", "symbols")

    def __init__(
        self, libraries: list[str], symbols: list[str], hidden: list[tuple[str, str]]
    ) -> None:
        self.libraries = libraries
        self.symbols = symbols
        self.hidden = hidden

    def __bool__(self) -> bool:
        return bool(self.libraries or self.symbols or self.hidden)


def scope(release: Release, needed: Iterable[str]) -> int:
    """Bitmap of the units (libraries of the release) whose symbols the plugin would see."""
    by_name: dict[str, int] = {}
    for unit, library in zip(release.units, release.libraries):
        by_name[library["soname"] or library["name"]] = unit
    pending = list(needed)
    if release.global_scope:
        pending += by_name
    bits, seen = 0, set()
    while pending:
        name = pending.pop()
        if name in seen or name not in by_name:
            continue
        seen.add(name)
        unit = by_name[name]
        bits |= 1 << unit
        pending += release.libraries[unit - release.units.start]["needed"]
    return bits


def missing(wants: Wants, atlas: Atlas) -> dict[int, Missing]:
    """For every release, by its index: what it lacks for this plugin."""
    # Few sets of libraries export what a plugin needs: each is looked at once a release.
    exported: dict[int, list[bytes]] = {}
    for name in wants.symbols:
        exported.setdefault(atlas.membership(name), []).append(name)
    place = {name: number for number, name in enumerate(wants.symbols)}
    result = {}
    for release in atlas.releases:
        known = {library["soname"] or library["name"] for library in release.libraries}
        libraries = [n for n in wants.needed if _is_framework_library(n) and n not in known]
        visible = scope(release, wants.needed)
        symbols: list[bytes] = []
        hidden: list[tuple[bytes, str]] = []
        for bits, names in exported.items():
            if bits & visible:
                continue
            owner = _exporting(release, bits)
            if owner is not None:
                hidden += [(name, owner) for name in names]
            else:
                symbols += [name for name in names if _lacking(name, bits, wants)]
        symbols.sort(key=place.__getitem__)
        hidden.sort(key=lambda one: place[one[0]])
        result[release.index] = Missing(
            _really_missing(libraries),
            [name.decode("utf-8", "replace") for name in symbols],
            [(name.decode("utf-8", "replace"), owner) for name, owner in hidden],
        )
    return result


def _exporting(release: Release, bits: int) -> str | None:
    """The library of a release that is in a bitmap of units."""
    for unit, library in zip(release.units, release.libraries):
        if bits >> unit & 1:
            return str(library["soname"] or library["name"])
    return None


def _lacking(name: bytes, bits: int, wants: Wants) -> bool:
    """Whether a symbol that a release does not export can come from nowhere else; `bits` tell that
    another release does.

    TensorFlow exports more than what is its own (CUDA, operator delete): another library in the
    wheel can have that, and the C++ library has its part. A C function without a version may be
    glibc's.
    """
    text = name.decode("latin-1")
    own = text.startswith("_Z") and any(part in text for part in _FRAMEWORK)
    if wants.others:
        return bool(bits) and (own or text.startswith(_C_INTERFACES))
    return own or (bool(bits) and not text.startswith(_RUNTIME))


def _really_missing(libraries: list[str]) -> list[str]:
    # A wheel's own library may well be called libtensorflow_something.
    return [
        n
        for n in libraries
        if n.startswith(("libtensorflow_framework", "libtensorflow_cc", "_pywrap"))
    ]
