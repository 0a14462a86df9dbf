"""What a plugin file is, read from the file alone."""

from __future__ import annotations

import os

from ..binary.elf.dynamic import build_id
from ..models.manifest import Compilation, PluginIdentity, SymbolVersions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..binary.elf import ElfFile

#: Stands in .rodata of whatever calls numpy's import_array().
NUMPY_API_MARK = b"_ARRAY_API"
#: And imports what opens the capsule that holds it.
TABLE_OPENER = b"PyCapsule_"
#: What only TensorFlow's own libraries define: the framework library, and libtensorflow_cc.
RUNTIME = (b"_ZN10tensorflow10OpRegistry6GlobalEv", b"TF_LoadLibrary")

#: The base of datasets, by its type information.
_DATASET = b"_ZTIN10tensorflow4data11DatasetBaseE"
#: The file that a failing assertion names; it stands in the plugin only if one is compiled in.
_REFCOUNT = b"tensorflow/core/platform/refcount.h\0"


def text(raw: bytes) -> str:
    """A name from a file as text that can be shown and stored; odd bytes are escaped."""
    return raw.decode("utf-8", "backslashreplace")


def read_identity(
    elf: ElfFile, *, compilation: Compilation | None = None, digest: bool = False
) -> PluginIdentity:
    """Identity of a shared library; `digest` reads the whole code to add its digest.

    `compilation` saves looking for what a manifest already states. Raises `ElfError`.
    """
    dynamic = elf.dynamic
    if compilation is None:
        from .compilation import read_compilation

        compilation = read_compilation(elf)
    code = None
    if digest:
        from ..binary.elf.digest import code_digest

        code = code_digest(elf)
    return PluginIdentity(
        name=text(os.fsencode(os.path.basename(elf.path))),
        soname=None if dynamic.soname is None else text(dynamic.soname),
        machine=elf.machine,
        bits=elf.bits,
        byte_order=elf.byte_order,
        build_id=build_id(elf),
        code=code,
        needed=tuple(text(name) for name in dynamic.needed),
        symbol_versions=tuple(
            SymbolVersions(
                library=text(need.library),
                versions=tuple(sorted(text(version.name) for version in need.versions)),
            )
            for need in dynamic.version_needs
        ),
        compilation=compilation,
    )


def is_runtime(elf: ElfFile) -> bool:
    """Whether a library is TensorFlow itself, or carries it: it crosses no interface then.

    Raises `ElfError` where dlopen's own lookups would not end.
    """
    symbols = elf.dynamic.symbols
    return any(s.defined for name in RUNTIME for s in symbols.candidates(name))


def uses_numpy_api(elf: ElfFile) -> bool:
    """Whether the file calls numpy's C API: it holds the name of numpy's function table, and
    imports what opens such a table."""
    # The names first: the mark is looked for in the whole file, however large it is.
    start, length = elf.dynamic.string_table
    opens_tables = elf.data.find(TABLE_OPENER, start, start + length) >= 0
    return opens_tables and elf.data.find(NUMPY_API_MARK) >= 0


def asserts_counts(elf: ElfFile, symbols: Sequence[bytes]) -> bool:
    """Whether the plugin has datasets that check their count; `symbols` are those it needs."""
    return _DATASET in symbols and elf.data.find(_REFCOUNT) >= 0


def needs_digest(elf: ElfFile, recorded: PluginIdentity, found: PluginIdentity) -> bool:
    """Whether the code has to show that a manifest is this file's: where no build-id can.

    GNU strip takes PT_GNU_RELRO away together with a build-id. The digest tells initialised data
    by it, and would not be the recorded one.
    """
    if recorded.build_id is None or found.build_id is not None:
        return recorded.build_id is None
    from ..binary.elf.digest import PT_GNU_RELRO

    return any(segment.type == PT_GNU_RELRO for segment in elf.segments)
