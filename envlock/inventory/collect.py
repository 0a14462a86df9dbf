"""Taking a snapshot: every part read from files, nothing in the environment run or imported."""

from __future__ import annotations

import os

from ..environment.live import Environment
from ..files.parallel import Beside
from ..models.errors import UsageError
from ..models.snapshot import SNAPSHOT_FORMAT, Snapshot
from ..models.version import __version__
from .fingerprint import fingerprint, part_digests
from .integrity import find_problems
from .native import read_native
from .packages import Installed, read_packages
from .plugins import environment_plugins, plugin_entries
from .variables import read_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models.snapshot import NativeFacts

INTEGRITY = ("none", "quick", "full")


def snapshot(
    env: str | os.PathLike[str] | Environment | None = None,
    *,
    integrity: str = "quick",
    environ: Mapping[str, str] | None = None,
) -> Snapshot:
    """What an environment is (default: the running one).

    `integrity` says how installed files are compared with their records: "none", "quick" (size and
    time of every file but headers, content where they raise suspicion) or "full" (all contents).
    `environ` are the variables to record (default: this process's). Raises
    `EnvironmentUnreadable`, and `UsageError` for another `integrity`.
    """
    if integrity not in INTEGRITY:
        raise UsageError(f"no integrity check `{integrity}`: choose from {', '.join(INTEGRITY)}")
    environment = env if isinstance(env, Environment) else Environment.open(env)
    installed = Installed(environment)
    with Beside(
        lambda: (read_native(environment, installed), environment_plugins(environment))
    ) as reading:
        packages = read_packages(installed)
        problems, edited = find_problems(environment, installed, integrity)
        variables = read_variables(environment.paths, environ)
        native: NativeFacts
        paths: list[str]
        native, paths = reading.result()
    plugins = plugin_entries(environment, installed, paths, edited)
    digests = part_digests(environment.python, packages, native, variables, plugins, problems)
    return Snapshot(
        format=SNAPSHOT_FORMAT,
        generator=f"tf-envlock {__version__}",
        fingerprint=fingerprint(digests),
        digests=digests,
        kind=environment.paths.kind,
        integrity=integrity,
        interpreter=environment.python,
        packages=packages,
        native=native,
        variables=variables,
        plugins=plugins,
        problems=problems,
    )
