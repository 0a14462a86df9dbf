"""Causes in the libraries that a plugin needs: absent, misnamed, doubled, or too old."""

from __future__ import annotations

import os
import re
from shlex import quote

from ...linker.grafts import name_before_graft
from ...models.report import Finding
from ...models.verdict import Verdict
from ...models.versions import of_glibc, order
from ..base import Rules
from .case import MOST_EXAMPLES, Case, plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linker.library import Library
    from ...linker.prediction import MissingLibrary, MissingVersion

RULES = Rules("loading")

_FRAMEWORK = re.compile(r"libtensorflow_framework\.so(\.\d+)*$")
_GRAFTED = re.compile(r"(libtensorflow_framework|libtensorflow_cc|_pywrap_tensorflow_internal)-\w+")
_TENSORFLOW = re.compile(r"(_pywrap_tensorflow_internal|libtensorflow|lib_pywrap_tensorflow)")
_CUDA = re.compile(
    r"lib(cuda|cudart|cublas|cublasLt|cudnn\w*|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvinfer\w*"
    r"|nvToolsExt|nvJitLink|cupti|amdhip64|rocblas|MIOpen|hipfft|rccl|hsa-runtime64)"
    r"(-[0-9a-f]+)?\.so"
)
_CUDA_PACKAGES = (
    ("libcudnn", "nvidia-cudnn"),
    ("libcublas", "nvidia-cublas"),
    ("libcufft", "nvidia-cufft"),
    ("libcurand", "nvidia-curand"),
    ("libcusolver", "nvidia-cusolver"),
    ("libcusparse", "nvidia-cusparse"),
    ("libnccl", "nvidia-nccl"),
    ("libnvrtc", "nvidia-cuda-nvrtc"),
    ("libcupti", "nvidia-cuda-cupti"),
    ("libcudart", "nvidia-cuda-runtime"),
)
_GLIBC = re.compile(r"GLIBC_(\d[\d.]*|ABI_\w+|PRIVATE)$")
_MUSL = re.compile(r"(libc\.musl-|ld-musl-)")
_RUNTIME = re.compile(r"(GLIBCXX|CXXABI|GCC|GOMP|OMP|GFORTRAN|QUADMATH|LIBATOMIC)_([\d.]+)")
#: The first GCC release whose libstdc++ has a version, from the libstdc++ manual's ABI table.
_GCC_OF = {
    "3.4.19": "4.8.3",
    "3.4.20": "4.9.0",
    "3.4.21": "5.1.0",
    "3.4.22": "6.1.0",
    "3.4.23": "7.1.0",
    "3.4.24": "7.2.0",
    "3.4.25": "8.1.0",
    "3.4.26": "9.1.0",
    "3.4.27": "9.2.0",
    "3.4.28": "9.3.0",
    "3.4.29": "11.1.0",
    "3.4.30": "12.1.0",
    "3.4.31": "13.1.0",
    "3.4.32": "13.2.0",
    "3.4.33": "14.1.0",
    "3.4.34": "15.1.0",
}


@RULES.rule(
    "other-c-library",
    "The plugin is built for another C library",
    "glibc and musl (Alpine Linux) are two C libraries. What was linked against one finds the "
    "other under the same names at best, and then calls functions that differ.",
    changes=("glibc",),
)
def other_c_library(case: Case) -> Finding | None:
    musl = case.take_libraries(lambda item: _MUSL.match(item.name) is not None)
    if musl:
        return other_c_library.finding(
            subject=musl[0].name,
            built="musl",
            live="glibc",
            message=f"the plugin is built for musl (it needs `{musl[0].name}`), and this "
            "environment's C library is glibc",
            why=f"dlopen answers `{musl[0].error}`",
            remedy="build it in a glibc system, such as the manylinux image of the TensorFlow "
            "release, or take the package's manylinux wheel",
        )
    if not case.prediction.other_libc:
        return None
    case.take_libraries(lambda item: of_glibc(item.name))
    error = case.prediction.error
    return other_c_library.finding(
        verdict=Verdict.INCOMPATIBLE if error else Verdict.UNSAFE,
        subject=case.name,
        built="glibc",
        live="musl",
        message="the plugin is built for glibc, and this environment's C library is musl",
        why=f"dlopen answers `{error}`"
        if error
        else "musl's dynamic linker takes it, because it passes over versions, but its functions "
        "and structures are not glibc's: it can crash or compute garbage",
        remedy="use an environment on glibc (python:3-slim instead of python:3-alpine), where "
        "TensorFlow's own wheels run too, or build the plugin on musl",
    )


