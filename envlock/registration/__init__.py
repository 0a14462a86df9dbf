"""What a plugin registers with TensorFlow, and what that does to what is registered already."""

from __future__ import annotations

import functools
import os

from ..identity import is_runtime
from ..models.report import Unchecked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..elf import ElfFile
    from ..environment.live import Environment
    from ..linker.scope import LiveScope
    from ..models.manifest import Manifest
    from ..models.registration import KernelRecord, Registrations
    from .builtin import BuiltIn
    from .rules import Answer

__all__ = ["judge_registrations"]

#: Every name of a builder that registers something holds one of these.
MARKS = (b"12OpDefBuilder", b"TF_NewOpDefinitionBuilder", b"TF_NewKernelBuilder")


def judge_registrations(
    elf: ElfFile, manifest: Manifest | None, environment: Environment, scope: LiveScope
) -> tuple[Answer, ...]:
    """Findings about the plugin's ops and kernels, in the environment or in this very process.

    The process counts when the scope is its own and it has imported TensorFlow. The good case
    costs a lookup by name; everything else is read for names in question only.
    """
    if is_runtime(elf):
        return ()
    registrations = manifest.registrations if manifest is not None else None
    if registrations is None:
        from .reading import read_registrations

        registrations = read_registrations(elf)
    answers: list[Answer] = []
    if registrations.limits and registrations.source == "file":
        answers.append(
            Unchecked(what="part of the ops and kernels", why="; ".join(registrations.limits))
        )
    if not registrations.ops and not registrations.kernels:
        return tuple(answers)
    found = _in_question(registrations, environment, scope)
    if found is None:
        return tuple(answers)
    from .situation import situation

    registering = situation(elf, registrations, found, scope)
    if registering is not None:
        from .rules import RULES

        for rule in RULES:
            answers += rule.applies(registering)
    return tuple(answers)


def _in_question(
    registrations: Registrations, environment: Environment, scope: LiveScope
) -> Registered | None:
    """What is registered already, where any name is; None when all is well."""
    from .builtin import BuiltIn

    install = environment.tensorflow
    if install is None:
        return None
    registered = Registered(
        BuiltIn(install.package_dir, install.version), install.package_dir, scope
    )
    names = {op.name for op in registrations.ops}
    if len(names) < len(registrations.ops):
        return registered
    if any(map(registered.has, names | {kernel.op for kernel in registrations.kernels})):
        return registered
    return registered if _repeats(registrations.kernels) else None


def _repeats(kernels: Sequence[KernelRecord]) -> bool:
    """Whether two kernels look alike; whether they compete is a rule's matter."""
    ops = [k.op for k in kernels]
    if len(set(ops)) == len(ops):
        return False
    keys = {(k.op, k.device, k.priority, k.label, repr(k.constraints)) for k in kernels}
    if len(keys) < len(kernels):
        return True
    plain = {k.op for k in kernels if not k.constraints}
    if not plain:
        return False
    from collections import Counter

    count = Counter(ops)
    return any(count[op] > 1 for op in plain)


class Registered:
    """What TensorFlow knows: the release's own ops, and in its process all that were added."""

    def __init__(self, builtin: BuiltIn, package_dir: str, scope: LiveScope) -> None:
        self.builtin = builtin
        self.package_dir = package_dir
        self._scope = scope
        self.process = None
        if scope.process is not None:
            from .process import ProcessRegistry

            self.process = ProcessRegistry.find()

    @functools.cached_property
    def _only_builtin(self) -> bool:
        """Whether nothing but TensorFlow itself can have registered ops in this process.

        TensorFlow needs 7 ms for its first answer about an op that it does not know (it exports
        all that it knows), and mostly the list of its own says as much.
        """
        process = self._scope.process
        if process is None or not self.builtin.known:
            return False
        own = os.path.realpath(self.package_dir) + os.sep
        return all(
            os.path.realpath(loaded.path).startswith(own)
            for loaded in self._scope.namespace.objects
            if any(process.mentions(loaded.path, mark) for mark in MARKS)
        )

    def has(self, op: str) -> bool:
        """Whether an op is registered."""
        if self.process is not None and not self._only_builtin:
            return self.process.has(op)
        return self.builtin.has(op)

    def kernels(self, op: str) -> Sequence[KernelRecord] | None:
        """The kernels of an op, None where they are not known."""
        if self.process is not None:
            return self.process.kernels(op)
        return self.builtin.cpu_kernels(op)
