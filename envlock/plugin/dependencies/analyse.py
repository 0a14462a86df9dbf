"""What a plugin depends on, by the best evidence that its file holds."""

from __future__ import annotations

from functools import cached_property

from ...binary.code.calls import function_starts
from ...binary.debug.classes import normalise
from ...binary.names.templates import special_member
from ...models.dependencies import Dependencies
from ...models.errors import ElfError
from . import code, debuginfo, imports
from .usage import Differences, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from ...atlas.format import Atlas, Fact, Release
    from ...binary.code.functions import Functions
    from ...binary.debug.classes import Layout
    from ...binary.elf import ElfFile
    from .debuginfo import DebugFacts
    from .imports import Symbols

#: Base class or import -> kind of plugin.
_KINDS = (
    ("tensorflow::data::DatasetBase", "dataset"),
    ("tensorflow::lookup::LookupInterface", "lookup"),
    ("tensorflow::ResourceBase", "resource"),
    ("tensorflow::OpKernel", "kernel"),
)
UNOPTIMISED = (
    "machine code: it looks compiled without optimisation (-O0), which hides most of what it reads "
    "of TensorFlow's classes"
)
#: Share of the functions that debug information must describe to be the whole truth; parts that
#: the compiler splits off functions have unwind information but no entry of their own.
COVERED = 0.5
#: Pieces with unwind information that are no functions: the sections of linker stubs.
STUBS = 4
#: What is assumed to be used when neither debug information nor machine code can tell.
CONSERVATIVE = {
    "kernel": (
        "tensorflow::OpKernelContext",
        "tensorflow::OpKernelContext::Params",
        "tensorflow::OpKernelConstruction",
        "tensorflow::OpKernel",
        "tensorflow::DeviceBase",
        "tensorflow::Tensor",
        "tensorflow::TensorValue",
    ),
    "resource": (
        "tensorflow::ResourceBase",
        "tensorflow::ResourceMgr",
        "tensorflow::ResourceHandle",
    ),
    "lookup": ("tensorflow::lookup::LookupInterface",),
    "dataset": (
        "tensorflow::data::DatasetBase",
        "tensorflow::data::DatasetContext",
        "tensorflow::data::DatasetBaseIterator",
        "tensorflow::data::IteratorContext",
        "tensorflow::data::IteratorContext::Params",
    ),
}


class InterfaceFacts:
    """Everything about a plugin that does not depend on a release; read once, judged often."""

    def __init__(self, elf: ElfFile, *, read_code: bool = True) -> None:
        self.limits: list[str] = []
        self.covered = False
        #: How the plugin's sources are compiled, if somebody said it: what each one's compiler
        #: calls itself, and its arguments.
        self.commands: list[tuple[Sequence[str], Sequence[str]]] = []
        self.symbols: Symbols = imports.Symbols(elf)
        self.debug: DebugFacts | None = self._read_debug(elf)
        self._elf = elf if read_code else None
        self._unread: list[str] = []  # about the machine code
        self.text = "\n".join(sorted(self.symbols.defined | self.symbols.imported))
        self.imports = "\n".join(sorted(self.symbols.imported))

    @cached_property
    def exchanged(self) -> tuple[str, set[str]]:
        """What objects can be handed over by, see `DebugFacts.exchanged`."""
        assert self.debug is not None
        return self.debug.exchanged(self.symbols.imported)

    def __getstate__(self) -> dict[str, Any]:
        if self.debug is not None:
            _ = self.exchanged
        _ = self.machine
        return {**self.__dict__, "_elf": None}

    def _read_debug(self, elf: ElfFile) -> DebugFacts | None:
        from ...binary.debug.dwarf import Dwarf

        if not Dwarf.present(elf):
            return None
        try:
            facts = debuginfo.DebugFacts(Dwarf(elf))
        except ElfError as error:
            self.limits.append(f"debug information: {error.message}")
            return None
        total = len(function_starts(elf))
        # Debug information of a linked-in archive alone says nothing about the plugin's own code.
        self.covered = facts.emitted >= COVERED * (total - STUBS)
        return facts

    @cached_property
    def machine(self) -> Functions | None:
        """The machine code, None where it cannot be read; followed as far as somebody asked."""
        elf = self._elf
        if elf is None:
            return None
        from ...binary.code.functions import READERS, Functions

        if elf.machine not in READERS:
            self._unread.append(f"machine code: only x86_64 is read, this is {elf.machine}")
            return None
        found = Functions(elf)
        if not found.starts:
            self._unread.append("machine code: no unwind table to find functions by")
            return None
        return found

    @property
    def doubts(self) -> tuple[str, ...]:
        """What kept it from telling all, in words."""
        machine = self.machine
        said = [*self.limits, *self._unread]
        if machine is not None and machine.truncated:
            said.append(f"machine code: there is more of it than {machine.limit >> 20} MB")
        elif self.level == "code" and machine is not None and machine.unoptimised:
            said.append(UNOPTIMISED)
        return tuple(said)

    @property
    def level(self) -> str:
        """The kind of evidence, see `envlock.models.dependencies.EVIDENCE`."""
        if self.debug is not None and self.covered:
            return "dwarf"
        return "code" if self.machine is not None else "symbols"

    def kinds(self) -> tuple[str, ...]:
        """What the plugin is: kernel, resource, lookup, dataset, c-api, or none of them."""
        found = set()
        bases = {base for _, base in self.symbols.inheritance}
        for cls, kind in _KINDS:
            wanted = code.component(cls)
            if cls in bases or any(
                wanted in name and special_member(name) for name in self.symbols.imported
            ):
                found.add(kind)
        if not any("tensorflow" in name for name in self.symbols.imported) and any(
            name.startswith(("TF_", "TSL_")) for name in self.symbols.imported
        ):
            found.add("c-api")
        return tuple(sorted(found))


