"""What a plugin registers with TensorFlow while it is loaded: ops and kernels.

Part of the manifest: the gate compares it with what the release brings and with what the process
has registered already.
"""

from __future__ import annotations

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

#: Every name of a builder that registers something holds one of these.
MARKS = (b"12OpDefBuilder", b"TF_NewOpDefinitionBuilder", b"TF_NewKernelBuilder")
#: "loaded": TensorFlow was asked before and after a load; "file": read from the binary alone.
SOURCES = ("loaded", "file")


class OpRecord(Record):
    """One op (OpDef), its parts written as `REGISTER_OP` takes them.

    The parts are None where only the name is known.
    """

    name: str
    inputs: tuple[str, ...] | None = None  # "x: T", "values: N * int32"
    outputs: tuple[str, ...] | None = None
    attrs: tuple[str, ...] | None = None  # "T: {int32, float} = DT_INT32"
    stateful: bool | None = None


class TypeConstraint(Record):
    """The types that a kernel takes for one attribute."""

    attr: str
    types: tuple[str, ...]  # "float", "int32": TensorFlow's names without DT_


class KernelRecord(Record):
    """One kernel (KernelDef)."""

    op: str
    device: str | None = None  # "CPU", "GPU"; None: the file does not show it
    constraints: tuple[TypeConstraint, ...] | None = ()  # None: the file does not show them
    priority: int = 0
    label: str = ""


class Registrations(Record):
    """All that the plugin registers, as far as `source` can tell."""

    source: str
    tensorflow: str | None = None  # the release that was asked; None for source "file"
    ops: tuple[OpRecord, ...] = ()
    kernels: tuple[KernelRecord, ...] = ()
    limits: tuple[str, ...] = ()  # what is not known, and why
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"source": SOURCES}
