"""One TensorFlow release's facts, out of its package folder (unzipped wheel or installation).

The result, a part, is a plain JSON-ready table that `envlock.atlas.write` merges with others:
libraries with their exports, header versions, class layouts, and what inline functions need.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
import tempfile

from ..binary.debug.classes import Layout, Reader, normalise
from ..binary.debug.dwarf import Dwarf
from ..binary.elf import ElfFile
from ..binary.elf.dynamic import DT_SYMTAB, build_id
from ..environment.binary import cxx11_abi, version_strings
from ..environment.headers import read_headers
from ..models.record import encode
from . import gimple, probe
from .dump import iter_lines, read_functions
from .keys import symbol_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .dump import Fact, Function, Path
    from .probe import Compiler, Mode

    Part = dict[str, Any]

PART_FORMAT = 1
#: Libraries that plugins link to or find in the global scope, with their place in the package.
LIBRARIES = (
    "libtensorflow_framework.so.2",
    "libtensorflow_cc.so.2",
    "python/_pywrap_tensorflow_internal.so",
    "python/lib_pywrap_tensorflow_common.so",
)
SESSION = "python/client/_pywrap_tf_session.so"
#: Present in wheels that load TensorFlow's libraries with RTLD_GLOBAL.
GLOBAL_MARKER = "python/pywrap_dlopen_global_flags.py"
_OUTSIDE = ("std::", "__gnu_cxx::", "__cxxabiv1::", "(anonymous)", "__", "_")

_OUTSIDE_NAMES = (
    "_ZNSt",
    "_ZNKSt",
    "_ZSt",
    "_ZN9__gnu_cxx",
    "_ZNK9__gnu_cxx",
    "_ZN5Eigen",
    "_ZNK5Eigen",
)


def exports(path: str) -> tuple[dict[str, Any], list[int]]:
    """A library's identity and the sorted keys of the symbols that it exports."""
    with ElfFile.open(path) as elf:
        dynamic = elf.dynamic
        table = dynamic.symbols
        start, size = dynamic.string_table
        strings = elf.read(start, size, "the dynamic string table")
        keys = set()
        layout = struct.Struct(elf.order + "IBBHQQ")
        address = dynamic.get(DT_SYMTAB)
        place = 0 if address is None else elf.offset_of(address, 0, "the symbol table")
        raw = elf.read(place, layout.size * len(table), "the symbol table")
        for name, info, other, section, _, _ in layout.iter_unpack(raw):
            # Local, undefined and hidden symbols are nothing that a plugin could bind to.
            if section and info >> 4 and name and other & 3 in (0, 3):
                keys.add(symbol_key(strings[name : strings.index(b"\0", name)]))
        identity = {
            "name": os.path.basename(path),
            "machine": elf.machine,
            "soname": dynamic.soname.decode("ascii", "replace") if dynamic.soname else None,
            "needed": [item.decode("ascii", "replace") for item in dynamic.needed],
            "build_id": build_id(elf),
            "size": elf.size,
        }
    return identity, sorted(keys)


def interesting(name: str) -> bool:
    """Whether a class can be shared between plugin and TensorFlow with a layout of its own."""
    if name.startswith("Eigen::"):
        return name.startswith(("Eigen::ThreadPool", "Eigen::Allocator", "Eigen::Notification"))
    return not name.startswith(_OUTSIDE)


def headers(include: str, mode: Mode, compiler: Compiler, cache: str | None = None) -> Part:
    """Class layouts and needs of inline functions, from TensorFlow's own headers.

    `cache` is a folder of results, by the digest of the preprocessed probe.
    """
    with tempfile.TemporaryDirectory() as work:
        source = os.path.join(work, "probe.cc")
        digest, included = probe.prepare(compiler, include, mode, source)
        kept = None
        if cache is not None:
            kept = os.path.join(cache, digest + ".json.gz")
            if os.path.exists(kept):
                return load_part(kept)
        target, dump, included = probe.compile_probe(
            compiler, include, mode, source, work, included
        )
        with ElfFile.open(target) as elf:
            layouts = Reader(Dwarf(elf)).read()
        owners = gimple.method_owners(layouts)
        functions = read_functions(iter_lines(dump), owners)
        analysis = gimple.Analysis(layouts, functions, owners)
        analysis.run()
    result: Part = {
        "format": PART_FORMAT,
        "compiler": compiler.version,
        "standard": mode.standard,
        "missing_headers": [header for header in probe.HEADERS if header not in included],
        "resolved": [analysis.resolved, analysis.unresolved],
        "classes": _classes(layouts),
        **_functions(functions),
    }
    if kept is not None:
        save_part(result, kept)
    return result


