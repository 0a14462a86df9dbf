"""numpy as it is installed: its version and the two numbers that its C API check compares."""

from __future__ import annotations

import os

from ..files import reading as files
from ..models.manifest import NumpyFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .distributions import Distributions

_QUOTES = ("'", '"')
#: How versioneer's file writes it, as JSON in a string.
_VERSIONEER = '"version"'


def read_numpy(search_path: Sequence[str], distributions: Distributions) -> NumpyFacts | None:
    """The numpy that `import numpy` would take; None where there is none.

    `c_api` is NPY_API_VERSION ("feature version"), `abi` NPY_ABI_VERSION, both from the installed
    `_numpyconfig.h`; None where the headers were left out.
    """
    package = find_package(search_path, "numpy")
    if package is None:
        return None
    c_api, abi = _levels(package)
    return NumpyFacts(version=_version(package, distributions), c_api=c_api, abi=abi)


def find_package(search_path: Sequence[str], name: str) -> str | None:
    """The folder of a top-level package: the first on the path with an `__init__.py`."""
    for folder in search_path:
        if os.path.isfile(os.path.join(folder, name, "__init__.py")):
            return os.path.join(folder, name)
    return None


def _version(package: str, distributions: Distributions) -> str:
    # The file that numpy.__version__ comes from; a dist-info may be left from another one.
    for file, mark, names in (
        ("version.py", "=", ("full_version", "version", "short_version")),
        ("_version.py", ":", (_VERSIONEER,)),
    ):
        content = files.text(os.path.join(package, file), files.HEADER_LIMIT)
        stated = _stated(content or "", mark, names)
        if stated is not None:
            return files.plain(stated)
    site = os.path.dirname(package)
    for one in distributions.find_all("numpy"):
        if one.site == site:
            return one.version
    return "unknown"


def _stated(content: str, mark: str, names: Sequence[str]) -> str | None:
    """The first literal that stands behind one of the names and the mark, in a line of its own."""
    for line in content.splitlines():
        name, _, rest = line.partition(mark)
        literal = rest.strip()
        if name.strip() in names and literal.startswith(_QUOTES):
            text, end, _ = literal[1:].partition(literal[0])
            if text and end:
                return text
    return None


def _levels(package: str) -> tuple[int | None, int | None]:
    for core in ("_core", "core"):
        header = os.path.join(package, core, "include", "numpy", "_numpyconfig.h")
        content = files.text(header, files.HEADER_LIMIT)
        if content:
            return _number(content, "NPY_API_VERSION"), _number(content, "NPY_ABI_VERSION")
    return None, None


def _number(content: str, name: str) -> int | None:
    value = files.macro(content, name) or ""
    try:
        return int(value, 0) if len(value) <= 10 else None
    except ValueError:
        return None
