"""Plugins in files, folders, environments and wheels: found, and each of them checked.

In a folder every shared library is looked at that is a plugin (it asks TensorFlow for something, or
is stamped), and every wheel. A file that is named is looked at whatever it is.
"""

from __future__ import annotations

import os

from ..actions.checking import Checker, unreadable_report
from ..binary.elf import ElfFile
from ..files.folders import added_files
from ..models.errors import EnvironmentUnreadable, FileAccessError, InputError, UsageError
from ..models.policy import DEFAULT
from ..models.report import EnvironmentSummary
from ..plugin.facts import PluginFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Union

    from ..models.policy import PolicyFile
    from ..models.report import Report

    #: Told how many are done, how many there are, and which is next.
    Progress = Callable[[int, int, str], object]
    #: The reports on a plugin whose file is open. Raises `InputError`.
    Judge = Callable[[PluginFacts], list[Report]]


class Candidate:
    """A file that may be a plugin: on disk, or a member of a wheel. `named` files are checked
    whatever they are.

    Or, with a `problem`, what cannot be read, and a folder that has none to look at.
    """

    __slots__ = ("member", "named", "path", "problem")

    def __init__(
        self,
        path: str,
        member: str | None = None,
        problem: InputError | None = None,
        *,
        named: bool = False,
    ) -> None:
        self.path = path
        self.member = member
        self.problem = problem
        self.named = named

    @property
    def label(self) -> str:
        """How reports name it."""
        return self.path if self.member is None else f"{self.path}!/{self.member}"

    def wanted(self) -> bool:
        """Whether it is to be checked, as far as is known without unpacking a wheel."""
        if self.named or self.member is not None:
            return True
        from .plugins import is_wanted

        return is_wanted(self.path)


def check_many(
    paths: Sequence[str],
    *,
    env: str | os.PathLike[str] | None = None,
    releases: Sequence[str] = (),
    glibc: Sequence[str] = (),
    policy: PolicyFile = DEFAULT,
    live_headers: str | None = None,
    progress: Progress | None = None,
) -> tuple[Report, ...]:
    """Check plugins, and those in folders, wheels and environments, in the order of the paths.

    They are checked against `env` or, where `releases` of TensorFlow or of `glibc` are named,
    against each of those. An environment among the paths is checked against itself where none of
    these is named; everything else against the running environment. No paths stand for the plugins
    of `env`.

    Libraries in folders and wheels that are not plugins are left out. What cannot be read gets a
    report without a verdict, and so does a folder with nothing to look at: whoever named it meant
    another one. `live_headers` and what is raised are as for `check`, but for what is wrong with a
    plugin; `UsageError` for a release that no atlas knows.
    """
    if releases or glibc:
        return _against_releases(list(candidates(paths)), releases, glibc, policy, progress)
    groups: list[tuple[Union[str, os.PathLike[str], None], list[str]]] = []
    for path in paths:
        own = path if env is None and _environment_folders(path) else env
        if not groups or groups[-1][0] != own:
            groups.append((own, []))
        groups[-1][1].append(path)

    def check(group: list[str], place: str | os.PathLike[str] | None) -> list[Report]:
        try:
            return _against_environment(group, place, policy, live_headers, progress)
        except EnvironmentUnreadable as error:
            if len(groups) < 2:
                raise
            return [unreadable_report(path, error) for path in group]

    if not groups:
        groups.append((env, []))
    return tuple(report for place, group in groups for report in check(group, place))


def _against_environment(
    paths: Sequence[str],
    env: str | os.PathLike[str] | None,
    policy: PolicyFile,
    live_headers: str | None,
    progress: Progress | None,
) -> list[Report]:
    if added_files():
        from ..atlas.collection import open_added

        open_added()  # one that cannot be read is an error, not a missing answer
    with Checker.for_environment(env, policy) as checker:
        if paths:
            found = list(candidates(paths))
        else:
            from .plugins import environment_plugins

            found = [Candidate(p, named=True) for p in environment_plugins(checker.environment)]
        # Compiling them takes a minute: not for a file that is not there.
        if live_headers is not None and any(map(_readable, found)):
            checker.read_headers(live_headers)

        def judge(plugin: PluginFacts) -> list[Report]:
            return [checker.judge(plugin)]

        return _map(judge, found, [checker.summary], progress)


def _readable(candidate: Candidate) -> bool:
    if candidate.problem is not None or not candidate.wanted():
        return False
    try:
        if candidate.member is None:
            with ElfFile.open(candidate.path):
                pass
    except InputError:
        return False
    return True


