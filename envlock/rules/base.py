"""What a rule is and what it sees. Rules are pure: values in, findings out, no I/O of their own."""

from __future__ import annotations

from ..models.report import Finding, Unchecked
from ..models.verdict import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, Union

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


#: Whether another TensorFlow release is the remedy: not, always, or where `tensorflow-skew` says
#: that the plugin is for another one (its flags are right there, a rebuild with others would only
#: keep it from working anywhere).
NEVER, ALWAYS, WITH_SKEW = range(3)
#: What must have changed to explain the finding of a rule that does not say it: the finding's own
#: subject, or TensorFlow.
_CHANGES = ("finding", "TensorFlow")


class Rule:
    """A kind of finding: a stable id, what it is about, why it matters, and who decides.

    `group` is the room that it stands in, `severity` the worst verdict that it gives, `release`
    one of NEVER, ALWAYS, WITH_SKEW, `changes` what a drift report joins its findings to.
    """

    __slots__ = ("changes", "decide", "group", "id", "release", "severity", "title", "why")

    def __init__(
        self,
        group: str,
        id: str,
        title: str,
        why: str,
        severity: Verdict = Verdict.INCOMPATIBLE,
        *,
        release: int = NEVER,
        changes: tuple[str, ...] = _CHANGES,
    ) -> None:
        self.group = group
        self.id = id
        self.title = title
        self.why = why
        self.severity = severity
        self.release = release
        self.changes = changes
        self.decide: Callable[[Any], Any] | None = None

    def __call__(self, seen: Any) -> Any:
        """What the rule says of what it sees."""
        assert self.decide is not None
        return self.decide(seen)

    def finding(self, *, verdict: Verdict | None = None, **values: Any) -> Finding:
        """A finding of this rule, never worse than its severity; `values` as `Finding` has them."""
        return Finding(rule=self.id, verdict=min(verdict or self.severity, self.severity), **values)


class Rules(list[Rule]):
    """The rules of one file, in the order in which they are asked."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.group = group

    def add(self, *text: Any, **traits: Any) -> Rule:
        """A rule whose findings are made elsewhere, by its `finding`; arguments as for `Rule`."""
        rule = Rule(self.group, *text, **traits)
        self.append(rule)
        return rule

    def rule(self, *text: Any, **traits: Any) -> Callable[[Callable[[Any], Any]], Rule]:
        """Makes the decorated function a rule; arguments as for `Rule`."""

        def made(decide: Callable[[Any], Any]) -> Rule:
            rule = self.add(*text, **traits)
            rule.decide = decide
            return rule

        return made


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
        return any(f.verdict == Verdict.INCOMPATIBLE for f in self.linker_findings)


def install_command(live: Live, spec: str, *, distribution: str | None = None) -> str:
    """The command that brings `spec` ("==2.15.1", "==2.15.*") of TensorFlow into the environment."""
    name = distribution or live.distribution or "tensorflow"
    again = name == live.distribution and spec == f"=={live.tensorflow.version}"
    return live.place.install(name, spec, instead_of=live.distribution, again=again)