def _classes(layouts: dict[str, Layout]) -> Part:
    found: Part = {}
    for name in sorted(layouts):
        layout = layouts[name]
        if not interesting(name):
            continue
        found[normalise(name)] = {
            "size": layout.size,
            "members": [
                [m.name, m.offset, m.bits, normalise(m.type) if m.target else f"{m.type}:{m.size}"]
                for m in layout.members
            ],
            "bases": [[normalise(b.target), b.offset] for b in layout.bases],
            "virtual_bases": layout.virtual_bases,
            "slots": [[slot, text] for slot, text in sorted(layout.slots.items())],
        }
    return found


def _functions(functions: dict[str, Function]) -> Part:
    needs: dict[str, list[Any]] = {}
    paths: dict[str, list[Any]] = {}
    for name in sorted(functions):
        function = functions[name]
        facts = sorted({_clean(f) for f in function.facts if interesting(f[1])})
        if facts or not name.startswith(_OUTSIDE_NAMES):
            # One that needs nothing is listed too: that a release has it tells releases apart.
            needs[name] = [list(fact) for fact in facts]
        windows = _windows(function.paths)
        if windows and facts:
            paths[name] = windows
    return {"functions": needs, "paths": paths}


def _clean(fact: Fact) -> Fact:
    return fact[0], normalise(fact[1]), fact[2]


def _windows(paths: set[tuple[str, Path]]) -> list[Any]:
    """The two-step windows of a function's access paths that touch classes worth knowing."""
    found = set()
    for _, steps in paths:
        for first, second in zip(steps, steps[1:]):
            if any(f[0] in "mv" and interesting(f[1]) for f in (*first, *second)):
                found.add((tuple(_clean(f) for f in first), tuple(_clean(f) for f in second)))
    return [[[list(f) for f in step] for step in window] for window in sorted(found)]


def read_package(
    folder: str, version: str, distribution: str, compiler: Compiler, cache: str | None = None
) -> Part:
    """Everything about one TensorFlow package folder, unzipped from a wheel or installed."""
    places = [os.path.join(folder, place) for place in LIBRARIES]
    return read_build(
        [path for path in places if os.path.isfile(path)],
        os.path.join(folder, "include"),
        os.path.join(folder, SESSION),
        version=version,
        distribution=distribution,
        global_scope=os.path.exists(os.path.join(folder, GLOBAL_MARKER)),
        compiler=compiler,
        cache=cache,
    )


def read_build(
    paths: Sequence[str],
    include: str,
    session: str,
    *,
    version: str,
    distribution: str,
    global_scope: bool,
    compiler: Compiler,
    cache: str | None = None,
) -> Part:
    """Everything about one build: its libraries, its headers, the module that names its compiler.

    Raises `InputError` when a library is damaged or the headers do not compile.
    """
    libraries = []
    for path in paths:
        identity, keys = exports(path)
        libraries.append({**identity, "exports": keys})
    git_version, built_by, abi = _build_facts(session, paths[0] if paths else "")
    machines = sorted({library.pop("machine") for library in libraries})
    # A string is 8 bytes with one ABI and 32 with the other.
    mode = probe.Mode(probe.standard_of(version), abi is not False)
    return {
        "format": PART_FORMAT,
        "version": version,
        "distribution": distribution,
        "machine": machines[0] if machines else "unknown",
        "global_scope": global_scope,
        "git_version": git_version,
        "compiler": built_by,
        "cxx11_abi": abi,
        "headers": encode(read_headers([include])),
        "libraries": libraries,
        "abi": headers(include, mode, compiler, cache),
    }


def _build_facts(session: str, framework: str) -> tuple[str | None, str | None, bool | None]:
    """git version, compiler and CXX11 ABI, from TensorFlow's own binaries."""
    git_version = compiler = None
    # Up to 2.8 the framework library says it, later the module of the session.
    for path in (session, framework):
        if git_version is None and os.path.isfile(path):
            with ElfFile.open(path) as elf:
                git_version, compiler, _ = version_strings(elf)
    abi = None
    if os.path.isfile(framework):
        with ElfFile.open(framework) as elf:
            abi = cxx11_abi(elf)
    return git_version, compiler, abi


def part_bytes(part: Part) -> bytes:
    """A part as JSON, the same bytes for the same content."""
    return json.dumps(part, sort_keys=True, separators=(",", ":")).encode()


def save_part(part: Part, path: str) -> None:
    """Write a part, the same bytes for the same content."""
    raw = part_bytes(part)
    with open(path + ".tmp", "wb") as file, gzip.GzipFile("", "wb", 5, file, mtime=0) as packed:
        packed.write(raw)
    os.replace(path + ".tmp", path)


def load_part(path: str) -> Part:
    """Read what `save_part` wrote."""
    with gzip.open(path, "rb") as file:
        part: Part = json.load(file)
    return part
