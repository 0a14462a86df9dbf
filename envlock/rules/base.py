"""What a rule is and what it sees. Rules are pure: values in, findings out, no I/O of their own."""

from __future__ import annotations

from ..models.report import Finding, Unchecked
from ..models.report import Rule as AnyRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol, Union

    from ..models.manifest import (
        BuildSetting,
        HeaderVersions,
        LibraryIdentity,
        LibstdcxxFacts,
        Manifest,
        NumpyFacts,
        PluginIdentity,
        PythonFacts,
    )
    from .installing import Place

    Answer = Union[Finding, Unchecked]
    Rule = AnyRule["Comparison", Iterable[Answer]]

    class LiveTensorFlow(Protocol):
        """The installed TensorFlow; each property is read from its files at first use."""

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

    class Live(Protocol):
        """The live environment, as far as rules look at it."""

        @property
        def tensorflow(self) -> LiveTensorFlow: ...
        @property
        def distribution(self) -> str | None:
            """The package that installed TensorFlow."""

        @property
        def manager(self) -> str | None:
            """That package's manager: "pip" or "conda"."""

        @property
        def place(self) -> Place:
            """The environment, for commands that change it."""

        @property
        def numpy(self) -> NumpyFacts | None: ...
        @property
        def python(self) -> PythonFacts: ...
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

else:
    Rule = AnyRule


class Comparison:
    """Everything a rule may look at: the plugin, its manifest, the live environment."""

    __slots__ = (
        "abi_known",
        "abi_unsafe",
        "built_here",
        "linker_findings",
        "live",
        "manifest",
        "origin_told",
        "plugin",
        "uses_numpy_api",
    )

    def __init__(
        self,
        plugin: PluginIdentity,
        manifest: Manifest | None,
        live: Live,
        *,
        linker_findings: tuple[Finding, ...] = (),
        abi_known: bool = False,
        abi_unsafe: bool = False,
        origin_told: bool = False,
        uses_numpy_api: bool = False,
        built_here: bool = False,
    ) -> None:
        self.plugin = plugin
        self.manifest = manifest
        self.live = live
        self.linker_findings = linker_findings
        self.abi_known = abi_known  # the binary interfaces of both releases were compared
        self.abi_unsafe = abi_unsafe  # and they differ where the plugin depends on it
        self.origin_told = origin_told  # what an unstamped plugin was built with is spoken of
        self.uses_numpy_api = uses_numpy_api
        self.built_here = built_here  # it is about to be stamped for this environment

    @property
    def refused(self) -> bool:
        """Whether the dynamic linker's findings already make the load fail."""
        return any(f.verdict == "incompatible" for f in self.linker_findings)


def install_command(live: Live, spec: str, *, distribution: str | None = None) -> str:
    """The command that brings `spec` ("==2.15.1", "==2.15.*") of TensorFlow into the environment."""
    name = distribution or live.distribution or "tensorflow"
    again = name == live.distribution and spec == f"=={live.tensorflow.version}"
    return live.place.install(name, spec, instead_of=live.distribution, again=again)
