"""How much static TLS a process has left for libraries that are loaded later.

Mirrors `_dl_tls_static_surplus_init`, `_dl_determine_tlsoffset` (elf/dl-tls.c) and
`_dl_try_allocate_static_tls` (elf/dl-reloc.c). An estimate: what other libraries took before is
counted only where their files say so (DF_STATIC_TLS).
"""

from __future__ import annotations

from ..binary.elf.dynamic import DF_STATIC_TLS
from ..binary.elf.image import PT_TLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..binary.elf.image import Segment
    from .library import Library
    from .namespace import LoadedObject

#: Surplus with default tunables, in every release since it was introduced; before 2.33 fixed.
SURPLUS = 1664
_NAMESPACES, _OPTIONAL, _EACH_NAMESPACE = 4, 512, 288


def surplus(tunables: str, glibc: tuple[int, int]) -> int:
    """The surplus under a GLIBC_TUNABLES variable."""
    if glibc < (2, 33):
        return SURPLUS
    namespaces, optional = _NAMESPACES, _OPTIONAL
    for setting in tunables.split(":"):
        name, _, text = setting.partition("=")
        try:
            value = int(text, 0)
        except ValueError:
            continue
        # Values outside a tunable's range are ignored.
        if name == "glibc.rtld.nns" and 1 <= value <= 16:
            namespaces = value
        elif name == "glibc.rtld.optional_static_tls" and value >= 0:
            optional = value
    return SURPLUS + optional - _OPTIONAL + (namespaces - _NAMESPACES) * _EACH_NAMESPACE


def tls_segment(library: Library) -> Segment | None:
    """PT_TLS, None where there is none or it is empty."""
    for segment in library.elf.segments:
        if segment.type == PT_TLS and segment.memsz:
            return segment
    return None


def static_tls_free(
    startup: Sequence[LoadedObject], objects: Iterable[LoadedObject], extra: int
) -> int:
    """Bytes of static TLS that are left: `startup` was mapped at process start, `objects` are all
    that is mapped, `extra` is the surplus."""
    used = 0
    for loaded in startup:
        segment = tls_segment(loaded.library) if loaded.library is not None else None
        if segment is not None:
            align = max(segment.align, 1)
            used = (used + segment.memsz + align - 1) // align * align
    size = used + extra
    free = (size + 63 & -64) - used
    for loaded in objects:
        library = loaded.library if loaded not in startup else None
        if library is not None and library.elf.dynamic.flags & DF_STATIC_TLS:
            free -= static_tls_size(library)
    return max(free, 0)


def static_tls_size(library: Library) -> int:
    """What a library takes when its own TLS has to be static."""
    segment = tls_segment(library)
    if segment is None:
        return 0
    align = max(segment.align, 1)
    return int((segment.memsz + align - 1) // align * align)
