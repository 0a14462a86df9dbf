"""What `dlopen` would answer, and why: the result of `envlock.linker.resolve.predict`."""

from __future__ import annotations

from .search import Searched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .library import Library
    from .scope import LiveScope

#: How a library was found, in the words of the reports.


class Dependency:
    """One library of the closure: under which name it was asked for, by whom, where it is, how.

    `owner` is the library whose RPATH or RUNPATH found it. `new` is False for a library that the
    process had loaded before; `found_by` is how it was found then.
    """

    __slots__ = ("found_by", "how", "library", "name", "needed_by", "new", "owner", "path")

    def __init__(
        self,
        name: str,
        path: str,
        how: str,
        needed_by: str | None,
        library: Library | None,
        new: bool,
        owner: str | None = None,
        found_by: str | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.how = how
        self.found_by = found_by or how
        self.needed_by = needed_by
        self.library = library
        self.new = new
        self.owner = owner

    def __repr__(self) -> str:
        return f"Dependency({self.name!r}, {self.path!r}, {self.how!r})"


class MissingLibrary:
    """A DT_NEEDED name that was found nowhere, or whose file the linker does not take."""

    __slots__ = ("error", "name", "needed_by", "rejected", "searched")

    def __init__(
        self,
        name: str,
        needed_by: str,
        error: str,
        searched: tuple[Searched, ...],
        rejected: tuple[tuple[str, str], ...],
    ) -> None:
        self.name = name
        self.needed_by = needed_by
        self.error = error
        self.searched = searched
        self.rejected = rejected  # (path, why): right name, wrong file

    def __repr__(self) -> str:
        return f"MissingLibrary({self.name!r}, {self.needed_by!r})"


class MissingVersion:
    """A version that a library needs from another, which does not define it."""

    __slots__ = ("needed_by", "provider", "provider_path", "version", "weak")

    def __init__(
        self, version: str, provider: str, provider_path: str, needed_by: str, weak: bool
    ) -> None:
        self.version = version
        self.provider = provider
        self.provider_path = provider_path
        self.needed_by = needed_by
        self.weak = weak

    def __repr__(self) -> str:
        return f"MissingVersion({self.version!r}, {self.provider_path!r}, {self.needed_by!r})"


class MissingSymbol:
    """A strong reference that nothing in its lookup scope defines; `name` is mangled."""

    __slots__ = ("name", "needed_by", "version", "version_file")

    def __init__(
        self, name: str, needed_by: str, version: str | None, version_file: str | None
    ) -> None:
        self.name = name
        self.needed_by = needed_by
        self.version = version
        self.version_file = version_file

    def __repr__(self) -> str:
        return f"MissingSymbol({self.name!r}, {self.needed_by!r}, {self.version!r})"


class Prediction:
    """What dlopen would do with one file in one scope.

    `outcome` is "ok", "refused" (dlopen returns an error) or "crash" (it kills the process);
    `error` is the text that dlerror would give (for a crash: what happens). `reason` is one word
    for it: "file", "header", "library", "version", "symbol", "tls", "stack", "isa", "flags",
    "truncated", "assertion", "damaged", "relr". dlopen stops at the first error; the lists name all.
    `second_framework` are copies of TensorFlow's own libraries that would be loaded beside the
    loaded ones; `scope` is the scope that was asked. `cut_off` counts bytes at the end of the
    last page that the file lacks: dlopen takes it, the bytes read as zeros. `unrelocated` are
    libraries whose DT_RELR an older dynamic linker leaves out without a word. `other_libc` says
    that the file was linked against glibc and the process runs on musl.
    """

    __slots__ = (
        "already_loaded",
        "closure",
        "cut_off",
        "error",
        "missing_libraries",
        "missing_symbols",
        "missing_versions",
        "other_libc",
        "outcome",
        "path",
        "reason",
        "scope",
        "second_framework",
        "unchecked",
        "unrelocated",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.outcome = "ok"
        self.error: str | None = None
        self.reason: str | None = None
        self.already_loaded = False
        self.cut_off = 0
        self.closure: tuple[Dependency, ...] = ()
        self.missing_libraries: tuple[MissingLibrary, ...] = ()
        self.missing_versions: tuple[MissingVersion, ...] = ()
        self.missing_symbols: tuple[MissingSymbol, ...] = ()
        self.second_framework: tuple[Dependency, ...] = ()
        self.unchecked: tuple[str, ...] = ()
        self.other_libc = False
        self.unrelocated: tuple[str, ...] = ()
        self.scope: LiveScope | None = None

    @property
    def ok(self) -> bool:
        """Whether dlopen would return a handle."""
        return self.outcome == "ok"

    @property
    def unremarkable(self) -> bool:
        """Whether dlopen would return a handle, and nothing about that wants explaining."""
        return self.ok and not (
            self.second_framework or self.cut_off or self.unrelocated or self.other_libc
        )

    def fail(self, outcome: str, reason: str, error: str) -> None:
        """Record the first failure; later ones do not change what dlopen says."""
        if self.outcome == "ok":
            self.outcome, self.reason, self.error = outcome, reason, error

    def __repr__(self) -> str:
        return f"Prediction({self.path!r}, {self.outcome!r}, {self.error!r})"
