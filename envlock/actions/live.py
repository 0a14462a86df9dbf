"""The live side of a comparison: what rules ask about an environment, for one plugin."""

from __future__ import annotations

import functools
import os

from ..models.errors import InputError
from ..models.manifest import Library, LibstdcxxFacts, PlatformFacts
from ..models.report import Unchecked
from ..models.versions import of_glibc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..atlas.collection import Known
    from ..environment.live import Environment
    from ..environment.tensorflow import TensorFlowInstall
    from ..linker.library import Library as ParsedLibrary
    from ..linker.prediction import Dependency, Prediction
    from ..linker.scope import LiveScope
    from ..models.manifest import NumpyFacts, Owner, PythonFacts
    from ..models.report import EnvironmentSummary
    from ..rules.installing import Place

LIBSTDCXX = "libstdc++.so.6"


class LiveSide:
    """An environment, or this very process, as a side (`rules.evidence.Side`) for one plugin.

    Everything is read when it is asked for. `atlases` are files to ask before all others.
    """

    whole = True
    prefers: str | None = None

    def __init__(
        self,
        environment: Environment,
        scope: LiveScope,
        prediction: Prediction | None,
        atlases: Sequence[str] = (),
    ) -> None:
        self.environment = environment
        self.scope = scope
        self.prediction = prediction
        self._atlases = atlases

    @functools.cached_property
    def summary(self) -> EnvironmentSummary:
        """The environment as reports name it."""
        return self.environment.summary()

    @property
    def prefix(self) -> str:
        """Its folder."""
        return self.environment.paths.prefix

    @functools.cached_property
    def known(self) -> Known | None:
        """What an atlas knows of the installed TensorFlow. Raises `InputError`."""
        from ..atlas.collection import find_installed

        return find_installed(self.tensorflow, self.distribution, self._atlases)

    @property
    def unknown(self) -> tuple[Unchecked, ...]:
        """What to say where no atlas knows it."""
        from ..rules.layout.judging import adding

        why = f"the atlas does not know TensorFlow {self.tensorflow.version}{adding(self.prefix)}"
        return (Unchecked(what="binary interface", why=why),)

    @property
    def tensorflow(self) -> TensorFlowInstall:
        """The installed TensorFlow."""
        found = self.environment.tensorflow
        assert found is not None  # the checker refuses an environment without one
        return found

    @functools.cached_property
    def distribution(self) -> str | None:
        """The package that installed TensorFlow."""
        return self.summary.distribution

    @property
    def manager(self) -> str | None:
        """That package's manager."""
        if self.tensorflow.conda_record is not None:
            return "conda"
        return None if self.tensorflow.distribution is None else "pip"

    @functools.cached_property
    def place(self) -> Place:
        """The environment, for commands that change it."""
        from ..rules.installing import Place

        return Place(self.manager, self.environment.paths)

    @property
    def numpy(self) -> NumpyFacts | None:
        """The installed numpy."""
        return self.environment.numpy

    @property
    def python(self) -> PythonFacts:
        """The interpreter."""
        return self.environment.python

    @property
    def libc_version(self) -> str | None:
        """The C library's version."""
        return self.environment.platform.libc_version

    @property
    def libstdcxx(self) -> LibstdcxxFacts | None:
        """The libstdc++ that the plugin would get."""
        found = _libstdcxx(self.scope, self.prediction)
        return None if found is None else libstdcxx_facts(found[0], found[2])

    @property
    def processor(self) -> frozenset[str] | None:
        """The features of this machine's x86-64 processor; None where they are not known."""
        from ..linker.rtld import cpu_flags

        if self.scope.machine != "x86_64":
            return None
        return cpu_flags()[1] or None

    @property
    def closure_known(self) -> bool:
        """Whether the plugin's libraries were looked for; they are not where it is loaded already."""
        return self.prediction is not None and not self.prediction.already_loaded

    def library(self, soname: str) -> FoundLibrary | None:
        """A library of the plugin's closure as it is found now; None when it is not in it.

        Wheel repair renames what it grafts: `libz.so.1` is `libz-3a4b5c6d.so.1.2.13` then.
        """
        closure = self.prediction.closure if self.prediction else ()
        for dependency in closure:
            if dependency.name == soname:
                return FoundLibrary(self.environment, dependency)
        from ..linker.grafts import name_before_graft

        for dependency in closure:
            original = name_before_graft(dependency.name)
            if original is not None and (original + ".").startswith(soname + "."):
                return FoundLibrary(self.environment, dependency)
        return None


