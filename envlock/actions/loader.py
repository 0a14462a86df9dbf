"""`envlock.load`: check first, then hand over to `tf.load_op_library`."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

from ..models.errors import (
    EnvironmentUnreadable,
    EnvlockWarning,
    IncompatiblePluginError,
    printable,
)
from ..rules.policy import resolve_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import RLock
    from typing import Any

    from ..models.policy import PolicyFile
    from ..models.report import Report


_first_spelling: dict[tuple[int, ...], str] = {}
_locks: dict[int, RLock] = {}


def load(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    policy: PolicyFile | str | os.PathLike[str] | None = None,
) -> Any:
    """Check a plugin against this process, then return what `tf.load_op_library(path)` returns.

    Nothing of the plugin runs before the check is passed. `policy` is "default" (refuses what is
    unsafe or worse), "strict" (refuses any drift), "lenient" (only warns), a policy file's path or
    a `PolicyFile`. Threads may load at once: they take turns, so that each is checked against what
    the others have registered.

    Raises `IncompatiblePluginError` when the policy refuses the plugin, when it cannot be read, or
    when the file changed between check and load; `PolicyError`, `EnvironmentUnreadable`,
    `KeyFileError`, `FileAccessError` for a file of keys and, for a policy that requires signatures
    without the package `cryptography`, `DependencyMissing` for what their names say; otherwise
    whatever TensorFlow raises, with the findings attached as `envlock_report`. Warns with
    `EnvlockWarning` about an unstamped plugin, and about what a lenient policy lets pass.
    """
    from .checking import Checker

    chosen = resolve_policy(policy)
    name = plugin_path(path)
    told = False
    if "tensorflow" not in sys.modules:
        # Whoever is refused is spared the seconds that TensorFlow's import takes.
        with Checker.for_process(chosen) as checker:
            report, _ = checker.check_for_load(name)
        _enforce(report, chosen)
        told = True
    import tensorflow

    if not hasattr(tensorflow, "load_op_library"):
        raise EnvironmentUnreadable(
            "TensorFlow is still being imported, so it cannot load plugins yet",
            hint="call `envlock.load` once `import tensorflow` has ended",
        )
    # Only now is it known what TensorFlow and other threads have really mapped and registered.
    with _lock(), Checker.for_process(chosen) as checker:
        if checker.leads_elsewhere(name):
            name = os.path.abspath(name)
        report, identity = checker.check_for_load(name)
        if not told or chosen.refuses(report):
            _enforce(report, chosen)
        if checker.leads_elsewhere(name):
            raise IncompatiblePluginError(
                f"`{printable(name)}` was replaced after this process loaded it, and TensorFlow would "
                "return the old one; nothing was loaded",
                report,
                hint="restart the process",
            )
        if _identity_now(name) != identity:
            raise IncompatiblePluginError(
                f"`{printable(name)}` changed while it was being checked; nothing was loaded",
                report,
                hint="load it again once whatever writes it has finished",
            )
        # TensorFlow keeps plugins by the spelling of their path, and a second spelling of a loaded
        # file gives a module without its ops: use the first one.
        if identity is not None:
            name = _first_spelling.setdefault(identity, checker.loaded_as(identity) or name)
        try:
            return tensorflow.load_op_library(name)
        except Exception as error:
            _attach(error, report)
            raise


def _lock() -> RLock:
    """This process's lock: a forked child must not wait for a thread that only its parent has."""
    from threading import RLock

    pid = os.getpid()
    return _locks.get(pid) or _locks.setdefault(pid, RLock())


def plugin_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """The path as dlopen must get it: a bare file name would be searched, not opened."""
    name = os.fsdecode(path)
    return name if "/" in name else os.path.join(".", name)


def _identity_now(name: str) -> tuple[int, ...] | None:
    from .checking import file_identity

    try:
        return file_identity(os.stat(name))
    except OSError:
        return None


def _enforce(report: Report, policy: PolicyFile) -> None:
    if policy.refuses(report):
        from ..report.check_text import summary

        raise IncompatiblePluginError(summary(report), report)
    if not report.plugin.stamped:
        from shlex import quote

        warnings.warn(
            f"`{printable(report.plugin.path)}` carries no manifest: it was judged by its binary "
            "alone; stamp it where it is built: "
            f"`envlock stamp {printable(quote(report.plugin.path))}`",
            EnvlockWarning,
            stacklevel=3,
        )
    if report.verdict is not None and not report.verdict.works:
        from ..report.check_text import summary

        warnings.warn(summary(report), EnvlockWarning, stacklevel=3)


def _attach(error: Exception, report: Report) -> None:
    """Let TensorFlow's own exception carry what envlock knows."""
    from ..report.check_text import report_text

    error.envlock_report = report  # type: ignore[attr-defined]
    foreseen = report.verdict is not None and not report.verdict.works
    words = "foresaw this failure" if foreseen else "did not foresee this failure. What it found"
    note = f"envlock {words}:\n{report_text(report).rstrip()}"
    if sys.version_info >= (3, 11):
        error.add_note(note)
    elif not foreseen:  # else it was warned of before
        # A warning that is an error must not take the place of TensorFlow's.
        with contextlib.suppress(EnvlockWarning):
            warnings.warn(note, EnvlockWarning, stacklevel=3)
