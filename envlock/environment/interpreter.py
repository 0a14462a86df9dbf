"""Facts of a Python interpreter, without running it."""

from __future__ import annotations

import os
import sys

from ..files import reading as files
from ..models.manifest import PythonFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .locate import EnvironmentPaths

_SYSCONFIG = r"_sysconfigdata_([a-z]*)_linux_([-\w]+)\.py$"
_CPYTHON_TAG = r"cpython-\d+([a-z]*)"


def read_python(paths: EnvironmentPaths) -> PythonFacts:
    """The interpreter's version, ABI tag and build kind."""
    if paths.running:
        return _running()
    import re

    soabi = _soabi(paths)
    implementation = "pypy" if os.path.basename(paths.stdlib).startswith("pypy") else "cpython"
    tag = re.match(_CPYTHON_TAG, soabi or "")
    return PythonFacts(
        version=_version(paths),
        implementation=implementation,
        soabi=soabi,
        debug=None if tag is None else "d" in tag[1],
        free_threaded=None if tag is None else "t" in tag[1],
    )


def _running() -> PythonFacts:
    import _imp

    # The source of sysconfig's SOABI; sysconfig itself would cost some milliseconds.
    tags = map(_tag, _imp.extension_suffixes())
    soabi = next((tag for tag in tags if tag is not None), None)
    flags = getattr(sys, "abiflags", "")
    return PythonFacts(
        version=_dotted(sys.version_info),
        implementation=sys.implementation.name,
        soabi=soabi,
        debug=hasattr(sys, "gettotalrefcount"),
        free_threaded="t" in flags,
    )


def _tag(name: str) -> str | None:
    """The ABI tag in an extension module's name: `_ssl.cpython-311-x86_64-linux-gnu.so`."""
    stem, _, suffix = name.rpartition(".")
    _, dot, tag = stem.rpartition(".")
    named = tag.startswith(("cpython", "pypy")) and tag.replace("-", "_").isidentifier()
    return tag if dot and suffix == "so" and named else None


def _dotted(info: sys._version_info) -> str:
    kinds = {"alpha": "a", "beta": "b", "candidate": "rc"}
    tail = f"{kinds[info.releaselevel]}{info.serial}" if info.releaselevel in kinds else ""
    return f"{info.major}.{info.minor}.{info.micro}{tail}"


def _soabi(paths: EnvironmentPaths) -> str | None:
    """From the extension modules' names, else from the name of the build's `_sysconfigdata`."""
    import re

    debug = "d" if re.search(r"\dt?dm?$", os.path.basename(paths.real_executable)) else ""
    tags = []
    for name in files.listing(os.path.join(paths.stdlib, "lib-dynload")):
        tag = _tag(name)
        if tag is not None:
            tags.append(tag)
    for name in files.listing(paths.stdlib):
        match = re.match(_SYSCONFIG, name)
        if match:
            number = f"{paths.version[0]}{paths.version[1]}"
            tags.append(f"cpython-{number}{match[1]}-{match[2]}")
    # Debian installs a debug build's modules beside the others.
    for tag in tags:
        kind = re.match(_CPYTHON_TAG, tag)
        if kind is None or ("d" in kind[1]) == bool(debug):
            return tag
    return None


def _version(paths: EnvironmentPaths) -> str:
    """The full version: from the binary, else the installed header, else `pyvenv.cfg`'s word."""
    import re

    major, minor = paths.version
    series = f"{major}.{minor}."
    library = f"lib{os.path.basename(paths.stdlib)}.so.1.0"
    for binary in (paths.real_executable, os.path.join(paths.base_prefix, "lib", library)):
        found = _version_in(binary, series)
        if found is not None:
            return found
    header = os.path.join(
        paths.base_prefix, "include", os.path.basename(paths.stdlib), "patchlevel.h"
    )
    stated = files.macro(files.text(header, files.HEADER_LIMIT) or "", "PY_VERSION")
    if stated:
        return files.plain(stated.strip('"').rstrip("+"))
    config = files.text(os.path.join(paths.prefix, "pyvenv.cfg"), files.CONFIG_LIMIT) or ""
    match = re.search(rf"^version(?:_info)? *= *({re.escape(series)}\d+)", config, re.M)
    return match[1] if match else f"{major}.{minor}"


def _version_in(path: str, series: str) -> str | None:
    """PY_VERSION as a string constant of the interpreter's binary."""
    import re

    from ..binary.elf import ElfFile
    from ..models.errors import InputError

    try:
        with ElfFile.open(path) as elf:
            section = elf.section(".rodata")
            if section is None:
                return None
            data = elf.section_bytes(section)
    except InputError:
        return None
    # Found as plain bytes first: the expression alone would stop at every zero of megabytes.
    start = b"\0" + series.encode()
    at = data.find(start)
    while at >= 0:
        match = re.match(rb"\d+(?:(?:a|b|rc)\d+)?(?=\+?\0)", data[at + len(start) : at + 32])
        if match:
            return series + match[0].decode()
        at = data.find(start, at + 1)
    return None