class FoundLibrary:
    """A library of the closure, its facts read when asked for."""

    __slots__ = ("_dependency", "_environment")

    def __init__(self, environment: Environment, dependency: Dependency) -> None:
        self._environment = environment
        self._dependency = dependency

    @property
    def version(self) -> str | None:
        """Its real version."""
        environment, dependency = self._environment, self._dependency
        return library_version(environment, dependency, environment.owner_of(dependency.path))

    @property
    def build_id(self) -> str | None:
        """Its build-id."""
        return library_build_id(self._dependency)


def version_in_name(path: str, soname: str) -> str | None:
    """The version in the real file's name behind a soname: `libz.so.1` -> `1.2.13`."""
    from ..linker.grafts import name_before_graft

    name = os.path.basename(os.path.realpath(path))
    grafted = name_before_graft(soname)
    if grafted is not None:
        return grafted.partition(".so.")[2] or None
    stem, mark, rest = name.partition(".so.")
    if not mark or not soname.startswith(stem + ".so") or not rest.replace(".", "").isdigit():
        return None
    return rest if len(name) > len(soname) else None


def library_version(
    environment: Environment, dependency: Dependency, owner: Owner | None
) -> str | None:
    """A library's real version: in its file's name, else that of the package it belongs to."""
    if of_glibc(dependency.name) and environment.platform.libc == "glibc":
        return environment.platform.libc_version
    stated = version_in_name(dependency.path, dependency.name)
    if stated is not None:
        return stated
    if owner is not None:
        return owner.version
    tensorflow = environment.tensorflow
    # A copied folder or a bare build of TensorFlow belongs to no package.
    own = () if tensorflow is None else tensorflow.library_paths
    if tensorflow is not None and os.path.realpath(dependency.path) in map(os.path.realpath, own):
        return tensorflow.version
    return None


def library_build_id(dependency: Dependency) -> str | None:
    """A library's build-id; None where it has none or cannot be read."""
    from ..binary.elf.dynamic import build_id

    if dependency.library is None:
        return None
    try:
        return build_id(dependency.library.elf)
    except InputError:
        return None


def _libstdcxx(
    scope: LiveScope, prediction: Prediction | None
) -> tuple[ParsedLibrary | None, str, str | None] | None:
    """The libstdc++ of the plugin's closure, else the one that the process has loaded: the parsed
    file, its path, how it was found."""
    for dependency in prediction.closure if prediction else ():
        if dependency.name == LIBSTDCXX:
            return dependency.library, dependency.path, dependency.found_by
    loaded = scope.namespace.find(LIBSTDCXX)
    return None if loaded is None else (loaded.library, loaded.path, loaded.how)


def libstdcxx_facts(
    library: ParsedLibrary | None, found_by: str | None, owner: Owner | None = None
) -> LibstdcxxFacts:
    """What a libstdc++ says of itself; no levels where it cannot be read."""
    from ..environment.platform import highest

    try:
        names = library.definitions.names if library is not None else frozenset()
    except InputError:
        names = frozenset()
    return LibstdcxxFacts(
        found_by=found_by,
        glibcxx=highest(names, b"GLIBCXX_"),
        cxxabi=highest(names, b"CXXABI_"),
        owner=owner,
    )


def platform_facts(
    environment: Environment, scope: LiveScope, prediction: Prediction | None
) -> PlatformFacts:
    """Machine, C library and the libstdc++ that counts, with the package that owns it."""
    found = _libstdcxx(scope, prediction)
    facts = None
    if found is not None:
        library, path, found_by = found
        facts = libstdcxx_facts(library, found_by, environment.owner_of(path))
    return environment.platform.replace(libstdcxx=facts)


def linked_libraries(environment: Environment, prediction: Prediction) -> tuple[Library, ...]:
    """The plugin's closure as the manifest records it."""
    owned = [(one, environment.owner_of(one.path)) for one in prediction.closure]
    return tuple(
        Library(
            soname=dependency.name,
            found_by=dependency.found_by,
            version=library_version(environment, dependency, owner),
            build_id=library_build_id(dependency),
            owner=owner,
        )
        for dependency, owner in owned
    )
