"""What one plugin file says, read when it is first asked for.

The facts depend on the file's bytes alone, whatever it is compared with; `path` and `file` only
say where it was. Pickling reads all of them first; what comes back needs the file no more, and can
be joined with any number of sides.
"""

from __future__ import annotations

import os
from functools import cached_property

from ..models.errors import ElfError
from .identity import asserts_counts, is_runtime, needs_digest, read_identity, uses_numpy_api
from .manifest import read_embedded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..atlas.format import Atlas, Release
    from ..atlas.link import Missing, Wants
    from ..binary.elf import ElfFile
    from ..models.manifest import Compilation, Manifest, PluginIdentity
    from ..models.registration import Registrations
    from .dependencies.analyse import InterfaceFacts
    from .memory import Memory
    from .signature.signed import Signed

#: What is read of a file; pickled in this order.
_READ = (
    "manifest",
    "stamp",
    "identity",
    "is_not_a_library",
    "is_runtime",
    "uses_numpy_api",
    "wants",
    "asserts_counts",
    "registrations",
    "signed",
    "interface",
)


class PluginFacts:
    """One plugin; each property raises `InputError` where the file is damaged there.

    `path` is where it was found, as reports name it. A plugin of which only the manifest is at
    hand has no file: what only its file shows is None, or not there to be asked for.
    """

    def __init__(self, elf: ElfFile | None, path: str, *, manifest: Manifest | None = None) -> None:
        self.path = path
        self.file = path if elf is None else elf.path  # where it really is
        self._elf = elf
        self.has_file = elf is not None
        #: What was worked out from these facts, kept by whoever worked it out; never pickled.
        self.derived: dict[Any, Any] = {}
        if elf is None:
            self.manifest, self.stamp = manifest, "appended"
            self.is_runtime, self.uses_numpy_api, self.asserts_counts = False, None, False
            self.is_not_a_library = None

    @classmethod
    def of(cls, elf: ElfFile, *, stamped: bool = True) -> PluginFacts:
        """The facts of an open file; `stamped` False passes over the stamp that it may carry."""
        facts = cls(elf, elf.path)
        if not stamped:
            facts.manifest = facts.stamp = None
        return facts

    @property
    def elf(self) -> ElfFile:
        """The open file, for those who need more of it than its facts."""
        assert self._elf is not None
        return self._elf

    @cached_property
    def memory(self) -> Memory:
        """What was worked out about it before."""
        from .memory import Memory

        return Memory(self._elf)

    def remember(self) -> None:
        """Keep what was worked out since, for other processes."""
        if "memory" in self.__dict__:  # a stamped plugin asks it nothing
            self.memory.save()

    @property
    def name(self) -> str:
        """The file's name."""
        return os.path.basename(self.path)

    @property
    def built_for(self) -> str | None:
        """The TensorFlow release that the manifest names."""
        tensorflow = None if self.manifest is None else self.manifest.tensorflow
        return None if tensorflow is None else tensorflow.version

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest, None where it is not stamped. Raises `ManifestError`."""
        embedded = read_embedded(self.elf)
        self.stamp = None if embedded is None else embedded.stamp
        return None if embedded is None else embedded.manifest

    @cached_property
    def stamp(self) -> str | None:
        """The form of the stamp: "appended" or "linked-in"; None where there is none."""
        _ = self.manifest
        return self.__dict__["stamp"]  # type: ignore[no-any-return]

    @cached_property
    def identity(self) -> PluginIdentity:
        """What the file is. Stripping takes away what shows how it was compiled; the manifest
        remembers."""
        recorded = None if self.manifest is None else self.manifest.plugin
        if recorded is None:
            from ..models.manifest import Compilation

            compiled = self.memory.record("compilation", Compilation, self._read_compilation)
            return read_identity(self.elf, compilation=compiled)
        if self._elf is None:
            return recorded
        found = read_identity(self.elf, compilation=recorded.compilation)
        if needs_digest(self.elf, recorded, found):
            return read_identity(self.elf, compilation=recorded.compilation, digest=True)
        return found

    def _read_compilation(self) -> Compilation:
        from .compilation import read_compilation

        return read_compilation(self.elf)

    @cached_property
    def is_not_a_library(self) -> str | None:
        """Why dlopen would not take it for a shared library; None where it would."""
        from ..binary.elf.append import require_plugin

        _ = self.elf.dynamic  # without one it is no input at all: that raises
        try:
            require_plugin(self.elf)
        except ElfError as error:
            return error.message
        return None

    @cached_property
    def is_runtime(self) -> bool:
        """Whether it is TensorFlow itself, or carries it."""
        return is_runtime(self.elf)

    @cached_property
    def uses_numpy_api(self) -> bool | None:
        """Whether it calls numpy's C API; None where only its file would show it."""
        return uses_numpy_api(self.elf)

    @cached_property
    def wants(self) -> Wants:
        """The libraries and symbols that it asks for."""
        from ..atlas.link import Wants

        return Wants(self.elf)

    def missing(self, atlas: Atlas) -> dict[int, Missing]:
        """What each release of an atlas lacks for it, by the release's index; looked up once."""
        key = ("missing", atlas)
        if key not in self.derived:
            from ..atlas.link import missing

            self.derived[key] = missing(self.wants, atlas)
        return self.derived[key]  # type: ignore[no-any-return]

    def linking(self, atlas: Atlas) -> list[Release]:
        """The releases of an atlas that lack nothing that it asks for, oldest first."""

        def find() -> int:
            lacking = self.missing(atlas)
            return sum(1 << r.index for r in atlas.releases if not lacking[r.index])

        from .memory import name_of

        able = self.memory.number(f"linking {name_of(atlas)}", find)
        return [release for release in atlas.releases if able >> release.index & 1]

    @cached_property
    def asserts_counts(self) -> bool:
        """Whether it has datasets that check their reference counts."""
        return asserts_counts(self.elf, self.wants.symbols)

    @cached_property
    def interface(self) -> InterfaceFacts:
        """What its code, debug information and symbols say about the classes that it uses."""
        from .dependencies.analyse import InterfaceFacts

        return InterfaceFacts(self.elf)

    @cached_property
    def registrations(self) -> Registrations:
        """The ops and kernels that it registers, as the manifest or the file shows."""
        recorded = None if self.manifest is None else self.manifest.registrations
        if recorded is not None:
            return recorded
        from ..models.registration import Registrations

        return self.memory.record("registrations", Registrations, self._read_registrations)

    def _read_registrations(self) -> Registrations:
        from .registrations.reading import read_registrations

        return read_registrations(self.elf)

    @cached_property
    def signed(self) -> Signed:
        """Its signature, and whether what was signed is what is there."""
        from .signature.signed import Signed

        return Signed(self.elf)

    def __getstate__(self) -> dict[str, Any]:
        known = {name: getattr(self, name) for name in _READ if self.has_file}
        state = {**self.__dict__, **known, "_elf": None, "derived": {}}
        state.pop("memory", None)
        return state
