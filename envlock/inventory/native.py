"""The native side of an environment: machine, C and C++ run time, TensorFlow, numpy, CUDA."""

from __future__ import annotations

import os

from ..actions.live import LIBSTDCXX, libstdcxx_facts, version_in_name
from ..models.errors import InputError
from ..models.manifest import LibstdcxxFacts, Owner
from ..models.snapshot import NativeFacts, NativeLibrary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..environment.live import Environment
    from ..linker.namespace import LoadedObject
    from ..linker.scope import LiveScope
    from ..linker.search import Found
    from .packages import Installed

#: What TensorFlow's GPU builds and their plugins dlopen, by the names that releases since 2.5 use.
CUDA_LIBRARIES = (
    "libcuda.so.1",
    "libcudart.so.11.0",
    "libcudart.so.12",
    "libcublas.so.11",
    "libcublas.so.12",
    "libcublasLt.so.11",
    "libcublasLt.so.12",
    "libcudnn.so.8",
    "libcudnn.so.9",
    "libcufft.so.10",
    "libcufft.so.11",
    "libcurand.so.10",
    "libcusolver.so.11",
    "libcusparse.so.11",
    "libcusparse.so.12",
    "libnccl.so.2",
    "libnvrtc.so.11.2",
    "libnvrtc.so.12",
    "libnvJitLink.so.12",
    "libcupti.so.11",
    "libcupti.so.12",
    "libnvinfer.so.7",
    "libnvinfer.so.8",
    "libamdhip64.so.6",
)


def read_native(environment: Environment, installed: Installed) -> NativeFacts:
    """All of it; what the dynamic linker would find is worked out as `check` does."""
    platform = environment.platform
    tensorflow = environment.tensorflow
    libstdcxx = None
    cuda: tuple[NativeLibrary, ...] = ()
    try:
        from ..linker.simulate import for_environment

        scope = for_environment(environment)
    except InputError:
        scope = None
    if scope is not None:
        try:
            libstdcxx = _libstdcxx(environment, installed, scope)
            cuda = tuple(_cuda(environment, installed, scope))
        finally:
            scope.close()
    return NativeFacts(
        machine=platform.machine,
        system=platform.system,
        libc=platform.libc,
        libc_version=platform.libc_version,
        libstdcxx=libstdcxx,
        tensorflow=None if tensorflow is None else tensorflow.facts(),
        numpy=environment.numpy,
        cuda=cuda,
    )


def _find(scope: LiveScope, name: str, asking: LoadedObject) -> Found | None:
    """A library that is searched for on behalf of another."""
    from ..linker.search import NotFound

    found = scope.searcher.find(name, asking, scope.main)
    return None if isinstance(found, NotFound) else found


def _framework(scope: LiveScope) -> LoadedObject | None:
    # Not by `namespace.find`: where there is none, that would go on to load half of Python.
    for loaded in scope.namespace.objects:
        if loaded.path.endswith("/libtensorflow_framework.so.2"):
            return loaded
    return None


def _libstdcxx(
    environment: Environment, installed: Installed, scope: LiveScope
) -> LibstdcxxFacts | None:
    loaded = None if _framework(scope) is None else scope.namespace.find(LIBSTDCXX)
    found = loaded or _find(scope, LIBSTDCXX, scope.main)
    if found is None:
        return None
    owner = owner_of(environment, installed, found.path)
    return libstdcxx_facts(found.library, found.how, owner)


def _cuda(environment: Environment, installed: Installed, scope: LiveScope) -> list[NativeLibrary]:
    found = []
    # TensorFlow dlopens them, and its own run path counts.
    asking = _framework(scope) or scope.main
    for name in CUDA_LIBRARIES:
        place = _find(scope, name, asking)
        if place is not None:
            owner = owner_of(environment, installed, place.path)
            version = version_in_name(place.path, name)
            found.append(NativeLibrary(name=name, version=version, owner=owner))
    return found


def owner_of(environment: Environment, installed: Installed, path: str) -> Owner | None:
    """The package that installed a file, from records that are parsed already."""
    name = installed.owner_of(path) or installed.owner_of(os.path.realpath(path))
    if name is not None:
        for package in installed.packages:
            if package.name == name:
                return Owner(
                    manager="conda",
                    name=name,
                    version=package.version or "unknown",
                    build=package.build,
                )
    if not _inside(environment, path):
        return None
    one = environment.distributions.owner_of(path)
    if one is None or installed.brought(one) is not None:
        return None
    return Owner(manager="pip", name=one.canonical_name, version=one.version)


def _inside(environment: Environment, path: str) -> bool:
    # Asking every RECORD for a system library would cost more than the whole snapshot.
    folders = environment.paths.search_path
    return any(path.startswith(f"{folder.rstrip('/')}/") for folder in folders)
