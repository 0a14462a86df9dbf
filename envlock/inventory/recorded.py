"""One plugin judged against recorded facts, as `envlock check` judges it against live ones.

With its file at hand the atlas answers for TensorFlow: what that release exports, and its binary
interface. Without, the stamp's record of the interface is compared, and nothing tells whether the
plugin would link.
"""

from __future__ import annotations

from ..actions.checking import needs_digest, unreadable_report
from ..binary.elf import ElfFile
from ..models.errors import InputError
from ..models.report import EnvironmentSummary, Finding, PluginSummary, Report, Unchecked
from ..models.verdict import Verdict
from ..models.versions import minor
from ..plugin.identity import read_identity, uses_numpy_api
from ..plugin.manifest import read_embedded
from ..rules import RULES, Comparison
from ..rules.installing import Place
from ..rules.layout.judging import AbiAnswer, demangled, judge_abi
from ..rules.policy import apply_policy, settle, verdict_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..atlas.collection import Known
    from ..models.manifest import (
        LibstdcxxFacts,
        Manifest,
        NumpyFacts,
        PluginIdentity,
        PythonFacts,
        TensorFlowFacts,
    )
    from ..models.policy import PolicyFile
    from ..rules.signature.verify import Verifier
    from .sides import Facts

_LINKER = "what the dynamic linker would say"
#: The atlas is of releases for this architecture.
_ATLAS_MACHINE = "x86_64"


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


class RecordedView:
    """Recorded facts as the rules see an environment (`rules.base.Live`)."""

    def __init__(self, facts: Facts, tensorflow: TensorFlowFacts) -> None:
        self._facts = facts
        self.tensorflow = tensorflow
        self.distribution = tensorflow.distribution
        self.manager = tensorflow.manager
        self.place = Place(tensorflow.manager)

    @property
    def numpy(self) -> NumpyFacts | None:
        """numpy, as far as recorded."""
        from ..models.manifest import NumpyFacts

        if self._facts.numpy is not None:
            return self._facts.numpy
        package = self._facts.pip.get("numpy") or self._facts.conda.get("numpy")
        if package is None or package.version is None:
            return None
        return NumpyFacts(version=package.version)

    @property
    def python(self) -> PythonFacts:
        """The interpreter; "unknown" compares as another one."""
        from ..models.manifest import PythonFacts

        return self._facts.python or PythonFacts(version="unknown", implementation="unknown")

    @property
    def libc_version(self) -> str | None:
        """The C library's version."""
        return None if self._facts.libc is None else self._facts.libc.rpartition(" ")[2]

    @property
    def libstdcxx(self) -> LibstdcxxFacts | None:
        """libstdc++."""
        return self._facts.libstdcxx

    @property
    def processor(self) -> None:
        """None: it is another machine's."""

    #: The libraries that a plugin would get are not recorded.
    closure_known = False

    def library(self, soname: str) -> None:
        """None, see `closure_known`."""


