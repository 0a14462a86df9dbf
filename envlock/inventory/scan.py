"""Finding plugins under folders, environments and wheels, and checking each.

A wheel's libraries are read in memory (memfd); only where a plugin has libraries beside it in the
same wheel are those unpacked, into a temporary folder, so that `$ORIGIN` leads somewhere.
"""

from __future__ import annotations

import contextlib
import os
import stat

from ..actions.checking import Checker, unreadable_report
from ..binary.elf import ElfFile
from ..files.folders import added_files
from ..models.errors import FileAccessError, InputError
from ..models.policy import DEFAULT
from .plugins import is_library_name, is_plugin, libraries_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from zipfile import ZipFile

    from ..models.policy import PolicyFile
    from ..models.report import Report

#: Fewer plugins than this are checked faster than children are started.
PARALLEL_FROM = 8
#: Bytes of one library in a wheel, and of all that are unpacked of one wheel.
MEMBER_LIMIT = 4 << 30
#: A member that grows more than that when unpacked is a bomb; real libraries stay below 12.
RATIO_LIMIT = 200
_CHUNK = 1 << 20
#: Stored and deflated: what wheels are packed with, and index servers accept.
_METHODS = (0, 8)


class Candidate:
    """A file that may be a plugin: on disk, or a member of a wheel.

    Or, with a `problem`, what cannot be read, and a folder that has none to look at.
    """

    __slots__ = ("member", "path", "problem")

    def __init__(
        self, path: str, member: str | None = None, problem: InputError | None = None
    ) -> None:
        self.path = path
        self.member = member
        self.problem = problem

    @property
    def label(self) -> str:
        """How reports name it."""
        return self.path if self.member is None else f"{self.path}!/{self.member}"


def candidates(paths: Iterable[str]) -> Iterator[Candidate]:
    """Every shared library under the paths, wheels looked into, each file once, in order.

    Folders without any are among them, with a problem, as is what cannot be read, so that the
    others are still looked at. A file that is named itself is a candidate whatever it is called.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            yield Candidate(path, problem=FileAccessError(f"`{path}` cannot be read: {reason}"))
            continue
        if stat.S_ISDIR(mode):
            unread: list[OSError] = []
            found = sorted([*libraries_below(path), *_wheels_below(path, unread.append)])
            wanted = "a shared library or wheel to look at"
            for place, problem in folder_problems(path, unread, empty=not found, wanted=wanted):
                yield Candidate(place, problem=problem)
        else:
            found = [path]
        for one in found:
            try:
                status = os.stat(one)
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if one.endswith(".whl"):
                yield from _members(one)
            else:
                yield Candidate(one)


def _wheels_below(folder: str, failed: Callable[[OSError], object]) -> Iterator[str]:
    for parent, folders, names in os.walk(folder, onerror=failed):
        folders.sort()
        for name in names:
            if name.endswith(".whl"):
                yield os.path.join(parent, name)


def _members(wheel: str) -> Iterator[Candidate]:
    try:
        with open_wheel(wheel) as archive:
            names = sorted({info.filename for info in archive.infolist()})
    except InputError as error:
        yield Candidate(wheel, problem=error)
        return
    for name in names:
        if is_library_name(name.rpartition("/")[2]):
            yield Candidate(wheel, name)


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


def scan(
    paths: Iterable[str],
    checker: Checker,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Report, ...]:
    """A report on each plugin; libraries that are none are left out.

    What cannot be read gets a report without a verdict.
    `progress` is told how many are done, how many there are, and which is next.
    """
    everything = list(candidates(paths))
    named = {path for path in paths if not os.path.isdir(path)}
    reports: list[Report] = []
    for number, candidate in enumerate(everything):
        if progress is not None:
            progress(number, len(everything), candidate.label)
        report = _check(candidate, checker, candidate.path in named and candidate.member is None)
        if report is not None:
            reports.append(report)
    if progress is not None:
        progress(len(everything), len(everything), "")
    return tuple(reports)


def _check(candidate: Candidate, checker: Checker, named: bool) -> Report | None:
    if candidate.problem is not None:
        return unreadable_report(candidate.label, candidate.problem, checker.summary)
    if candidate.member is None:
        try:
            with ElfFile.open(candidate.path) as elf:
                wanted = named or is_plugin(elf)
        except InputError:
            # A linker script or a text named .so is no plugin; a file that was named is looked at.
            return checker.check(candidate.path) if named else None
        return checker.check(candidate.path) if wanted else None
    try:
        return _check_member(candidate, checker)
    except InputError as error:
        return unreadable_report(candidate.label, error, checker.summary)


def _check_member(candidate: Candidate, checker: Checker) -> Report | None:
    assert candidate.member is not None
    with open_wheel(candidate.path) as archive, in_memory(archive, candidate) as path:
        try:
            with ElfFile.open(path) as elf:
                if not is_plugin(elf):
                    return None
                beside = _beside(archive, elf)
        except InputError:
            return None
        if not beside:
            return relabelled(checker.check(path), path, candidate)
        with _unpacked(archive, {candidate.member, *beside}) as folder:
            place = os.path.join(folder, candidate.member)
            return relabelled(checker.check(place), place, candidate)


def relabelled(report: Report, path: str, candidate: Candidate) -> Report:
    """A report with the temporary file's name replaced by the wheel's and the member's."""
    name, real = os.path.basename(path), os.path.basename(candidate.member or "")

    def rename(text: str | None) -> str | None:
        if text is None:
            return None
        text = text.replace(path, candidate.label)
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
    plugin = report.plugin.replace(path=candidate.label, error=rename(report.plugin.error))
    unchecked = tuple(
        one.replace(what=rename(one.what), why=rename(one.why)) for one in report.unchecked
    )
    return report.replace(plugin=plugin, findings=findings, unchecked=unchecked)


