"""Compiling the probe: one source file that includes what plugins include, read back twice.

g++ writes the class layouts into debug information and every inline function into a dump
(`envlock.atlas.gimple`). Nothing that was compiled is ever run.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess

from ..errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Headers that plugins include. One that a release lacks is left out and listed in the result.
HEADERS = (
    "tensorflow/core/framework/op.h",
    "tensorflow/core/framework/op_kernel.h",
    "tensorflow/core/framework/shape_inference.h",
    "tensorflow/core/framework/common_shape_fns.h",
    "tensorflow/core/framework/resource_mgr.h",
    "tensorflow/core/framework/resource_op_kernel.h",
    "tensorflow/core/framework/resource_var.h",
    "tensorflow/core/framework/lookup_interface.h",
    "tensorflow/core/framework/dataset.h",
    "tensorflow/core/framework/tensor.h",
    "tensorflow/core/framework/function.h",
    "tensorflow/core/framework/variant_encode_decode.h",
    "tensorflow/core/framework/variant_op_registry.h",
    "tensorflow/core/framework/reader_op_kernel.h",
    "tensorflow/core/framework/queue_interface.h",
    "tensorflow/core/platform/env.h",
    "tensorflow/core/platform/file_system.h",
    "tensorflow/core/platform/threadpool.h",
    "tensorflow/core/lib/io/record_reader.h",
    "tensorflow/core/lib/io/record_writer.h",
    "tensorflow/core/lib/io/inputbuffer.h",
    "tensorflow/core/util/work_sharder.h",
    "tensorflow/core/util/batch_util.h",
    "tensorflow/core/util/sparse/sparse_tensor.h",
    "tensorflow/core/util/tensor_format.h",
    "tensorflow/core/util/example_proto_fast_parsing.h",
    "tensorflow/core/util/guarded_philox_random.h",
    "tensorflow/core/example/example.pb.h",
    "external/com_googlesource_code_re2/re2/re2.h",
)
#: Include folders beside `include` itself.
EXTRA_INCLUDES = ("external/com_googlesource_code_re2",)
_FLAGS = ("-O0", "-g", "-femit-class-debug-always", "-fkeep-inline-functions", "-DNDEBUG", "-w")


class Compiler:
    """A g++ that can compile the probe."""

    def __init__(self, command: Sequence[str] = ("g++",)) -> None:
        self.command = tuple(command)
        self.version = self._version()

    def _version(self) -> str:
        try:
            run = subprocess.run(
                [*self.command, "--version"], capture_output=True, text=True, timeout=60
            )
        except OSError as error:
            raise InputError(
                f"the compiler `{self.command[0]}` cannot be run: {error.strerror}",
                hint="install g++ 10 or newer, or name another with --compiler",
            ) from None
        first = run.stdout.splitlines()[0] if run.stdout else ""
        if run.returncode or "clang" in first.lower() or not re.search(r"\d+\.\d+", first):
            raise InputError(
                f"`{self.command[0]}` is no g++ ({first or 'no version'})",
                hint="the probe needs g++'s own dumps: name a g++ with --compiler",
            )
        match = re.search(r"(\d+\.\d+(\.\d+)?)\s*$", first)
        return "g++ " + (match[1] if match else first)


def standard_of(version: str) -> str:
    """The C++ standard that a TensorFlow release is built with: 14 up to 2.9, 17 from 2.10."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return "c++14" if numbers < [2, 10] else "c++17"


def write_source(include: str, target: str) -> tuple[str, ...]:
    """Write the probe for an include folder; gives the headers that are missing there."""
    missing = []
    with open(target, "w", encoding="ascii") as file:
        for header in HEADERS:
            if os.path.isfile(os.path.join(include, header)):
                file.write(f'#include "{header}"\n')
            else:
                missing.append(header)
    return tuple(missing)


def _arguments(compiler: Compiler, include: str, standard: str) -> list[str]:
    folders = ["-I" + include]
    folders += ["-I" + os.path.join(include, extra) for extra in EXTRA_INCLUDES]
    return [*compiler.command, f"-std={standard}", "-D_GLIBCXX_USE_CXX11_ABI=1", *folders, *_FLAGS]


def preprocess(compiler: Compiler, include: str, standard: str, source: str) -> str:
    """SHA-256 of the preprocessed probe without line markers: equal text, equal facts."""
    command = [*_arguments(compiler, include, standard), "-E", "-P", source]
    run = subprocess.run(command, capture_output=True, timeout=600)
    if run.returncode:
        raise _failed(run.stderr)
    text = run.stdout.replace(os.fsencode(include), b"")
    return hashlib.sha256(text + compiler.version.encode()).hexdigest()


def compile_probe(
    compiler: Compiler, include: str, standard: str, source: str, work: str
) -> tuple[str, str]:
    """Compile; gives the paths of the object (debug information) and of the dump."""
    target, dump = os.path.join(work, "probe.o"), os.path.join(work, "probe.ssa")
    command = [
        *_arguments(compiler, include, standard),
        "-c",
        f"-fdump-tree-ssa-asmname={dump}",
        "-o",
        target,
        source,
    ]
    run = subprocess.run(command, capture_output=True, timeout=1800)
    if run.returncode:
        raise _failed(run.stderr)
    return target, dump


def _failed(output: bytes) -> InputError:
    lines = output.decode("utf-8", "replace").splitlines()
    first = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
    return InputError(f"the probe does not compile against these headers: {first}")