def dependencies(
    evidence: InterfaceFacts, atlas: Atlas, release: Release, against: Collection[int] | None = None
) -> Dependencies:
    """What the plugin depends on, with the values of the release it was built with.

    `against` are the ABI tables of the atlas that it is going to be compared with: what is the
    same in all of them is then not looked for in machine code.
    """
    usage = Usage()
    abi = release.abi
    shared = _sharing(evidence.imports)
    differing = None if against is None else Differences(atlas, abi, against)

    def wanted(fact: Fact) -> bool:
        return shared(fact[1]) and (differing is None or fact in differing)

    own: dict[str, Layout] | None = None
    mentioned: set[str] = set()
    if evidence.debug is not None:
        unknown = debuginfo.collect(evidence.debug, atlas, abi, usage)
        if unknown and evidence.level == "dwarf" and evidence.machine is not None:
            code.collect(evidence.machine, atlas, abi, usage, wanted, unknown)
        own = {normalise(name): layout for name, layout in evidence.debug.layouts.items()}
        mentioned |= evidence.debug.pointed_to
    if evidence.level != "dwarf":
        if evidence.machine is not None:
            code.collect(evidence.machine, atlas, abi, usage, wanted)
        mentioned.update(code.mentioned(evidence.text, atlas))
    imports.collect(evidence.symbols, atlas, abi, usage)
    code.collect_calls(evidence.machine, mentioned, atlas, abi, usage, wanted)
    usage.keep(shared)
    if evidence.debug is not None and evidence.level == "dwarf":
        names, returned = evidence.exchanged
        # Of a class with virtual functions, debug information mostly has the name only.
        tables = (atlas.slots(cls, abi) for cls in (*mentioned, *usage.facts))
        names = "\n".join((names, *sorted({text for slots in tables for text in slots})))
        usage.forget_sizes(lambda name: name in returned or code.mentions(names, name))
    kinds = evidence.kinds()
    if evidence.level == "symbols":
        for kind in kinds:
            for name in CONSERVATIVE.get(kind, ()):
                _assume(name, kind, atlas, abi, usage)
    return Dependencies(
        evidence=evidence.level,
        kinds=kinds,
        classes=usage.uses(atlas, abi, own),
        releases=(release.version,),
        limits=evidence.doubts,
    )


def _sharing(imports: str) -> Callable[[str], bool]:
    """What tells whether a class can be exchanged with TensorFlow, or is the plugin's own copy.

    A plugin that carries its own protobuf or re2 imports nothing of it.
    """
    known: dict[str, bool] = {}

    def shared(cls: str) -> bool:
        root = cls.split("::", 1)[0]
        if root not in known:
            names = ("10tensorflow", "3tsl") if root == "tensorflow" else (f"{len(root)}{root}",)
            known[root] = any(name in imports for name in names)
        return known[root]

    return shared


def _assume(name: str, kind: str, atlas: Atlas, abi: int, usage: Usage) -> None:
    shape = atlas.shape(name, abi)
    if shape is None:
        return
    shown = f"assumed of a {kind}"
    usage.add(("s", name, ""), shown)
    for member in shape.members:
        usage.add(("m", name, member), shown)
    if atlas.slots(name, abi):
        usage.add(("t", name, ""), shown)
