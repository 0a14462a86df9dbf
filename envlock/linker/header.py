"""Does the dynamic linker take this file? `open_verify` and the checks before relocation.

Mirrors `open_verify` and `_dl_map_object_from_fd` (elf/dl-load.c): same order, same words. What
concerns another architecture is passed over in a search; everything else ends it.
"""

from __future__ import annotations

import errno
import os
import stat

from ..binary.elf.dynamic import DF_1_NOOPEN, DF_1_PIE
from ..binary.elf.file import ElfFile
from ..binary.elf.image import (
    ET_DYN,
    ET_EXEC,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_PROPERTY,
    PT_GNU_STACK,
    PT_LOAD,
    PT_NOTE,
)
from ..models.errors import ElfError, FileAccessError
from .tunables import Tunables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from .traits import Traits

PAGE = 4096
#: Bytes of notes that are looked through; real ones have some hundred.
MAX_NOTES = 1 << 16
#: Bytes that a process can map at most, on the machines of today.
ADDRESS_SPACE = 1 << 47
#: ELFOSABI values that glibc accepts: SYSV, and GNU with an ABI version below LIBC_ABI_MAX.
_OSABI_GNU = 3
#: The start of a .note.ABI-tag: namesz, descsz, NT_GNU_ABI_TAG, the name.
_ABI_NOTE = (4, 16, 1)


class Rejection:
    """Why a file is not taken: the outcome ("refused", "crash" or "skipped"), the reason, a text.

    "skipped" is another architecture: the search goes on, `text` says what was wrong. Before the
    text dlopen puts the file's path where the header is wrong, and the name that was asked for
    where the mapping is (`by_path` tells which).
    """

    __slots__ = ("by_path", "errno", "outcome", "reason", "text")

    def __init__(
        self, outcome: str, reason: str, text: str, code: int = 0, *, by_path: bool = True
    ) -> None:
        self.outcome = outcome
        self.reason = reason
        self.text = text
        self.errno = code
        self.by_path = by_path

    def message(self, name: str, path: str) -> str:
        """What dlerror says about it (for a crash: what happens)."""
        if self.outcome == "crash":
            return f"{self.text}"
        suffix = f": {os.strerror(self.errno)}" if self.errno else ""
        return f"{path if self.by_path else name}: {self.text}{suffix}"

    def __repr__(self) -> str:
        return f"Rejection({self.outcome!r}, {self.text!r})"


class Host:
    """The process that would load: class, byte order, machine, its loader's traits and tunables.

    `isa_level` is the x86-64 level as bits (1 baseline, 2 v2, 4 v3, 8 v4) or None when unknown.
    `executable_stack` says that the process has one, because the program or a library that it
    started with asked for it.
    """

    __slots__ = (
        "bits",
        "byte_order",
        "executable_stack",
        "isa_level",
        "machine_number",
        "traits",
        "tunables",
    )

    def __init__(
        self,
        bits: int,
        byte_order: str,
        machine_number: int,
        traits: Traits,
        tunables: Tunables,
        isa_level: int | None = None,
    ) -> None:
        self.bits = bits
        self.byte_order = byte_order
        self.machine_number = machine_number
        self.traits = traits
        self.tunables = tunables
        self.isa_level = isa_level
        self.executable_stack = False

    @classmethod
    def of(cls, elf: ElfFile, traits: Traits, tunables: str = "") -> Host:
        """The host that runs this executable; `tunables` is its GLIBC_TUNABLES."""
        heard = Tunables(tunables, traits.strict_tunables) if tunables else Tunables()
        return cls(elf.bits, elf.byte_order, elf.machine_number, traits, heard)

    @property
    def refuses_executable_stack(self) -> bool:
        """Whether dlopen refuses a library that asks for an executable stack."""
        return (
            self.traits.refuses_executable_stack
            and not self.executable_stack
            and self.tunables.number("glibc.rtld.execstack", 1, 0, 2) != 2
        )

    @property
    def sorts_depth_first(self) -> bool:
        """Whether relocation goes by `_dl_sort_maps_dfs` (glibc.rtld.dynamic_sort=2)."""
        return (
            self.traits.sorts_depth_first
            and self.tunables.number("glibc.rtld.dynamic_sort", 2, 1, 2) == 2
        )


def inspect(path: str, host: Host) -> ElfFile | Rejection | int:
    """Open a file as `open_verify` does.

    Out comes the mapped file, a `Rejection`, or the errno of a failed open.
    """
    try:
        elf = ElfFile.open(path)
    except (ElfError, FileAccessError):
        return _inspect_bytes(path, host)
    try:
        rejection = verify(elf, host)
    except ElfError as error:
        rejection = Rejection("crash", "damaged", error.message)
    if rejection is not None:
        elf.close()
        return rejection
    return elf


