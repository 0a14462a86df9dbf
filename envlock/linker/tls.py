"""How much static TLS a process has left for libraries that are loaded later.

Mirrors `_dl_tls_static_surplus_init`, `_dl_determine_tlsoffset` (elf/dl-tls.c) and
`_dl_try_allocate_static_tls` (elf/dl-reloc.c). An estimate: what other libraries took before is
counted only where their files say so (DF_STATIC_TLS).
"""

from __future__ import annotations

import struct

from ..binary.elf.dynamic import DF_STATIC_TLS
from ..binary.elf.image import PT_TLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..binary.elf.image import Segment
    from .header import Host
    from .library import Library
    from .namespace import LoadedObject

#: Surplus with default tunables, in bytes, in every release since it was introduced.
SURPLUS = 1664
_NAMESPACES, _OPTIONAL = 4, 512
#: TCB_ALIGNMENT: the least alignment of the whole area.
_TCB_ALIGNMENT = 64
#: Machines whose blocks lie behind the thread pointer (TLS_DTV_AT_TP), and their TLS_TCB_SIZE.
_BEHIND = {183: 16}
#: auxiliary vector (elf.h) and the least the rseq area takes (struct rseq up to `mm_cid`).
_AT_RSEQ_FEATURE_SIZE, _AT_RSEQ_ALIGN = 27, 28
_RSEQ = 32


def surplus(host: Host) -> int:
    """The surplus in bytes under the process's tunables; an audit module would add to it."""
    traits, tunables = host.traits, host.tunables
    if not traits.tunes_static_tls:
        return SURPLUS
    namespaces = tunables.number("glibc.rtld.nns", _NAMESPACES, 1, 16)
    optional = tunables.number("glibc.rtld.optional_static_tls", _OPTIONAL)
    return SURPLUS + optional - _OPTIONAL + (namespaces - _NAMESPACES) * traits.namespace_tls


def tls_segment(library: Library) -> Segment | None:
    """PT_TLS, None where there is none or it is empty."""
    for segment in library.elf.segments:
        if segment.type == PT_TLS and segment.memsz:
            return segment
    return None


class StaticTls:
    """The static TLS area of a process: how big it is, and how much of it is used (bytes).

    `startup` was mapped at process start and lies in it, `objects` are all that is mapped.
    """

    __slots__ = ("_align", "_behind", "_size", "_taken", "used")

    def __init__(
        self, startup: Sequence[LoadedObject], objects: Iterable[LoadedObject], host: Host
    ) -> None:
        self._behind = host.machine_number in _BEHIND
        self._align = _TCB_ALIGNMENT
        self._taken: set[Library] = set()
        self.used = self._lay_out(startup, _BEHIND.get(host.machine_number, 0))
        if not self._behind and host.traits.rseq_in_tls:
            size, align = _rseq()
            self.used = _up(self.used + size, align)
            self._align = max(self._align, align)
        self._size = _up(self.used + surplus(host), self._align)
        first = {loaded.library for loaded in startup}
        for loaded in objects:
            library = loaded.library
            if library in first or library is None:
                continue
            if library.elf.dynamic.flags & DF_STATIC_TLS:
                self.take(library)

    def _lay_out(self, startup: Sequence[LoadedObject], start: int) -> int:
        """`_dl_determine_tlsoffset`: where the last block ends; gaps are filled."""
        offset = start
        top = bottom = 0
        for loaded in startup:
            segment = tls_segment(loaded.library) if loaded.library is not None else None
            if segment is None:
                continue
            assert loaded.library is not None
            self._taken.add(loaded.library)
            align, first = _alignment(segment)
            size = segment.memsz
            self._align = max(self._align, align)
            before = -first & (align - 1)
            if self._behind:
                place = _up(top, align) - before
                if place < top:
                    place += align
                if bottom - top >= size and place + size <= bottom:
                    top = place + size
                    continue
                place = _up(offset, align) - before
                if place < offset:
                    place += align
                if bottom - top < place - offset:
                    top, bottom = offset, place
                offset = place + size
                continue
            if bottom - top >= size:
                place = _up(top + size - before, align) + before
                if place <= bottom:
                    top = place
                    continue
            place = _up(offset + size - before, align) + before
            if place > offset + size + (bottom - top):
                top, bottom = offset, place - size
            offset = place
        return offset

    @property
    def free(self) -> int:
        """Bytes that are left."""
        return max(self._size - self.used, 0)

    def copy(self) -> StaticTls:
        """The same area, for a load whose allocations shall not last."""
        other = object.__new__(StaticTls)
        other._align, other._behind, other._size = self._align, self._behind, self._size
        other._taken, other.used = set(self._taken), self.used
        return other

    def take(self, library: Library) -> bool:
        """`_dl_try_allocate_static_tls`: give a library's block its place; False without room.

        A library that has its place keeps it.
        """
        segment = tls_segment(library)
        if segment is None or library in self._taken:
            return True
        align, first = _alignment(segment)
        if align > self._align:
            return False
        if self._behind:
            used = _up(self.used - first, align) + first + segment.memsz
            if used > self._size:
                return False
        else:
            free = self._size - self.used
            if free < segment.memsz + first:
                return False
            count = (free - segment.memsz - first) // align
            used = self.used + free - count * align - first
        self.used = used
        self._taken.add(library)
        return True


def _alignment(segment: Segment) -> tuple[int, int]:
    """l_tls_align and l_tls_firstbyte_offset."""
    align = max(segment.align, 1)
    return align, segment.vaddr & (align - 1)


def _up(value: int, align: int) -> int:
    return -(-value // align) * align


def _rseq() -> tuple[int, int]:
    """Size and alignment of the rseq area, as the kernel asks for them."""
    pair = struct.Struct("@2N")
    try:
        with open("/proc/self/auxv", "rb", buffering=0) as file:
            data = file.readall() or b""
        known = dict(pair.iter_unpack(data[: len(data) // pair.size * pair.size]))
    except OSError:
        known = {}
    align = max(known.get(_AT_RSEQ_ALIGN, 0), _RSEQ)
    return _up(max(known.get(_AT_RSEQ_FEATURE_SIZE, 0), 1), align), align