@RULES.rule(
    "grafted-framework",
    "The wheel carries its own copy of TensorFlow's library",
    "Wheel repair tools copy every library that is not on their list, also TensorFlow's, and "
    "rename it with a hash. A second copy in the process has its own op registry.",
)
def grafted_framework(case: Case) -> Finding | None:
    taken = case.take_libraries(lambda item: _GRAFTED.match(item.name) is not None)
    second = case.prediction.second_framework
    if not taken and not second:
        return None
    name = taken[0].name if taken else second[0].name
    remedy = "auditwheel repair --exclude libtensorflow_framework.so.2 WHEEL"
    if taken:
        return grafted_framework.finding(
            subject=name,
            count=len(taken),
            message=f"the plugin needs `{name}`, a copy of TensorFlow's library that a wheel "
            "repair made, and which is not there",
            why="a copy under another name is never the TensorFlow that Python has loaded",
            remedy=remedy,
        )
    path = second[0].path
    return grafted_framework.finding(
        verdict=Verdict.UNSAFE,
        subject=name,
        live=path,
        message=f"`{name}` would be loaded from `{path}` beside the framework library that "
        f"{case.tensorflow} has loaded",
        why="each copy has an op registry of its own: TensorFlow does not see the plugin's ops, and "
        "state that should be shared is corrupted",
        remedy=remedy,
    )


@RULES.rule(
    "framework-soname",
    "The plugin needs TensorFlow's library under another name",
    "libtensorflow_framework.so.1 belongs to TensorFlow 1.14 and 1.15, .so.2 to 2.x, the bare "
    "name to older ones.",
)
def framework_soname(case: Case) -> Finding | None:
    taken = case.take_libraries(lambda item: _FRAMEWORK.match(item.name) is not None)
    if not taken:
        return None
    needed = taken[0].name
    loaded = [os.path.basename(library.path) for library in case.framework]
    found = next((name for name in loaded if name.startswith("libtensorflow_framework")), None)
    era = "TensorFlow 1.x" if needed.endswith(".so.1") else None
    if needed.endswith(".so"):
        era = "TensorFlow 1.13 or older"
    if found is None:
        message = f"the plugin needs `{needed}`, and {case.tensorflow} here has no such library"
    else:
        message = f"the plugin needs `{needed}`" + (f" of {era}" if era else "")
        message += f", but {case.tensorflow} has loaded `{found}`"
    return framework_soname.finding(
        subject=needed,
        built=needed,
        live=found,
        message=message,
        why="the number in the name changes with TensorFlow's major release; a link under the old "
        "name would only hide that the C++ interface differs",
        remedy=f"rebuild it against the installed TensorFlow, linked with `{case.flags('link')}`",
    )


@RULES.rule(
    "framework-library",
    "The plugin needs a library of TensorFlow that this release does not offer",
    "Releases differ in which libraries they have, and some lost their DT_SONAME "
    "(tensorflow-cpu 2.19, both packages of 2.21), by which a loaded library is recognised.",
)
def framework_library(case: Case) -> Finding | None:
    taken = case.take_libraries(lambda item: _TENSORFLOW.match(item.name) is not None)
    if not taken:
        return None
    needed = taken[0].name
    live = next((library for library in case.framework if needed in library.path), None)
    detail = (
        "its file is there but carries no DT_SONAME any more, so that the name is not found"
        if live is not None
        else f"{case.tensorflow} does not have it where the linker looks"
    )
    return framework_library.finding(
        subject=needed,
        count=len(taken),
        built=needed,
        message=f"the plugin needs `{needed}` itself, and {detail}",
        why="which of TensorFlow's libraries hold its C++ interface changes between releases: "
        "`_pywrap_tensorflow_internal.so` up to 2.11, `libtensorflow_cc.so.2` from 2.12 on",
        remedy=f"rebuild it, linked with `{case.flags('link')}` and nothing else of TensorFlow",
    )


