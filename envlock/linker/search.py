"""Where the dynamic linker looks for a library, in which order, and what it finds.

Mirrors `_dl_map_object` (from 2.41 `_dl_map_new_object`), `fillin_rpath`, `open_path` and
`_dl_dst_substitute` of glibc's elf/dl-load.c.
"""

from __future__ import annotations

import errno
import os

from ..binary.elf.dynamic import DF_1_NODEFLIB
from ..models.errors import ElfError
from .cache import DEFAULT_FLAGS, LinkerCache
from .header import Rejection
from .library import Library
from .rtld import Interpreter, Processor, kernel, processor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .library import LibraryPool
    from .namespace import LoadedObject

#: Files that are looked for on behalf of one plugin; 700 libraries in 700 folders.
MAX_TRIES = 1 << 19
#: Folders and search paths whose meaning is remembered, so that memory stays flat over many plugins.
MOST_FOLDERS, MOST_PATHS = 1 << 16, 256
_IDENTIFIER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


class Searched:
    """One folder (or the cache) that was looked into, and on whose behalf."""

    __slots__ = ("folder", "how", "owner")

    def __init__(self, folder: str, how: str, owner: str | None = None) -> None:
        self.folder = folder
        self.how = how
        self.owner = owner

    def __repr__(self) -> str:
        return f"Searched({self.folder!r}, {self.how!r}, {self.owner!r})"


class Found:
    """A library that the search found: its path as the linker spells it, how, and whose path."""

    __slots__ = ("how", "library", "owner", "path")

    def __init__(self, library: Library, path: str, how: str, owner: str | None) -> None:
        self.library = library
        self.path = path
        self.how = how
        self.owner = owner


class NotFound:
    """Nothing usable: dlopen's error text, where it looked, and files of that name it refused."""

    __slots__ = ("error", "outcome", "reason", "rejected", "searched")

    def __init__(
        self,
        error: str,
        reason: str,
        searched: tuple[Searched, ...],
        rejected: tuple[tuple[str, str], ...],
        outcome: str = "refused",
    ) -> None:
        self.error = error
        self.reason = reason
        self.searched = searched
        self.rejected = rejected
        self.outcome = outcome


class Search:
    """The state of one search: errno, other-class flag, refused files."""

    __slots__ = ("errno", "fatal", "other_class", "rejected")

    def __init__(self) -> None:
        # Zero until something is tried: with nothing to try the error names no reason.
        self.errno = 0
        self.other_class: str | None = None
        self.rejected: list[tuple[str, str]] = []
        self.fatal: Rejection | None = None