def _beside(archive: ZipFile, elf: ElfFile) -> set[str]:
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
def in_memory(archive: ZipFile, candidate: Candidate) -> Iterator[str]:
    """A member as a file that exists in memory only. Raises `InputError`."""
    assert candidate.member is not None
    name = os.path.basename(candidate.member)
    try:
        fd = os.memfd_create(name[:200])
    except (OSError, AttributeError) as error:
        raise InputError(f"no room in memory for `{candidate.label}`: {error}") from None
    try:
        with open(fd, "wb", closefd=False) as target:
            _copy(archive, candidate.member, target.write)
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
def _unpacked(archive: ZipFile, members: set[str]) -> Iterator[str]:
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


def _checker(env: str | os.PathLike[str] | None, policy: PolicyFile) -> Checker:
    if added_files():
        from ..atlas.collection import open_added

        open_added()  # one that cannot be read is an error, not a missing answer
    return Checker.for_environment(env, policy)


def check_many(
    plugins: Iterable[str],
    *,
    env: str | os.PathLike[str] | None = None,
    policy: PolicyFile = DEFAULT,
    live_headers: str | None = None,
) -> tuple[Report, ...]:
    """Check plugins and all plugins in folders; unreadable ones get a report without a verdict.

    So does a folder that holds no library: whoever named it meant another one. `live_headers` and
    what is raised are as for `check`, but for what is wrong with a plugin.
    """
    with _checker(env, policy) as checker:
        if live_headers is not None:
            checker.read_headers(live_headers)
        paths, problems = expand(plugins)
        failed = tuple(unreadable_report(path, error, checker.summary) for path, error in problems)
        if len(paths) < PARALLEL_FROM:
            return (*(checker.check(path) for path in paths), *failed)
        from ..files.parallel import Died, map_forked

        answers = map_forked(checker.check, paths)
    reports = (
        unreadable_report(path, InputError(f"checking `{path}` ended its process: {answer}"))
        if isinstance(answer, Died)
        else answer
        for path, answer in zip(paths, answers)
    )
    return (*reports, *failed)


def expand(paths: Iterable[str]) -> tuple[list[str], list[tuple[str, InputError]]]:
    """Files as they are, folders replaced by the shared libraries in them, in a stable order.

    Then the folders that hold none or cannot be read, and what to say of each.
    """
    found: list[str] = []
    problems: list[tuple[str, InputError]] = []
    for path in paths:
        if os.path.isdir(path):
            unread: list[OSError] = []
            libraries = sorted(_libraries_below(path, unread.append))
            found += libraries
            problems += folder_problems(path, unread, empty=not libraries)
        else:
            found.append(path)
    return found, problems


def folder_problems(
    folder: str, unread: Iterable[OSError], *, empty: bool, wanted: str = "a shared library"
) -> list[tuple[str, InputError]]:
    """What keeps a folder from being looked at: parts that cannot be read, or nothing `wanted`."""
    found: list[tuple[str, InputError]] = []
    for error in unread:
        place = os.fspath(error.filename)
        text = f"cannot read the folder `{place}`: {error.strerror}"
        found.append((place, FileAccessError(text)))
    if empty and not found:
        from shlex import quote

        problem = InputError(
            f"`{folder}` is a folder without {wanted}",
            hint=f"`find {quote(folder)} -name '*.so*'` lists what may have been meant",
        )
        found.append((folder, problem))
    return found


def _libraries_below(folder: str, failed: Callable[[OSError], object]) -> Iterable[str]:
    for parent, folders, files in os.walk(folder, onerror=failed):
        folders.sort()
        for name in files:
            full = os.path.join(parent, name)
            if (name.endswith(".so") or ".so." in name) and os.path.isfile(full):
                yield full
