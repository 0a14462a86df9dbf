"""What the comparison rules see: the plugin, its manifest, and a side."""

from __future__ import annotations

from ..models.verdict import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.manifest import Manifest, PluginIdentity
    from ..models.report import Finding
    from .evidence import Side


class Comparison:
    """Everything a rule may look at: the plugin, its manifest, a side."""

    __slots__ = (
        "abi_known",
        "abi_unsafe",
        "built_here",
        "interface_alone",
        "linker_findings",
        "live",
        "manifest",
        "origin_told",
        "path",
        "plugin",
        "uses_numpy_api",
    )

    def __init__(
        self,
        plugin: PluginIdentity,
        manifest: Manifest | None,
        live: Side,
        *,
        linker_findings: tuple[Finding, ...] = (),
        abi_known: bool = False,
        abi_unsafe: bool = False,
        origin_told: bool = False,
        interface_alone: bool = False,
        uses_numpy_api: bool | None = False,
        built_here: bool = False,
        path: str | None = None,
    ) -> None:
        self.plugin = plugin
        self.manifest = manifest
        self.live = live
        self.linker_findings = linker_findings
        self.abi_known = abi_known  # the binary interfaces of both releases were compared
        self.abi_unsafe = abi_unsafe  # and they differ where the plugin depends on it
        self.origin_told = origin_told  # what an unstamped plugin was built with is spoken of
        # They were compared by the stamp alone: whether the plugin links is not known.
        self.interface_alone = interface_alone
        self.uses_numpy_api = uses_numpy_api  # None: only its file, which is not at hand, shows it
        self.path = path or plugin.name  # of the file, for commands
        self.built_here = built_here  # it is about to be stamped for this environment

    @property
    def refused(self) -> bool:
        """Whether the dynamic linker's findings already make the load fail."""
        return any(f.verdict == Verdict.INCOMPATIBLE for f in self.linker_findings)


def install_command(live: Side, spec: str, *, distribution: str | None = None) -> str:
    """The command that brings `spec` ("==2.15.1", "==2.15.*") of TensorFlow into the environment."""
    name = distribution or live.distribution or "tensorflow"
    again = name == live.distribution and spec == f"=={live.tensorflow.version}"
    return live.place.install(name, spec, instead_of=live.distribution, again=again)
