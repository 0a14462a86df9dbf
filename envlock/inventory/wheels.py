"""Libraries in wheels, read without installing the wheel.

They are read in memory (memfd); only where a plugin has libraries beside it in the same wheel are
those unpacked, into a temporary folder, so that `$ORIGIN` leads somewhere.
"""

from __future__ import annotations

import contextlib
import os

from ..binary.elf import ElfFile
from ..models.errors import InputError
from .plugins import is_library_name, is_wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from zipfile import ZipFile

    from ..models.report import Report

#: Bytes of one library in a wheel, and of all that are unpacked of one wheel.
MEMBER_LIMIT = 4 << 30
#: A member that grows more than that when unpacked is a bomb; real libraries stay below 12.
RATIO_LIMIT = 200
_CHUNK = 1 << 20
#: Stored and deflated: what wheels are packed with, and index servers accept.
_METHODS = (0, 8)


def libraries_in(wheel: str) -> list[str]:
    """The shared libraries in a wheel, in order. Raises `InputError`."""
    with open_wheel(wheel) as archive:
        names = sorted({info.filename for info in archive.infolist()})
    return [name for name in names if is_library_name(name.rpartition("/")[2])]


def check_member(
    wheel: str, member: str, label: str, judge: Callable[[str], Report]
) -> Report | None:
    """What `judge` says of a plugin in a wheel, None where it is none. Raises `InputError`.

    `label` is what reports call it.
    """
    with open_wheel(wheel) as archive, in_memory(archive, member) as path:
        if not is_wanted(path):
            return None
        beside: set[str] = set()
        with contextlib.suppress(InputError), ElfFile.open(path) as elf:
            beside = libraries_beside(archive, elf)
        if not beside:
            return _relabelled(judge(path), path, member, label)
        with unpacked(archive, {member, *beside}) as folder:
            place = os.path.join(folder, member)
            return _relabelled(judge(place), place, member, label)


@contextlib.contextmanager
def open_wheel(path: str) -> Iterator[ZipFile]:
    """A wheel as a zip archive. Raises `InputError` where it is damaged."""
    import zlib
    from struct import error as Cut
    from zipfile import BadZipFile, ZipFile

    damage: tuple[type[Exception], ...] = (
        *(BadZipFile, zlib.error, Cut, OSError, EOFError),
        *(NotImplementedError, RuntimeError, ValueError, OverflowError),
    )
    with contextlib.suppress(ImportError):  # Python can be built without it
        from lzma import LZMAError

        damage += (LZMAError,)
    try:
        with ZipFile(path) as archive:
            yield archive
    except damage as error:
        raise InputError(f"wheel `{path}` is damaged: {error!s:.150}") from None


def _relabelled(report: Report, path: str, member: str, label: str) -> Report:
    """A report with the temporary file's name replaced by the wheel's and the member's."""
    name, real = os.path.basename(path), os.path.basename(member)

    def rename(text: str | None) -> str | None:
        if text is None:
            return None
        text = text.replace(path, label)
        return text.replace(name, real) if name != real else text

    findings = tuple(
        finding.replace(
            subject=rename(finding.subject),
            message=rename(finding.message),
            why=rename(finding.why),
            remedy=rename(finding.remedy),
            examples=tuple(rename(example) for example in finding.examples),
        )
        for finding in report.findings
    )
    plugin = report.plugin.replace(path=label, error=rename(report.plugin.error))
    unchecked = tuple(
        one.replace(what=rename(one.what), why=rename(one.why)) for one in report.unchecked
    )
    return report.replace(plugin=plugin, findings=findings, unchecked=unchecked)


def libraries_beside(archive: ZipFile, elf: ElfFile) -> set[str]:
    """Members that the plugin, or a library it needs, asks for by name."""
    libraries: dict[str, str] = {}
    for name in archive.namelist():
        if is_library_name(name.rpartition("/")[2]):
            libraries.setdefault(name.rpartition("/")[2], name)
    if not any(os.fsdecode(needed) in libraries for needed in elf.dynamic.needed):
        return set()
    # Which of them need each other is the linker's to find out: take them all.
    return set(libraries.values())


@contextlib.contextmanager
def in_memory(archive: ZipFile, member: str) -> Iterator[str]:
    """A member as a file that exists in memory only. Raises `InputError`."""
    name = os.path.basename(member)
    try:
        fd = os.memfd_create(name[:200])
    except (OSError, AttributeError) as error:
        raise InputError(f"no room in memory for `{member}`: {error}") from None
    try:
        with open(fd, "wb", closefd=False) as target:
            _copy(archive, member, target.write)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _copy(archive: ZipFile, member: str, write: Callable[[bytes], object]) -> None:
    info = archive.getinfo(member)
    if info.file_size > MEMBER_LIMIT or info.file_size > RATIO_LIMIT * (info.compress_size + 4096):
        raise InputError(f"`{member}` would unpack to {info.file_size} bytes")
    if info.compress_type not in _METHODS:
        # LZMA's own header may ask for gigabytes of dictionary.
        raise InputError(f"`{member}` is packed by method {info.compress_type}, not by deflate")
    done = 0
    with archive.open(info) as source:
        while True:
            chunk = source.read(_CHUNK)
            if not chunk:
                return
            done += len(chunk)
            if done > info.file_size:
                raise InputError(f"`{member}` is larger than its wheel says")
            write(chunk)


@contextlib.contextmanager
def unpacked(archive: ZipFile, members: set[str]) -> Iterator[str]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="envlock-") as folder:
        root = os.path.realpath(folder)
        for member in sorted(members):
            place = os.path.normpath(os.path.join(root, member))
            if not place.startswith(root + os.sep):
                raise InputError(f"`{member}` points out of its wheel")
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as target:
                _copy(archive, member, target.write)
        yield root
