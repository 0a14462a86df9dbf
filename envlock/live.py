"""The live side of a comparison: what rules ask about an environment, for one plugin."""

from __future__ import annotations

import functools
import os

from .errors import InputError
from .linker.grafts import name_before_graft
from .models.manifest import Library, LibstdcxxFacts, PlatformFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .environment.live import Environment
    from .environment.tensorflow import TensorFlowInstall
    from .linker.prediction import Dependency, Prediction
    from .linker.scope import LiveScope
    from .models.manifest import NumpyFacts, PythonFacts

LIBSTDCXX = "libstdc++.so.6"


class LiveView:
    """An environment as the rules see it (`rules.base.Live`); everything is read when asked for."""

    def __init__(
        self, environment: Environment, scope: LiveScope, prediction: Prediction | None
    ) -> None:
        self.environment = environment
        self.scope = scope
        self.prediction = prediction

    @property
    def tensorflow(self) -> TensorFlowInstall:
        """The installed TensorFlow."""
        found = self.environment.tensorflow
        assert found is not None  # the checker refuses an environment without one
        return found

    @functools.cached_property
    def distribution(self) -> str | None:
        """The package that installed TensorFlow."""
        return self.environment.summary().distribution

    @property
    def manager(self) -> str | None:
        """That package's manager."""
        if self.tensorflow.conda_record is not None:
            return "conda"
        return None if self.tensorflow.distribution is None else "pip"

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
        return libstdcxx_facts(self.scope, self.prediction)

    def library(self, soname: str) -> FoundLibrary | None:
        """A library of the plugin's closure as it is found now; None when it is not in it.

        Wheel repair renames what it grafts: `libz.so.1` is `libz-3a4b5c6d.so.1.2.13` then.
        """
        closure = self.prediction.closure if self.prediction else ()
        for dependency in closure:
            if dependency.name == soname:
                return FoundLibrary(dependency)
        for dependency in closure:
            original = name_before_graft(dependency.name)
            if original is not None and (original + ".").startswith(soname + "."):
                return FoundLibrary(dependency)
        return None


class FoundLibrary:
    """A library of the closure, its facts read when asked for."""

    __slots__ = ("_dependency",)

    def __init__(self, dependency: Dependency) -> None:
        self._dependency = dependency

    @property
    def version(self) -> str | None:
        """The version in its real file's name."""
        return file_version(self._dependency)

    @property
    def build_id(self) -> str | None:
        """Its build-id."""
        return library_build_id(self._dependency)


def file_version(dependency: Dependency) -> str | None:
    """The version in the real file's name behind a soname: `libz.so.1` -> `1.2.13`."""
    name = os.path.basename(os.path.realpath(dependency.path))
    soname = dependency.name
    grafted = name_before_graft(soname)
    if grafted is not None:
        return grafted.partition(".so.")[2] or None
    stem, mark, rest = name.partition(".so.")
    if not mark or not soname.startswith(stem + ".so") or not rest.replace(".", "").isdigit():
        return None
    return rest if len(name) > len(soname) else None


def library_build_id(dependency: Dependency) -> str | None:
    """A library's build-id; None where it has none or cannot be read."""
    from .elf.dynamic import build_id

    if dependency.library is None:
        return None
    try:
        return build_id(dependency.library.elf)
    except InputError:
        return None


def libstdcxx_facts(scope: LiveScope, prediction: Prediction | None) -> LibstdcxxFacts | None:
    """The libstdc++ of the plugin's closure, else the one that the process has loaded."""
    from .environment.platform import highest

    library, how = None, "loaded"
    for dependency in prediction.closure if prediction else ():
        if dependency.name == LIBSTDCXX:
            library, how = dependency.library, dependency.how
    if library is None:
        loaded = scope.namespace.find(LIBSTDCXX)
        if loaded is None or loaded.library is None:
            return None
        library, how = loaded.library, loaded.how
    try:
        names = library.definitions.names
    except InputError:
        return None
    return LibstdcxxFacts(
        found_by=how, glibcxx=highest(names, b"GLIBCXX_"), cxxabi=highest(names, b"CXXABI_")
    )


def platform_facts(
    environment: Environment, scope: LiveScope, prediction: Prediction | None
) -> PlatformFacts:
    """Machine, C library and the libstdc++ that counts, with the package that owns it."""
    found = libstdcxx_facts(scope, prediction)
    if found is not None:
        loaded = scope.namespace.find(LIBSTDCXX)
        if loaded is not None:
            found = found.replace(owner=environment.owner_of(loaded.path))
    return environment.platform.replace(libstdcxx=found)


def linked_libraries(environment: Environment, prediction: Prediction) -> tuple[Library, ...]:
    """The plugin's closure as the manifest records it."""
    return tuple(
        Library(
            soname=dependency.name,
            found_by=dependency.how,
            version=file_version(dependency),
            build_id=library_build_id(dependency),
            owner=environment.owner_of(dependency.path),
        )
        for dependency in prediction.closure
    )