@RULES.rule(
    "cuda-runtime",
    "GPU runtime libraries are missing",
    "The plugin was built for a GPU and needs CUDA or ROCm libraries; TensorFlow itself loads "
    "them only when it finds a GPU.",
    changes=(
        "finding",
        "library",
        "TensorFlow",
    ),
)
def cuda_runtime(case: Case) -> Finding | None:
    taken = case.take_libraries(lambda item: _CUDA.match(item.name) is not None)
    if not taken:
        return None
    names = list(dict.fromkeys(item.name for item in taken))
    packages = [
        f"{package}-cu{_cuda_major(names)}"
        for stem, package in _CUDA_PACKAGES
        if any(name.startswith(stem) for name in names)
    ]
    shown = ", ".join(f"`{name}`" for name in names[:MOST_EXAMPLES])
    return cuda_runtime.finding(
        subject=names[0],
        built=names[0],
        count=len(names),
        examples=tuple(names[:MOST_EXAMPLES]),
        message=f"the plugin needs the GPU runtime ({shown}), which is nowhere in this environment",
        why=f"dlopen answers `{taken[0].error}`",
        remedy=_cuda_remedy(case, names, packages),
    )


def _cuda_remedy(case: Case, names: list[str], packages: list[str]) -> str:
    folders = list(dict.fromkeys(f for f in (_elsewhere(case, n) for n in names) if f))
    if folders:
        return f"export LD_LIBRARY_PATH={quote(':'.join(folders))}"
    return (
        f"{case.place.pip('install')} {' '.join(packages)}"
        if packages
        else "install the GPU driver"
    )


def _cuda_major(names: list[str]) -> str:
    for name in names:
        found = re.match(r"lib(?:cudart|cublas|nvrtc|cupti)\.so\.(\d+)", name)
        if found:
            return found[1]
    return "12"


@RULES.rule(
    "missing-library",
    "A library that the plugin needs is not found",
    "A DT_NEEDED name of the plugin, or of a library it needs, is in none of the folders that "
    "the dynamic linker searches; the finding lists them in order.",
    changes=(
        "finding",
        "library",
    ),
)
def missing_library(case: Case) -> Finding | None:
    taken = case.take_libraries(lambda item: True)
    if not taken:
        return None
    first = taken[0]
    names = list(dict.fromkeys(item.name for item in taken))
    others = f", and {plural(len(names) - 1, 'more library')}" if len(names) > 1 else ""
    owner = "the plugin" if first.needed_by == case.prediction.path else f"`{first.needed_by}`"
    if first.rejected:
        path, why = first.rejected[0]
        message = f"{owner} needs `{first.name}`; `{path}` has that name but is not taken: {why}"
    else:
        message = f"{owner} needs `{first.name}`, which is in none of the folders searched"
        folder = _elsewhere(case, first.name)
        message += f" (there is one in `{folder}`)" if folder is not None else ""
        original = name_before_graft(first.name)
        if original is not None:
            message += f"; it is the copy of `{original}` that a wheel repair put into the wheel"
    return missing_library.finding(
        subject=first.name,
        count=len(names),
        examples=tuple(names[:MOST_EXAMPLES]),
        message=message + others,
        why=f"searched in this order: {_searched(first)}",
        remedy=_library_remedy(case, first),
    )


