"""Rules about how the plugin was compiled: for which processor, with which alignment.

NDEBUG has no rule: with or without it made no difference in 2,331 pairs of plugins, save the one
that `abi-assertion` reports. It is recorded and shown.
"""

from __future__ import annotations

from ...models.report import Unchecked
from ...models.verdict import Verdict
from ..base import Rules
from ..comparison import Comparison

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ...models.manifest import Compilation, PluginIdentity
    from ..base import Answer

RULES = Rules("runtime")

#: What compilers record where no flag names a processor.
_ANY = ("-march=x86-64", "-march=armv8-a")
_WHAT = "instruction set"


@RULES.rule(
    "instruction-set",
    "Compiled for a newer processor",
    "Code that was compiled with `-march` or `-mavx512f` and the like is full of instructions "
    "that older processors do not have; running one ends the process with SIGILL. The "
    "processor that counts is the one of the machine that checks.",
    Verdict.UNSAFE,
    environment=False,
)
def instruction_set(c: Comparison) -> Iterator[Answer]:
    made = c.plugin.compilation
    # A machine that builds for newer processors need not have one.
    if not _chosen(made) or c.refused or c.built_here:
        return
    live = c.live.processor
    if live is None or c.plugin.machine != "x86_64":
        yield from _unseen_processor(c.plugin)
        return
    from ...binary.code.processors import needed

    some = frozenset(made.some_flags)
    features, _ = needed(flag for flag in made.flags if flag not in some)
    of_parts, unknown = needed(made.flags)
    lacking = [name for name in features if name not in live]
    if lacking:
        flags = _asking(features, lacking)
        yield instruction_set.finding(
            subject=_WHAT,
            built=" ".join(flags),
            live="without " + ", ".join(lacking),
            message=f"compiled with {_quoted(flags)}, but this processor lacks {', '.join(lacking)}",
            why="the process dies (SIGILL) where it runs an instruction that does not exist here",
            remedy=f"rebuild without {_quoted(flags)}",
        )
        return
    absent = [name for name in of_parts if name not in live]
    if absent:
        flags = _asking(of_parts, absent)
        yield Unchecked(
            what=_WHAT,
            why=f"parts of it are compiled with {_quoted(flags)}, and this processor lacks "
            f"{', '.join(absent)}; whether those parts run only where it has them is not known",
        )
    if unknown:
        yield _unchecked(unknown, "which features that needs is not known")


def _unseen_processor(plugin: PluginIdentity) -> list[Unchecked]:
    """What to say of a plugin for some processors only where the processor is not at hand."""
    chosen = _chosen(plugin.compilation)
    if not chosen:
        return []
    if plugin.machine != "x86_64":
        why = f"what {plugin.machine} processors have is not compared"
        chosen = [flag for flag in chosen if flag.startswith(("-march=", "-mcpu="))]
        return [_unchecked(chosen, why)] if chosen else []
    from ...binary.code.processors import needed

    features, unknown = needed(plugin.compilation.flags)
    flags = [*_asking(features, features), *unknown]
    why = "the features of the processor are not known"
    return [_unchecked(flags, why)] if flags else []


def _asking(features: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """The flags that ask for features, the processor's first."""
    return sorted({features[name] for name in names}, key=lambda f: (f[:7] != "-march=", f))


def _chosen(made: Compilation) -> list[str]:
    """The flags that may choose instructions of some processors only."""
    return [flag for flag in made.flags if flag.startswith("-m") and flag not in _ANY]


def _unchecked(flags: Iterable[str], why: str) -> Unchecked:
    return Unchecked(what=_WHAT, why=f"compiled with {_quoted(flags)}, and {why}")


def _quoted(flags: Iterable[str]) -> str:
    found = list(flags)
    return ", ".join(f"`{flag}`" for flag in found[:4]) + (", ..." if len(found) > 4 else "")


@RULES.rule(
    "eigen-alignment",
    "Another Eigen alignment",
    "`EIGEN_MAX_ALIGN_BYTES` decides how Eigen's inline code in the plugin allocates and "
    "aligns; `tf.sysconfig.get_compile_flags()` names TensorFlow's own. Users report crashes "
    "from older releases; in measurements it never mattered.",
    Verdict.DRIFTED,
    environment=False,
)
def eigen_alignment(c: Comparison) -> Iterator[Answer]:
    plugin = c.plugin.compilation.eigen_max_align_bytes
    if plugin is None or c.refused or c.plugin.compilation.uses_c_api_only:
        return
    built, live = c.manifest.tensorflow if c.manifest is not None else None, None
    # What the manifest recorded of the same release saves looking into its binaries again.
    if built is not None and built.version == c.live.tensorflow.version:
        live = built.eigen_max_align_bytes
    live = live or c.live.tensorflow.eigen_max_align_bytes
    if live is None:
        here = f"TensorFlow {c.live.tensorflow.version} does not state its own"
        why = f"compiled with `EIGEN_MAX_ALIGN_BYTES={plugin}`, and {here}"
        if not c.live.whole:
            why = "only an installed TensorFlow shows which one it was compiled with"
        yield Unchecked(what="Eigen's alignment", why=why)
    elif plugin != live:
        yield eigen_alignment.finding(
            subject="EIGEN_MAX_ALIGN_BYTES",
            built=str(plugin),
            live=str(live),
            message=f"compiled with `EIGEN_MAX_ALIGN_BYTES={plugin}`, "
            f"and TensorFlow {c.live.tensorflow.version} with {live}",
            why="it crashes where one side frees, or reads as aligned, what the other allocated; "
            "no plugin that was tried crashed",
            remedy=f"rebuild with `-DEIGEN_MAX_ALIGN_BYTES={live}`",
        )
