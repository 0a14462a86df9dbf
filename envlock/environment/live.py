"""One environment and everything that is known about it, read when it is asked for."""

from __future__ import annotations

import functools
import os

from .distributions import Distributions
from .locate import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.manifest import NumpyFacts, Owner, PackagePin, PlatformFacts, PythonFacts
    from ..models.report import EnvironmentSummary
    from .conda import CondaPrefix
    from .distributions import Distribution
    from .locate import EnvironmentPaths
    from .tensorflow import TensorFlowInstall


class Environment:
    """The facts of one environment. Nothing in it is run or imported; what was read is kept."""

    def __init__(self, paths: EnvironmentPaths) -> None:
        self.paths = paths
        self.distributions = Distributions(paths.search_path)

    @classmethod
    def open(
        cls,
        env: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> Environment:
        """The environment of a folder or Python executable; None: the one this code runs in.

        `root` is the folder of another root file system, see `locate`.

        Raises `EnvironmentUnreadable`.
        """
        return cls(locate(env, root))

    @functools.cached_property
    def conda(self) -> CondaPrefix | None:
        """Conda's records of this prefix; None where it is not conda's.

        In a virtual environment on top of conda's Python, conda's packages are not its own.
        """
        if self.paths.kind != "conda":
            return None
        from .conda import CondaPrefix

        return CondaPrefix(self.paths.prefix)

    @functools.cached_property
    def _tensorflow(self) -> tuple[TensorFlowInstall | None, str | None]:
        from .tensorflow import find_tensorflow

        return find_tensorflow(self.paths, self.distributions, self.conda)

    @property
    def tensorflow(self) -> TensorFlowInstall | None:
        """The installed TensorFlow, None where there is none."""
        return self._tensorflow[0]

    @property
    def tensorflow_missing(self) -> str | None:
        """Why there is no TensorFlow; None where there is one."""
        return self._tensorflow[1]

    @functools.cached_property
    def numpy(self) -> NumpyFacts | None:
        """The installed numpy, None where there is none."""
        from .numpy import read_numpy

        return read_numpy(self.paths.search_path, self.distributions)

    @functools.cached_property
    def python(self) -> PythonFacts:
        """The interpreter."""
        from .interpreter import read_python

        return read_python(self.paths)

    @functools.cached_property
    def platform(self) -> PlatformFacts:
        """Machine and C library; `libstdcxx` is None, finding it is the linker's part."""
        from .platform import read_platform

        return read_platform(self.paths.real_executable, self.paths.root)

    def installed_by_conda(self, one: Distribution) -> bool:
        """Whether a distribution came with a conda package."""
        return self.conda is not None and self.conda.installed(one.path)

    def owner_of(self, path: str | os.PathLike[str]) -> Owner | None:
        """The pip distribution or conda package that installed a file; None where none claims it.

        Where both claim it, pip has overwritten conda's file and is the owner.
        """
        from ..models.manifest import Owner

        one = self.distributions.owner_of(path)
        if one is not None and not self.installed_by_conda(one):
            return Owner(manager="pip", name=one.canonical_name, version=one.version)
        record = None if self.conda is None else self.conda.owner_of(path)
        if record is not None:
            return Owner(
                manager="conda", name=record.name, version=record.version, build=record.build
            )
        return None

    def packages(self) -> tuple[PackagePin, ...]:
        """All installed packages, conda's first, each by name; damaged ones as far as known."""
        from ..models.manifest import PackagePin

        pins = [
            PackagePin(
                manager="conda",
                name=record.name,
                version=record.version,
                build=record.build,
                channel=record.channel,
            )
            for record in (() if self.conda is None else self.conda.records())
        ]
        pins += [
            PackagePin(manager="pip", name=one.canonical_name, version=one.version)
            for one in self.distributions
            if not self.installed_by_conda(one)
        ]
        return tuple(sorted(pins, key=lambda pin: (pin.manager, pin.name.lower(), pin.version)))

    def summary(self) -> EnvironmentSummary:
        """What a report says about the environment: prefix and versions."""
        from ..models.report import EnvironmentSummary

        found = self.tensorflow
        one = None if found is None else found.distribution
        record = None if found is None else found.conda_record
        name = (
            one.canonical_name if one is not None else record.name if record is not None else None
        )
        return EnvironmentSummary(
            prefix=self.paths.prefix,
            python=self.python.version,
            tensorflow=None if found is None else found.version,
            distribution=name,
        )
