"""A recorded environment as a side; plugins are judged as `envlock check` judges them.

With a plugin's file at hand the atlas answers for TensorFlow: what that release exports, and its
binary interface. Without, the stamp's record of the interface is compared, and nothing shows
whether the plugin would link.
"""

from __future__ import annotations

from ..actions.checking import unreadable_report
from ..atlas.collection import Known, find_installed
from ..binary.elf import ElfFile
from ..models.errors import InputError
from ..models.report import EnvironmentSummary, Report, Unchecked
from ..plugin.facts import PluginFacts
from ..rules.evidence import Evidence, UnknownSide
from ..rules.judge import judge
from ..rules.releases import MACHINE, lacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.manifest import Manifest, NumpyFacts, TensorFlowFacts
    from ..models.policy import PolicyFile
    from ..rules.signature.verify import Verifier
    from .sides import Facts

_LINKER = "what the dynamic linker would say"


class Plugin:
    """A plugin as a side records it, and its file where that is at hand."""

    __slots__ = ("file", "manifest", "path", "problem", "stamp")

    def __init__(
        self,
        path: str,
        stamp: str | None,
        manifest: Manifest | None,
        file: str | None,
        problem: str | None = None,
    ) -> None:
        self.path = path  # as reports name it
        self.stamp = stamp
        self.manifest = manifest
        self.file = file
        self.problem = problem  # why its stamp cannot be read

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be judged; None where it can."""
        if self.file is not None:
            return None
        if self.manifest is None:
            return self.problem or "it is not stamped, and its file is not at hand"
        if self.manifest.plugin is None:
            return "its linked-in note does not describe the plugin"
        return None


class RecordedSide(UnknownSide):
    """Recorded facts as a side (`rules.evidence.Side`). The plugin's libraries are not recorded,
    and the processor is another machine's."""

    def __init__(self, facts: Facts, recorded: TensorFlowFacts) -> None:
        super().__init__(recorded.version)
        #: What is not known of its TensorFlow.
        self.doubts: list[Unchecked] = []
        self.known = self._find(facts, recorded)
        self.tensorflow = recorded
        if self.known is not None and self._release_only(recorded, self.known):
            # A lock file names a release: its libraries are not other ones, they are not known.
            why = f"`{facts.side.label}` names the release only, so it is judged as the public one"
            self.doubts.append(Unchecked(what="the build of TensorFlow", why=why))
            self.tensorflow = recorded.replace(libraries=self.known.release.identities)
            self.known = Known(self.known.atlas, self.known.release, True)
        self.distribution = recorded.distribution
        self.manager = recorded.manager
        self.numpy = facts.numpy or _numpy(facts)
        self.python = facts.python
        self.libc_version = None if facts.libc is None else facts.libc.rpartition(" ")[2]
        self.libstdcxx = facts.libstdcxx
        self.machine = facts.machine
        self.summary = EnvironmentSummary(
            python=None if facts.python is None else facts.python.version,
            tensorflow=recorded.version,
            distribution=recorded.distribution,
        )

    def _find(self, facts: Facts, recorded: TensorFlowFacts) -> Known | None:
        """The release in the atlas; None where no atlas can speak for the recorded TensorFlow."""
        why = f"the atlas does not know TensorFlow {recorded.version}"
        try:
            known = find_installed(recorded, recorded.distribution)
        except InputError as error:
            known, why = None, error.message
        if known is None:
            self.doubts.append(Unchecked(what="binary interface", why=why))
        return known

    @staticmethod
    def _release_only(recorded: TensorFlowFacts, known: Known) -> bool:
        return not recorded.libraries and known.release.version == recorded.version


def _numpy(facts: Facts) -> NumpyFacts | None:
    from ..models.manifest import NumpyFacts

    package = facts.pip.get("numpy") or facts.conda.get("numpy")
    if package is None or package.version is None:
        return None
    return NumpyFacts(version=package.version)


class Judge:
    """Judges plugins against one side that has a TensorFlow, under one policy."""

    def __init__(self, facts: Facts, policy: PolicyFile, trusted: Verifier | None) -> None:
        assert facts.tensorflow is not None
        self._policy = policy
        self._trusted = trusted
        self._side = RecordedSide(facts, facts.tensorflow)

    def report(self, plugin: Plugin) -> Report:
        """The report on one plugin; one without verdict where its file cannot be read."""
        if plugin.file is None:
            assert plugin.manifest is not None
            facts = PluginFacts(None, plugin.path, manifest=plugin.manifest)
            facts.stamp = plugin.stamp
            return judge(self._collect(facts), self._policy, self._trusted)
        try:
            with ElfFile.open(plugin.file) as elf:
                facts = PluginFacts(elf, plugin.path)
                return judge(self._collect(facts), self._policy, self._trusted)
        except InputError as error:
            return unreadable_report(plugin.path, error, self._side.summary)

    def _collect(self, plugin: PluginFacts) -> Evidence:
        """A plugin and this side; the atlas stands in for the dynamic linker where it can."""
        side, link = self._side, None
        machines = {side.machine or plugin.identity.machine, plugin.identity.machine}
        if plugin.has_file and side.known is not None and machines == {MACHINE}:
            link = lacking(plugin, side.known.atlas)[side.known.release.index]
        what, why = _LINKER, "the environment is only recorded: its libraries are not at hand"
        if not plugin.has_file:
            why = "only the plugin's file shows which symbols it needs, and it is not at hand"
        elif link is not None:
            what += " of libraries other than TensorFlow's"
        unchecked = [Unchecked(what=what, why=why), *side.doubts]
        return Evidence(plugin, side, link, unchecked=unchecked)
