"""Which of two versions is newer, and whether one fits a constraint, for pip's and conda's packages."""

from __future__ import annotations

from ..models.versions import order


def direction(before: str, after: str) -> str:
    """ "upgraded", "downgraded", or "changed" where the order cannot tell.

    What is no version of PEP 440 (conda's `1.1.1w`) is compared by its numbers, and so is
    everything where packaging is not installed.
    """
    try:
        from packaging.version import Version

        newer, older = Version(after) > Version(before), Version(after) < Version(before)
    except (ImportError, ValueError):
        newer, older = order(after) > order(before), order(after) < order(before)
    return "upgraded" if newer else "downgraded" if older else "changed"


def satisfies(manager: str, version: str, constraint: str) -> bool:
    """Whether a version fits a constraint; one that cannot be read is taken to fit.

    Constraints come from lock files, whose readers need packaging, and py-rattler for conda's.
    """
    if manager == "pip":
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            return SpecifierSet(constraint).contains(version, prereleases=True)
        except InvalidSpecifier:
            return True
    import rattler
    from rattler.exceptions import InvalidVersionError, InvalidVersionSpecError

    try:
        return bool(rattler.VersionSpec(constraint).matches(rattler.Version(version)))
    except (InvalidVersionError, InvalidVersionSpecError):
        return True
