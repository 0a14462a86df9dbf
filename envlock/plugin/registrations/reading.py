"""What a plugin registers, read from its file: nothing of it is run.

The builders that `REGISTER_OP` (op.h), `REGISTER_KERNEL_BUILDER` (op_kernel.h) and the C functions
(ops.h, kernels.h) call are the same in all releases from 2.5 on; the names of ops, devices and
types are constants in front of the calls.
"""

from __future__ import annotations

import re

from ...binary.code.constructors import Constructors
from ...models.datatypes import TYPES
from ...models.errors import ElfError
from ...models.registration import MARKS, KernelRecord, OpRecord, Registrations, TypeConstraint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...binary.code.calls import Call
    from ...binary.elf import ElfFile

#: What `REGISTER_OP` accepts as a name (op_def_builder.cc, ValidateOpDef), scoped names included.
OP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.>/]*")
_KERNEL_MARK = b"16KernelDefBuilder"

_OP = re.compile(r"_ZN10tensorflow11register_op19OpDefBuilderWrapperC[12]E.*PKc")
_OP_STRING = re.compile(r"_ZN10tensorflow12OpDefBuilderC[12]E")
_KERNEL = re.compile(
    r"_ZN10tensorflow(?:15register_kernel4NameC[12]EPKc|16KernelDefBuilderC[12]EPKc)"
)
_BUILDER = re.compile(
    "12OpDefBuilder|19OpDefBuilderWrapper|16KernelDefBuilder|4NameC|^TF_.*Builder"
)
_METHOD = re.compile(r"_ZN10tensorflow16KernelDefBuilder(\d+)([A-Za-z]+)")
_STRING = re.compile(r"_ZNS.*(?:C[12]I?\w*EPKc|_M_constructIPKc)")
_DEVICE = re.compile(r"_ZN10tensorflow\d+DEVICE_(\w+)E")
_TYPED = re.compile(r"14TypeConstraintI(\w+?)EERS0_PKc")

#: The mangled C++ type of `TypeConstraint<T>` where the compiler kept it a function.
_MANGLED = {
    "f": "float",
    "d": "double",
    "i": "int32",
    "j": "uint32",
    "h": "uint8",
    "a": "int8",
    "s": "int16",
    "t": "uint16",
    "x": "int64",
    "l": "int64",
    "m": "uint64",
    "y": "uint64",
    "b": "bool",
    "St7complexIfE": "complex64",
    "St7complexIdE": "complex128",
    "N5Eigen4halfE": "half",
    "N5Eigen8bfloat16E": "bfloat16",
    "NS_8bfloat16E": "bfloat16",
    "NS_7tstringE": "string",
    "N3tsl7tstringE": "string",
    "NS_7VariantE": "variant",
    "NS_14ResourceHandleE": "resource",
}


class _Reader:
    """Follows the builders through the calls."""

    def __init__(self) -> None:
        self.ops: list[str] = []
        self.kernels: list[KernelRecord] = []
        self.nameless_ops = 0
        self.nameless_kernels = 0
        # Functions of the file that pass their argument on as an op's or a kernel's name.
        self.op_wrappers: set[int] = set()
        self.kernel_wrappers: set[int] = set()
        # TypeConstraint<T> by address.
        self.typed: dict[int, str] = {}
        self._kernel: KernelRecord | None = None
        self._text: str | None = None

    def learn(self, address: int, calls: list[Call]) -> None:
        """Note a function that is an inline constructor of a builder without an exported name."""
        if len(calls) == 1 and _method(calls[0]) == "TypeConstraint":
            type = TYPES.get(calls[0].number(2) or 0)
            if type is not None:
                self.typed[address] = type
        builders = [c for c in calls if _OP_STRING.match(c.name) or _KERNEL.match(c.name)]
        if len(builders) != 1:
            return
        (call,) = builders
        name = call.arguments[1]
        if _KERNEL.match(call.name):
            if name is not None and name.kind == "argument" and name.number == 1:
                self.kernel_wrappers.add(address)
        elif call.built is None and not any(
            _STRING.match(c.name) and c.text(1) is not None for c in calls
        ):
            self.op_wrappers.add(address)

    def read(self, address: int, calls: list[Call]) -> None:
        """One function's calls, in order."""
        self._kernel = self._text = None
        wrapper = address in self.op_wrappers or address in self.kernel_wrappers
        for call in calls:
            if not wrapper:
                self._step(call)
        self._finish()

    def _step(self, call: Call) -> None:
        name = call.name
        if _STRING.match(name):
            self._text = call.text(1)
        elif _OP.match(name) or (not name and call.target in self.op_wrappers):
            self._op(call.text(1))
        elif _OP_STRING.match(name):
            self._op(self._text or call.built)
            self._text = None
        elif _KERNEL.match(name) or (not name and call.target in self.kernel_wrappers):
            self._start(call.text(1), None)
        elif name == "TF_NewOpDefinitionBuilder":
            self._op(call.text(0))
        elif name == "TF_NewKernelBuilder":
            self._start(call.text(0), call.text(1))
        elif self._kernel is not None:
            self._detail(self._kernel, call)

    def _op(self, name: str | None) -> None:
        self._finish()
        if name is None or not OP_NAME.fullmatch(name):
            self.nameless_ops += 1
        else:
            self.ops.append(name)

    def _start(self, op: str | None, device: str | None) -> None:
        self._finish()
        if op is None or not OP_NAME.fullmatch(op):
            self.nameless_kernels += 1
        else:
            self._kernel = KernelRecord(op=op, device=device)

    def _detail(self, kernel: KernelRecord, call: Call) -> None:
        name = _method(call)
        if name == "Device":
            self._kernel = kernel.replace(device=_device(call))
        elif name == "TypeConstraint":
            self._kernel = _constrained(kernel, call.text(1), _types(call))
        elif name == "TF_KernelBuilder_TypeConstraint":
            self._kernel = _constrained(kernel, call.text(1), TYPES.get(call.number(2) or 0))
        elif name in ("Priority", "TF_KernelBuilder_Priority"):
            self._kernel = kernel.replace(priority=call.number(1) or 0)
        elif name in ("Label", "TF_KernelBuilder_Label"):
            self._kernel = kernel.replace(label=call.text(1) or "?")
        elif name in ("Build", "TF_RegisterKernelBuilder"):
            self._finish()
        elif name == "AttrConstraint":
            # It narrows the kernel to values of an attribute, which are not read.
            self._kernel = kernel.replace(constraints=None)
        elif not name and call.target in self.typed:
            self._kernel = _constrained(kernel, call.text(1), self.typed[call.target])
        elif not name:
            # An inline member without a name: it may be TypeConstraint<T> as well as Device.
            self._kernel = kernel.replace(constraints=None)

    def _finish(self) -> None:
        if self._kernel is not None:
            self.kernels.append(self._kernel)
            self._kernel = None


