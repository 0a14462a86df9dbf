"""Compiling the probe: one source file that includes what plugins include, read back twice.

g++ writes the class layouts into debug information and every inline function into a dump
(`envlock.atlas.gimple`). Nothing that was compiled is ever run.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess

from ..models.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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
    "tensorflow/core/public/session.h",
    "tensorflow/core/framework/collective.h",
    "tensorflow/core/framework/device_factory.h",
    "tensorflow/core/framework/kernel_def_builder.h",
    "tensorflow/core/framework/run_handler.h",
    "tensorflow/core/framework/tensor_util.h",
    "tensorflow/core/graph/graph.h",
    "tensorflow/core/common_runtime/optimization_registry.h",
    "tensorflow/core/grappler/optimizers/custom_graph_optimizer_registry.h",
    "tensorflow/core/lib/monitoring/counter.h",
    "tensorflow/core/lib/monitoring/gauge.h",
    "tensorflow/core/lib/random/simple_philox.h",
    "tensorflow/core/profiler/lib/traceme.h",
    "tensorflow/core/platform/retrying_file_system.h",
    "tensorflow/core/util/tensor_bundle/tensor_bundle.h",
    "tensorflow/core/util/stream_executor_util.h",
    "external/com_googlesource_code_re2/re2/re2.h",
)
#: Without these there is no op and no kernel: where they do not compile, nothing is left out.
ESSENTIAL = HEADERS[:2]
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
                f"`{self.command[0]}` is not g++ ({first or 'no version'})",
                hint="the probe needs g++'s own dumps: name a g++ with --compiler",
            )
        match = re.search(r"(\d+\.\d+(\.\d+)?)\s*$", first)
        return "g++ " + (match[1] if match else first)


def standard_of(version: str) -> str:
    """The C++ standard that a TensorFlow release is built with: 14 up to 2.9, 17 from 2.10."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return "c++14" if numbers < [2, 10] else "c++17"


def write_source(include: str, target: str, unwanted: Collection[str] = ()) -> list[str]:
    """Write the probe for an include folder; gives the headers in it, one a line."""
    headers = [
        header
        for header in HEADERS
        if header not in unwanted and os.path.isfile(os.path.join(include, header))
    ]
    with open(target, "w", encoding="ascii") as file:
        file.writelines(f'#include "{header}"\n' for header in headers)
    return headers


class Mode:
    """How a TensorFlow build compiles C++: the standard, and which std::string."""

    __slots__ = ("cxx11_abi", "standard")

    def __init__(self, standard: str, cxx11_abi: bool) -> None:
        self.standard = standard
        self.cxx11_abi = cxx11_abi


def _arguments(compiler: Compiler, include: str, mode: Mode) -> list[str]:
    folders = ["-I" + include]
    folders += ["-I" + os.path.join(include, extra) for extra in EXTRA_INCLUDES]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(mode.cxx11_abi)}"
    return [*compiler.command, f"-std={mode.standard}", abi, *folders, *_FLAGS]


def prepare(compiler: Compiler, include: str, mode: Mode, source: str) -> tuple[str, list[str]]:
    """Write a probe that can be preprocessed, leaving out headers that cannot.

    Gives the SHA-256 of the preprocessed text without line markers (equal text, equal facts) and
    the headers in it.
    """
    unwanted: set[str] = set()
    while True:
        headers = write_source(include, source, unwanted)
        command = [*_arguments(compiler, include, mode), "-E", "-P", source]
        run = subprocess.run(command, capture_output=True, timeout=600)
        if run.returncode == 0:
            break
        unwanted.add(_blamed(run.stderr, source, headers))
    text = run.stdout.replace(os.fsencode(include), b"")
    return hashlib.sha256(text + compiler.version.encode()).hexdigest(), headers


def compile_probe(
    compiler: Compiler, include: str, mode: Mode, source: str, work: str, headers: list[str]
) -> tuple[str, str, list[str]]:
    """Compile, leaving out headers that do not compile.

    Gives the paths of the object (debug information) and of the dump, and the headers compiled.
    """
    target, dump = os.path.join(work, "probe.o"), os.path.join(work, "probe.ssa")
    command = [
        *_arguments(compiler, include, mode),
        "-c",
        f"-fdump-tree-ssa-asmname={dump}",
        "-o",
        target,
        source,
    ]
    unwanted = set(HEADERS) - set(headers)
    while True:
        run = subprocess.run(command, capture_output=True, timeout=1800)
        if run.returncode == 0:
            if not os.path.isfile(target) or not os.path.isfile(dump):
                raise InputError(
                    f"`{compiler.command[0]}` does not work as g++ does: it wrote no object file or no dump",
                    hint="the probe needs g++'s own dumps: name a g++ with --compiler",
                )
            return target, dump, headers
        unwanted.add(_blamed(run.stderr, source, headers))
        headers = write_source(include, source, unwanted)


def _blamed(output: bytes, source: str, headers: list[str]) -> str:
    """The header of the probe that the first error comes from. Raises `InputError` if none does."""
    match = re.search(re.escape(source) + r":(\d+)", output.decode("utf-8", "replace"))
    number = int(match[1]) if match else 0
    if not 0 < number <= len(headers) or len(headers) < len(HEADERS) // 2:
        raise _failed(output)
    if headers[number - 1] in ESSENTIAL:
        raise _failed(output)
    return headers[number - 1]


def _failed(output: bytes) -> InputError:
    lines = output.decode("utf-8", "replace").splitlines()
    first = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
    return InputError(f"the probe does not compile against these headers: {first}")