class Searcher:
    """Finds libraries for one process: its interpreter, LD_LIBRARY_PATH and cache."""

    def __init__(
        self,
        pool: LibraryPool,
        interpreter: Interpreter,
        library_path: str = "",
        cache_path: str | None = "/etc/ld.so.cache",
        inhibit_cache: bool = False,
    ) -> None:
        self.pool = pool
        self.interpreter = interpreter
        self.library_path = library_path
        self._cache_path = None if inhibit_cache else cache_path
        self._cache: LinkerCache | bool | None = False
        self._processor: Processor | None = None
        self._folders: dict[str, tuple[str, ...]] = {}
        self._library_path_dirs: tuple[str, ...] | None = None
        self._expanded: dict[tuple[str, str], tuple[str, ...]] = {}
        self.tries = 0

    @property
    def processor(self) -> Processor:
        """The processor's folders, read when a folder has any."""
        if self._processor is None:
            host = self.pool.host
            self._processor = processor(host.machine_number, host.traits, host.tunables)
        return self._processor

    @property
    def cache(self) -> LinkerCache | None:
        """ld.so.cache, read at first use."""
        if self._cache is False:
            self._cache = None
            if self._cache_path is not None:
                host = self.pool.host
                flags = DEFAULT_FLAGS.get((host.machine_number, host.bits), 3)
                own, traits = self.processor, host.traits
                self._cache = LinkerCache.load(
                    self._cache_path,
                    flags,
                    own.hwcaps if traits.searches_hwcaps else (),
                    own.hwcap_bits if traits.searches_legacy else None,
                    kernel() if traits.checks_kernel else None,
                )
        return self._cache  # type: ignore[return-value]

    def find(self, name: str, loader: LoadedObject | None, main: LoadedObject) -> Found | NotFound:
        """Look for one DT_NEEDED (or dlopen) name on behalf of `loader`.

        A name with a slash is a path; dynamic string tokens in it are replaced first.
        """
        state = Search()
        if "/" in name:
            path = self.substitute(name, loader) if loader is not None else name
            path = self._place(path)
            library = self._try(path, state) if path else None
            if library is not None:
                return Found(library, path, "path", None)
            return self._failure(name, state, ())
        for how, owner, folders in self.plan(loader, main):
            if how == "ld.so.cache":
                cache = self.cache
                cached = cache.lookup(name) if cache is not None else None
                cached = None if cached is None else self._place(cached)
                if cached is None or (self._nodeflib(loader, main) and self._in_system(cached)):
                    continue
                library = self._try(cached, state)
                if library is not None:
                    return Found(library, cached, how, None)
                if state.fatal is not None:
                    break
                continue
            self.tries += len(folders)
            if self.tries > MAX_TRIES:
                raise ElfError(
                    f"`{(loader or main).path}` is damaged: to look for what it needs in "
                    f"{len(folders)} folders takes more than {MAX_TRIES} attempts"
                )
            found = self._open_path(name, folders, state)
            if found is not None:
                return Found(found[0], found[1], how, owner)
            if state.fatal is not None:
                break
        searched = tuple(
            Searched(folder, how, owner)
            for how, owner, folders in self.plan(loader, main)
            for folder in folders
        )
        return self._failure(name, state, searched)

    def plan(
        self, loader: LoadedObject | None, main: LoadedObject
    ) -> list[tuple[str, str | None, tuple[str, ...]]]:
        """What is searched, in order: (how, whose path, folders)."""
        steps: list[tuple[str, str | None, tuple[str, ...]]] = []
        library = loader.library if loader is not None else None
        if library is None or library.runpath is None:
            link: LoadedObject | None = loader
            did_main = False
            while link is not None:
                folders = self._paths_of(link, "rpath")
                if folders:
                    steps.append(("rpath", link.path, folders))
                    did_main = did_main or link is main
                link = link.loader
            if not did_main:
                folders = self._paths_of(main, "rpath")
                if folders:
                    steps.append(("rpath", main.path, folders))
        folders = self._environment_folders(main)
        if folders:
            steps.append(("LD_LIBRARY_PATH", None, folders))
        if loader is not None:
            folders = self._paths_of(loader, "runpath")
            if folders:
                steps.append(("runpath", loader.path, folders))
        if self._cache_path is not None:
            steps.append(("ld.so.cache", None, (self._cache_path,)))
        if not self._nodeflib(loader, main):
            steps.append(("default", None, self.interpreter.system_dirs))
        return steps

    def _nodeflib(self, loader: LoadedObject | None, main: LoadedObject) -> bool:
        library = (loader or main).library
        return library is not None and bool(library.elf.dynamic.flags_1 & DF_1_NODEFLIB)

    def _in_system(self, path: str) -> bool:
        return path.startswith(self.interpreter.system_dirs)

    def _environment_folders(self, main: LoadedObject) -> tuple[str, ...]:
        if self._library_path_dirs is None:
            text = self.library_path
            self._library_path_dirs = self._expand(text.replace(";", ":"), main) if text else ()
        return self._library_path_dirs

    def _paths_of(self, link: LoadedObject, kind: str) -> tuple[str, ...]:
        library = link.library
        if library is None:
            return ()
        text = library.rpath if kind == "rpath" else library.runpath
        if not text:
            return ()
        key = (text, link.origin)
        known = self._expanded.get(key)
        if known is None:
            if len(self._expanded) >= MOST_PATHS:
                self._expanded.clear()
            known = self._expanded[key] = self._expand(text, link)
        return known

    def _expand(self, text: str, link: LoadedObject) -> tuple[str, ...]:
        """`fillin_rpath`: folders ending in a slash, each once; an empty one is the current."""
        found: dict[str, None] = {}
        for part in text.split(":"):
            folder = part
            if part:
                folder = self.substitute(part, link)
                if not folder:
                    continue
                folder = folder.rstrip("/") + "/"
                if part.startswith("/"):
                    folder = self._place(folder)
            found[folder] = None
        return tuple(found)

    def _place(self, path: str) -> str:
        """Where a path that was written for the process's own root is here."""
        root = self.pool.root
        return path if root is None else root.outside(path)

    def _is_folder(self, path: str) -> bool:
        root = self.pool.root
        return os.path.isdir(path if root is None else root.real(path.rstrip("/")))

    def substitute(self, text: str, link: LoadedObject) -> str:
        """Replace `$ORIGIN`, `$LIB` and `$PLATFORM`; empty when one has no value."""
        if "$" not in text:
            return text
        out = []
        at = 0
        while True:
            dollar = text.find("$", at)
            if dollar < 0:
                out.append(text[at:])
                return "".join(out)
            out.append(text[at:dollar])
            at = dollar + 1
            for token in ("ORIGIN", "PLATFORM", "LIB"):
                length = _token_length(text, at, token)
                if length:
                    value = self._value(token, link)
                    if not value:
                        return ""
                    out.append(value)
                    at += length
                    break
            else:
                out.append("$")

    def _value(self, token: str, link: LoadedObject) -> str:
        if token == "ORIGIN":
            return link.origin
        return self.interpreter.lib_token if token == "LIB" else self.processor.platform

    def _open_path(
        self, name: str, folders: tuple[str, ...], state: Search
    ) -> tuple[Library, str] | None:
        for folder in folders:
            variants = self._folders.get(folder)
            if variants is None:
                if len(self._folders) >= MOST_FOLDERS:
                    self._folders.clear()
                variants = self._folders[folder] = self._variants(folder)
            if not variants:
                state.errno = errno.ENOENT
            for variant in variants:
                path = variant + name
                library = self._try(path, state)
                if library is not None:
                    return library, path
                if state.fatal is not None:
                    return None
            if variants and state.errno not in (errno.ENOENT, errno.EACCES):
                if state.errno == errno.ENOTDIR and self.pool.host.traits.passes_over_files:
                    continue
                return None
        return None

    def _variants(self, folder: str) -> tuple[str, ...]:
        """The folder's existing hardware subfolders, then itself; nothing where it is not a folder."""
        if folder[:1] != "/":
            return (folder,)
        if not self._is_folder(folder):
            return ()
        found = []
        traits = self.pool.host.traits
        if self._is_folder(folder + "glibc-hwcaps") and traits.searches_hwcaps:
            found = [f"{folder}glibc-hwcaps/{name}/" for name in self.processor.hwcaps]
        if traits.searches_legacy:
            tops = {"tls", "x86_64", "haswell", "xeon_phi", "avx512_1", "aarch64"}
            if any(self._is_folder(folder + top) for top in tops):
                found += [folder + name for name in self.processor.legacy]
        return (*filter(self._is_folder, found), folder)

    def _try(self, path: str, state: Search) -> Library | None:
        """`open_verify` on one path."""
        answer = self.pool.open(path)
        if isinstance(answer, Library):
            return answer
        if isinstance(answer, int):
            state.errno = answer
            return None
        state.rejected.append((path, answer.text))
        if answer.outcome == "skipped":
            state.errno = answer.errno
            if answer.reason == "class":
                state.other_class = answer.text
        else:
            state.fatal = answer
        return None

    def _failure(self, name: str, state: Search, searched: tuple[Searched, ...]) -> NotFound:
        rejected = tuple(state.rejected)
        fatal = state.fatal
        if fatal is not None:
            text = fatal.message(name, state.rejected[-1][0])
            return NotFound(text, fatal.reason, searched, rejected, fatal.outcome)
        if state.other_class is not None:
            return NotFound(f"{name}: {state.other_class}", "class", searched, rejected)
        reason = "machine" if rejected else "library"
        text = f"{name}: cannot open shared object file"
        text += f": {os.strerror(state.errno)}" if state.errno else ""
        return NotFound(text, reason, searched, rejected)


def _token_length(text: str, at: int, token: str) -> int:
    """`is_dst`: how long the token at `at` is, with its braces; 0 when it is another one."""
    curly = text[at : at + 1] == "{"
    start = at + 1 if curly else at
    end = start + len(token)
    if text[start:end] != token:
        return 0
    following = text[end : end + 1]
    if curly:
        return len(token) + 2 if following == "}" else 0
    return 0 if following in _IDENTIFIER and following else len(token)
