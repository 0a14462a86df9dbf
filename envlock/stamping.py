"""Stamping: collect the manifest of a plugin and its build environment, embed it, read it back."""

from __future__ import annotations

import os

from ._version import __version__
from .checking import Checker
from .elf import ElfFile
from .elf.append import require_plugin
from .elf.notes import find_stamp
from .errors import ManifestError, StampRefused
from .identity import is_runtime, read_identity
from .live import linked_libraries, platform_facts
from .manifest_io import encode_manifest
from .models.manifest import MANIFEST_FORMAT, Manifest
from .models.shown import STAMP_FORMAT, StampDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .abi.analyse import Evidence
    from .abi.recompile import Command
    from .environment.live import Environment
    from .linker.prediction import Prediction
    from .models.dependencies import Dependencies
    from .models.registration import Registrations
    from .models.report import Report
    from .trust.keys import PrivateKey


def build_manifest(
    checker: Checker,
    elf: ElfFile | None = None,
    prediction: Prediction | None = None,
    *,
    forced: bool = False,
    record_ops: bool = False,
    evidence: Evidence | None = None,
) -> Manifest:
    """The manifest of an open plugin in the checker's environment; without one, of a linked note.

    `evidence` is what is known of the plugin if that is more than its file tells.
    """
    environment = checker.environment
    tensorflow = environment.tensorflow
    return Manifest(
        format=MANIFEST_FORMAT,
        generator=f"tf-envlock {__version__}",
        forced=forced,
        plugin=None if elf is None else read_identity(elf, digest=True),
        tensorflow=None if tensorflow is None else tensorflow.facts(),
        numpy=environment.numpy,
        python=environment.python,
        platform=platform_facts(environment, checker.scope, prediction),
        libraries=() if prediction is None else linked_libraries(environment, prediction),
        packages=environment.packages(),
        abi=None if elf is None else _dependencies(elf, checker, evidence),
        registrations=None if elf is None else _registrations(elf, checker, record_ops),
    )


def _registrations(elf: ElfFile, checker: Checker, load: bool) -> Registrations | None:
    """The ops and kernels that the plugin registers; `load` runs it in a process of its own."""
    if is_runtime(elf):
        return None
    if load:
        from .registration.recording import record_registrations

        return record_registrations(elf, checker.environment)
    from .registration.reading import read_registrations

    return read_registrations(elf)


def _dependencies(elf: ElfFile, checker: Checker, evidence: Evidence | None) -> Dependencies | None:
    """The classes that the plugin's code depends on; None when no atlas knows its release."""
    tensorflow = checker.environment.tensorflow
    if tensorflow is None:
        return None
    from .judging import record_dependencies

    return record_dependencies(elf, tensorflow, checker.summary.distribution, evidence)


def note_payload(env: str | os.PathLike[str] | None = None) -> bytes:
    """The manifest of an environment, without a plugin, as the bytes of a note to link in."""
    return encode_manifest(build_manifest(Checker.for_environment(env)))


