"""What TensorFlow itself answers, asked once per environment in a child process and kept."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from tests.support import environments
from tests.support.environments import TfEnvironment

_ASK = """
import ctypes, json
import numpy
import tensorflow as tf

try:
    from numpy._core._multiarray_umath import _ARRAY_API
except ImportError:
    from numpy.core._multiarray_umath import _ARRAY_API
pointer = ctypes.pythonapi.PyCapsule_GetPointer
pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
table = ctypes.cast(pointer(_ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
number = ctypes.PYFUNCTYPE(ctypes.c_uint)
print("ANSWER" + json.dumps({
    "version": tf.__version__,
    "git_version": tf.version.GIT_VERSION,
    "compiler": tf.version.COMPILER_VERSION,
    "compile_flags": tf.sysconfig.get_compile_flags(),
    "link_flags": tf.sysconfig.get_link_flags(),
    "build_info": {name: str(value) for name, value in tf.sysconfig.get_build_info().items()},
    "cxx11_abi": bool(tf.sysconfig.CXX11_ABI_FLAG),
    "include": tf.sysconfig.get_include(),
    "numpy": numpy.__version__,
    "numpy_abi": number(table[0])(),  # PyArray_GetNDArrayCVersion
    "numpy_c_api": number(table[211])(),  # PyArray_GetNDArrayCFeatureVersion
    "mapped": sorted({line.split()[-1] for line in open("/proc/self/maps")}),
}))
"""


def ask(env: TfEnvironment) -> dict[str, Any]:
    """The answers of one environment; kept in the cache folder as long as it is not made anew."""
    made = os.stat(env.prefix / ".complete").st_mtime_ns
    key = hashlib.sha256(f"{_ASK}{made}".encode()).hexdigest()[:16]
    kept = environments.cache_root() / "answers" / f"{env.prefix.name}-{key}.json"
    if not kept.exists():
        answer = env.run("-c", _ASK)
        lines = [line for line in answer.stdout.splitlines() if line.startswith("ANSWER")]
        assert lines, answer.stderr
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_text(lines[0][len("ANSWER") :])
        part.replace(kept)
    answers: dict[str, Any] = json.loads(kept.read_text())
    return answers
