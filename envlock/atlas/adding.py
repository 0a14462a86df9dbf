"""An atlas of a TensorFlow that the shipped one does not know: conda's, a vendor's, one's own.

`add` writes one to a file, by `envlock atlas add`. `from_headers` keeps one in the user's cache
folder, for `envlock check --live-headers`. Both read the installed libraries and compile the
installed headers with a g++; nothing of TensorFlow is run.
"""

from __future__ import annotations

import hashlib
import os
import subprocess

from ..files.folders import SUFFIX, atlas_folder, cache_folder
from ..files.writing import write_file
from ..models.errors import EnvironmentUnreadable, InputError, WriteError
from ..models.record import encode
from ..models.version import __version__
from . import extract, probe, write
from .format import Atlas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from ..environment.live import Environment
    from ..environment.tensorflow import TensorFlowInstall
    from .extract import Part

COMPILER = "g++"
_OP_HEADER = "tensorflow/core/framework/op.h"


class Added:
    """What was written: the release, its distribution, the file and its size in bytes."""

    __slots__ = ("distribution", "path", "size", "version")

    def __init__(self, version: str, distribution: str, path: str, size: int) -> None:
        self.version = version
        self.distribution = distribution
        self.path = path
        self.size = size


def add(environment: Environment, path: str | None = None, compiler: str = COMPILER) -> Added:
    """Read an environment's TensorFlow and write an atlas of it, whole or not at all.

    Without a `path` it is written where every later check finds it, see
    `envlock.files.folders`. `compiler` is a g++. Takes a minute or two. Raises
    `EnvironmentUnreadable` when there is no TensorFlow, `InputError` when it has no headers or they
    do not compile, or the compiler cannot be run, and `WriteError`.
    """
    install = _installed(environment)
    includes = _includes(environment, install)
    distribution = _distribution(install)
    if path is None:
        path = os.path.join(atlas_folder(), f"{distribution}-{install.version}{SUFFIX}")
        _make_folder(os.path.dirname(path))
    _require_place(path)
    part = _read(install, includes, compiler, _cache_or_none())
    data = write.atlas_bytes([part], whole=True)
    write_file(path, data)
    return Added(install.version, distribution, path, len(data))


def from_headers(environment: Environment, compiler: str = COMPILER) -> str:
    """The path of an atlas of an environment's TensorFlow in the cache folder, made if need be.

    It is found again by the libraries and by name, size and time of each header. Where those
    changed and the preprocessed text did not, the compilation is saved at least, as it is for
    `add`. Raises what `add` raises.
    """
    install = _installed(environment)
    includes = _includes(environment, install)
    folder = headers_folder()
    path = os.path.join(folder, _state(install, includes) + SUFFIX)
    if _is_atlas(path):
        return path
    _make_folder(folder)
    part = _read(install, includes, compiler, folder)
    write_file(path, write.atlas_bytes([part], whole=True))
    return path


def headers_folder() -> str:
    """Where `from_headers` keeps what it read: one folder for each version of what reads it."""
    return os.path.join(cache_folder(), "headers", _reader())


def _cache_or_none() -> str | None:
    folder = headers_folder()
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _reader() -> str:
    """A digest of the code that turns headers into an atlas: a newer one reads them anew."""
    from ..binary.debug import classes, dwarf
    from ..binary.names import templates as mangled
    from . import dump, gimple

    digest = hashlib.sha256(__version__.encode())
    for module in (extract, probe, write, dump, gimple, mangled, classes, dwarf):
        digest.update(_source(module))
    return digest.hexdigest()[:16]


def _source(module: ModuleType) -> bytes:
    try:
        with open(module.__file__ or "", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _installed(environment: Environment) -> TensorFlowInstall:
    install = environment.tensorflow
    if install is None:
        raise EnvironmentUnreadable(environment.tensorflow_missing or "there is no TensorFlow")
    return install


def _includes(environment: Environment, install: TensorFlowInstall) -> list[str]:
    """The folders of TensorFlow's headers; conda's Abseil and protobuf are in the prefix's own."""
    places = [install.include_dir]
    if environment.paths.kind == "conda":
        places.append(os.path.join(environment.paths.prefix, "include"))
    for number, place in enumerate(places):
        if os.path.isfile(os.path.join(place, _OP_HEADER)):
            return [place, *places[number + 1 :]]
    raise InputError(
        f"TensorFlow {install.version} has no C++ headers in `{install.include_dir}`",
        hint="install its development headers, or make the atlas where plugins are built",
    )


def _distribution(install: TensorFlowInstall) -> str:
    if install.distribution is not None:
        return install.distribution.canonical_name
    record = install.conda_record
    return record.name if record is not None else "tensorflow"


def _read(
    install: TensorFlowInstall, includes: list[str], compiler: str, cache: str | None
) -> Part:
    """Libraries and headers as a part, with all that the installation says about itself."""
    command = [compiler]
    for beside in includes[1:]:
        command += ["-isystem", beside]
    package = install.package_dir
    try:
        part = extract.read_build(
            list(install.library_paths),
            includes[0],
            os.path.join(package, extract.SESSION),
            version=install.version,
            distribution=_distribution(install),
            global_scope=os.path.exists(os.path.join(package, extract.GLOBAL_MARKER)),
            compiler=probe.Compiler(command),
            cache=cache,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"`{compiler}` did not end within {error.timeout:.0f} s on the headers of TensorFlow "
            f"{install.version}"
        ) from None
    except OSError as error:
        raise InputError(
            f"TensorFlow {install.version} cannot be read: {error.strerror or error}"
        ) from None
    part["headers"] = encode(install.headers)
    part["git_version"], part["compiler"] = install.git_version, install.compiler
    part["cxx11_abi"] = install.cxx11_abi
    return part


def _state(install: TensorFlowInstall, includes: list[str]) -> str:
    """A digest of what is installed, without reading it all."""
    digest = hashlib.sha256(f"{install.version}\0{_distribution(install)}\0".encode())
    for library in install.libraries:
        digest.update(f"{library.name}\0{library.build_id}\0{library.size}\0".encode())
    for include in includes:
        for line in _headers(include):
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _headers(include: str) -> Iterable[str]:
    for folder, folders, names in os.walk(include):
        folders.sort()
        yield os.path.relpath(folder, include) + "\0"
        for name in sorted(names):
            try:
                status = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            yield f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0"


def _is_atlas(path: str) -> bool:
    """Whether a whole atlas lies there; what an interrupted system left behind is made anew."""
    try:
        return bool(Atlas.open(path).releases)
    except InputError:
        return False


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot write into `{folder}`: {error.strerror}") from None


def _require_place(path: str) -> None:
    """Find out before a minute's work that its result could not be written."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise WriteError(f"cannot write `{path}`: it is a folder")
    if not os.path.isdir(folder):
        raise WriteError(f"cannot write `{path}`: there is no folder `{folder}`")
    place = path if os.path.exists(path) else folder
    if not os.access(place, os.W_OK):
        raise WriteError(f"cannot write `{path}`: no permission to write `{place}`")
