"""Know before dlopen: environment fingerprints and load verdicts for TensorFlow plugins.

`import envlock` costs next to nothing: every public name is imported at first use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .actions.checking import check
    from .actions.compatibility import compat
    from .actions.loader import load
    from .actions.showing import read_manifest
    from .actions.stamping import stamp
    from .inventory.collect import snapshot
    from .inventory.diff import diff
    from .models.errors import (
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
    from .models.manifest import Manifest
    from .models.policy import PolicyFile
    from .models.report import Finding, Report, Unchecked
    from .models.version import __version__

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
    "check": "actions.checking",
    "compat": "actions.compatibility",
    "diff": "inventory.diff",
    "snapshot": "inventory.collect",
    "load": "actions.loader",
    "read_manifest": "actions.showing",
    "stamp": "actions.stamping",
    "Manifest": "models.manifest",
    "PolicyFile": "models.policy",
    "Finding": "models.report",
    "Report": "models.report",
    "Unchecked": "models.report",
    "__version__": "models.version",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME.get(name, 'models.errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
