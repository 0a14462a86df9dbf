"""What `show` and `stamp` answer."""

from __future__ import annotations

from .manifest import Manifest, PluginIdentity
from .record import Record
from .report import Finding
from .runtime import RuntimeNeeds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

SHOW_FORMAT = "envlock.show/1"
STAMP_FORMAT = "envlock.stamp/1"


class ErrorInfo(Record):
    """Why nothing could be answered."""

    message: str
    hint: str | None = None


class ShownDocument(Record):
    """One plugin: its manifest if it carries one, and what the binary itself reveals."""

    format: str
    path: str
    stamp: str | None = None  # "appended", "linked-in" or None
    linked_in_too: bool = False  # a linked-in note is there as well; the appended one counts
    signed_by: str | None = None  # fingerprint of the signature's key; `show` verifies nothing
    manifest: Manifest | None = None
    binary: PluginIdentity | None = None
    error: ErrorInfo | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "format": (SHOW_FORMAT,),
        "stamp": ("appended", "linked-in"),
    }


class StampDocument(Record):
    """The result of a stamp."""

    format: str
    path: str
    written: bool
    replaced: bool = False  # an older stamp was there
    bytes_added: int | None = None
    notes: tuple[str, ...] = ()  # a broken hard link and the like
    signed_by: str | None = None  # fingerprint of the key that it was signed with
    runtime: RuntimeNeeds | None = None  # the C and C++ run time that takes it
    manifest: Manifest | None = None
    findings: tuple[Finding, ...] = ()  # why it was refused, or what was forced
    error: ErrorInfo | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"format": (STAMP_FORMAT,)}
