"""Versions of the libraries whose headers TensorFlow bundles, from the headers' own macros."""

from __future__ import annotations

import os
import re

from ..models.manifest import HeaderVersions
from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEFINE = r"^[ \t]*#[ \t]*define[ \t]+{}[ \t]+(\w+)"
_EIGEN = re.compile(_DEFINE.format(r"EIGEN_(WORLD|MAJOR|MINOR|PATCH)_VERSION"), re.M)
_ABSL = re.compile(
    _DEFINE.format(r"ABSL_OPTION_(USE_INLINE_NAMESPACE|INLINE_NAMESPACE_NAME)"), re.M
)
_PROTOBUF = re.compile(_DEFINE.format(r"(GOOGLE_PROTOBUF|PROTOBUF_OSS|PROTOBUF)_VERSION"), re.M)
_TENSORFLOW = re.compile(_DEFINE.format(r"TF_(MAJOR|MINOR|PATCH)_VERSION"), re.M)
_SUFFIX = re.compile(r'^#define[ \t]+TF_VERSION_SUFFIX[ \t]+"([^"\n]*)"', re.M)


def read_headers(folders: Sequence[str]) -> HeaderVersions:
    """The versions stated by the headers below the first of `folders` that has them.

    TensorFlow's wheels hold all of them; a build against unbundled libraries (conda's) has them in
    the prefix's own include folder.
    """
    return HeaderVersions(
        eigen=_first(folders, ("Eigen/Version", "Eigen/src/Core/util/Macros.h"), _eigen),
        absl=_first(folders, ("absl/base/options.h",), _absl),
        protobuf=_first(
            folders,
            ("google/protobuf/runtime_version.h", "google/protobuf/stubs/common.h"),
            _protobuf,
        ),
    )


def read_tensorflow_version(include: str) -> str | None:
    """TensorFlow's own version as its headers state it: releases up to 2.18 do."""
    content = _text(include, "tensorflow/core/public/version.h")
    found = _macros(_TENSORFLOW, content)
    if not {"MAJOR", "MINOR", "PATCH"} <= found.keys():
        return None
    suffix = _SUFFIX.search(content)
    # "-rc1" is spelled "rc1" where versions are compared.
    tail = suffix[1].replace("-", "") if suffix else ""
    return f"{found['MAJOR']}.{found['MINOR']}.{found['PATCH']}{files.plain(tail)}"


def _text(folder: str, name: str) -> str:
    return files.text(os.path.join(folder, name), files.HEADER_LIMIT) or ""


def _macros(pattern: re.Pattern[str], content: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in pattern.finditer(content):
        found.setdefault(match[1], match[2])
    return found


def _first(
    folders: Sequence[str], names: Sequence[str], parse: Callable[[str], str | None]
) -> str | None:
    for folder in folders:
        for name in names:
            content = _text(folder, name)
            value = parse(content) if content else None
            if value is not None:
                return value
    return None


def _eigen(content: str) -> str | None:
    found = _macros(_EIGEN, content)
    # Since 5.0 Eigen counts semantically and the "world" number stays 3 for good.
    parts = ("MAJOR", "MINOR", "PATCH") if "PATCH" in found else ("WORLD", "MAJOR", "MINOR")
    numbers = [found.get(part, "") for part in parts]
    return ".".join(numbers) if all(number.isdecimal() for number in numbers) else None


def _absl(content: str) -> str | None:
    found = _macros(_ABSL, content)
    if found.get("USE_INLINE_NAMESPACE") != "1":
        return None
    return found.get("INLINE_NAMESPACE_NAME")


def _protobuf(content: str) -> str | None:
    found = _macros(_PROTOBUF, content)
    for name in ("PROTOBUF_OSS", "GOOGLE_PROTOBUF", "PROTOBUF"):
        number = found.get(name, "")
        # major * 10**6 + minor * 10**3 + patch
        if number.isdecimal() and len(number) <= 9:
            value = int(number)
            return f"{value // 1_000_000}.{value // 1000 % 1000}.{value % 1000}"
    return None