def _against_releases(
    found: Sequence[Candidate],
    releases: Sequence[str],
    glibc: Sequence[str],
    policy: PolicyFile,
    progress: Progress | None,
) -> tuple[Report, ...]:
    from ..actions.compatibility import find_release, judge_release
    from ..actions.runtimes import judge_glibc, release_of
    from ..rules.policy import trusted_keys

    for version in releases:
        find_release(version)  # a mistyped number is reported before anything is read
    for version in glibc:
        release_of(version)
    trusted = trusted_keys(policy)

    def judge(plugin: PluginFacts) -> list[Report]:
        return [
            *(judge_release(plugin, version, policy, trusted) for version in releases),
            *(judge_glibc(plugin, version, policy, trusted) for version in glibc),
        ]

    environments = [EnvironmentSummary(tensorflow=version) for version in releases]
    environments += [EnvironmentSummary(glibc=version) for version in glibc]
    return tuple(_map(judge, found, environments, progress))


def _map(
    judge: Judge,
    found: Sequence[Candidate],
    environments: Sequence[EnvironmentSummary],
    progress: Progress | None,
) -> list[Report]:
    """The reports on every candidate, on all cores: one for each of the environments.

    Raises a `UsageError` that `judge` raises.
    """

    def check(candidate: Candidate) -> list[Report] | UsageError:
        try:
            return _check(candidate, judge)
        except UsageError as error:
            return error
        except InputError as error:
            return unread(candidate, error)

    def unread(candidate: Candidate, error: InputError) -> list[Report]:
        return [unreadable_report(candidate.label, error, one) for one in environments]

    if len(found) == 1:  # the gate, which need not load what follows
        answers = [check(found[0])]
    else:
        from ..files.parallel import Died, map_forked

        told = 0

        def begun(index: int) -> None:
            nonlocal told
            if progress is not None:
                progress(min(told, len(found)), len(found), found[index].label)
            told += 1

        answers = [
            unread(one, InputError(f"the process that checked `{one.label}` ended: {answer}"))
            if isinstance(answer, Died)
            else answer
            for one, answer in zip(found, map_forked(check, found, begun=begun))
        ]
        if progress is not None:
            progress(len(found), len(found), "")
    reports = []
    for answer in answers:
        if isinstance(answer, UsageError):
            raise answer
        reports += answer
    return reports


def _check(candidate: Candidate, judge: Judge) -> list[Report]:
    """The reports on a candidate, none where it is not a plugin. Raises `InputError`."""
    if candidate.problem is not None:
        raise candidate.problem
    if candidate.member is not None:
        from .wheels import judge_member

        return judge_member(candidate.path, candidate.member, candidate.label, judge)
    if not candidate.wanted():
        return []
    with ElfFile.open(candidate.path) as elf:
        return judge(PluginFacts.of(elf))


def candidates(paths: Iterable[str]) -> Iterator[Candidate]:
    """The files that are named, and every shared library below the folders and in the wheels.

    What folders hold comes once each, in order, without what was seen before. Folders that hold
    nothing to look at are among them, with a problem, as is what cannot be read, so that the others
    are still looked at.
    """
    seen: set[tuple[int, int] | None] = set()
    for path in paths:
        if not os.path.isdir(path):
            seen.add(_identity(path))
            if path.endswith(".whl") and os.path.isfile(path):
                yield from _members(path)
            else:
                yield Candidate(path, named=True)
            continue
        from .plugins import libraries_below

        unread: list[OSError] = []
        found = [
            one
            for folder in _environment_folders(path) or (path,)
            for one in sorted(libraries_below(folder, wheels=True, failed=unread.append))
        ]
        yield from _folder_problems(path, unread, empty=not found)
        for one in found:
            identity = _identity(one)
            if identity is None or identity in seen:
                continue
            seen.add(identity)
            if one.endswith(".whl"):
                yield from _members(one)
            else:
                yield Candidate(one)


def _environment_folders(path: str) -> tuple[str, ...]:
    """Of a folder that is a Python environment, itself and where else its plugins can lie."""
    if not os.path.isdir(path):
        return ()
    from ..environment.locate import locate
    from .plugins import plugin_folders

    try:
        paths = locate(path)
    except EnvironmentUnreadable:
        return ()
    inside = os.path.realpath(path).rstrip("/") + "/"
    folders = plugin_folders(paths)
    return (path, *(f for f in folders if not os.path.realpath(f).startswith(inside)))


def _folder_problems(folder: str, unread: Iterable[OSError], *, empty: bool) -> Iterator[Candidate]:
    """What keeps a folder from being looked at: parts that cannot be read, or nothing in it."""
    for error in unread:
        place = os.fspath(error.filename)
        text = f"cannot read the folder `{place}`: {error.strerror}"
        yield Candidate(place, problem=FileAccessError(text))
        empty = False
    if empty:
        from shlex import quote

        text = f"`{folder}` is a folder without a shared library or wheel to check"
        hint = f"`find {quote(folder)} -name '*.so*'` lists what may have been meant"
        yield Candidate(folder, problem=InputError(text, hint=hint))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _members(wheel: str) -> Iterator[Candidate]:
    from .wheels import libraries_in

    try:
        members = libraries_in(wheel)
    except InputError as error:
        yield Candidate(wheel, problem=error)
        return
    for member in members:
        yield Candidate(wheel, member)