def _searched(missing: MissingLibrary) -> str:
    words = {
        "rpath": "RPATH",
        "runpath": "RUNPATH",
        "LD_LIBRARY_PATH": "LD_LIBRARY_PATH",
        "ld.so.cache": "ld.so.cache",
        "default": "default folders",
    }
    parts: list[str] = []
    last: tuple[str, str | None] | None = None
    for step in missing.searched:
        if (step.how, step.owner) != last:
            last = (step.how, step.owner)
            owner = f" of {os.path.basename(step.owner)}" if step.owner else ""
            parts.append(f"{words[step.how]}{owner}: {step.folder or '.'}")
        else:
            parts.append(step.folder or ".")
    return ", ".join(parts) if parts else "nowhere: it is a path"


def _library_remedy(case: Case, missing: MissingLibrary) -> str:
    folder = _elsewhere(case, missing.name)
    if folder is not None:
        return f"export LD_LIBRARY_PATH={quote(folder)}"
    if name_before_graft(missing.name) is not None:
        return (
            "pip install --force-reinstall --no-deps WHEEL  # whole: the copy lies in its `.libs` "
            "folder, and the plugin finds it from where the wheel puts it"
        )
    if case.environment.paths.kind == "conda":
        stem = missing.name.split(".so", 1)[0]
        return f"conda install --prefix {quote(case.environment.paths.prefix)} {stem}"
    return (
        f"install the package that has `{missing.name}`, then, if its folder is not among those "
        "searched: export LD_LIBRARY_PATH=FOLDER"
    )


def _elsewhere(case: Case, name: str) -> str | None:
    """A folder near the plugin or in the environment that has a library but is not searched."""
    folder = os.path.dirname(os.path.abspath(case.prediction.path))
    candidates = [folder]
    parents = [folder]
    for _ in range(3):
        parents.append(os.path.dirname(parents[-1]))
    # Wheel repair puts libraries into NAME.libs beside the package or in it.
    for parent in parents:
        candidates += _matching(parent, ".libs")
    for library in case.framework[:1]:
        site = os.path.dirname(os.path.dirname(os.path.realpath(library.path)))
        candidates += [os.path.join(f, "lib") for f in _matching(os.path.join(site, "nvidia"), "")]
        candidates += _matching(site, ".libs")
    candidates.append(os.path.join(case.environment.paths.prefix, "lib"))
    for candidate in candidates:
        if "/" not in name and os.path.isfile(os.path.join(candidate, name)):
            return candidate
    return None


def _matching(folder: str, ending: str) -> list[str]:
    """Entries of a folder whose name ends so; a folder that cannot be read has none."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [os.path.join(folder, name) for name in sorted(names)[:4096] if name.endswith(ending)]


def _highest(versions: list[MissingVersion]) -> MissingVersion:
    """The version with the highest number; names without one (GLIBC_ABI_DT_RELR) come first."""
    return max(versions, key=lambda version: _number_of(version.version))


def _number_of(version: str) -> tuple[int, ...]:
    """The number behind a version's prefix: (2, 38) of GLIBC_2.38; nothing of GLIBC_PRIVATE."""
    return order(version.rpartition("_")[2])


def _provided(case: Case, name: str, prefix: str) -> str | None:
    """The highest version of that kind which the found library defines."""
    library = _found(case, name)
    if library is None:
        return None
    names = [n.decode("ascii", "replace") for n in library.definitions.names]
    names = [n for n in names if re.fullmatch(prefix + r"_\d[\d.]*", n)]
    return max(names, key=_number_of, default=None)


def _found(case: Case, name: str) -> Library | None:
    for dependency in case.prediction.closure:
        if dependency.name == name:
            return dependency.library
    scope = case.prediction.scope
    loaded = scope.namespace.find(name) if scope is not None else None
    return loaded.library if loaded is not None else None


def _glibc(case: Case) -> str | None:
    """The release of the C library: not every one defines a version of its own (2.31)."""
    scope = case.prediction.scope
    release = scope.interpreter.traits.release if scope is not None else (0, 0)
    return f"GLIBC_{release[0]}.{release[1]}" if release != (0, 0) else None


