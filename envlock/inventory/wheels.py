"""Libraries in wheels, read without installing the wheel.

They are read in memory (memfd); only where a plugin has libraries beside it in the same wheel are
those unpacked, into a temporary folder, so that `$ORIGIN` leads somewhere.
"""

from __future__ import annotations

import contextlib
import os

from ..binary.elf import ElfFile
from ..models.errors import InputError
from ..plugin.facts import PluginFacts
from .plugins import is_library_name, is_wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from zipfile import ZipFile

    from ..models.report import Report

    #: What is said of a plugin whose file is open.
    Judge = Callable[[PluginFacts], list[Report]]

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


def judge_member(wheel: str, member: str, label: str, judge: Judge) -> list[Report]:
    """What `judge` says of a plugin in a wheel, nothing where it is not a plugin. Raises `InputError`.

    `label` is what reports call it.
    """
    with open_wheel(wheel) as archive, in_memory(archive, member) as path:
        if not is_wanted(path):
            return []
        with _naming(path, label), ElfFile.open(path) as elf:
            beside = libraries_beside(archive, elf)
            if not beside:
                elf.path = label  # nothing beside it is looked for
                return judge(PluginFacts.of(elf))
        with unpacked(archive, {member, *beside}) as folder:
            place = os.path.join(folder, member)
            with _naming(place, label), ElfFile.open(place) as elf:
                return [_renamed(report, place, label) for report in judge(PluginFacts.of(elf))]


@contextlib.contextmanager
def _naming(path: str, label: str) -> Iterator[None]:
    """Lets errors name the member, and not the file that it is read from."""
    try:
        yield
    except InputError as error:
        error.message = error.message.replace(path, label)
        raise


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


def _renamed(report: Report, path: str, label: str) -> Report:
    """A report with the unpacked file's path replaced by the wheel's and the member's."""

    def rename(text: str | None) -> str | None:
        return None if text is None else text.replace(path, label)

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
    plugin = report.plugin.replace(path=label)
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
    try:
        fd = os.memfd_create("envlock")
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
                raise InputError(f"`{member}` points outside its wheel")
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as target:
                _copy(archive, member, target.write)
        yield root