class Judge:
    """Judges plugins against one side that has a TensorFlow, under one policy."""

    def __init__(self, facts: Facts, policy: PolicyFile, trusted: Verifier | None) -> None:
        assert facts.tensorflow is not None
        self._facts = facts
        self._policy = policy
        self._trusted = trusted
        self._tensorflow = facts.tensorflow
        self._view = RecordedView(facts, facts.tensorflow)
        self._summary = EnvironmentSummary(
            python=None if facts.python is None else facts.python.version,
            tensorflow=facts.tensorflow.version,
            distribution=facts.tensorflow.distribution,
        )
        self._doubts: list[Unchecked] = []
        self._known = self._find()

    def _find(self) -> Known | None:
        """The release in the atlas; None where no atlas can speak for the recorded TensorFlow."""
        from ..atlas.collection import find_installed
        from ..models.manifest import LibraryIdentity

        recorded = self._tensorflow
        try:
            known = find_installed(recorded, recorded.distribution)
        except InputError as error:
            self._doubts.append(Unchecked(what="binary interface", why=error.message))
            return None
        if known is None:
            why = f"the atlas does not know TensorFlow {recorded.version}"
            self._doubts.append(Unchecked(what="binary interface", why=why))
        elif not recorded.libraries and known.release.version == recorded.version:
            # A lock file names a release: its libraries are not other ones, they are not known.
            why = (
                f"`{self._facts.side.label}` names the release only, it is judged as the public one"
            )
            self._doubts.append(Unchecked(what="the build of TensorFlow", why=why))
            self._tensorflow = recorded.replace(
                libraries=tuple(
                    LibraryIdentity(
                        name=one["name"], build_id=one.get("build_id"), size=one.get("size")
                    )
                    for one in known.release.libraries
                )
            )
        return known

    def report(self, plugin: Plugin) -> Report:
        """The report on one plugin; one without verdict where its file cannot be read."""
        if plugin.file is None:
            assert plugin.manifest is not None
            return self._by_stamp(plugin, plugin.manifest)
        try:
            with ElfFile.open(plugin.file) as elf:
                return self._by_file(plugin, elf)
        except InputError as error:
            return unreadable_report(plugin.path, error, self._summary)

    # --- with the file ---------------------------------------------------------------------------

    def _by_file(self, plugin: Plugin, elf: ElfFile) -> Report:
        embedded = read_embedded(elf)
        manifest = None if embedded is None else embedded.manifest
        plugin = Plugin(
            plugin.path, None if embedded is None else embedded.stamp, manifest, elf.path
        )
        stamped = None if manifest is None else manifest.plugin
        compilation = None if stamped is None else stamped.compilation
        identity = read_identity(elf, compilation=compilation)
        if stamped is not None and needs_digest(elf, stamped, identity):
            identity = read_identity(elf, compilation=compilation, digest=True)
        linker = self._link(elf, identity, manifest)
        unchecked = [self._unlinked(linker is not None), *self._doubts]
        refused = bool(linker)
        abi = AbiAnswer()
        if not refused and self._known is not None:
            abi = judge_abi(
                elf, identity, manifest, self._tensorflow, self._tensorflow.distribution
            )
        unchecked += abi.unchecked
        comparison = Comparison(
            identity,
            manifest,
            self._view,
            linker_findings=tuple(linker or ()),
            # Symbols that no atlas could be asked for are no match either.
            abi_known=abi.known and (linker is not None or self._same_minor(manifest)),
            abi_unsafe=any(finding.verdict == Verdict.UNSAFE for finding in abi.findings),
            origin_told=bool(abi.unchecked),
            uses_numpy_api=manifest is not None and uses_numpy_api(elf),
        )
        findings = [*(linker or ()), *abi.findings]
        self._apply_rules(comparison, findings, unchecked)
        kept, signed_by = settle(
            elf, findings, self._policy, self._trusted, stamped=manifest is not None
        )
        return self._made(plugin, kept, unchecked, abi.origin, signed_by)

    def _link(
        self, elf: ElfFile, identity: PluginIdentity, manifest: Manifest | None
    ) -> tuple[Finding, ...] | None:
        """What the release does not export to the plugin; None where the atlas cannot tell."""
        machine = self._facts.machine or identity.machine
        if self._known is None or {machine, identity.machine} != {_ATLAS_MACHINE}:
            return None
        from ..atlas.link import Wants
        from ..rules.layout.compat import all_releases

        built = manifest.tensorflow.version if manifest and manifest.tensorflow else None
        answers = all_releases(Wants(elf), None, self._known.atlas, built)
        found = demangled(answers[self._known.release.index].findings)
        if not found:
            return found
        from ..rules.remedies import Target, another_release

        tensorflow = self._tensorflow
        target = Target(self._view.place, tensorflow.distribution, tensorflow.version)
        remedy = another_release(elf, manifest, target)
        return found if remedy is None else tuple(one.replace(remedy=remedy) for one in found)

    def _unlinked(self, asked: bool) -> Unchecked:
        why = "the environment is only recorded, its libraries are not at hand"
        if asked:
            return Unchecked(what=f"{_LINKER} of libraries other than TensorFlow's", why=why)
        return Unchecked(what=_LINKER, why=why)

    # --- with the stamp alone --------------------------------------------------------------------

    def _by_stamp(self, plugin: Plugin, manifest: Manifest) -> Report:
        identity = manifest.plugin
        assert identity is not None
        abi = self._compare(identity, manifest)
        why = "only the plugin's file tells which symbols it needs, and it is not at hand"
        unchecked = [Unchecked(what=_LINKER, why=why), *self._doubts, *abi.unchecked]
        if self._trusted is not None:
            why = "the policy demands a signature, and only the plugin's file holds it"
            unchecked.append(Unchecked(what="signature", why=why))
        findings = list(abi.findings)
        comparison = Comparison(
            identity,
            manifest,
            self._view,
            # Between minor releases symbols go, which nobody looked for.
            abi_known=abi.known and self._same_minor(manifest),
            abi_unsafe=any(finding.verdict == Verdict.UNSAFE for finding in findings),
            # Whether it does is not known: an answer that fits both cases is looked for below.
            uses_numpy_api=True,
        )
        self._apply_rules(comparison, findings, unchecked)
        findings = [
            kept
            for finding in findings
            for kept in self._without_file(finding, abi.known, unchecked)
        ]
        return self._made(plugin, apply_policy(tuple(findings), self._policy), unchecked)

    def _compare(self, identity: PluginIdentity, manifest: Manifest) -> AbiAnswer:
        """The interface as the stamp records it against the release that the atlas knows."""
        if identity.compilation.uses_c_api_only:
            return AbiAnswer(known=True)
        known, tensorflow = self._known, manifest.tensorflow
        if known is None or tensorflow is None:
            return AbiAnswer()
        if manifest.abi is None:
            why = "the stamp does not say what the plugin depends on, and its file is not at hand"
            return AbiAnswer(unchecked=(Unchecked(what="binary interface", why=why),))
        from ..atlas.collection import find_installed
        from ..rules.layout.findings import compare

        origin = None
        try:
            if known.atlas.find(tensorflow.version) is None:
                found = find_installed(tensorflow, tensorflow.distribution)
                if found is not None and found.release.version == tensorflow.version:
                    origin = found.atlas, found.release
            findings, unchecked = compare(
                manifest.abi, known.atlas, known.release, tensorflow.version, origin
            )
        except InputError as error:
            return AbiAnswer(unchecked=(Unchecked(what="binary interface", why=error.message),))
        if known.release.version != self._tensorflow.version:
            why = (
                f"the atlas does not know TensorFlow {self._tensorflow.version}, it was judged by "
                f"{known.release.version}"
            )
            unchecked.append(Unchecked(what="binary interface", why=why))
        return AbiAnswer(findings, unchecked, known=True)

    def _without_file(
        self, finding: Finding, interface_known: bool, unchecked: list[Unchecked]
    ) -> Iterator[Finding]:
        """A rule's finding, with only as much claimed as can be known without the file."""
        if (
            finding.rule == "tensorflow-version"
            and finding.verdict == Verdict.UNSAFE
            and interface_known
        ):
            yield finding.replace(
                why="the classes that its stamp names are the same in both, but whether this "
                "release exports every symbol that it needs is not known without its file"
            )
        elif finding.rule != "numpy-abi":
            yield finding
        elif finding.verdict == Verdict.DRIFTED:
            why = "numpy's C API is compatible between the two, should the plugin use it"
            yield finding.replace(why=why)
        else:
            here = finding.live or "none"
            unchecked.append(
                Unchecked(
                    what="numpy's C API",
                    why=f"that of {finding.built} does not work with the numpy here ({here}), and "
                    "only the plugin's file, which is not at hand, tells whether it uses it",
                )
            )
            if finding.live is not None:
                why = "whether that breaks it is not known without the plugin's file"
                yield finding.replace(verdict=Verdict.DRIFTED, why=why, remedy=None)

    # --- both ------------------------------------------------------------------------------------

    def _same_minor(self, manifest: Manifest | None) -> bool:
        built = None if manifest is None else manifest.tensorflow
        return built is not None and minor(built.version) == minor(self._tensorflow.version)

    def _apply_rules(
        self, comparison: Comparison, findings: list[Finding], unchecked: list[Unchecked]
    ) -> None:
        for rule in RULES:
            if rule.id == "python-version" and self._facts.python is None:
                continue
            for answer in rule(comparison):
                if isinstance(answer, Finding):
                    findings.append(answer)
                else:
                    unchecked.append(answer)

    def _made(
        self,
        plugin: Plugin,
        kept: tuple[Finding, ...],
        unchecked: list[Unchecked],
        origin: str | None = None,
        signed_by: str | None = None,
    ) -> Report:
        manifest = plugin.manifest
        built = manifest.tensorflow.version if manifest and manifest.tensorflow else None
        return Report(
            plugin=PluginSummary(
                path=plugin.path,
                stamped=manifest is not None,
                stamp=plugin.stamp,
                tensorflow=built or origin,
                signed_by=signed_by,
            ),
            environment=self._summary,
            verdict=verdict_of(kept),
            findings=kept,
            unchecked=tuple(unchecked),
        )