def _method(call: Call) -> str:
    """The member of KernelDefBuilder that is called, or the symbol's own name."""
    method = _METHOD.match(call.name)
    return method[2][: int(method[1])] if method else call.name


def _constrained(kernel: KernelRecord, attr: str | None, type: str | None) -> KernelRecord:
    if attr is None or type is None or kernel.constraints is None:
        return kernel.replace(constraints=None)
    added = TypeConstraint(attr=attr, types=(type,))
    return kernel.replace(constraints=(*kernel.constraints, added))


def _device(call: Call) -> str | None:
    value = call.arguments[1]
    if value is None:
        return None
    if value.kind == "text":
        return value.name
    match = _DEVICE.match(value.name)
    return match[1] if match else None


def _types(call: Call) -> str | None:
    typed = _TYPED.search(call.name)
    if typed:
        return _MANGLED.get(typed[1])
    return TYPES.get(call.number(2) or 0)


def registers_anything(elf: ElfFile) -> bool:
    """Whether the file imports or holds a builder at all."""
    return _holds(elf, (*MARKS, _KERNEL_MARK))


def _holds(elf: ElfFile, marks: tuple[bytes, ...]) -> bool:
    start, size = elf.dynamic.string_table
    return any(elf.data.find(mark, start, start + size) >= 0 for mark in marks)


def read_registrations(elf: ElfFile) -> Registrations:
    """What the file's static constructors register, as far as they show it.

    Never raises for a damaged table: that is one of the `limits`.
    """
    reader = _Reader()
    limits: list[str] = []
    try:
        if not registers_anything(elf):
            return Registrations(source="file")
        if elf.bits == 64 and elf.order == "<" and elf.machine_number in (62, 183):
            constructors = Constructors(elf)
            functions = constructors.functions(_BUILDER)
            called = {call.target for _, calls in functions for call in calls}
            for address, calls in functions:
                if address in called:
                    reader.learn(address, calls)
            for address, calls in functions:
                reader.read(address, calls)
            if constructors.truncated:
                limits.append("only the first 2 MiB of the code that runs at load were read")
        else:
            limits.append(f"machine code of {elf.machine} is not read, only x86_64 and aarch64")
    except ElfError as error:
        limits.append(error.message)
    for count, what in ((reader.nameless_ops, "ops"), (reader.nameless_kernels, "kernels")):
        if count:
            places = "1 place" if count == 1 else f"{count} places"
            limits.append(f"names of {what} that are registered in {places} are not shown")
    for mark, found, what in (
        (MARKS[:2], reader.ops or reader.nameless_ops, "ops"),
        ((MARKS[2], _KERNEL_MARK), reader.kernels or reader.nameless_kernels, "kernels"),
    ):
        if not found and not limits and _holds(elf, mark):
            limits.append(f"it uses what registers {what}, but none was found in its constructors")
    unknown = sum(k.device is None or k.constraints is None for k in reader.kernels)
    if unknown:
        limits.append(f"device or type constraints of {unknown} kernels are not shown")
    return Registrations(
        source="file",
        ops=tuple(OpRecord(name=name) for name in sorted(reader.ops)),
        kernels=tuple(sorted(reader.kernels, key=kernel_key)),
        limits=tuple(limits),
    )


def kernel_key(kernel: KernelRecord) -> tuple[object, ...]:
    """A total order of kernels, so that a manifest is the same every time."""
    constraints = kernel.constraints
    shown = [(c.attr, c.types) for c in constraints] if constraints is not None else []
    return (
        kernel.op,
        kernel.device or "",
        constraints is None,
        shown,
        kernel.priority,
        kernel.label,
    )
