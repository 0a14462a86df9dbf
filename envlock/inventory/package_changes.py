"""How the packages of two sides differ: versions, builds, managers, what a lock file asks for."""

from __future__ import annotations

from ..models.drift import Change
from ..models.report import Unchecked
from .versions import direction, satisfies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeVar, Union

    from ..models.snapshot import CondaPackage, PipPackage
    from .sides import Facts

    Package = Union[PipPackage, CondaPackage]
    P = TypeVar("P", PipPackage, CondaPackage)

#: conda packages that bring the libstdc++ which is reported as such.
_LIBSTDCXX_PACKAGES = ("libstdcxx", "libstdcxx-ng")
#: Sides that hold a digest of what each package's RECORD lists.
_WITH_RECORDS = {"environment", "snapshot", "saved"}
_RECORDS = (
    "its RECORD is empty or gone, so whether its files are unchanged is not known",
    "its RECORD lists its files; before there was none",
)


def package_changes(
    before: Facts, after: Facts, unchecked: list[Unchecked], native: Iterable[Change] = ()
) -> Iterator[Change]:
    """Every difference between the packages of two sides, one a package.

    `native` is what was reported of TensorFlow, libstdc++ and so on.
    """
    skip = _already_told(before, after, {change.subject for change in native})
    with_conda = before.knows_conda and after.knows_conda
    if with_conda:
        for change in _moved(before, after):
            if change.subject not in skip:
                yield change
            skip.add(change.subject)
    missing = [0]
    pairs = _Pairs(before, after, skip, missing)
    recorded = {before.side.kind, after.side.kind} <= _WITH_RECORDS
    other_build = recorded_build if recorded else pip_build
    yield from pairs.compare("pip", before.pip, after.pip, other_build)
    if with_conda:
        yield from pairs.compare("conda", before.conda, after.conda, conda_build)
    elif before.conda or after.conda:
        lock = after if before.knows_conda else before
        unchecked.append(
            Unchecked(what="conda packages", why=f"`{lock.side.label}` does not list any of them")
        )
    if missing[0]:
        lock = after if before.complete else before
        unchecked.append(
            Unchecked(
                what="1 package" if missing[0] == 1 else f"{missing[0]} packages",
                why=f"`{lock.side.label}` does not list them, and need not",
            )
        )


def _already_told(before: Facts, after: Facts, subjects: set[str]) -> set[str]:
    """Packages whose change is reported as that of what they bring, one of `subjects`.

    Where nothing was reported of that, or its package is not known on one side (its metadata is
    gone), the packages have to speak for themselves.
    """
    told = set()
    old, new = before.tensorflow, after.tensorflow
    if "TensorFlow" in subjects and old is not None and new is not None:
        names = (old.distribution, new.distribution)
        if None not in names:
            told |= {name.lower().replace("_", "-") for name in names if name is not None}
    if "libstdc++" in subjects:
        for libstdcxx in (before.libstdcxx, after.libstdcxx):
            owner = None if libstdcxx is None else libstdcxx.owner
            if owner is not None and owner.name in _LIBSTDCXX_PACKAGES:
                told.add(owner.name)
    return told


def _moved(before: Facts, after: Facts) -> Iterator[Change]:
    """Packages that another manager owns now."""
    for first, second in (("pip", "conda"), ("conda", "pip")):
        had: Mapping[str, Package] = getattr(before, first)
        has: Mapping[str, Package] = getattr(after, second)
        still: Mapping[str, Package] = getattr(after, first)
        already: Mapping[str, Package] = getattr(before, second)
        for name in sorted({*had} & {*has} - {*still} - {*already}):
            old, new = had[name].version, has[name].version
            yield Change(
                part="packages",
                kind="replaced",
                subject=name,
                manager=second,
                before=f"{old} ({first})",
                after=f"{new} ({second})",
                message=f"`{name}` {new} is {second}'s now, {old} was {first}'s before",
            )


