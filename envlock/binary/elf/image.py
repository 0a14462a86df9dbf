"""An ELF file, mapped read-only: header, program headers, section headers, bytes by address.

Mirrors the System V gABI, chapter 4 and 5, and what glibc's `open_verify` (elf/dl-load.c) reads.
Every number taken from the file is checked against the file's size before it is used; a number
that lies raises `ElfError`. Files of either class and byte order are read.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct

from ...models.errors import ElfError, FileAccessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS = 1, 2, 3, 4, 7
PT_GNU_STACK, PT_GNU_PROPERTY = 0x6474E551, 0x6474E553
PF_X, PF_W = 1, 2
SHT_NULL, SHT_STRTAB, SHT_NOTE, SHT_NOBITS = 0, 3, 7, 8
SHF_ALLOC = 2

MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}

MAX_SEGMENTS = 4096
#: Of them to be loaded; every address is looked for in them.
MAX_LOADS = 256
MAX_SECTIONS = 1 << 20
#: Bytes of a section's name that are kept; the longest that is looked for has 18.
MAX_SECTION_NAME = 256


class Segment:
    """A program header; offsets and sizes in bytes."""

    __slots__ = ("align", "filesz", "flags", "memsz", "offset", "type", "vaddr")

    def __init__(
        self, type: int, flags: int, offset: int, vaddr: int, filesz: int, memsz: int, align: int
    ) -> None:
        self.type = type
        self.flags = flags
        self.offset = offset
        self.vaddr = vaddr
        self.filesz = filesz
        self.memsz = memsz
        self.align = align


class Section:
    """A section header; `name` is empty when the string table cannot be read, and cut off after
    `MAX_SECTION_NAME` bytes."""

    __slots__ = (
        "addr",
        "align",
        "entsize",
        "flags",
        "index",
        "info",
        "link",
        "name",
        "name_offset",
        "offset",
        "size",
        "type",
    )

    def __init__(self, index: int, fields: tuple[int, ...]) -> None:
        self.index = index
        self.name = ""
        (
            self.name_offset,
            self.type,
            self.flags,
            self.addr,
            self.offset,
            self.size,
            self.link,
            self.info,
            self.align,
            self.entsize,
        ) = fields


class ElfImage:
    """One mapped ELF file. Use as a context manager or call `close`.

    The mapping follows the file: a file truncated by another process while it is read can kill
    the reader with SIGBUS, as it does the dynamic linker.
    """

    def __init__(self, path: str, data: mmap.mmap, status: os.stat_result) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.status = status
        self._read_header()
        self.segments = self._read_segments()
        self._loads = tuple(s for s in self.segments if s.type == PT_LOAD)
        if len(self._loads) > MAX_LOADS:
            raise self.damaged(f"{len(self._loads)} loaded segments are more than {MAX_LOADS}")
        self._sections: tuple[Section, ...] | None = None
        self._views: list[memoryview] = []

    def forget(self) -> None:
        """Give pages that were read back to the system: they count as this process's memory."""
        self.data.madvise(mmap.MADV_DONTNEED)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Map a file. Raises `FileAccessError` (missing, unreadable, not regular) or `ElfError`."""
        name = os.fspath(path)
        try:
            # O_NONBLOCK: opening a FIFO must not wait for a writer.
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise FileAccessError(f"cannot open `{name}`: {reason}") from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise FileAccessError(f"`{name}` is {_kind(status.st_mode)}, not a file")
            if status.st_size == 0:
                raise ElfError(f"`{name}` is empty")
            data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise FileAccessError(f"cannot read `{name}`: {reason}") from None
        finally:
            _close(fd)
        try:
            return cls(name, data, status)
        except BaseException:
            data.close()
            raise

    def close(self) -> None:
        """Unmap the file, also under views that `words` gave out."""
        for view in self._views:
            view.release()
        self._views.clear()
        self.data.close()

    def words(self, offset: int, count: int, size: int) -> memoryview:
        """A view of `count` unsigned words in this machine's byte order, without copying.

        It lives until `close`. Raises `ElfError` when they are not all inside the file.
        """
        if offset < 0 or offset + count * size > self.size:
            raise self.damaged(f"{count} words at offset {offset} end outside the file")
        with memoryview(self.data) as whole, whole[offset : offset + count * size] as part:
            view = part.cast("Q" if size == 8 else "I" if size == 4 else "H" if size == 2 else "B")
        self._views.append(view)
        return view

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def damaged(self, what: str) -> ElfError:
        """The error for a file whose own numbers contradict each other."""
        return ElfError(f"`{self.path}` is damaged: {what}")

    def unpack(self, layout: struct.Struct, offset: int, what: str) -> tuple[int, ...]:
        """Unpack one structure at a file offset; `what` names it in the error."""
        if not 0 <= offset <= self.size - layout.size:
            raise self.damaged(f"{what} at offset {offset} ends outside the {self.size} bytes")
        return layout.unpack_from(self.data, offset)

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Bytes at a file offset; raises `ElfError` when they are not all inside the file."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.damaged(
                f"{what} ({size} bytes at offset {offset}) ends outside the {self.size} bytes"
            )
        return self.data[offset : offset + size]

    def string(self, offset: int, limit: int, what: str) -> bytes:
        """The NUL-terminated string at `offset` that must end before `limit`."""
        limit = min(limit, self.size)
        end = self.data.find(b"\0", offset, limit) if 0 <= offset < limit else -1
        if end < 0:
            raise self.damaged(f"{what} at offset {offset} is not a terminated string")
        return self.data[offset:end]

    def struct(self, layout: str) -> struct.Struct:
        """A `struct.Struct` in the file's byte order."""
        return _struct(self.order + layout)

    def _read_header(self) -> None:
        ident = self.data[:16]
        if ident[:4] != b"\x7fELF":
            hint = None
            if ident.startswith(b"PK\x03\x04") and self.path.endswith(".whl"):
                from shlex import quote

                hint = f"the plugins in it are checked by `envlock check {quote(self.path)}`"
            raise ElfError(f"`{self.path}` is not an ELF file: it is {describe(ident)}", hint=hint)
        if len(ident) < 16:
            raise self.damaged(f"the ELF header is cut off after {len(ident)} bytes")
        if ident[4] not in (1, 2):
            raise self.damaged(f"EI_CLASS is {ident[4]}, neither 32-bit nor 64-bit")
        if ident[5] not in (1, 2):
            raise self.damaged(f"EI_DATA is {ident[5]}, neither little- nor big-endian")
        self.bits = 64 if ident[4] == 2 else 32
        self.order = "<" if ident[5] == 1 else ">"
        self.ident_version = ident[6]
        self.osabi = ident[7]
        self.abiversion = ident[8]
        self.padding = ident[9:16]
        layout = self.struct("HHIQQQIHHHHHH" if self.bits == 64 else "HHIIIIIHHHHHH")
        (
            self.type,
            self.machine_number,
            self.version,
            self.entry,
            self.phoff,
            self.shoff,
            self.flags,
            self.ehsize,
            self.phentsize,
            self.phnum,
            self.shentsize,
            self.shnum,
            self.shstrndx,
        ) = self.unpack(layout, 16, "the ELF header")
        self.header_size = 16 + layout.size

    @property
    def byte_order(self) -> str:
        """ "little" or "big"."""
        return "little" if self.order == "<" else "big"

    @property
    def machine(self) -> str:
        """The architecture, as `uname -m` would name it, or "EM_<number>"."""
        if self.machine_number == 21 and self.order == "<":
            return "ppc64le"
        return MACHINES.get(self.machine_number, f"EM_{self.machine_number}")

    def _read_segments(self) -> tuple[Segment, ...]:
        layout = self.struct("IIQQQQQQ" if self.bits == 64 else "IIIIIIII")
        if self.phnum == 0:
            return ()
        if self.phentsize != layout.size:
            raise self.damaged(
                f"program headers are {self.phentsize} bytes, not {layout.size}" + self._misread()
            )
        if self.phnum > MAX_SEGMENTS:
            raise self.damaged(f"{self.phnum} program headers are more than {MAX_SEGMENTS}")
        raw = self.read(self.phoff, self.phnum * layout.size, "the program header table")
        found = []
        for fields in layout.iter_unpack(raw):
            if self.bits == 64:
                kind, flags, offset, vaddr, _, filesz, memsz, align = fields
            else:
                kind, offset, vaddr, _, filesz, memsz, flags, align = fields
            found.append(Segment(kind, flags, offset, vaddr, filesz, memsz, align))
        return tuple(found)

    @property
    def section_header_size(self) -> int:
        """Bytes of one section header in this class of file."""
        return 64 if self.bits == 64 else 40

    @property
    def section_count(self) -> int:
        """The number of section headers; the first header holds it beyond 65,279."""
        if self.shoff == 0:
            return 0
        if self.shentsize != self.section_header_size:
            raise self.damaged(
                f"section headers are {self.shentsize} bytes, not {self.section_header_size}"
                + self._misread()
            )
        if self.shnum:
            return self.shnum
        first = self._section_at(0)
        if first.size > MAX_SECTIONS:
            raise self.damaged(f"{first.size} sections are more than {MAX_SECTIONS}")
        return first.size

    @property
    def section_names_index(self) -> int:
        """The index of the section name table, SHN_XINDEX resolved."""
        if self.shstrndx == 0xFFFF and self.shoff:
            return self._section_at(0).link
        return self.shstrndx

    def _section_at(self, index: int) -> Section:
        layout = self.struct("IIQQQQIIQQ" if self.bits == 64 else "IIIIIIIIII")
        offset = self.shoff + index * layout.size
        return Section(index, self.unpack(layout, offset, f"section header {index}"))

    @property
    def sections(self) -> tuple[Section, ...]:
        """All section headers with their names, read at first use; empty when there are none."""
        if self._sections is None:
            count = self.section_count
            size = self.section_header_size
            layout = self.struct("IIQQQQIIQQ" if self.bits == 64 else "IIIIIIIIII")
            if count and self.shoff + count * size > self.size:
                raise self._cut_off(count * size)
            raw = self.read(self.shoff, count * size, "the section header table") if count else b""
            found = tuple(Section(i, f) for i, f in enumerate(layout.iter_unpack(raw)))
            names = self.section_names_index
            if 0 < names < count:
                table = found[names]
                end = table.offset + table.size
                if end > self.size:
                    raise self.damaged("the section name table ends outside the file")
                # Sections may share a name, or have the ends of one name for theirs.
                last = self.data.rfind(b"\0", table.offset, end)
                known: dict[int, str] = {}
                for section in found:
                    at = section.name_offset
                    if at < table.size:
                        name = known.get(at)
                        if name is None:
                            name = self._section_name(table.offset + at, last, section.index)
                            known[at] = name
                        section.name = name
            self._sections = found
        return self._sections

    def _section_name(self, at: int, last: int, index: int) -> str:
        """The name at an offset in front of the name table's last NUL; the rest of it is dropped."""
        if at > last:
            raise self.damaged(f"section {index}'s name at offset {at} is not a terminated string")
        most = at + MAX_SECTION_NAME
        end = self.data.find(b"\0", at, min(most, last + 1))
        return self.data[at : end if end >= 0 else most].decode("ascii", "backslashreplace")

    def _cut_off(self, table: int) -> ElfError:
        """The error for a file that ends before its section header table does."""
        end = max((s.offset + s.filesz for s in self.segments if s.type == PT_LOAD), default=0)
        if end > self.size:
            # What is missing of a page reads as zeros; pages behind the end are not there.
            follows = (
                "that loads it dies (SIGBUS)"
                if end > self.size + 4095 & -4096
                else ("would find zeros in its data")
            )
            return self.damaged(
                f"it is cut off: it has {self.size} bytes but its segments need {end}, and the process "
                f"{follows}"
            )
        return self.damaged(
            f"the section header table ({table} bytes at offset {self.shoff}) ends outside the "
            f"{self.size} bytes: the end of the file is missing"
        )

    def _misread(self) -> str:
        """What else is wrong where a size in the header is impossible, judged by e_ehsize."""
        here, there = (52, 40) if self.bits == 64 else (40, 52)
        sizes = {40: 52, 52: 64}  # where e_ehsize stands in either class, and what it is
        half = self.struct("H")
        if self.size >= 64 and half.unpack_from(self.data, there)[0] == sizes[there]:
            return f": EI_CLASS says {self.bits}-bit, but the rest of the header does not"
        if self.ehsize == sizes[here] << 8:
            return f": EI_DATA says {self.byte_order}-endian, but the rest of the header does not"
        return ""

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        for section in self.sections:
            if section.name == name:
                return section
        return None

    def section_bytes(self, section: Section) -> bytes:
        """A section's content as it stands in the file; empty for SHT_NOBITS."""
        if section.type == SHT_NOBITS:
            return b""
        return self.read(section.offset, section.size, f"section `{section.name}`")

    def offset_of(self, address: int, size: int, what: str) -> int:
        """The file offset of `size` loaded bytes at a virtual address, by PT_LOAD."""
        for segment in self._loads:
            if segment.vaddr <= address:
                start = address - segment.vaddr
                if start + size <= segment.filesz:
                    offset = segment.offset + start
                    if offset + size > self.size:
                        raise self.damaged(f"{what} at address {address:#x} lies behind the end")
                    return offset
        raise self.damaged(f"{what} at address {address:#x} is not in a loaded segment")

    def loaded_behind(self, address: int) -> int:
        """How many bytes of the file are loaded from an address on; 0 outside of PT_LOAD."""
        for segment in self._loads:
            if 0 <= address - segment.vaddr < segment.filesz:
                return segment.vaddr + segment.filesz - address
        return 0

    @property
    def has_dynamic(self) -> bool:
        """Whether a PT_DYNAMIC program header is there."""
        return any(segment.type == PT_DYNAMIC for segment in self.segments)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return  # nothing was written through it


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return name
    return "a special file"


def describe(head: bytes) -> str:
    """What a file that is not ELF seems to be, from its first bytes."""
    for magic, name in (
        (b"!<arch>\n", "a static library (ar archive)"),
        (b"!<thin>\n", "a thin static library (ar archive)"),
        (b"PK\x03\x04", "a zip archive (or a wheel)"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"MZ", "a Windows library"),
        (b"\xcf\xfa\xed\xfe", "a macOS library (Mach-O)"),
        (b"\xca\xfe\xba\xbe", "a macOS universal library"),
        (b"#!", "a script"),
        (b"/* GNU ld script", "a GNU ld script"),
        (b"version https://git-lf", "a Git LFS pointer (the file itself was not fetched)"),
    ):
        if head.startswith(magic[: len(head)]) and len(head) >= min(len(magic), 2):
            return name
    if b"\x7fELF".startswith(head[:4]):
        return "cut off inside the first four bytes"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "a text file"
    return "something else (it starts with " + head[:4].hex(" ") + ")"


_structs: dict[str, struct.Struct] = {}


def _struct(layout: str) -> struct.Struct:
    known = _structs.get(layout)
    if known is None:
        known = _structs[layout] = struct.Struct(layout)
    return known
