"""Plugins and what really happened to them on each release: what a verdict is measured against.

Own ops: those of the conformance tests, built on every release, loaded on every other in child
processes. Published wheels: the recorded loads of the truth data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from envlock.models.versions import minor, order
from envlock.plugin.dependencies.origin import find_origin, satisfies
from tests.campaigns.truth import records, wheels
from tests.support import building, environments, reality
from tests.support.environments import NEWEST, TfEnvironment
from tests.support.reality import Outcome, Trial

WORKS, DANGEROUS, UNKNOWN = "works", "dangerous", "unknown"
#: Processes that try each load that the linker accepts: some crashes are rare.
RUNS = 3


@dataclass(frozen=True)
class Load:
    """One load that the dynamic linker accepted, and what became of it."""

    package: str
    version: str
    result: str
    told: str

    @property
    def release(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class Plugin:
    """A plugin, the release that it was built with, and its loads."""

    group: str
    name: str
    built: str
    file: Path
    debug: Path | None
    """The same code with debug information."""
    requirement: str | None
    loads: tuple[Load, ...]

    def same_minor(self, load: Load) -> bool:
        """What existing plugins check: the minor release of the build, nothing else."""
        return minor(self.built) == minor(load.version)

    def pinned(self, load: Load) -> bool:
        """Whether the wheel's own requirement allows the release."""
        return self.requirement is None or satisfies(load.version, self.requirement)


# -- own ops


def own_plugins(
    ops: Sequence[str] = tuple(building.RECIPES),
    built: Sequence[str] = NEWEST,
    live: Sequence[str] = NEWEST,
    *,
    runs: int = RUNS,
    debug: bool = True,
) -> Iterator[Plugin]:
    """Our own ops with every load that the linker accepts; builds and loads what is not recorded.

    `runs` processes try each of these loads. Without `debug`, nothing is compiled with `-g`.
    """
    builders = [environments.ensure(version) for version in built]
    plugins = [
        (op, env, path) for env in builders for op, path in building.build_all(env, ops).items()
    ]
    trials = [Trial(path, building.RECIPES[op].answer) for op, _, path in plugins]
    loads: dict[tuple[str, str], list[Load]] = {}
    for version in live:
        env = environments.ensure(version)
        first = reality.judge(trials, env)
        accepted = [i for i, outcome in enumerate(first) if outcome.accepted]
        again = [Trial(trials[i].plugin, trials[i].answer, runs) for i in accepted]
        for i, outcome in zip(accepted, reality.judge(again, env)):
            op, builder, _ = plugins[i]
            load = Load(env.package, env.version, *_result(first[i], outcome))
            loads.setdefault((op, builder.version), []).append(load)
    for op, builder, path in plugins:
        found = loads.get((op, builder.version))
        if found:
            name = f"{op} built on {builder.version}"
            full = with_debug_information(op, builder, path) if debug else None
            yield Plugin(op, name, builder.version, path, full, None, tuple(found))


def _result(*outcomes: Outcome) -> tuple[str, str]:
    """The worst of several tries: a load that worked once proves little."""
    for outcome in outcomes:
        if outcome.dangerous:
            return DANGEROUS, outcome.functional or f"{outcome.outcome} inside the load"
    return (WORKS, "pass") if all(o.functional == "pass" for o in outcomes) else (UNKNOWN, "loads")


def with_debug_information(op: str, env: TfEnvironment, plain: Path) -> Path:
    """The op compiled once more with `-g`; raises where that changed the code, so that what is
    known of the one would not hold for the other."""
    debug = building.build(op, env, flags=("-g",))
    if _allocated(debug) != _allocated(plain):
        raise RuntimeError(f"`-g` changed the code of {op} on {env.version}")
    return debug


def _allocated(path: Path) -> dict[str, tuple[int, bytes]]:
    with open(path, "rb") as file:
        return {
            section.name: (section["sh_addr"], section.data())
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & 2 and section.name != ".note.gnu.build-id"
        }


# -- published wheels


def published_plugins() -> Iterator[Plugin]:
    """The plugins of the truth data with every load that the linker accepted.

    Built: the newest minor release that the wheel's requirement allows (tensorflow-text 2.14.0
    asks for `<2.15,>=2.14.0`; tensorflow-addons 0.15.0 for `<2.8.0,>=2.5.0`, and was built with
    2.7, as its own documentation says).
    """
    grouped: dict[tuple[str, str], list[records.Record]] = {}
    for record in records.load():
        if not record.refused:
            grouped.setdefault((record.dist, record.member), []).append(record)
    for (dist, member), found in sorted(grouped.items()):
        path = wheels.unpacked(dist) / member
        requirement = find_origin(str(path)).requirement
        loads = tuple(Load(r.package, r.version, *_recorded(r)) for r in found)
        name = f"{dist} {path.name}"
        yield Plugin(dist, name, _built(requirement), path, None, requirement, loads)


def _recorded(record: records.Record) -> tuple[str, str]:
    if record.outcome == "crash":
        return DANGEROUS, "crash inside the load"
    if record.functional is None:
        return UNKNOWN, "loads"
    return (WORKS, "pass") if record.functional == "pass" else (DANGEROUS, record.functional)


def _built(requirement: str | None) -> str:
    fitting = [version for version in NEWEST if satisfies(version, requirement or "")]
    if not fitting:
        raise ValueError(f"no release fulfils {requirement!r}")
    return max(fitting, key=order)
