"""Stamping: judge a plugin by its build environment, embed the manifest, read it back.

The body of a large library is copied meanwhile, so whatever takes time, imports included, comes
after that has begun.
"""

from __future__ import annotations

import os

from ..binary.elf import ElfFile
from ..binary.elf.append import require_plugin
from ..binary.elf.notes import find_stamp
from ..models.errors import ManifestError, StampRefused, printable
from ..models.verdict import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..environment.live import Environment
    from ..models.manifest import Manifest
    from ..models.report import Report
    from ..models.shown import StampDocument
    from ..plugin.dependencies.analyse import InterfaceFacts
    from ..plugin.dependencies.recompile import Command
    from ..plugin.signature.keys import PrivateKey
    from .checking import Checker

#: What to do about a refusal.
REFUSED = (
    "name the environment that it was built in with `--env ENV`, "
    "or record this one all the same with `--force`"
)


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
    file of an Ed25519 private key that signs plugin and manifest (docs/explanation/trust.md).
    `compile_commands`, a compilation database, and `compile_command`, command lines, are how the
    plugin's sources were compiled: they are compiled once more with `-g`, into a temporary folder,
    for what the plugin depends on (docs/guides/debug-information.md).

    Raises `FileAccessError` when the plugin, the key or the database cannot be opened, `ElfError`
    when the file is not a shared library with section headers, `EnvironmentUnreadable` when `env` is
    no environment or has no TensorFlow, `StampRefused` when it could not load the plugin (`force`
    records it nevertheless), `InputError` when the sources do not compile or are not the plugin's,
    and for a damaged atlas, `KeyFileError` and `DependencyMissing` for the key, `ManifestError`
    when the manifest would be larger than is read, `WriteError` when nothing could be written.
    """
    from ..plugin.runtime import runtime_needs
    from .stamp_writing import Ahead, write_stamp

    path = os.fspath(plugin)
    target = None if output is None else os.fspath(output)
    key = None
    if sign is not None:
        from ..plugin.signature.keys import read_private

        key = read_private(os.fspath(sign))
    with ElfFile.open(path) as elf:
        require_plugin(elf)
        with Ahead(elf, path, target) as ahead:
            from ..models.shown import STAMP_FORMAT, StampDocument
            from ..plugin.facts import PluginFacts
            from ..plugin.identity import read_identity
            from ..plugin.manifest import encode_manifest
            from .checking import Checker
            from .recording import build_manifest

            with Checker.for_environment(env) as checker:
                commands = _commands(compile_commands, compile_command)
                prediction = checker.predict(elf)
                elf.forget()
                checker.scope.pool.forget()
                facts = PluginFacts.of(elf, stamped=False)
                facts.identity = identity = read_identity(elf, digest=True)
                report = checker.judge(facts, prediction, built_here=True)
                refused = report.verdict is not None and not report.verdict.works
                if refused and not force:
                    raise StampRefused(_refusal(path, report), report, hint=REFUSED)
                replaced, before = _old_stamp(elf)
                evidence, remarks = _recompiled(elf, commands)
                manifest = build_manifest(
                    checker,
                    elf,
                    prediction,
                    identity,
                    forced=refused,
                    record_ops=record_ops,
                    evidence=evidence,
                )
                report, otherwise = _compiled_otherwise(manifest, report, checker)
                if otherwise and not force:
                    raise StampRefused(_refusal(path, report), report, hint=REFUSED)
                if otherwise:
                    refused, manifest = True, manifest.replace(forced=True)
                inexact = _not_exact(manifest, checker)
                runtime = runtime_needs(elf)
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
            *_lost(before, manifest),
            *remarks,
            *inexact,
            *(_not_loaded(manifest) if record_ops else ()),
            *said,
        ),
        signed_by=signer,
        runtime=runtime,
        manifest=manifest,
        findings=report.findings if refused else (),
    )


def _commands(database: str | os.PathLike[str] | None, lines: Sequence[str]) -> Sequence[Command]:
    if database is None and not lines:
        return ()
    from ..plugin.dependencies.recompile import read_database, read_line

    found = [] if database is None else read_database(os.fspath(database))
    return [*found, *(command for line in lines for command in read_line(line))]


def _recompiled(
    elf: ElfFile, commands: Sequence[Command]
) -> tuple[InterfaceFacts | None, tuple[str, ...]]:
    """What the plugin's recompiled sources show, and remarks about it."""
    if not commands:
        return None, ()
    from ..plugin.dependencies.sources import from_sources

    return from_sources(elf, commands)


