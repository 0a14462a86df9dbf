"""The digests of a snapshot's parts, and the fingerprint over them (docs/reference/snapshots.md).

SHA-256 over canonical JSON: keys sorted, no spaces, UTF-8, absent fields left out. What stands in
a digest must be equal on two machines that have the same environment.
"""

from __future__ import annotations

import json

from ..models.record import encode
from ..models.snapshot import PARTS, Digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..models.manifest import PythonFacts
    from ..models.snapshot import (
        CondaPackage,
        NativeFacts,
        Packages,
        PipPackage,
        PluginEntry,
        Problem,
        Variable,
    )

#: Files that are not as they were installed belong to what the packages are.
EDITED = ("modified-files", "missing-files")


def digest(value: object) -> str:
    """ "sha256:" and the digest of a JSON value's canonical form."""
    from hashlib import sha256

    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{sha256(text.encode('utf-8')).hexdigest()}"


def part_digests(
    interpreter: PythonFacts | None,
    packages: Packages,
    native: NativeFacts,
    variables: tuple[Variable, ...],
    plugins: tuple[PluginEntry, ...],
    problems: tuple[Problem, ...],
) -> Digests:
    """One digest for each part."""
    return Digests(
        interpreter=digest(None if interpreter is None else encode(interpreter, sparse=True)),
        packages=digest(
            {
                "pip": [_pip(package) for package in packages.pip],
                "conda": [_conda(package) for package in packages.conda],
                "edited": [
                    [p.kind, p.subject, p.count, p.digest] for p in problems if p.kind in EDITED
                ],
            }
        ),
        native=digest(_native(native)),
        variables=digest([encode(variable, sparse=True) for variable in variables]),
        plugins=digest([_plugin(plugin) for plugin in plugins]),
    )


def fingerprint(digests: Digests) -> str:
    """The digest over the parts' digests."""
    return digest({name: getattr(digests, name) for name in PARTS})


def _pip(package: PipPackage) -> dict[str, Any]:
    # Where the contents are known, it does not matter whether a file, an index or a checkout
    # brought them, nor with which installer; an editable install is never known by its contents.
    url = package.direct_url
    return _sparse(
        name=package.name,
        version=package.version,
        conda=package.conda,
        contents=package.contents,
        editable=(url is not None and url.editable) or None,
        source=None if package.contents is not None or url is None else encode(url, sparse=True),
        problem=package.problem,
    )


def _conda(package: CondaPackage) -> dict[str, Any]:
    return _sparse(
        name=package.name,
        version=package.version,
        build=package.build,
        subdir=package.subdir,
        archive=package.sha256 or package.md5 or package.channel,
        problem=package.problem,
    )


def _native(native: NativeFacts) -> dict[str, Any]:
    value = encode(native, sparse=True)
    if native.libstdcxx is not None:
        value["libstdcxx"].pop("found_by", None)
    return value


def _plugin(plugin: PluginEntry) -> dict[str, Any]:
    return _sparse(path=plugin.path, digest=plugin.digest, problem=plugin.problem)


def _sparse(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
