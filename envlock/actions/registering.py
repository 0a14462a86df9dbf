"""Who has registered what: the loaded files behind names that are taken."""

from __future__ import annotations

import functools
import os

from ..models.errors import InputError
from ..models.registration import MARKS
from ..models.report import Unchecked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..binary.elf import ElfFile
    from ..environment.tensorflow import TensorFlowInstall
    from ..linker.scope import LiveScope
    from ..models.registration import KernelRecord, Registrations
    from ..plugin.facts import PluginFacts
    from ..rules.ops.rules import Registering


def find_registering(
    plugin: PluginFacts, registered: Registered | None
) -> tuple[Registering | None, list[Unchecked]]:
    """What the rules about ops and kernels look at, in the environment or in this very process.

    `registered` is what TensorFlow knows there. The good case costs a lookup by name, and has
    nothing to look at; everything else is read for names in question only. Raises `InputError`.
    """
    if plugin.is_runtime:
        return None, []
    registrations = plugin.registrations
    unchecked = []
    if registrations.limits and registrations.source == "file":
        why = "; ".join(registrations.limits)
        unchecked.append(Unchecked(what="part of the ops and kernels", why=why))
    if not registrations.ops and not registrations.kernels:
        return None, unchecked
    if registered is None or not _in_question(registrations, registered):
        return None, unchecked
    return situation(plugin.elf, registrations, registered), unchecked


def _in_question(registrations: Registrations, registered: Registered) -> bool:
    """Whether any of the names is taken already, or comes twice."""
    names = {op.name for op in registrations.ops}
    if len(names) < len(registrations.ops):
        return True
    if any(map(registered.has, names | {kernel.op for kernel in registrations.kernels})):
        return True
    return _repeats(registrations.kernels)


def _repeats(kernels: Sequence[KernelRecord]) -> bool:
    """Whether two kernels look alike; whether they compete is a rule's matter."""
    ops = [k.op for k in kernels]
    if len(set(ops)) == len(ops):
        return False
    keys = {(k.op, k.device, k.priority, k.label, repr(k.constraints)) for k in kernels}
    if len(keys) < len(kernels):
        return True
    plain = {k.op for k in kernels if not k.constraints}
    if not plain:
        return False
    from collections import Counter

    count = Counter(ops)
    return any(count[op] > 1 for op in plain)


class Registered:
    """What TensorFlow knows: the release's own ops, and in its process all that were added.

    The process counts when the scope is its own and it has imported TensorFlow.
    """

    def __init__(self, install: TensorFlowInstall, scope: LiveScope) -> None:
        from ..atlas.registrations import BuiltIn

        self.package_dir = install.package_dir
        self.builtin = BuiltIn(install.package_dir, install.version)
        self.scope = scope
        self.process = None
        if scope.process is not None:
            from ..environment.registry import ProcessRegistry

            self.process = ProcessRegistry.find()

    @functools.cached_property
    def _only_builtin(self) -> bool:
        """Whether nothing but TensorFlow itself can have registered ops in this process.

        TensorFlow needs 7 ms for its first answer about an op that it does not know (it exports
        all that it knows), and mostly the list of its own says as much.
        """
        process = self.scope.process
        if process is None or not self.builtin.known:
            return False
        own = os.path.realpath(self.package_dir) + os.sep
        real = RealPaths()
        # TensorFlow's own strings are by far the longest, and say nothing new.
        paths = [loaded.path for loaded in self.scope.namespace.objects]
        others = [path for path in paths if not real[path].startswith(own)]
        return next(process.mentioning(others, MARKS), None) is None

    def has(self, op: str) -> bool:
        """Whether an op is registered."""
        if self.process is not None and not self._only_builtin:
            return self.process.has(op)
        return self.builtin.has(op)

    def kernels(self, op: str) -> Sequence[KernelRecord] | None:
        """The kernels of an op, None where they are not known."""
        if self.process is not None:
            return self.process.kernels(op)
        return self.builtin.cpu_kernels(op)


