"""The two sides of a comparison: anything that describes an environment, brought to one shape.

resolve("known-good", store)   a saved snapshot
resolve("env.json")            a snapshot's file
resolve(".venv")               a live environment
resolve("_op.so")              the build environment of a stamped plugin
resolve("uv.lock")             a lock file
"""

from __future__ import annotations

import os
import re

from ..models.drift import Side
from ..models.errors import FileAccessError, InputError
from ..models.record import encode
from ..models.snapshot import CondaPackage, PipPackage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..environment.live import Environment
    from ..models.manifest import LibstdcxxFacts, Manifest, NumpyFacts, PythonFacts, TensorFlowFacts
    from ..models.snapshot import NativeLibrary, PluginEntry, Problem, Snapshot, Variable
    from .lockfiles import LockFile
    from .store import Store

#: Distributions that bring the `tensorflow` package; one takes the place of another.
TENSORFLOWS = re.compile(
    r"(?:intel-)?tensorflow(?:-(?:cpu|gpu|rocm|intel|macos|cpu-aws|aarch64|directml|base))?$"
    r"|tf-nightly(?:-(?:cpu|gpu))?$|nvidia-tensorflow$"
)
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*t?\Z")
_SNIFFED = 64


class Facts:
    """What one side is known to be. None stands for "not known", an empty table for "none"."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.python: PythonFacts | None = None
        self.machine: str | None = None
        self.libc: str | None = None  # "glibc 2.36"
        self.libstdcxx: LibstdcxxFacts | None = None
        self.tensorflow: TensorFlowFacts | None = None
        self.numpy: NumpyFacts | None = None
        self.cuda: dict[str, NativeLibrary] | None = None
        self.pip: dict[str, PipPackage] = {}
        self.conda: dict[str, CondaPackage] = {}
        #: name -> constraint, of packages that a lock file names without a version
        self.constraints: dict[tuple[str, str], str | None] = {}
        self.hashes: dict[str, tuple[str, ...]] = {}
        #: whether what is not in `pip` or `conda` is known to be absent
        self.complete = True
        self.knows_conda = True
        self.variables: dict[str, Variable] | None = None
        self.plugins: dict[str, PluginEntry] | None = None
        self.problems: tuple[Problem, ...] | None = None
        self.environment: Environment | None = None
        self.manifest: Manifest | None = None
        self.plugin_path: str | None = None
        self.lock: LockFile | None = None
        self.notes: tuple[str, ...] = ()


def resolve(
    reference: str | os.PathLike[str], store: Store | None = None, other: Facts | None = None
) -> Facts:
    """What a reference names: a path, or `NAME` or `@ID` of the store.

    `other` is the opposite side: a lock file is read for its interpreter and machine. Raises
    `InputError` where it is nothing of the kind.
    """
    named = os.fspath(reference)
    if store is not None and (named.startswith("@") or not os.path.lexists(named)):
        entry = store.find(named)
        if entry is not None:
            found = from_snapshot(store.load(entry), "saved", entry.name)
            when = entry.saved.replace("T", " ").replace("Z", " UTC")
            detail = f"saved {when}" + (f", {found.side.detail}" if found.side.detail else "")
            found.side = found.side.replace(detail=detail)
            return found
    if not os.path.lexists(named):
        where = "" if store is None else f", and no snapshot of that name in `{store.path}`"
        raise FileAccessError(
            f"no such file or folder: `{named}`{where}",
            hint="`envlock history` lists the saved snapshots",
        )
    if os.path.isdir(named):
        return from_environment(named)
    head = _head(named)
    if head.startswith(b"\x7fELF"):
        names = (os.path.basename(named), os.path.basename(os.path.realpath(named)))
        if any(_PYTHON.match(name) for name in names):
            return from_environment(named)
        return from_plugin(named)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        from .files import read_snapshot

        return from_snapshot(read_snapshot(named), "snapshot", named)
    return from_lock(named, other)


def _head(path: str) -> bytes:
    from ..files import reading as files

    try:
        return files.read(path, _SNIFFED, head=True)
    except files.Unreadable as problem:
        raise FileAccessError(f"`{path}` cannot be read: {problem}") from None


def describe(facts: Facts) -> str | None:
    """ "TensorFlow 2.15.1 (tensorflow-cpu), Python 3.11.7, 44 packages"."""
    parts = []
    if facts.tensorflow is not None:
        name = facts.tensorflow.distribution
        more = f" ({name})" if name and name != "tensorflow" else ""
        parts.append(f"TensorFlow {facts.tensorflow.version}{more}")
    if facts.python is not None:
        parts.append(f"Python {facts.python.version}")
    number = len(facts.pip) + len(facts.conda)
    if number:
        parts.append("1 package" if number == 1 else f"{number} packages")
    return ", ".join(parts) or None


def from_environment(
    env: str | os.PathLike[str] | Environment | None, integrity: str = "quick"
) -> Facts:
    """A live environment, by way of a snapshot of it."""
    from ..environment.live import Environment
    from .collect import snapshot

    if isinstance(env, Environment):
        environment, label = env, env.paths.prefix
    else:
        environment = Environment.open(env)
        label = environment.paths.prefix if env is None else os.fspath(env)
    found = from_snapshot(snapshot(environment, integrity=integrity), "environment", label)
    found.environment = environment
    return found


def from_snapshot(snapshot: Snapshot, kind: str, label: str) -> Facts:
    """A snapshot, from a file or the store, or one just taken."""
    digests = encode(snapshot.digests)
    facts = Facts(Side(kind=kind, label=label, fingerprint=snapshot.fingerprint, digests=digests))
    native = snapshot.native
    facts.python = snapshot.interpreter
    facts.machine = native.machine
    if native.libc is not None:
        facts.libc = f"{native.libc} {native.libc_version or 'of unknown version'}"
    facts.libstdcxx = native.libstdcxx
    facts.tensorflow = native.tensorflow
    facts.numpy = native.numpy
    facts.cuda = {library.name: library for library in native.cuda}
    facts.pip = {p.name: p for p in snapshot.packages.pip if p.conda is None}
    facts.conda = {c.name: c for c in snapshot.packages.conda}
    facts.variables = {v.name: v for v in snapshot.variables}
    facts.plugins = {p.path: p for p in snapshot.plugins}
    facts.problems = snapshot.problems
    facts.side = facts.side.replace(detail=describe(facts))
    return facts


def from_plugin(path: str) -> Facts:
    """The build environment of a stamped plugin, from its manifest."""
    from ..actions.showing import read_manifest

    manifest = read_manifest(path)
    facts = Facts(Side(kind="plugin", label=path))
    facts.manifest = manifest
    facts.plugin_path = path
    facts.python = manifest.python
    facts.machine = manifest.platform.machine
    if manifest.platform.libc is not None:
        version = manifest.platform.libc_version or "of unknown version"
        facts.libc = f"{manifest.platform.libc} {version}"
    facts.libstdcxx = manifest.platform.libstdcxx
    facts.tensorflow = manifest.tensorflow
    facts.numpy = manifest.numpy
    for pin in manifest.packages:
        if pin.manager == "pip":
            name = re.sub(r"[-_.]+", "-", pin.name).lower()
            facts.pip[name] = PipPackage(name=name, version=pin.version)
        else:
            facts.conda[pin.name] = CondaPackage(
                name=pin.name, version=pin.version, build=pin.build, channel=pin.channel
            )
    facts.complete = bool(manifest.packages)
    facts.side = facts.side.replace(detail=describe(facts))
    return facts


def from_lock(path: str, other: Facts | None = None) -> Facts:
    """A lock file, read for the interpreter and machine of the other side."""
    from .lockfiles import Target, read

    target = Target.running()
    if other is not None and other.python is not None:
        target = Target(other.python.version, other.machine or target.machine)
    lock = read(path, target)
    facts = Facts(Side(kind="lock-file", label=path, detail=_lock_detail(lock)))
    facts.lock = lock
    facts.complete = lock.complete
    facts.knows_conda = any(pin.manager == "conda" for pin in lock.pins) or (
        lock.kind not in ("requirements.txt", "pylock.toml", "uv.lock")
    )
    facts.notes = lock.notes
    for pin in lock.pins:
        if pin.version is None and pin.source is None:
            facts.constraints[pin.manager, pin.name] = pin.specifier
        elif pin.manager == "pip":
            facts.pip[pin.name] = PipPackage(name=pin.name, version=pin.version)
            facts.hashes[pin.name] = pin.hashes
        else:
            facts.conda[pin.name] = CondaPackage(
                name=pin.name,
                version=pin.version,
                build=pin.build,
                channel=pin.channel,
                sha256=pin.sha256,
            )
    if not lock.pins:
        raise InputError(f"`{path}` names no packages")
    facts.tensorflow = _lock_tensorflow(facts)
    return facts


def _lock_detail(lock: LockFile) -> str:
    number = len(lock.pins)
    return f"{lock.kind}, {number} package{'' if number == 1 else 's'}"


def _lock_tensorflow(facts: Facts) -> TensorFlowFacts | None:
    """What a lock file says of TensorFlow: distribution and release."""
    from ..models.manifest import TensorFlowFacts

    named = [("pip", p.name, p.version) for p in facts.pip.values()]
    named += [("conda", c.name, c.version) for c in facts.conda.values()]
    for manager, name, version in sorted(named, key=lambda one: (one[0] == "conda", one[1])):
        if TENSORFLOWS.match(name) and version is not None:
            return TensorFlowFacts(version=version, distribution=name, manager=manager)
    return None
