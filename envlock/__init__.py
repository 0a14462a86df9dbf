"""Know before dlopen: environment fingerprints and load verdicts for TensorFlow plugins.

`import envlock` costs next to nothing: every public name is imported at first use.
"""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .checking import check
    from .compatibility import compat
    from .errors import (
        ElfError,
        EnvironmentUnreadable,
        EnvlockError,
        EnvlockWarning,
        IncompatiblePluginError,
        InputError,
        ManifestError,
        ManifestMissing,
        PolicyError,
        StampRefused,
        WriteError,
    )
    from .inventory.collect import snapshot
    from .inventory.diff import diff
    from .loader import load
    from .models.manifest import Manifest
    from .models.policy import PolicyFile
    from .models.report import Finding, Report, Unchecked
    from .showing import read_manifest
    from .stamping import stamp

__all__ = [
    "ElfError",
    "EnvironmentUnreadable",
    "EnvlockError",
    "EnvlockWarning",
    "Finding",
    "IncompatiblePluginError",
    "InputError",
    "Manifest",
    "ManifestError",
    "ManifestMissing",
    "PolicyError",
    "PolicyFile",
    "Report",
    "StampRefused",
    "Unchecked",
    "WriteError",
    "__version__",
    "check",
    "compat",
    "diff",
    "load",
    "read_manifest",
    "snapshot",
    "stamp",
]

_HOME = {
    "check": "checking",
    "compat": "compatibility",
    "diff": "inventory.diff",
    "snapshot": "inventory.collect",
    "load": "loader",
    "read_manifest": "showing",
    "stamp": "stamping",
    "Manifest": "models.manifest",
    "PolicyFile": "models.policy",
    "Finding": "models.report",
    "Report": "models.report",
    "Unchecked": "models.report",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