@RULES.rule(
    "glibc-too-old",
    "The C library is older than the plugin needs",
    "The plugin was linked on a newer system. Symbol versions name the glibc release.",
    changes=("glibc",),
)
def glibc_too_old(case: Case) -> Finding | None:
    taken = case.take_versions(lambda version: _GLIBC.match(version.version) is not None)
    if not taken:
        return None
    highest = _highest(taken)
    live = _glibc(case) or _provided(case, highest.provider, "GLIBC")
    if case.prediction.scope is None:  # a release was named, and no system
        live = highest.provider_path.replace("glibc ", "GLIBC_")
    return glibc_too_old.finding(
        subject=highest.provider,
        built=highest.version,
        live=live,
        count=len(taken),
        examples=tuple(dict.fromkeys(v.version for v in taken))[:MOST_EXAMPLES],
        message=f"`{os.path.basename(highest.needed_by)}` needs {highest.version}, but the C "
        f"library here (`{highest.provider_path}`) goes up to {live or 'an older version'}",
        why="glibc is forward compatible only: what was linked on a newer system needs one as new",
        remedy="build it in the oldest system it has to run on, such as the manylinux image of "
        "the TensorFlow release: docker run -it quay.io/pypa/manylinux_2_28_x86_64",
    )


@RULES.rule(
    "glibcxx-too-old",
    "The C++ library is older than the plugin needs",
    "The libstdc++ that counts is the one that the process has loaded or finds first: in a "
    "conda prefix it is conda's, even where the system's is newer.",
    changes=("libstdc++",),
)
def glibcxx_too_old(case: Case) -> Finding | None:
    taken = case.take_versions(lambda version: version.version.startswith(("GLIBCXX_", "CXXABI_")))
    if not taken:
        return None
    by_kind = [v for v in taken if v.version.startswith("GLIBCXX_")] or taken
    highest = _highest(by_kind)
    kind = highest.version.split("_", 1)[0]
    live = _provided(case, highest.provider, kind)
    gcc = _GCC_OF.get(highest.version.split("_", 1)[1])
    prefix = case.environment.paths.prefix
    if highest.provider_path.startswith(prefix + "/") and case.environment.paths.kind == "conda":
        wanted = f"'libstdcxx-ng>={gcc}'" if gcc else "libstdcxx-ng"
        remedy = f"conda install --prefix {quote(prefix)} -c conda-forge {wanted}"
    else:
        remedy = "build it with the compiler of the oldest system it has to run on, or link it "
        remedy += "with -static-libstdc++"
    return glibcxx_too_old.finding(
        subject=highest.provider,
        built=highest.version,
        live=live,
        count=len(taken),
        examples=tuple(dict.fromkeys(v.version for v in taken))[:MOST_EXAMPLES],
        message=f"`{os.path.basename(highest.needed_by)}` needs {highest.version}"
        + (f" (GCC {gcc} or newer)" if gcc else "")
        + f", but the libstdc++ that counts here (`{highest.provider_path}`) goes up to "
        + (live or "an older version"),
        why="the whole process uses the first libstdc++ that it finds; a newer one "
        "elsewhere on the machine does not help",
        remedy=remedy,
    )


@RULES.rule(
    "missing-version",
    "A library lacks a symbol version that the plugin needs",
    "The library that was found is older than the one that the plugin was linked against.",
    changes=(
        "finding",
        "library",
        "libstdc++",
        "glibc",
        "TensorFlow",
    ),
)
def missing_version(case: Case) -> Finding | None:
    taken = case.take_versions(lambda version: True)
    if not taken:
        return None
    first = taken[0]
    runtime = _RUNTIME.match(first.version)
    return missing_version.finding(
        subject=first.provider,
        built=first.version,
        count=len(taken),
        examples=tuple(dict.fromkeys(v.version for v in taken))[:MOST_EXAMPLES],
        message=f"`{os.path.basename(first.needed_by)}` needs version `{first.version}` of "
        f"`{first.provider}`, which the one found (`{first.provider_path}`) does not define",
        why="the library was linked against a newer release"
        + (" of the compiler's runtime" if runtime else " of that library"),
        remedy=f"install a newer `{first.provider}`, or rebuild against the one that is here",
    )
