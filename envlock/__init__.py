"""Know before dlopen: environment fingerprints and load verdicts for TensorFlow plugins."""

from ._version import __version__

__all__ = ["__version__"]