def verify(elf: ElfFile, host: Host) -> Rejection | None:
    """What `open_verify` and `_dl_map_object_from_fd` find wrong with an open file."""
    return verify_header(elf, host) or _verify_kernel(elf, host) or verify_mapping(elf, host)


def _inspect_bytes(path: str, host: Host) -> Rejection | int:
    """Why a file that `ElfFile` refuses is refused by the linker too, from its first bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return getattr(error, "errno", None) or errno.ENOENT
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return Rejection("refused", "file", "file too short")
        try:
            head = os.read(fd, 832)
        except OSError as error:
            return Rejection("refused", "file", "cannot read file data", error.errno or 0)
    finally:
        os.close(fd)
    if len(head) < (64 if host.bits == 64 else 52):
        return Rejection("refused", "file", "file too short")
    if head[:4] != b"\x7fELF":
        return Rejection("refused", "header", "invalid ELF header")
    found = _verify_ident(head[4], head[5], head[6], head[7], head[8], head[9:16], host)
    if found is not None:
        return found
    order: Literal["little", "big"] = "little" if head[5] == 1 else "big"
    kind = int.from_bytes(head[16:18], order)
    machine = int.from_bytes(head[18:20], order)
    version = int.from_bytes(head[20:24], order)
    found = _verify_rest(version, machine, kind, host)
    if found is not None:
        return found
    wide = host.bits == 64
    if int.from_bytes(head[54:56] if wide else head[42:44], order) != (56 if wide else 32):
        text = "ELF file's phentsize not the expected size"
        return Rejection("refused", "header", text)
    return Rejection("refused", "file", "cannot read file data")


def _verify_ident(
    bits: int,
    data: int,
    version: int,
    osabi: int,
    abiversion: int,
    padding: bytes,
    host: Host,
) -> Rejection | None:
    if bits != (2 if host.bits == 64 else 1):
        other = "ELFCLASS32" if host.bits == 64 else "ELFCLASS64"
        return Rejection("skipped", "class", f"wrong ELF class: {other}", errno.ENOENT)
    text = None
    if data != (1 if host.byte_order == "little" else 2):
        text = f"ELF file data encoding not {host.byte_order}-endian"
    elif version != 1:
        text = "ELF file version ident does not match current one"
    elif osabi not in (0, _OSABI_GNU):
        text = "ELF file OS ABI invalid"
    elif not (
        abiversion == 0 or (osabi == _OSABI_GNU and abiversion < host.traits.gnu_abi_versions)
    ):
        text = "ELF file ABI version invalid"
    elif padding.strip(b"\0"):
        text = "nonzero padding in e_ident"
    return None if text is None else Rejection("refused", "header", text)


def _verify_rest(version: int, machine: int, kind: int, host: Host) -> Rejection | None:
    if version != 1:
        text = "ELF file version does not match current one"
        return Rejection("refused", "header", text)
    if machine != host.machine_number:
        return Rejection("skipped", "machine", "built for another machine", errno.ENOENT)
    if kind not in (ET_DYN, ET_EXEC):
        return Rejection("refused", "header", "only ET_DYN and ET_EXEC can be loaded")
    return None


def verify_header(elf: ElfFile, host: Host) -> Rejection | None:
    """The ELF header against the host (`open_verify`)."""
    return _verify_ident(
        2 if elf.bits == 64 else 1,
        1 if elf.byte_order == "little" else 2,
        elf.ident_version,
        elf.osabi,
        elf.abiversion,
        elf.padding,
        host,
    ) or _verify_rest(elf.version, elf.machine_number, elf.type, host)


def _verify_kernel(elf: ElfFile, host: Host) -> Rejection | None:
    """The kernel that a .note.ABI-tag asks for (the end of `open_verify` up to 2.35)."""
    if not host.traits.checks_kernel:
        return None
    from .rtld import kernel

    header = elf.struct("III")
    for segment in elf.segments:
        if segment.type != PT_NOTE or not 32 <= segment.filesz <= MAX_NOTES or segment.align < 4:
            continue
        raw = elf.data[segment.offset : segment.offset + segment.filesz]
        align = 8 if segment.align == 8 else 4
        at = 0
        while at + 32 <= len(raw):
            namesz, descsz, kind = header.unpack_from(raw, at)
            if (namesz, descsz, kind) == _ABI_NOTE and raw[at + 12 : at + 16] == b"GNU\0":
                system, *version = elf.struct("IIII").unpack_from(raw, at + 16)
                wanted = 0
                for part in version:
                    wanted = wanted << 8 | part & 0xFF
                if system == 0 and wanted <= kernel():
                    return None
                needed = (
                    ".".join(map(str, version)) if system == 0 else f"of another kind ({system})"
                )
                text = f"it asks for a kernel {needed}"
                return Rejection("skipped", "kernel", text, errno.ENOENT)
            at += (12 + namesz + align - 1 & -align) + (descsz + align - 1 & -align)
    return None


def verify_mapping(elf: ElfFile, host: Host) -> Rejection | None:
    """Program headers and flags (`_dl_map_object_from_fd`), in glibc's order."""
    traits = host.traits
    loads = []
    dynamic_segment = None
    empty_dynamic = False
    for segment in elf.segments:
        if segment.type == PT_LOAD:
            if traits.checks_alignment and segment.align & (PAGE - 1):
                text = "ELF load command alignment not page-aligned"
                return Rejection("refused", "header", text, by_path=False)
            if traits.checks_alignment and (segment.vaddr - segment.offset) & (segment.align - 1):
                text = "ELF load command address/offset not properly aligned"
                return Rejection("refused", "header", text, by_path=False)
            if (segment.vaddr - segment.offset) & (PAGE - 1):
                text = "ELF load command address/offset not page-aligned"
                return Rejection("refused", "header", text, by_path=False)
            loads.append(segment)
        elif segment.type == PT_DYNAMIC:
            if segment.filesz == 0:
                empty_dynamic = True
            else:
                dynamic_segment = segment
    if not loads:
        return Rejection("refused", "header", "object file has no loadable segments", by_path=False)
    if elf.type != ET_DYN:
        return Rejection("refused", "flags", "cannot dynamically load executable", by_path=False)
    if dynamic_segment is None or empty_dynamic or not dynamic_segment.vaddr:
        return Rejection("refused", "header", "object file has no dynamic section", by_path=False)
    lowest = loads[0].vaddr & -PAGE
    length = max(segment.vaddr + segment.memsz for segment in loads) - lowest
    widest = max((s.align for s in loads if s.align & (s.align - 1) == 0), default=0)
    if length + widest > ADDRESS_SPACE:
        text = "failed to map segment from shared object"
        return Rejection("refused", "header", text, by_path=False)
    # Pages wholly behind the end of the file exist in the mapping; touching one is a SIGBUS.
    last_page = (elf.size + PAGE - 1) & -PAGE
    end = max(segment.offset + segment.filesz for segment in loads)
    if end > last_page:
        text = (
            f"the file has {elf.size} bytes but its segments need {end}: it is cut off, and the "
            "process dies (SIGBUS) when the dynamic linker touches what is missing"
        )
        return Rejection("crash", "truncated", text)
    dynamic = elf.dynamic
    flags = dynamic.flags_1
    if flags & DF_1_PIE and traits.refuses_pie:
        text = "cannot dynamically load position-independent executable"
        return Rejection("refused", "flags", text, by_path=False)
    if flags & DF_1_NOOPEN and traits.refuses_noopen:
        return Rejection("refused", "flags", "shared object cannot be dlopen()ed", by_path=False)
    if traits.refuses_executable_stack and asks_for_stack(elf) and host.refuses_executable_stack:
        text = "cannot enable executable stack as shared object requires"
        return Rejection("refused", "stack", text, errno.EINVAL, by_path=False)
    return None


