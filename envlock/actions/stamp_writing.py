"""Writing the stamped form of a library.

`write_stamp` makes the stamped form of a library in a nameless file of the target's folder, reads
it back with envlock's own reader and with pyelftools, and only then gives it the target's name.
docs/reference/stamping.md says what is promised.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat

from ..binary.elf.append import body_size, plan_append
from ..binary.elf.file import ElfFile
from ..binary.elf.image import SHF_ALLOC
from ..binary.elf.notes import APPENDED, OWNER, SECTION, find_stamp
from ..files.copying import BodyCopy, Shrunk, copy_and_compare, mismatch
from ..files.plan import Plan
from ..files.scratch import Scratch, close
from ..files.writing import existing, make, require_writable, take_over
from ..models.errors import EnvlockError, FileAccessError, WriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Smaller libraries are copied faster than a thread is worth, in bytes.
AHEAD_FROM = 8 << 20


class StampResult:
    """What was written.

    `path`: the file that now holds the stamp (behind a symbolic link: the file it leads to).
    `bytes_added`: growth against the source, in bytes. `changed`: False when the file held exactly
    this stamp already and was left alone. `hard_links`: other names of the replaced file, which
    keep the old content. `notes`: sentences for the user about what could not be kept.
    """

    __slots__ = ("bytes_added", "changed", "hard_links", "notes", "path")

    def __init__(
        self,
        path: str,
        bytes_added: int,
        *,
        changed: bool = True,
        hard_links: int = 0,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.bytes_added = bytes_added
        self.changed = changed
        self.hard_links = hard_links
        self.notes = notes


class Ahead:
    """Copies the body of a large library while its manifest is being made; a context manager.

    `elf` is the open source, the other arguments are those of `write_stamp`, which takes this and
    uses what was copied if it still fits. Whatever stands in the way of an early copy is left to
    `write_stamp` to find and to name.
    """

    def __init__(
        self,
        elf: ElfFile,
        source: str | os.PathLike[str],
        destination: str | os.PathLike[str] | None,
    ) -> None:
        self.elf = elf
        self.source = os.fspath(source)
        self.target = os.path.realpath(source if destination is None else os.fspath(destination))
        self.keep = 0
        self.scratch: Scratch | None = None
        self.body: BodyCopy | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Ahead:
        if self.elf.size >= AHEAD_FROM:
            with contextlib.suppress(EnvlockError, OSError):
                self._begin()
            if self.body is None:
                self.__exit__()  # no scratch file in the way of the one to come
        return self

    def _begin(self) -> None:
        old = existing(self.target)
        if old is not None:
            require_writable(self.target, old)
        self.keep = body_size(self.elf)
        fd = _open_source(self.source, self.elf.status)
        self._open.callback(close, fd)
        self.scratch = self._open.enter_context(Scratch(self.target))
        if self.scratch.name is not None:
            return  # a killed stamp's child would hold on to it for a moment
        body = self._open.enter_context(BodyCopy(fd, self.scratch.fd, self.keep, self.target))
        self.body = body if body.begun else None

    def fits(self, target: str, plan: Plan) -> bool:
        """Whether a plan can be completed from what was copied."""
        return self.body is not None and self.target == target and self.keep == plan.keep

    def __exit__(self, *_: object) -> None:
        self.scratch = self.body = None
        self._open.close()


def write_stamp(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None,
    payload: bytes,
    *,
    signature: bytes | None = None,
    unchanged_since: os.stat_result | None = None,
    ahead: Ahead | None = None,
) -> StampResult:
    """Write `source` with `payload` as its appended manifest, in place or to `destination`.

    In place, the new file takes over mode, owner and extended attributes, and a symbolic link
    stays one: the file that it leads to is replaced. Of a hard-linked file only this name is
    replaced, the others keep the old content; that is what package caches (uv, conda) need, and
    the result says so. `signature` goes behind the manifest. `unchanged_since` is the status of
    the file that the manifest describes (`ElfFile.status`): a source that is another one by now
    is refused. `ahead` has copied its body already.

    Raises `FileAccessError` or `ElfError` for the source, `WriteError` for everything about the
    target, which then is as it was.
    """
    source = os.fspath(source)
    target = os.path.realpath(source if destination is None else os.fspath(destination))
    in_place = target == os.path.realpath(source)
    if in_place and destination is not None and os.path.islink(destination):
        raise WriteError(
            f"cannot write `{os.fspath(destination)}`: it leads to the plugin itself",
            hint="leave out `-o` to stamp the plugin in place",
        )
    with ElfFile.open(source) as elf:
        before = elf.status
        if unchanged_since is not None and not _same(before, unchanged_since):
            raise _changed(source)
        old = before if in_place else existing(target)
        if old is not None:
            require_writable(target, old)
        plan = plan_append(elf, payload, signature)
        if in_place and _is_already(elf, plan):
            return StampResult(target, 0, changed=False, hard_links=before.st_nlink - 1)
        parts = [payload] if signature is None else [payload, signature]
        fd = _open_source(source, before)
        try:
            notes = _replace(fd, source, target, plan, parts, old, before, ahead)
        finally:
            close(fd)
    links = old.st_nlink - 1 if old is not None else 0
    if links:
        notes.append(
            f"`{target}` was one of {links + 1} hard links to the same file; only this name was "
            "replaced, the others keep the old content"
        )
    return StampResult(target, plan.size - before.st_size, hard_links=links, notes=tuple(notes))


def _open_source(source: str, before: os.stat_result) -> int:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            changed = not _same(os.fstat(fd), before)
        except OSError:
            close(fd)
            raise
    except OSError as error:
        raise FileAccessError(f"cannot open `{source}`: {error.strerror}") from None
    if changed:
        close(fd)
        raise _changed(source)
    return fd


def _replace(
    fd: int,
    source: str,
    target: str,
    plan: Plan,
    parts: list[bytes],
    old: os.stat_result | None,
    before: os.stat_result,
    ahead: Ahead | None,
) -> list[str]:
    notes: list[str] = []
    if ahead is not None and not ahead.fits(target, plan):
        ahead = None

    def fill(scratch: Scratch) -> None:
        if ahead is not None and ahead.body is not None and scratch is ahead.scratch:
            ahead.body.finish(plan)
        else:
            copy_and_compare(fd, scratch.fd, plan, target)
        notes[:] = _read_back(scratch.fd, parts, target)
        if old is None:
            os.fchmod(scratch.fd, stat.S_IMODE(before.st_mode) & 0o777)
        else:
            in_place = os.path.samestat(old, before)
            notes.extend(take_over(scratch.fd, old, fd if in_place else target))
        os.fsync(scratch.fd)
        # ctime is left out: taking a hard link elsewhere changes it, and no byte.
        if not _same(os.fstat(fd), before):
            raise _changed(source)
        now = existing(target)
        if (now is None) != (old is None) or (now and old and not _same(now, old)):
            raise _changed(target)

    try:
        unsynced = make(target, fill, None if ahead is None else ahead.scratch)
    except Shrunk:
        raise _changed(source) from None
    if unsynced is not None:
        notes.append(
            f"`{target}` is in place, but its folder could not be flushed to disk "
            f"({unsynced.strerror}): after a power failure the old file may be there again"
        )
    return notes


def _is_already(elf: ElfFile, plan: Plan) -> bool:
    """Whether the file is byte for byte what the plan would make of it."""
    if plan.size != elf.size:
        return False
    at = plan.keep
    parts: list[tuple[int, bytes | tuple[int, int]]] = [*plan.patches]
    for piece in plan.pieces:
        parts.append((at, piece))
        at += len(piece) if isinstance(piece, bytes) else piece[1]
    for at, piece in parts:
        if isinstance(piece, bytes):
            if elf.data[at : at + len(piece)] != piece:
                return False
        elif piece[0] != at:
            return False
    return True


def _read_back(out: int, parts: list[bytes], target: str) -> list[str]:
    """The manifest has to come out of the new file as it comes out of any plugin, and all notes
    (`parts`: the manifest, and the signature where there is one) through pyelftools.

    Returns a note where pyelftools cannot be imported.
    """
    with mmap.mmap(out, 0, access=mmap.ACCESS_READ) as data:
        stamp = find_stamp(ElfFile(target, data, os.fstat(out)))
        if stamp is None or stamp.kind != APPENDED or stamp.payload != parts[0]:
            raise mismatch(target, "the manifest is not the one that was to be embedded")
        try:
            if _by_pyelftools(data) == parts:
                return []
            found = "finds another stamp"
        except (ImportError, OSError):
            return [
                "only envlock's own reader has read the stamp back: pyelftools, the second one, "
                "cannot be imported here"
            ]
        except ValueError as error:
            found = f"finds none ({error!s:.200})"
    raise WriteError(
        f"cannot write `{target}`: envlock reads the new stamp back, but pyelftools {found}; "
        "the old file is as it was",
        hint="the file's section headers are unusual: please report it",
    )


def _by_pyelftools(data: Any) -> list[bytes]:
    """The descriptors of envlock's notes in a mapped file; ValueError where they are not found.

    Only sections of notes are looked into, the last ones first: what pyelftools does not support
    elsewhere in the file does not matter.
    """
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import NoteSection

    owner = OWNER.rstrip(b"\0").decode()
    try:
        elf = ELFFile(data)
        for number in reversed(range(elf.num_sections())):
            with contextlib.suppress(ELFError):  # another kind of section
                section = elf.get_section(number, ("SHT_NOTE",))
                if not isinstance(section, NoteSection) or section.name != SECTION:
                    continue
                if not section["sh_flags"] & SHF_ALLOC:
                    ours = (n for n in section.iter_notes() if n["n_name"] == owner)
                    return [note["n_descdata"] for note in ours]
    except (ELFError, ConstructError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(error) from None
    raise ValueError(f"no section `{SECTION}`")


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_dev,
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


def _changed(path: str) -> WriteError:
    return WriteError(
        f"`{path}` was changed by another program while it was being stamped; nothing was written",
        hint="stamp it when the build has ended",
    )
