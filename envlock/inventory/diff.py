"""`envlock diff` and `envlock drift`: two sides compared, every change joined to its effect."""

from __future__ import annotations

import os

from ..models.drift import DRIFT_FORMAT, DriftDocument, Side
from ..models.policy import DEFAULT
from ..models.report import Unchecked
from ..models.verdict import worst
from .changes import find_changes
from .effects import join, plugin_reports
from .sides import Facts, from_environment, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from ..models.policy import PolicyFile
    from ..models.report import Report
    from ..models.shown import ErrorInfo
    from .store import Store

    Reference = Union[str, os.PathLike[str], Facts]


def diff(
    before: Reference,
    after: Reference | None = None,
    *,
    store: Store | None = None,
    policy: PolicyFile = DEFAULT,
    integrity: str = "quick",
) -> DriftDocument:
    """What changed from one side to the other and which plugins it breaks.

    Either side is a snapshot's file, a name in the store, a stamped plugin, a lock file or an
    environment (see `sides.resolve`); `after` is the running environment by default. `integrity` is
    that of `snapshot`.

    Raises `InputError` where a side cannot be read: `FileAccessError` for what is not there,
    `EnvironmentUnreadable`, `ManifestMissing`, `ManifestError` and `ElfError` for a plugin. Besides
    `DependencyMissing` where a lock file's format needs a package, `WriteError` for a store that
    another process holds, and `UsageError` for another `integrity`.
    """
    first, second = _sides(before, after, store, integrity)
    changes, unchecked = find_changes(first, second)
    reports, unjudged = plugin_reports(first, second, policy)
    names = _recorded_names(second, reports)
    joined = join(changes, reports, names)
    return DriftDocument(
        format=DRIFT_FORMAT,
        before=first.side,
        after=second.side,
        verdict=worst([*(c.verdict for c in joined), *(r.verdict for r in reports if r.verdict)]),
        changes=joined,
        reports=reports,
        unchecked=tuple(_distinct([*unchecked, *unjudged])),
    )


def _sides(
    before: Reference, after: Reference | None, store: Store | None, integrity: str
) -> tuple[Facts, Facts]:
    from .lockfiles import looks_like_lock

    first = before if isinstance(before, Facts) else None
    second = from_environment(None, integrity) if after is None else None
    if isinstance(after, Facts):
        second = after
    # A lock file is read for the other side's platform, so that side comes first.
    lock_first = first is None and looks_like_lock(os.fspath(before))  # type: ignore[arg-type]
    if second is None and (lock_first or first is not None):
        second = resolve(after, store, first)  # type: ignore[arg-type]
    if first is None:
        first = resolve(before, store, second)  # type: ignore[arg-type]
    if second is None:
        second = resolve(after, store, first)  # type: ignore[arg-type]
    return first, second


def _recorded_names(after: Facts, reports: tuple[Report, ...]) -> dict[str, str]:
    if after.environment is None:
        return {}
    from .plugins import relative

    environment = after.environment
    return {r.plugin.path: relative(environment, r.plugin.path) for r in reports}


def _distinct(unchecked: list[Unchecked]) -> list[Unchecked]:
    return list({(u.what, u.why): u for u in unchecked}.values())


def failed(before: str, after: str, error: ErrorInfo) -> DriftDocument:
    """The document of a comparison that could not be made."""
    return DriftDocument(
        format=DRIFT_FORMAT,
        before=Side(kind="snapshot", label=before),
        after=Side(kind="environment", label=after),
        verdict=None,
        error=error,
    )