class _Pairs:
    """Compares the packages of one manager, name by name."""

    def __init__(self, before: Facts, after: Facts, skip: set[str], missing: list[int]) -> None:
        self.before = before
        self.after = after
        self.skip = skip
        self.missing = missing

    def compare(
        self,
        manager: str,
        first: Mapping[str, P],
        second: Mapping[str, P],
        other_build: Callable[[P, P], str | None],
    ) -> Iterator[Change]:
        for name in sorted({*first, *second} - self.skip):
            old, new = first.get(name), second.get(name)
            if old is not None and new is not None:
                change = self._both(manager, old, new, other_build(old, new))
                if change is not None:
                    yield change
                continue
            one = old or new
            assert one is not None
            lock = self.after if new is None else self.before
            if (manager, name) in lock.constraints:
                yield from self._constrained(manager, one, lock)
            elif not lock.complete:
                self.missing[0] += 1
            else:
                yield _one_sided(manager, one, new is None)
        for lock, other in ((self.before, second), (self.after, first)):
            for key, constraint in sorted(lock.constraints.items()):
                if key[0] == manager and key[1] not in other:
                    yield _unmet(manager, key[1], constraint, lock is self.before)

    def _both(self, manager: str, old: P, new: P, other_build: str | None) -> Change | None:
        details = []
        if old.version is None or new.version is None:
            # A lock file need not say which version a checkout or an archive has.
            locked = "lock-file" in (self.before.side.kind, self.after.side.kind)
            if locked or old.version == new.version:
                return None
            kind = "changed"
        elif old.version != new.version and direction(old.version, new.version) != "changed":
            kind = direction(old.version, new.version)
        elif other_build is None:
            return None
        else:
            kind = "changed"
            details.append(other_build)
        if new.name == "numpy":
            details += self._numpy()
        first, second = shown(old), shown(new)
        return Change(
            part="packages",
            kind=kind,
            subject=new.name,
            manager=manager,
            before=first,
            after=second,
            message=f"`{new.name}` {first} -> {second}"
            if first != second
            else f"`{new.name}` {second}: {other_build}"
            if other_build in _RECORDS
            else f"`{new.name}` {second} is another build of the same version",
            details=tuple(details),
        )

    def _numpy(self) -> Iterator[str]:
        first, second = self.before.numpy, self.after.numpy
        if first is None or second is None:
            return
        if None not in (first.c_api, second.c_api) and first.c_api != second.c_api:
            yield f"C-API level: {first.c_api} -> {second.c_api}"
        if None not in (first.abi, second.abi) and first.abi != second.abi:
            yield f"ABI: {first.abi:#x} -> {second.abi:#x}"

    def _constrained(self, manager: str, one: Package, lock: Facts) -> Iterator[Change]:
        """A package that one side has and the other only constrains."""
        constraint = lock.constraints[manager, one.name]
        if one.version is None or constraint is None:
            return
        if satisfies(manager, one.version, constraint):
            return
        asked_first = lock is self.before
        yield Change(
            part="packages",
            kind="changed",
            subject=one.name,
            manager=manager,
            before=constraint if asked_first else one.version,
            after=one.version if asked_first else constraint,
            message=f"`{one.name}` {one.version} is not what the lock file asks for: "
            f"`{constraint}`",
        )


def shown(package: Package) -> str:
    """Version, and conda's build string."""
    version = package.version or "of unknown version"
    build = package.build if package.record_fields.get("subdir") else None
    return f"{version} ({build})" if build else version


def pip_build(old: PipPackage, new: PipPackage) -> str | None:
    """How two distributions of one version differ; None where they do not, or it is not known."""
    first, second = old.direct_url, new.direct_url
    editable = (first is not None and first.editable, second is not None and second.editable)
    if editable[0] != editable[1]:
        return "now an editable install" if editable[1] else "no longer an editable install"
    commits = (first and first.commit, second and second.commit)
    if None not in commits and commits[0] != commits[1]:
        return f"commit: {commits[0]} -> {commits[1]}"
    if old.contents is None or new.contents is None or old.contents == new.contents:
        return None
    if old.tags != new.tags:
        return f"wheel: {' '.join(old.tags)} -> {' '.join(new.tags)}"
    return f"contents: {old.contents[:19]} -> {new.contents[:19]}"


def recorded_build(old: PipPackage, new: PipPackage) -> str | None:
    """As `pip_build`, between sides that hold the record of a package's files where there is one."""
    found = pip_build(old, new)
    if found is None and (old.contents is None) != (new.contents is None):
        editable = new.direct_url is not None and new.direct_url.editable
        found = None if editable else _RECORDS[old.contents is None]
    return found


def conda_build(old: CondaPackage, new: CondaPackage) -> str | None:
    """How two conda packages of one version differ; None where they do not, or it is not known."""
    for label, first, second in (
        ("build", old.build, new.build),
        ("sha256", old.sha256, new.sha256),
        ("md5", old.md5, new.md5),
    ):
        if first is not None and second is not None:
            if first != second:
                return f"{label}: {first} -> {second}"
            if label != "build":
                return None
    return None


def _one_sided(manager: str, one: Package, gone: bool) -> Change:
    return Change(
        part="packages",
        kind="removed" if gone else "added",
        subject=one.name,
        manager=manager,
        before=shown(one) if gone else None,
        after=None if gone else shown(one),
        message=f"`{one.name}` {shown(one)} is {'gone' if gone else 'new'}",
    )


def _unmet(manager: str, name: str, constraint: str | None, asked_first: bool) -> Change:
    wanted = constraint or "any version"
    return Change(
        part="packages",
        kind="removed" if asked_first else "added",
        subject=name,
        manager=manager,
        before=wanted if asked_first else None,
        after=None if asked_first else wanted,
        message=f"`{name}` ({wanted}) is required by the lock file, but is not there",
    )
