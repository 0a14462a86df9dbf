"""What a verdict is made of: a plugin's facts, a side, and what the dynamic linker says of the two.

A side is what a plugin is compared with: a live process, an environment, a recorded one, a
release of the atlas. Each is a class that has what `Side` lists; what it does not know is None.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol, Union

    from ..atlas.collection import Known
    from ..atlas.link import Missing
    from ..linker.prediction import Prediction
    from ..models.manifest import (
        BuildSetting,
        HeaderVersions,
        LibraryIdentity,
        LibstdcxxFacts,
        NumpyFacts,
        PythonFacts,
    )
    from ..models.report import EnvironmentSummary, Unchecked
    from ..plugin.facts import PluginFacts
    from .installing import Place
    from .loading.case import EnvironmentFacts
    from .ops.rules import Registering

    #: What can be said of a plugin's ops and kernels: what is registered, and what is not known.
    Registered = tuple[Union[Registering, None], Sequence[Unchecked]]

    class SideTensorFlow(Protocol):
        """A side's TensorFlow; each property is read from its files at first use."""

        @property
        def version(self) -> str: ...
        @property
        def git_version(self) -> str | None: ...
        @property
        def compiler(self) -> str | None: ...
        @property
        def cxx11_abi(self) -> bool | None: ...
        @property
        def cxx_standard(self) -> int | None: ...
        @property
        def eigen_max_align_bytes(self) -> int | None: ...
        @property
        def build_info(self) -> tuple[BuildSetting, ...]: ...
        @property
        def headers(self) -> HeaderVersions: ...
        @property
        def libraries(self) -> tuple[LibraryIdentity, ...]: ...

    class FoundLibrary(Protocol):
        """A linked library; finding out its version costs more than its build-id."""

        @property
        def version(self) -> str | None: ...
        @property
        def build_id(self) -> str | None: ...

    class Side(Protocol):
        """What a plugin is compared with."""

        @property
        def summary(self) -> EnvironmentSummary:
            """The side as reports name it."""

        @property
        def whole(self) -> bool:
            """Whether it is an environment, and not a TensorFlow release alone."""

        @property
        def tensorflow(self) -> SideTensorFlow: ...
        @property
        def distribution(self) -> str | None:
            """The package that installed TensorFlow."""

        @property
        def prefers(self) -> str | None:
            """The distribution that an unstamped plugin's origin is looked for in first; None: the
            one that `known` is of."""

        @property
        def manager(self) -> str | None:
            """That package's manager: "pip" or "conda"."""

        @property
        def place(self) -> Place:
            """The environment, for commands that change it."""

        @property
        def prefix(self) -> str | None:
            """Its folder."""

        @property
        def known(self) -> Known | None:
            """What an atlas knows of its TensorFlow. Raises `InputError`."""

        @property
        def unknown(self) -> Sequence[Unchecked]:
            """What to say where no atlas knows it."""

        @property
        def numpy(self) -> NumpyFacts | None: ...
        @property
        def python(self) -> PythonFacts | None: ...
        @property
        def libc_version(self) -> str | None: ...
        @property
        def libstdcxx(self) -> LibstdcxxFacts | None: ...
        @property
        def processor(self) -> frozenset[str] | None:
            """The features of an x86-64 processor as /proc/cpuinfo names them."""

        @property
        def closure_known(self) -> bool:
            """Whether it is known which libraries the plugin gets."""

        def library(self, soname: str) -> FoundLibrary | None:
            """A library of the plugin's closure as found now; None when it is not in it."""

        @property
        def environment(self) -> EnvironmentFacts | None:
            """The environment as the causes of a refusal name it; None where it has no process."""


class UnknownTensorFlow:
    """A TensorFlow of which the release and perhaps the libraries are known, nothing else."""

    git_version = compiler = cxx11_abi = cxx_standard = eigen_max_align_bytes = None
    build_info = ()

    def __init__(self, version: str, libraries: tuple[LibraryIdentity, ...]) -> None:
        self.version = version
        self.libraries = libraries

    @property
    def headers(self) -> HeaderVersions:
        """None of them is known."""
        from ..models.manifest import HeaderVersions

        return HeaderVersions()


class UnknownSide:
    """A side of which only a TensorFlow release is known; those that know more derive from it."""

    whole = True
    distribution: str | None = None
    prefers: str | None = None
    manager: str | None = None
    prefix: str | None = None
    known: Known | None = None
    unknown: Sequence[Unchecked] = ()
    numpy: NumpyFacts | None = None
    python: PythonFacts | None = None
    libc_version: str | None = None
    libstdcxx: LibstdcxxFacts | None = None
    processor: frozenset[str] | None = None
    closure_known = False
    environment: EnvironmentFacts | None = None
    summary: EnvironmentSummary

    def __init__(self, version: str, libraries: tuple[LibraryIdentity, ...] = ()) -> None:
        self.tensorflow: SideTensorFlow = UnknownTensorFlow(version, libraries)

    @property
    def place(self) -> Place:
        """Nowhere in particular."""
        from .installing import Place

        return Place(self.manager)

    def library(self, soname: str) -> FoundLibrary | None:
        """None, see `closure_known`."""


class Evidence:
    """All that a verdict goes by.

    `link`: what the dynamic linker would say (`Prediction`), or what the atlas says in its place
    (`Missing`); None where that is not known. `registering`: asked once the linker accepts the
    plugin. `unchecked`: what whoever collected this could not find out. `built`: the release that the plugin
    was built with, where more than its manifest tells it. `built_here`: the plugin is
    about to be stamped for this side.
    """

    __slots__ = ("built", "built_here", "link", "plugin", "registering", "side", "unchecked")

    def __init__(
        self,
        plugin: PluginFacts,
        side: Side,
        link: Prediction | Missing | None,
        *,
        registering: Callable[[], Registered] | None = None,
        unchecked: Sequence[Unchecked] = (),
        built: str | None = None,
        built_here: bool = False,
    ) -> None:
        self.plugin = plugin
        self.side = side
        self.link = link
        self.registering = registering
        self.unchecked = tuple(unchecked)
        self.built = built or plugin.built_for
        self.built_here = built_here
