"""`envlock snapshot`."""

from __future__ import annotations

from ..models.errors import EnvlockError, printable
from .common import Failing, add_environment, add_output, emit
from .failing import error_info
from .reports import add_store, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..models.errors import EnvlockError
    from ..models.snapshot import Snapshot


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `envlock snapshot`."""
    add_environment(parser)
    parser.add_argument(
        "--integrity",
        choices=("none", "quick", "full"),
        default="quick",
        help="compare installed files with their records: not at all, by size and time (default), "
        "or by content",
    )
    parser.add_argument("--save", metavar="NAME", help="keep it in the history under this name")
    add_store(parser)
    parser.add_argument(
        "--format", choices=("text", "json"), help="default: json, text with --save"
    )
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Take the snapshot; write it, or keep it in the history."""
    import gc

    from ..inventory.files import snapshot_text

    # A short-lived process that builds many small objects once need not look for garbage.
    gc.disable()
    chosen = arguments.format or ("text" if arguments.save and not arguments.output else "json")

    def failed(error: EnvlockError) -> None:
        if chosen == "json":
            emit(snapshot_text(_failed(error)), arguments.output)

    with Failing(failed):
        taken = _take(arguments)
    emit(_text(taken) if chosen == "text" else snapshot_text(taken), arguments.output)
    return 0


def _take(arguments: argparse.Namespace) -> Snapshot:
    from ..environment.live import Environment
    from ..inventory.collect import snapshot

    if arguments.save:
        from ..inventory.store import Store, check_name

        check_name(arguments.save)
    environment = Environment.open(arguments.env)
    taken = snapshot(environment, integrity=arguments.integrity)
    if arguments.save:
        with Store(arguments.store, create=True) as store:
            saved = store.save(arguments.save, environment.paths.prefix, taken)
            say(f"saved as `{saved.name}` (@{saved.id}) in `{store.path}`")
    return taken


def _failed(error: EnvlockError) -> Snapshot:
    from ..models.snapshot import SNAPSHOT_FORMAT, Snapshot
    from ..models.version import __version__

    return Snapshot(
        format=SNAPSHOT_FORMAT,
        generator=f"tf-envlock {__version__}",
        error=error_info(error),
    )


def _text(taken: Snapshot) -> str:
    from ..inventory.sides import describe, from_snapshot
    from ..models.snapshot import PARTS

    facts = from_snapshot(taken, "environment", "")
    lines = [describe(facts) or "an empty environment", f"fingerprint {taken.fingerprint}"]
    lines += [f"  {part:<12}{getattr(taken.digests, part)}" for part in PARTS]
    native = taken.native
    libc = f"{native.libc} {native.libc_version}" if native.libc else "unknown"
    lines.append(f"native: {native.machine}, {libc}")
    if native.libstdcxx is not None and native.libstdcxx.glibcxx:
        lines[-1] += f", libstdc++ up to GLIBCXX_{native.libstdcxx.glibcxx}"
    for plugin in taken.plugins:
        stamp = "stamped" if plugin.stamp else "not stamped"
        if plugin.manifest is not None and plugin.manifest.tensorflow is not None:
            stamp += f" for TensorFlow {plugin.manifest.tensorflow.version}"
        lines.append(f"plugin {plugin.path}: {plugin.problem or stamp}")
    for problem in taken.problems:
        lines.append(f"{problem.kind}: {problem.message}")
        lines += [f"  {path}" for path in problem.paths]
        if problem.remedy:
            lines.append(f"  fix: {problem.remedy}")
    return "".join(f"{printable(line)}\n" for line in lines)
