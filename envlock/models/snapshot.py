"""What an environment is: the document that `envlock snapshot` writes.

Five parts have a digest each (see docs/reference/snapshots.md): interpreter, packages, native, variables,
plugins. Fields marked "not digested" say where something came from, not what it is, so that equal
environments on two machines get the same fingerprint. No field holds a time or a host name.
"""

from __future__ import annotations

from .manifest import LibstdcxxFacts, Manifest, NumpyFacts, Owner, PythonFacts, TensorFlowFacts
from .record import Record
from .shown import ErrorInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

SNAPSHOT_FORMAT = "envlock.snapshot/1"
HISTORY_FORMAT = "envlock.history/1"

#: The parts that have a digest of their own, in the order in which people want to read them.
PARTS = ("interpreter", "packages", "native", "variables", "plugins")


class Digests(Record):
    """One digest a part, "sha256:" and 64 hexadecimal digits; empty in a failed snapshot."""

    interpreter: str = ""
    packages: str = ""
    native: str = ""
    variables: str = ""
    plugins: str = ""


class DirectUrl(Record):
    """Where a distribution came from, when not from an index (PEP 610), without secrets."""

    kind: str  # "vcs", "archive" or "directory"
    url: str | None = None  # no user, password, query; a local one is "file:" and its last name
    vcs: str | None = None  # "git", "hg", "svn", "bzr"
    commit: str | None = None
    subdirectory: str | None = None
    hashes: dict[str, str] = {}  # noqa: RUF012  algorithm -> hexadecimal digest of an archive
    editable: bool = False
    local: bool = False  # a path of the machine that it was installed on
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"kind": ("vcs", "archive", "directory")}


class PipPackage(Record):
    """One Python distribution (a dist-info or egg-info folder)."""

    name: str  # normalised as PEP 503 says
    version: str | None  # None: its metadata does not state it, see `problem`
    tags: tuple[str, ...] = ()  # of the wheel it was installed from
    build: str | None = None  # the wheel's build number
    contents: str | None = None  # digest of what RECORD says the wheel brought
    direct_url: DirectUrl | None = None
    conda: str | None = None  # the conda package that owns it
    installer: str | None = None  # "pip", "uv", "conda"; not digested
    requested: bool | None = None  # asked for, not pulled in; not digested
    problem: str | None = None  # why its metadata could not be read in full


class CondaPackage(Record):
    """One conda package (a record in `conda-meta`)."""

    name: str
    version: str | None
    build: str | None = None
    subdir: str | None = None
    channel: str | None = None  # name without host; digested only where sha256 is unknown
    sha256: str | None = None
    md5: str | None = None
    url: str | None = None  # without token and credentials; not digested
    requested: bool | None = None  # not digested
    problem: str | None = None


class Packages(Record):
    """Everything that a package manager brought."""

    pip: tuple[PipPackage, ...] = ()
    conda: tuple[CondaPackage, ...] = ()


class NativeLibrary(Record):
    """One library outside TensorFlow that GPU kernels need."""

    name: str  # soname
    version: str | None = None
    owner: Owner | None = None


class NativeFacts(Record):
    """Machine, C and C++ run time, TensorFlow, numpy's C-API, CUDA."""

    machine: str = "unknown"
    system: str = "linux"
    libc: str | None = None
    libc_version: str | None = None
    libstdcxx: LibstdcxxFacts | None = None
    tensorflow: TensorFlowFacts | None = None
    numpy: NumpyFacts | None = None
    cuda: tuple[NativeLibrary, ...] = ()


class PathEntry(Record):
    """One entry of a path-like variable, reduced to what matters."""

    where: str  # "{prefix}/lib", a system folder, or "{elsewhere}/name"
    holds: tuple[str, ...] = ()  # libraries or packages in it that can shadow the environment's
    missing: bool = False  # there is no such folder


class Variable(Record):
    """One variable that steers loading. A value that can hold a secret is never recorded."""

    name: str
    value: str | None = None  # None: a path list (see entries) or a value that is not recorded
    entries: tuple[PathEntry, ...] = ()


class PluginEntry(Record):
    """One TensorFlow plugin in the environment."""

    path: str  # "{site}/pkg/_op.so", "{prefix}/lib/libop.so"
    digest: str | None = None  # of the file
    owner: Owner | None = None
    stamp: str | None = None  # "appended", "linked-in" or None
    manifest: Manifest | None = None
    problem: str | None = None


class Problem(Record):
    """Something that is not as the package managers left it."""

    kind: str
    subject: str
    message: str  # one sentence with the values
    remedy: str | None = None
    paths: tuple[str, ...] = ()  # at most twenty, relative to the environment
    count: int = 0  # how many files in all
    digest: str | None = None  # of the files as they are now: two edits have two digests
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "kind": (
            "modified-files",
            "missing-files",
            "two-managers",
            "two-tensorflows",
            "duplicate-metadata",
            "version-mismatch",
            "editable",
            "damaged-metadata",
        )
    }


class Snapshot(Record):
    """All of it; one that could not be taken has only format, generator and error."""

    format: str
    generator: str  # not digested
    fingerprint: str = ""
    digests: Digests = Digests()
    kind: str | None = None  # "venv", "conda", "system"; not digested
    integrity: str = "quick"  # how files were compared: "none", "quick" or "full"
    interpreter: PythonFacts | None = None
    packages: Packages = Packages()
    native: NativeFacts = NativeFacts()
    variables: tuple[Variable, ...] = ()
    plugins: tuple[PluginEntry, ...] = ()
    problems: tuple[Problem, ...] = ()
    error: ErrorInfo | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "format": (SNAPSHOT_FORMAT,),
        "integrity": ("none", "quick", "full"),
    }


class SavedSnapshot(Record):
    """One row of the history."""

    id: int
    name: str
    saved: str  # UTC, "2026-05-04T12:30:00Z"
    environment: str  # the folder it was taken of
    fingerprint: str
    packages: int  # how many
    tensorflow: str | None = None
    plugins: int = 0


class HistoryDocument(Record):
    """What `envlock history --format json` writes; newest first."""

    format: str
    store: str
    snapshots: tuple[SavedSnapshot, ...] = ()
    error: ErrorInfo | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"format": (HISTORY_FORMAT,)}
