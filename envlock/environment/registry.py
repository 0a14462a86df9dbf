"""The registries of the running process, through TensorFlow's own Python functions.

Nothing is imported that `import tensorflow` has not imported already.
"""

from __future__ import annotations

import sys

from ..models.datatypes import TYPES
from ..models.registration import KernelRecord, TypeConstraint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OPS = "tensorflow.python.framework.op_def_registry"
_KERNELS = "tensorflow.python.framework.kernels"


class ProcessRegistry:
    """Ops and kernels that TensorFlow has registered in this process."""

    def __init__(self, ops: Any, kernels: Any) -> None:
        self._ops = ops
        self._kernels = kernels

    @classmethod
    def find(cls) -> ProcessRegistry | None:
        """The registries; None where TensorFlow is not imported, or hides them."""
        ops, kernels = sys.modules.get(_OPS), sys.modules.get(_KERNELS)
        if not hasattr(ops, "get") or not hasattr(kernels, "get_registered_kernels_for_op"):
            return None
        return cls(ops, kernels)

    def has(self, op: str) -> bool:
        """Whether an op is registered: one lookup in TensorFlow's table."""
        return self._ops.get(op) is not None

    def kernels(self, op: str) -> tuple[KernelRecord, ...]:
        """The kernels of an op; TensorFlow walks through all of its kernels for it."""
        return tuple(
            KernelRecord(
                op=kernel.op,
                device=kernel.device_type,
                constraints=tuple(
                    TypeConstraint(
                        attr=constraint.name,
                        types=tuple(
                            TYPES.get(number, f"type {number}")
                            for number in constraint.allowed_values.list.type
                        ),
                    )
                    for constraint in kernel.constraint
                ),
                priority=int(kernel.priority),
                label=kernel.label,
            )
            for kernel in self._kernels.get_registered_kernels_for_op(op).kernel
        )