def _not_exact(manifest: Manifest, checker: Checker) -> tuple[str, ...]:
    """What to say when no atlas knows the TensorFlow that the plugin was built with."""
    tensorflow = checker.environment.tensorflow
    if tensorflow is None or manifest.plugin is None:
        return ()
    if manifest.plugin.compilation.uses_c_api_only:
        return ()
    from ..atlas.collection import find_installed

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
    """The signature note, the fingerprint of its key, and remarks about them."""
    if key is None:
        from ..plugin.signature.note import signed_by

        dropped = signed_by(elf)
        if dropped is None:
            return None, None, ()
        lost = f"the signature by {dropped} is gone, because it was for the old stamp: sign with `--sign KEY`"
        return None, None, (lost,)
    from ..plugin.signature.keys import fingerprint
    from ..plugin.signature.sign import sign

    return sign(elf, payload, key), fingerprint(key.public), key.notes


def _not_loaded(manifest: Manifest) -> tuple[str, ...]:
    found = manifest.registrations
    if found is None or found.source == "loaded":
        return ()
    return (f"ops and kernels are recorded as the file shows them: {found.limits[0]}",)


def _old_stamp(elf: ElfFile) -> tuple[bool, Manifest | None]:
    """Whether there is a stamp to replace, and its manifest if that can be read."""
    from ..plugin.manifest import decode_manifest

    try:
        found = find_stamp(elf)
        if found is None or found.kind != "appended":
            return False, None
        return True, decode_manifest(found.payload, elf.path)
    except ManifestError:
        return True, None


def _lost(before: Manifest | None, now: Manifest) -> tuple[str, ...]:
    """What the stamp that is replaced recorded and the new one does not."""
    if before is None:
        return ()
    notes = []
    was, is_now = before.tensorflow, now.tensorflow
    if was is not None and is_now is not None and was.version != is_now.version:
        notes.append(f"it was stamped for TensorFlow {was.version} before")
    if before.abi is not None and before.abi.evidence == "dwarf":
        from ..report.manifest_text import EVIDENCE

        if now.abi is None or now.abi.evidence != "dwarf":
            known = "not at all" if now.abi is None else EVIDENCE[now.abi.evidence]
            notes.append(
                "what the plugin depends on was known from its debug information before, now "
                f"{known}: stamp before `strip`, or with `--compile-command`"
            )
    return tuple(notes)


def _compiled_otherwise(
    manifest: Manifest, report: Report, checker: Checker
) -> tuple[Report, bool]:
    """The report, with what the plugin's debug information contradicts in its own TensorFlow."""
    from ..rules.layout.judging import compiled_otherwise

    tensorflow = checker.environment.tensorflow
    if tensorflow is None or report.verdict == Verdict.INCOMPATIBLE:
        return report, False
    found = compiled_otherwise(manifest.abi, tensorflow, checker.summary.distribution)
    if not found:
        return report, False
    return report.replace(verdict=Verdict.UNSAFE, findings=(*found, *report.findings)), True


def _refusal(path: str, report: Report) -> str:
    from ..report.check_text import summary

    could = (
        "could not load it" if report.verdict == Verdict.INCOMPATIBLE else "cannot use it safely"
    )
    return (
        f"`{printable(path)}` was not stamped: the environment that would be recorded {could}\n"
        + summary(report)
    )
