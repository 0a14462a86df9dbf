"""The environment variables that steer loading, reduced to what matters and free of secrets.

Only names on the lists below are recorded with a value, and only values of the expected shape;
every other `TF_*` and `CUDA_*` variable is recorded as set, without its value.
"""

from __future__ import annotations

import os
import re

from ..files.reading import listing, plain
from ..models.snapshot import PathEntry, Variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..environment.locate import EnvironmentPaths

#: Lists of folders or libraries, separated by `:`; LD_PRELOAD and LD_AUDIT by spaces too.
PATH_LISTS = (
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LD_AUDIT",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONUSERBASE",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_ROOT",
    "CUDNN_PATH",
    "ROCM_PATH",
    "TF_PLUGGABLE_DEVICE_LIBRARY_PATH",
    "TF_GPU_CUPTI_PATH",
    "TF_XLA_PATH",
)
#: Switches and numbers; recorded when the value looks like one.
SWITCHES = (
    "LD_BIND_NOW",
    "LD_BIND_NOT",
    "GLIBC_TUNABLES",
    "PYTHONNOUSERSITE",
    "PYTHONSAFEPATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_CACHE_DISABLE",
    "CUDA_VERSION",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "KMP_DUPLICATE_LIB_OK",
    "TF_CPP_MIN_LOG_LEVEL",
    "TF_CPP_MAX_VLOG_LEVEL",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_DISABLE_MKL",
    "TF_ENABLE_AUTO_MIXED_PRECISION",
    "TF_ENABLE_GPU_GARBAGE_COLLECTION",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_FORCE_UNIFIED_MEMORY",
    "TF_GPU_ALLOCATOR",
    "TF_GPU_THREAD_COUNT",
    "TF_GPU_THREAD_MODE",
    "TF_INTER_OP_PARALLELISM_THREADS",
    "TF_INTRA_OP_PARALLELISM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_USE_LEGACY_KERAS",
    "TF_XLA_FLAGS",
    "TF_NEED_CUDA",
    "TF_CUDA_VERSION",
    "TF_CUDNN_VERSION",
    "TF_CUDA_COMPUTE_CAPABILITIES",
)
# Patterns as text: most environments set none of these, and compiling costs more than looking.

#: Terraform's variables share the prefix, hold secrets, and have nothing to do with TensorFlow.
_TERRAFORM = (
    r"TF_(?:VAR|TOKEN|CLI|LOG|INPUT|IN_AUTOMATION|WORKSPACE|DATA_DIR|PLUGIN_CACHE|REGISTRY|ACC)"
)
_OTHERS = r"(?:TF|CUDA|CUDNN|TENSORFLOW)_[A-Z0-9_]{1,80}\Z"
_SWITCH = r"[A-Za-z0-9_.,:=+-]{0,120}\Z"
_XLA = r"(?:--[a-z0-9_]+(?:=[A-Za-z0-9_.,-]{0,40})?\s*){0,20}\Z"
#: Looks like a key or a token, so it is not a switch.
_SECRET = r"[A-Za-z0-9+/_-]{28,}"

#: Folders that mean the same on every machine.
_SYSTEM = ("/usr", "/lib", "/lib64", "/opt", "/bin", "/etc")
#: What in a folder of LD_LIBRARY_PATH can take the place of the environment's own.
_LIBRARIES = (
    r"lib(?:stdc\+\+|gcc_s|c|m|dl|pthread|tensorflow\w*|tensorflow_framework|protobuf|absl\w*|"
    r"cud\w+|cublas\w*|cufft\w*|curand|cusolver\w*|cusparse|nccl|nvrtc|nvinfer\w*|gomp|iomp5|"
    r"openblas\w*|mkl_\w+|abseil\w*)\.so(?:\.\d+)*$"
)
_PACKAGES = frozenset(
    (
        *("tensorflow", "tensorflow_text", "tensorflow_io", "numpy", "keras", "tf_keras"),
        *("google", "sitecustomize.py", "usercustomize.py"),
    )
)
_MOST = 64


def read_variables(
    paths: EnvironmentPaths, environ: Mapping[str, str] | None = None
) -> tuple[Variable, ...]:
    """The variables of this process that a process started in the environment would inherit."""
    environ = os.environ if environ is None else environ
    found = []
    for name in sorted(environ):
        value = environ[name]
        if name in PATH_LISTS:
            if value:
                found.append(Variable(name=name, entries=_entries(name, value, paths)))
        elif name in SWITCHES:
            found.append(Variable(name=name, value=_switch(name, value)))
        elif re.match(_OTHERS, name) and not re.match(_TERRAFORM, name):
            found.append(Variable(name=name))
    return tuple(found)


def _switch(name: str, value: str) -> str | None:
    shape = _XLA if name == "TF_XLA_FLAGS" else _SWITCH
    if not re.match(shape, value) or re.search(_SECRET, value):
        return None
    return value.strip()


def _entries(name: str, value: str, paths: EnvironmentPaths) -> tuple[PathEntry, ...]:
    pattern = "[: ]" if name in ("LD_PRELOAD", "LD_AUDIT") else ":"
    entries = [e for e in re.split(pattern, value) if e or name == "LD_LIBRARY_PATH"]
    return tuple(_entry(name, entry, paths) for entry in entries[:_MOST])


def _entry(name: str, entry: str, paths: EnvironmentPaths) -> PathEntry:
    if name in ("LD_PRELOAD", "LD_AUDIT"):
        # A bare name is searched like a DT_NEEDED; a path is the file itself.
        where = place(entry, paths) if "/" in entry else plain(entry)
        return PathEntry(where=where, missing="/" in entry and not os.path.exists(entry))
    folder = entry or "."
    return PathEntry(
        where=place(folder, paths),
        holds=_holds(name, folder),
        missing=not os.path.isdir(folder),
    )


def _holds(name: str, folder: str) -> tuple[str, ...]:
    if name == "LD_LIBRARY_PATH":
        return tuple(n for n in listing(folder) if re.match(_LIBRARIES, n))[:_MOST]
    if name == "PYTHONPATH":
        return tuple(n for n in listing(folder) if n in _PACKAGES)
    return ()


def place(path: str, paths: EnvironmentPaths) -> str:
    """A path without what is special to a machine or user."""
    full = os.path.abspath(path)
    for label, prefix in (("{prefix}", paths.prefix), ("{base}", paths.base_prefix)):
        # A system Python's prefix is /usr: the folder's own name says more.
        if prefix in ("/usr", "/usr/local", "/"):
            continue
        for spelling in (prefix, os.path.realpath(prefix)):
            if full == spelling or full.startswith(spelling.rstrip("/") + "/"):
                return plain(label + full[len(spelling.rstrip("/")) :])
    if full.startswith(tuple(f"{system}/" for system in _SYSTEM)) or full in _SYSTEM:
        return plain(full)
    return plain("{elsewhere}/" + os.path.basename(full))
