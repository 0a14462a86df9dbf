"""What a plugin's code has baked in about TensorFlow's classes, with the values it was built with.

Part of the manifest: the gate compares these values with those of the live release and needs
neither the plugin's debug information nor the release that it was built with.
"""

from __future__ import annotations

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

#: Rising confidence: the plugin's symbols, its machine code, its DWARF.
EVIDENCE = ("symbols", "code", "dwarf")


class ClassUse(Record):
    """What the plugin relies on in one class; sizes and offsets in bytes."""

    name: str  # qualified, without absl's inline namespace
    size: int | None = None  # None: its size does not matter to the plugin
    members: tuple[str, ...] = ()  # "member=offset", with ":bits" and "/type digest" where known
    slots: tuple[str, ...] = ()  # "function=slot": virtual functions that the plugin calls
    table: tuple[str, ...] = ()  # all virtual functions, where the plugin overrides some
    via: str | None = None  # one function or fact that shows the use


class Dependencies(Record):
    """The plugin's use of classes that TensorFlow shares with it."""

    evidence: str
    kinds: tuple[str, ...] = ()  # "kernel", "resource", "lookup", "dataset", "c-api", ...
    classes: tuple[ClassUse, ...] = ()
    releases: tuple[str, ...] = ()  # the releases that the values are taken from
    limits: tuple[str, ...] = ()  # what could not be looked into, and why
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"evidence": EVIDENCE}