class RealPaths(dict[str, str]):
    """`os.path.realpath` of paths that share most of their folders: each is looked at once."""

    def __missing__(self, path: str) -> str:
        folder, slash, name = path.rpartition("/")
        if not slash or name in ("", ".", ".."):
            found = os.path.realpath(path)
        else:
            found = f"{self[folder]}/{name}" if folder else path
            if os.path.islink(found):
                found = os.path.realpath(found)
        self[path] = found
        return found


def situation(
    elf: ElfFile, registrations: Registrations, registered: Registered
) -> Registering | None:
    """What the rules look at; None when this very file is loaded already: it stays as it is."""
    from ..rules.ops.rules import Registering

    loaded = _LoadedPlugins(elf, registered.scope, registered.package_dir)
    if registered.process is not None and loaded.is_loaded:
        return None
    process = registered.process is not None
    builtin = functools.lru_cache(maxsize=None)(registered.builtin.has)
    return Registering(
        os.path.basename(elf.path),
        elf.path,
        registrations,
        builtin=builtin,
        taken=functools.lru_cache(maxsize=None)(registered.has),
        kernels=functools.lru_cache(maxsize=None)(registered.kernels),
        registrants=loaded.registering if process else _nobody,
        copies=(lambda: loaded.copies) if process else _no_copies,
    )


def _nobody(op: str) -> Sequence[str]:
    return ()


def _no_copies() -> Sequence[str]:
    return ()


class _LoadedPlugins:
    """The plugins among what the process has mapped; read only when a name is in question."""

    def __init__(self, elf: ElfFile, scope: LiveScope, package_dir: str) -> None:
        self._elf = elf
        self._scope = scope
        self._package_dir = os.path.realpath(package_dir) + os.sep

    @property
    def is_loaded(self) -> bool:
        """Whether this very file is mapped, under whatever name."""
        status = self._elf.status
        return self._scope.namespace.by_identity((status.st_dev, status.st_ino)) is not None

    def _files(self) -> Iterator[ElfFile]:
        from ..binary.elf import ElfFile
        from ..plugin.registrations.reading import registers_anything

        started = {id(item) for item in self._scope.startup}
        for item in self._scope.namespace.objects:
            if id(item) in started or os.path.realpath(item.path).startswith(self._package_dir):
                continue
            try:
                with ElfFile.open(item.path) as other:
                    if registers_anything(other):
                        yield other
            except InputError:
                continue

    @functools.cached_property
    def _registrations(self) -> dict[str, Registrations]:
        from ..plugin.manifest import read_embedded
        from ..plugin.registrations.reading import read_registrations

        found = {}
        for other in self._files():
            try:
                embedded = read_embedded(other)
            except InputError:
                embedded = None
            recorded = embedded.manifest.registrations if embedded is not None else None
            found[other.path] = recorded or read_registrations(other)
        return found

    @functools.cached_property
    def _names(self) -> dict[str, frozenset[str]]:
        """The ops that each loaded file registers, or kernels of which."""
        return {
            path: frozenset((*(op.name for op in known.ops), *(k.op for k in known.kernels)))
            for path, known in self._registrations.items()
        }

    def registering(self, op: str) -> Sequence[str]:
        """The loaded files that register an op or a kernel of it."""
        return tuple(path for path, names in self._names.items() if op in names)

    @functools.cached_property
    def copies(self) -> Sequence[str]:
        """Loaded files that are the same build as this one."""
        from ..binary.elf.digest import code_digest
        from ..binary.elf.dynamic import build_id

        wanted = build_id(self._elf)
        digest = None
        found = []
        for other in self._files():
            try:
                theirs = build_id(other)
                if wanted is None and theirs is None:
                    digest = digest or code_digest(self._elf)
                    same = digest is not None and code_digest(other) == digest
                else:
                    same = wanted == theirs
            except InputError:
                continue
            if same:
                found.append(other.path)
        return tuple(found)
