"""What a stamp records: the manifest of a plugin and of the environment it was built in."""

from __future__ import annotations

import os

from ..models.manifest import MANIFEST_FORMAT, Manifest
from ..models.version import __version__
from ..plugin.identity import is_runtime
from ..plugin.manifest import encode_manifest
from .checking import Checker
from .live import linked_libraries, platform_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..binary.elf import ElfFile
    from ..linker.prediction import Prediction
    from ..models.dependencies import Dependencies
    from ..models.manifest import PluginIdentity
    from ..models.registration import Registrations
    from ..plugin.dependencies.analyse import InterfaceFacts


def build_manifest(
    checker: Checker,
    elf: ElfFile | None = None,
    prediction: Prediction | None = None,
    plugin: PluginIdentity | None = None,
    *,
    forced: bool = False,
    record_ops: bool = False,
    evidence: InterfaceFacts | None = None,
) -> Manifest:
    """The manifest of an open plugin in the checker's environment; without one, of a linked note.

    `plugin` is its identity with the digest; `evidence` is what is known of the plugin if that is
    more than its file shows.
    """
    environment = checker.environment
    tensorflow = environment.tensorflow
    return Manifest(
        format=MANIFEST_FORMAT,
        generator=f"tf-envlock {__version__}",
        forced=forced,
        plugin=None if plugin is None else _completed(plugin, evidence),
        tensorflow=None if tensorflow is None else tensorflow.facts(),
        numpy=environment.numpy,
        python=environment.python,
        platform=platform_facts(environment, checker.scope, prediction),
        libraries=() if prediction is None else linked_libraries(environment, prediction),
        packages=environment.packages(),
        abi=None if elf is None else _dependencies(elf, checker, evidence),
        registrations=None if elf is None else _registrations(elf, checker, record_ops),
    )


def _completed(plugin: PluginIdentity, evidence: InterfaceFacts | None) -> PluginIdentity:
    """The plugin; how it was compiled as its own file and the commands named for it show."""
    if evidence is None or not evidence.commands:
        return plugin
    from ..plugin.compilation import completed

    return plugin.replace(compilation=completed(plugin.compilation, evidence.commands))


def _registrations(elf: ElfFile, checker: Checker, load: bool) -> Registrations | None:
    """The ops and kernels that the plugin registers; `load` runs it in a process of its own."""
    if is_runtime(elf):
        return None
    if load:
        from ..plugin.registrations.recording import record_registrations

        return record_registrations(elf, checker.environment)
    from ..plugin.registrations.reading import read_registrations

    return read_registrations(elf)


def _dependencies(
    elf: ElfFile, checker: Checker, facts: InterfaceFacts | None
) -> Dependencies | None:
    """The classes that the plugin's code depends on; None when no atlas knows its release."""
    tensorflow = checker.environment.tensorflow
    if tensorflow is None or is_runtime(elf):
        return None
    from ..atlas.collection import find_installed
    from ..plugin.dependencies.analyse import InterfaceFacts, dependencies

    known = find_installed(tensorflow, checker.summary.distribution)
    if known is None:
        return None
    return dependencies(facts or InterfaceFacts(elf), known.atlas, known.release)


def note_payload(env: str | os.PathLike[str] | None = None) -> bytes:
    """The manifest of an environment, without a plugin, as the bytes of a note to link in."""
    with Checker.for_environment(env) as checker:
        return encode_manifest(build_manifest(checker))
