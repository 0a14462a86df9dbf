"""Checks that only some releases of ld.so make: DT_RELR, and symbols in the file that is named."""

from __future__ import annotations

from ..binary.elf.dynamic import DT_RELR
from ..binary.elf.symbols import gnu_hash
from .lookup import LookupScope, definition
from .soundness import DT_INIT_ARRAY, DT_INIT_ARRAYSZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .library import Library, Version
    from .traits import Traits

_RELR_VERSION = b"GLIBC_ABI_DT_RELR"


def relr_problem(library: Library, path: str, traits: Traits) -> tuple[str, str, str] | None:
    """(outcome, reason, text) where a loader refuses DT_RELR or does not know it; else None.

    `_dl_check_map_versions` from 2.36 on asks for the version GLIBC_ABI_DT_RELR of those that need
    any version of libc.so. Before, the tag is unknown: pointers are left as they stand in the file,
    and `call_init` calls the first of them that is a constructor.
    """
    dynamic = library.elf.dynamic
    if dynamic.get(DT_RELR) is None:
        return None
    if traits.applies_relr:
        needs = [need for need in library.needs if need.library.startswith(b"libc.so.")]
        if not needs or any(v.name == _RELR_VERSION for need in needs for v in need.versions):
            return None
        text = f"{path}: DT_RELR without GLIBC_ABI_DT_RELR dependency"
        return "refused", "relr", text
    if not dynamic.get(DT_INIT_ARRAY) or not dynamic.get(DT_INIT_ARRAYSZ):
        return None
    text = (
        f"`{path}` has its relative relocations in DT_RELR, which this dynamic linker (glibc before "
        "2.36) does not know: it does not apply them, and the process dies in the first constructor"
    )
    return "crash", "relr", text


def absent_from_file(
    provider: Library, name: bytes, version: Version, binding_class: int, scope: LookupScope
) -> bool:
    """Whether `do_lookup_x` up to 2.29 gives up on a versioned symbol.

    It does so at the library that the version is needed from (`provider`) when that one does not
    define the symbol and no library before it in the scope does; weak references are no exception.
    """
    hashed = gnu_hash(name)
    if definition(provider, name, hashed, version, binding_class) is not None:
        return False
    before: list[Library] = []
    for library in scope.libraries:
        if library is provider:
            return LookupScope(before).find(name, version, binding_class) is None
        before.append(library)
    return False


def absent_text(path: str, name: str, version: Version, traits: Traits) -> str:
    """What dlerror says about it."""
    comma = "," if traits.comma_before_version else ""
    file = (version.file or b"").decode("utf-8", "backslashreplace")
    named = version.name.decode("utf-8", "backslashreplace")
    return (
        f"{path}: symbol {name}{comma} version {named} not defined in file {file} "
        "with link time reference"
    )
