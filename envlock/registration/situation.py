"""Who has registered what: the loaded files behind names that are taken."""

from __future__ import annotations

import functools
import os

from ..errors import InputError
from .rules import Registering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..elf import ElfFile
    from ..linker.scope import LiveScope
    from ..models.registration import Registrations
    from . import Registered


def situation(
    elf: ElfFile, registrations: Registrations, registered: Registered, scope: LiveScope
) -> Registering | None:
    """What the rules look at; None when this very file is loaded already: it stays as it is."""
    loaded = _LoadedPlugins(elf, scope, registered.package_dir)
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
        from ..elf import ElfFile
        from .reading import registers_anything

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
        from ..manifest_io import read_embedded
        from .reading import read_registrations

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
        from ..elf.digest import code_digest
        from ..elf.dynamic import build_id

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
