"""Versions of the libraries whose headers TensorFlow bundles, from the headers' own macros."""

from __future__ import annotations

import os

from ..files import reading as files
from ..models.manifest import HeaderVersions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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
    parts = [files.macro(content, f"TF_{part}_VERSION") for part in ("MAJOR", "MINOR", "PATCH")]
    numbers = [part for part in parts if part is not None and part.isdecimal()]
    if len(numbers) != 3:
        return None
    # The suffix "-rc1" is spelled "rc1" where versions are compared.
    suffix = (files.macro(content, "TF_VERSION_SUFFIX") or "").strip('"').replace("-", "")
    return ".".join(numbers) + files.plain(suffix)


def _text(folder: str, name: str) -> str:
    return files.text(os.path.join(folder, name), files.HEADER_LIMIT) or ""


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
    # Since 5.0 Eigen counts semantically and the "world" number stays 3 for good.
    semantic = files.macro(content, "EIGEN_PATCH_VERSION") is not None
    parts = ("MAJOR", "MINOR", "PATCH") if semantic else ("WORLD", "MAJOR", "MINOR")
    numbers = [files.macro(content, f"EIGEN_{part}_VERSION") or "" for part in parts]
    return ".".join(numbers) if all(number.isdecimal() for number in numbers) else None


def _absl(content: str) -> str | None:
    if files.macro(content, "ABSL_OPTION_USE_INLINE_NAMESPACE") != "1":
        return None
    name = files.macro(content, "ABSL_OPTION_INLINE_NAMESPACE_NAME")
    return files.plain(name) if name else None


def _protobuf(content: str) -> str | None:
    for name in ("PROTOBUF_OSS_VERSION", "GOOGLE_PROTOBUF_VERSION", "PROTOBUF_VERSION"):
        number = files.macro(content, name) or ""
        # major * 10**6 + minor * 10**3 + patch
        if number.isdecimal() and len(number) <= 9:
            value = int(number)
            return f"{value // 1_000_000}.{value // 1000 % 1000}.{value % 1000}"
    return None