def stamp(
    plugin: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    env: str | os.PathLike[str] | Environment | None = None,
    force: bool = False,
    record_ops: bool = False,
    sign: str | os.PathLike[str] | None = None,
    compile_commands: str | os.PathLike[str] | None = None,
    compile_command: Sequence[str] = (),
) -> StampDocument:
    """Embed the manifest into a plugin, in place or into `output`, atomically.

    `env` is the environment that the plugin was built in. `record_ops` loads the plugin with that
    environment's Python, in a process that may die, to record what it registers. `sign` is the
    file of an Ed25519 private key that vouches for plugin and manifest (docs/trust.md).
    `compile_commands`, a compilation database, and `compile_command`, command lines, are how the
    plugin's sources were compiled: they are compiled once more with `-g`, into a temporary folder,
    for what the plugin depends on (docs/debug-information.md). Raises `InputError` when they do
    not compile or are not the plugin's,
    `StampRefused` when that environment could not load it (`force` records it nevertheless),
    `ElfError` when the file is no shared library with section headers, `WriteError` when nothing
    could be written, `KeyFileError` and `DependencyMissing` for the key.
    """
    from .writing import Ahead, write_stamp

    path = os.fspath(plugin)
    target = None if output is None else os.fspath(output)
    key = None
    if sign is not None:
        from .trust.keys import read_private

        key = read_private(os.fspath(sign))
    checker = Checker.for_environment(env)
    commands = _commands(compile_commands, compile_command)
    with ElfFile.open(path) as elf:
        require_plugin(elf)
        with Ahead(elf, path, target) as ahead:
            prediction = checker.predict(elf)
            elf.forget()
            checker.scope.pool.forget()
            report = checker.judge_unstamped(elf, prediction)
            refused = report.verdict in ("unsafe", "incompatible")
            if refused and not force:
                raise StampRefused(_refusal(path, report), report, hint=_hint(report))
            replaced = _has_stamp(elf)
            evidence, remarks = _recompiled(elf, commands)
            manifest = build_manifest(
                checker, elf, prediction, forced=refused, record_ops=record_ops, evidence=evidence
            )
            payload = encode_manifest(manifest)
            signature, signer, said = _signature(elf, payload, key)
            result = write_stamp(
                path,
                target,
                payload,
                signature=signature,
                unchanged_since=elf.status,
                ahead=ahead,
            )
    return StampDocument(
        format=STAMP_FORMAT,
        path=result.path,
        written=True,
        replaced=replaced,
        bytes_added=result.bytes_added,
        notes=(
            *result.notes,
            *remarks,
            *_not_exact(manifest, checker),
            *(_not_loaded(manifest) if record_ops else ()),
            *said,
        ),
        signed_by=signer,
        manifest=manifest,
        findings=report.findings if refused else (),
    )


def _commands(database: str | os.PathLike[str] | None, lines: Sequence[str]) -> Sequence[Command]:
    if database is None and not lines:
        return ()
    from .abi.recompile import read_database, read_line

    found = [] if database is None else read_database(os.fspath(database))
    return [*found, *(command for line in lines for command in read_line(line))]


def _recompiled(
    elf: ElfFile, commands: Sequence[Command]
) -> tuple[Evidence | None, tuple[str, ...]]:
    """What the plugin's recompiled sources tell, and remarks about it."""
    if not commands:
        return None, ()
    from .abi.sources import from_sources

    return from_sources(elf, commands)


def _not_exact(manifest: Manifest, checker: Checker) -> tuple[str, ...]:
    """What to say when no atlas knows the TensorFlow that the plugin was built with."""
    tensorflow = checker.environment.tensorflow
    if tensorflow is None or manifest.plugin is None:
        return ()
    if manifest.plugin.compilation.uses_c_api_only:
        return ()
    from .atlas.collection import find_installed

    known = find_installed(tensorflow, checker.summary.distribution)
    if known is not None and known.exact:
        return ()
    from shlex import quote

    means = (
        "what the plugin depends on is not recorded"
        if known is None
        else f"the class layouts of {known.release.version} are recorded in its place"
    )
    return (
        f"no atlas knows this TensorFlow {tensorflow.version}, {means}; "
        f"`envlock atlas add --env {quote(checker.environment.paths.prefix)}` adds it, "
        "then stamp again",
    )


def _signature(
    elf: ElfFile, payload: bytes, key: PrivateKey | None
) -> tuple[bytes | None, str | None, tuple[str, ...]]:
    """The signature note, the fingerprint of its key, and what to tell about them."""
    if key is None:
        from .trust.note import signed_by

        dropped = signed_by(elf)
        if dropped is None:
            return None, None, ()
        lost = (
            f"the signature by {dropped} is gone, it was of the old stamp: sign with `--sign KEY`"
        )
        return None, None, (lost,)
    from .trust.keys import fingerprint
    from .trust.sign import sign

    return sign(elf, payload, key), fingerprint(key.public), key.notes


def _not_loaded(manifest: Manifest) -> tuple[str, ...]:
    found = manifest.registrations
    if found is None or found.source == "loaded":
        return ()
    return (f"ops and kernels are recorded as the file shows them: {found.limits[0]}",)


def _has_stamp(elf: ElfFile) -> bool:
    try:
        found = find_stamp(elf)
    except ManifestError:
        return True  # damaged: it is replaced
    return found is not None and found.kind == "appended"


def _refusal(path: str, report: Report) -> str:
    from .render.text import summary

    return (
        f"`{path}` was not stamped: the environment that would be recorded could not load it\n"
        + summary(report)
    )


def _hint(report: Report) -> str:
    return (
        "name the environment that it was built in with `--env ENV`, "
        "or record this one all the same with `--force`"
    )
