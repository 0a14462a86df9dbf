"""What has to be installed again, and what cannot be, whatever the file's format."""

from __future__ import annotations

from ...models.errors import UsageError
from ..sides import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...models.manifest import Manifest
    from ...models.snapshot import CondaPackage, PipPackage, Variable
    from ..sides import Facts


class LeftOut:
    """One thing that the file does not bring back, and why."""

    __slots__ = ("what", "why")

    def __init__(self, what: str, why: str) -> None:
        self.what = what
        self.why = why


class Item:
    """One pip package to install: from an index, or from `source` (a requirement's URL)."""

    __slots__ = ("hashes", "name", "package", "source", "version")

    def __init__(
        self,
        package: PipPackage,
        source: str | None = None,
        hashes: tuple[str, ...] = (),
    ) -> None:
        self.package = package
        self.name = package.name
        self.version = package.version or ""
        self.source = source
        self.hashes = hashes  # "sha256:..."


class Plan:
    """An environment to make again."""

    def __init__(self, title: str, fingerprint: str | None, minimal: bool) -> None:
        self.title = title
        self.fingerprint = fingerprint
        self.minimal = minimal
        self.python: str | None = None  # "3.11.7"
        self.pip: list[Item] = []
        self.conda: list[CondaPackage] = []
        self.variables: list[Variable] = []
        self.left_out: list[LeftOut] = []

    def header(self) -> list[str]:
        """What every file starts with, without comment signs."""
        lines = [f"Recreated by envlock from {self.title}"]
        if self.fingerprint is not None:
            lines.append(f"fingerprint {self.fingerprint}")
        if self.minimal:
            lines.append("only what the plugins need; their dependencies are resolved anew")
        return lines


def make_plan(facts: Facts, *, minimal: bool = False) -> Plan:
    """Plan a side's environment again; `minimal` keeps to what its plugins need.

    Raises `UsageError` where the side names no packages.
    """
    title = facts.side.label if facts.side.kind != "environment" else "an environment"
    detail = describe(facts)
    plan = Plan(f"{title} ({detail})" if detail else title, facts.side.fingerprint, minimal)
    plan.python = None if facts.python is None else facts.python.version
    pip, conda = dict(facts.pip), dict(facts.conda)
    if minimal:
        needed = _needed(facts)
        pip = {name: package for name, package in pip.items() if name in needed}
        conda = {name: package for name, package in conda.items() if name in needed}
    if not pip and not conda:
        raise UsageError(f"`{facts.side.label}` names no packages that could be installed")
    for name in sorted(pip):
        _add_pip(plan, pip[name], facts.hashes.get(name, ()))
    for name in sorted(conda):
        _add_conda(plan, conda[name])
    plan.variables = [] if minimal else list((facts.variables or {}).values())
    for problem in facts.problems or ():
        edited = problem.kind in ("modified-files", "missing-files")
        if edited and (problem.subject in pip or problem.subject in conda):
            shown = ", ".join(problem.paths[:3])
            more = f" and {problem.count - 3} more" if problem.count > 3 else ""
            plan.left_out.append(
                LeftOut(f"edits of `{problem.subject}`", f"changed by hand: {shown}{more}")
            )
    return plan


def _add_pip(plan: Plan, package: PipPackage, hashes: Iterable[str]) -> None:
    shown = f"{package.name} {package.version or ''}".strip()
    url = package.direct_url
    if url is not None:
        if url.editable:
            plan.left_out.append(LeftOut(shown, _editable(url.vcs, url.commit, url.url)))
            return
        if url.local:
            plan.left_out.append(
                LeftOut(shown, f"installed from a local {_noun(url.kind)}, `{url.url}`")
            )
            return
        source = _source(package)
        if source is None:
            plan.left_out.append(LeftOut(shown, f"its source `{url.url}` names no exact state"))
            return
        plan.pip.append(
            Item(package, source, tuple(f"{k}:{v}" for k, v in sorted(url.hashes.items())))
        )
        return
    if package.version is None:
        why = package.problem or "its metadata does not state the version"
        plan.left_out.append(LeftOut(shown, why))
        return
    plan.pip.append(Item(package, hashes=tuple(hashes)))


def _noun(kind: str) -> str:
    return {"archive": "file", "directory": "folder", "vcs": "checkout"}[kind]


def _editable(vcs: str | None, commit: str | None, url: str | None) -> str:
    if vcs is not None and commit is not None:
        return f"an editable install of `{url}` at {commit}"
    return f"an editable install of a local folder, `{url}`"


def _source(package: PipPackage) -> str | None:
    """The URL of a requirement `name @ URL`; None where it does not name one exact state."""
    url = package.direct_url
    if url is None or url.url is None:
        return None
    fragment = f"subdirectory={url.subdirectory}" if url.subdirectory else ""
    if url.kind == "vcs":
        if url.vcs is None or url.commit is None:
            return None
        source = f"{url.vcs}+{url.url}@{url.commit}"
    elif url.kind == "archive":
        source = url.url
        digest = url.hashes.get("sha256")
        if digest is not None:
            # The fragment is checked by pip and uv, and does not ask for all other hashes.
            fragment = "&".join(filter(None, (f"sha256={digest}", fragment)))
    else:
        return None
    return f"{source}#{fragment}" if fragment else source


def _add_conda(plan: Plan, package: CondaPackage) -> None:
    if package.version is None or package.problem is not None:
        why = package.problem or "its record does not state the version"
        plan.left_out.append(LeftOut(f"conda's {package.name}", why))
        return
    plan.conda.append(package)


def _needed(facts: Facts) -> set[str]:
    """TensorFlow, numpy, the packages of the plugins, and those of the libraries they link."""
    needed = {"python", "numpy"}
    if facts.tensorflow is not None and facts.tensorflow.distribution is not None:
        needed.add(facts.tensorflow.distribution.lower().replace("_", "-"))
    manifests: list[Manifest] = [] if facts.manifest is None else [facts.manifest]
    for plugin in (facts.plugins or {}).values():
        if plugin.owner is not None:
            needed.add(plugin.owner.name)
        if plugin.manifest is not None:
            manifests.append(plugin.manifest)
    for manifest in manifests:
        for library in manifest.libraries:
            if library.owner is not None:
                needed.add(library.owner.name)
        libstdcxx = manifest.platform.libstdcxx
        if libstdcxx is not None and libstdcxx.owner is not None:
            needed.add(libstdcxx.owner.name)
    return needed
