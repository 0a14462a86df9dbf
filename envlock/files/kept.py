"""Small documents that are kept in the user's cache folder, each under a digest.

They only save time. What is damaged, too large, or belongs to somebody else counts as absent; what
cannot be written is not. Files are replaced as a whole, so that no process ever reads half of one,
and each folder holds a few only: together at most `256 * IN_FOLDER * LIMIT` bytes.
`$ENVLOCK_NO_CACHE`, set to anything, turns it off.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress

from .folders import cache_folder
from .json_text import JsonReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

#: Bytes of a document, and documents in each of the 256 folders (by a digest's first byte).
LIMIT, IN_FOLDER = 1 << 18, 16
#: Seconds after which what a killed process left behind is removed.
ABANDONED = 3600
#: What turns it off in the environment of a process; empty does not.
SWITCH = "ENVLOCK_NO_CACHE"


def digest_of(data: bytes | mmap.mmap) -> str | None:
    """32 hexadecimal digits of BLAKE2b (RFC 7693) for bytes; None where Python is built without it.

    `hashlib` would load OpenSSL, and map a library into a process that only wants to check.
    """
    try:
        from _blake2 import blake2b
    except ImportError:
        return None
    found: str = blake2b(data, digest_size=16).hexdigest()
    return found


_off: list[bool] = []


def turn_off() -> None:
    """Keep and read nothing from now on in this process, as the option `--no-cache` asks for."""
    _off.append(True)


def is_on() -> bool:
    """Whether documents are kept and read at all."""
    return not _off and not os.environ.get(SWITCH)


def read(digest: str) -> dict[str, Any] | None:
    """The document under a digest; None where there is none that can be trusted."""
    try:
        fd = os.open(_path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if not own or status.st_mode & 0o022 or status.st_size > LIMIT:
            return None
        head, _, body = os.read(fd, LIMIT + 1).partition(b"\n")
        if head.decode("ascii") != _seal(digest, body):
            return None
        found = JsonReader().read(body.decode())
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(fd)
    return found if type(found) is dict else None


def write(digest: str, document: dict[str, Any]) -> None:
    """Keep a document under a digest, if it can be kept."""
    import json

    body = json.dumps(document, separators=(",", ":")).encode()
    if len(body) + 64 > LIMIT:
        return
    path = _path(digest)
    folder = os.path.dirname(path)
    unfinished = os.path.join(folder, f".{os.getpid()}-{time.monotonic_ns():x}")
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(unfinished, flags, 0o600)
    except OSError:
        return
    try:
        try:
            whole = f"{_seal(digest, body)}\n".encode() + body
            written = os.write(fd, whole)
        finally:
            os.close(fd)
        if written == len(whole):
            os.rename(unfinished, path)
        else:
            os.unlink(unfinished)
        _prune(folder)
    except OSError:
        with suppress(OSError):
            os.unlink(unfinished)


def _path(digest: str) -> str:
    return os.path.join(cache_folder(), "facts", digest[:2], digest[2:])


def _seal(digest: str, body: bytes) -> str:
    """What a document begins with: that of another digest, or a damaged one, has another."""
    return digest_of(digest.encode() + body) or ""


def _prune(folder: str) -> None:
    """Remove the documents that were written longest ago, if there are too many."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            changed = entry.stat(follow_symlinks=False).st_mtime
            if entry.name.startswith("."):
                if changed < time.time() - ABANDONED:
                    os.unlink(entry.path)
            else:
                found.append((changed, entry.path))
    for _, path in sorted(found)[: max(0, len(found) - IN_FOLDER)]:
        os.unlink(path)
