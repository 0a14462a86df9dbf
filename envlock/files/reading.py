"""Reading small files of unknown origin: limited in size, never waiting, never a traceback."""

from __future__ import annotations

import os
import stat

#: Bytes; each well above the largest real file of its kind.
CONFIG_LIMIT = 1 << 16
HEADER_LIMIT = 1 << 20
RECORD_LIMIT = 1 << 26
#: Of these, what is read at a time by who looks for one line.
PIECE = 1 << 16


class Unreadable(Exception):
    """Why a file could not be read, as part of a sentence; never leaves this package."""


def read(path: str, limit: int, *, head: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes; with `head`, its first `limit`.

    Raises `Unreadable`.
    """
    fd, size = _opened(path, None if head else limit)
    try:
        parts = []
        left = limit
        # A buffer of the limit's size would cost more than the reading; /proc's files state 0.
        most = min(max(size, 1 << 12) + 1, 1 << 24)
        while left > 0:
            part = os.read(fd, min(left, most))
            if not part:
                break
            parts.append(part)
            left -= len(part)
            if len(part) == size:
                break  # the usual case, without asking once more for nothing
        return parts[0] if len(parts) == 1 else b"".join(parts)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    finally:
        os.close(fd)


def _opened(path: str, limit: int | None) -> tuple[int, int]:
    """A descriptor of a regular file, and its size. Raises `Unreadable`, also above the limit."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("it is not a regular file")
        if limit is not None and status.st_size > limit:
            raise Unreadable(f"its {status.st_size} bytes are more than the allowed {limit}")
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise Unreadable(error.strerror or str(error)) from None
        raise
    return fd, status.st_size


def line_with(path: str, start: bytes, limit: int) -> bytes | None:
    """The first line that starts with some bytes, up to its newline; None where there is none.

    Raises `Unreadable`. The file is read in pieces: filling memory that was not used before takes
    longer than searching it.
    """
    fd, _ = _opened(path, limit)
    wanted = b"\n" + start
    before = b"\n"  # the end of what was read, where a line may begin
    line: list[bytes] = []
    try:
        while limit > 0:
            part = os.read(fd, min(PIECE, limit))
            if not part:
                break
            limit -= len(part)
            if not line:
                part = before + part
                at = part.find(wanted)
                if at < 0:
                    before = part[-len(wanted) :]
                    continue
                part = part[at + 1 :]
            text, end, _ = part.partition(b"\n")
            line.append(text)
            if end:
                break
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    finally:
        os.close(fd)
    return b"".join(line) if line else None


def text(path: str, limit: int, *, head: bool = False) -> str | None:
    """The file as text, with bytes that are not UTF-8 replaced; None where it cannot be read."""
    try:
        return read(path, limit, head=head).decode("utf-8", "replace")
    except Unreadable:
        return None


def listing(folder: str) -> list[str]:
    """The names in a folder, sorted; empty where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def plain(value: str) -> str:
    """Text that goes into documents: no lone surrogates, no control characters, bounded."""
    kept = value.encode("utf-8", "replace").decode("utf-8")[:500]
    return kept if kept.isprintable() else "".join(c if c.isprintable() else "?" for c in kept)


def macro(content: str, name: str) -> str | None:
    """The first word that a C header's `#define name` stands for; None where there is none."""
    at = content.find(name)
    while at >= 0:
        rest = content[at + len(name) : at + len(name) + 200]
        before = content[max(0, at - 40) : at].rpartition("\n")[2].split()
        if before in (["#define"], ["#", "define"]) and rest[:1] in (" ", "\t"):
            words = rest.partition("\n")[0].split()
            return words[0] if words else None
        at = content.find(name, at + 1)
    return None