def asks_for_stack(elf: ElfFile) -> bool:
    """Whether a file wants an executable stack; without a PT_GNU_STACK, x86 presumes it."""
    flags = PF_X if elf.machine_number in (3, 62) else 0
    for segment in elf.segments:
        if segment.type == PT_GNU_STACK:
            flags = segment.flags
    return bool(flags & PF_X)


def cut_off(elf: ElfFile) -> int:
    """Bytes of the segments that the file lacks."""
    end = max((s.offset + s.filesz for s in elf.segments if s.type == PT_LOAD), default=0)
    return max(end - elf.size, 0)


def isa_needed(elf: ElfFile) -> int:
    """GNU_PROPERTY_X86_ISA_1_NEEDED of an x86 library (`_dl_process_property_note`), else 0."""
    if elf.machine_number not in (3, 62):
        return 0
    wanted = elf.bits // 8
    segments = [s for s in elf.segments if s.type == PT_GNU_PROPERTY]
    segments += [s for s in elf.segments if s.type == PT_NOTE]
    for segment in segments:
        if segment.align != wanted or segment.filesz > MAX_NOTES:
            continue
        raw = elf.data[segment.offset : segment.offset + segment.filesz]
        word = elf.struct("I")
        at = 0
        while at + 16 <= len(raw):
            namesz, descsz, kind = elf.struct("III").unpack_from(raw, at)
            desc = at + 12 + (namesz + 3 & -4)
            if namesz == 4 and kind == 5 and raw[at + 12 : at + 16] == b"GNU\0":
                end = min(desc + descsz, len(raw))
                place = desc
                while place + 8 <= end:
                    (tag,) = word.unpack_from(raw, place)
                    (size,) = word.unpack_from(raw, place + 4)
                    if tag == 0xC0008002 and size == 4 and place + 12 <= end:
                        return int(word.unpack_from(raw, place + 8)[0])
                    place += 8 + (size + wanted - 1 & -wanted)
                return 0
            at = desc + (descsz + wanted - 1 & -wanted)
    return 0
