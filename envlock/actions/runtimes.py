"""`check --glibc`: one plugin against a release of the C library that need not be installed."""

from __future__ import annotations

import os
import re

from ..binary.elf.dynamic import DT_RELR
from ..linker.header import Host, verify
from ..linker.library import Library
from ..linker.prediction import MissingVersion, Prediction
from ..linker.traits import Traits
from ..models.errors import UsageError
from ..models.policy import DEFAULT, PolicyFile
from ..models.report import EnvironmentSummary, Finding, PluginSummary, Report, Unchecked
from ..models.versions import of_glibc
from ..plugin.facts import PluginFacts
from ..plugin.runtime import needed_versions, release_of_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..binary.elf import ElfFile
    from ..rules.signature.verify import Verifier

_UNCHECKED = Unchecked(
    what="everything but the C library",
    why="only a release of glibc was named: TensorFlow, other libraries, and changes that a "
    "distribution carried back are not known",
)


def release_of(text: str) -> tuple[int, int]:
    """A release of glibc as it is named on the command line. Raises `UsageError`."""
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", text)
    if found is None or not (2, 17) <= (int(found[1]), int(found[2])) < (3, 0):
        raise UsageError(
            f"`{text:.40}` is no release of glibc that TensorFlow runs on",
            hint="name one from 2.17 on, such as 2.31 (Debian 11) or 2.35 (Ubuntu 22.04)",
        )
    return int(found[1]), int(found[2])


def judge_glibc(
    plugin: PluginFacts,
    version: str,
    policy: PolicyFile = DEFAULT,
    trusted: Verifier | None = None,
) -> Report:
    """The report on one plugin against upstream's release of glibc, by the plugin's file alone.

    Raises `UsageError` for what is no release, `InputError` for the plugin.
    """
    from ..rules.policy import settle, verdict_of

    release = release_of(version)
    prediction = _predict(plugin.elf, Traits.of_release(release), version)
    findings: tuple[Finding, ...] = ()
    if not prediction.unremarkable:
        from ..rules.loading.causes import explain

        findings = explain(prediction, plugin.identity, None)
    kept, signed_by = settle(plugin, findings, policy, trusted)
    return Report(
        plugin=PluginSummary(
            path=plugin.path,
            stamped=plugin.manifest is not None,
            stamp=plugin.stamp,
            tensorflow=plugin.built_for,
            signed_by=signed_by,
        ),
        environment=EnvironmentSummary(glibc=version),
        verdict=verdict_of(kept),
        findings=kept,
        unchecked=(_UNCHECKED,),
    )


def _predict(elf: ElfFile, traits: Traits, version: str) -> Prediction:
    """What that release's dlopen says of the file itself and of the versions that it needs."""
    prediction = Prediction(elf.path)
    rejection = verify(elf, Host.of(elf, traits))
    if rejection is not None:
        text = rejection.message(elf.path, elf.path)
        prediction.fail("refused", rejection.reason, text)
        return prediction
    missing = [
        MissingVersion(name, library, f"glibc {version}", elf.path, False)
        for library, name in needed_versions(elf)
        if of_glibc(library) and release_of_version(name) > traits.release
    ]
    prediction.missing_versions = tuple(missing)
    for one in missing[:1]:
        text = f"{one.provider}: version `{one.version}' not found (required by {elf.path})"
        prediction.fail("refused", "version", text)
    if elf.dynamic.get(DT_RELR) is not None:
        from ..linker.releases import relr_problem

        problem = relr_problem(Library(elf, elf.path), os.path.basename(elf.path), traits)
        if problem is not None:
            prediction.fail(*problem)
        elif not traits.applies_relr:
            prediction.unrelocated = (elf.path,)
    return prediction
