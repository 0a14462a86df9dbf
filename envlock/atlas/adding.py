"""An atlas of a TensorFlow that the shipped one does not know: conda's, a vendor's, one's own."""

from __future__ import annotations

import os

from ..errors import EnvironmentUnreadable, InputError
from . import extract, probe, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..environment.live import Environment


class Added:
    """What was written: the release, its distribution, the file and its size in bytes."""

    __slots__ = ("distribution", "path", "size", "version")

    def __init__(self, version: str, distribution: str, path: str, size: int) -> None:
        self.version = version
        self.distribution = distribution
        self.path = path
        self.size = size


def add(environment: Environment, path: str, compiler: str = "g++") -> Added:
    """Read an environment's TensorFlow and write an atlas of it; nothing of it is run.

    The headers are compiled with `compiler`, a g++. Raises `EnvironmentUnreadable` when there is
    no TensorFlow or it has no headers, `InputError` when the compiler or the headers do not do.
    """
    install = environment.tensorflow
    if install is None:
        raise EnvironmentUnreadable("there is no TensorFlow in this environment")
    facts = install.facts()
    version = facts.version
    include = install.include_dir
    if not os.path.isfile(os.path.join(include, "tensorflow/core/framework/op.h")):
        beside = os.path.join(environment.paths.prefix, "include")
        if not os.path.isfile(os.path.join(beside, "tensorflow/core/framework/op.h")):
            raise InputError(
                f"this TensorFlow {version} has no C++ headers in `{include}`",
                hint="install its development headers, or build plugins where they are",
            )
        include = beside
    folder = install.package_dir
    part = extract.read_build(
        list(install.library_paths),
        include,
        os.path.join(folder, extract.SESSION),
        version=version,
        distribution=facts.distribution or "tensorflow",
        global_scope=os.path.exists(os.path.join(folder, extract.GLOBAL_MARKER)),
        compiler=probe.Compiler((compiler,)),
    )
    size = write.write_atlas([part], path)
    return Added(version, part["distribution"], path, size)
