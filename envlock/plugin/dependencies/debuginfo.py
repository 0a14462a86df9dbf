"""What a plugin depends on, from its own debug information.

Every TensorFlow function that was inlined into the plugin or instantiated in it is listed there
by its mangled name; the atlas knows what each of them needs. Classes held by value bring in their
size, classes derived from TensorFlow's their base's size and virtual table.
"""

from __future__ import annotations

from ...binary.debug import dwarf as dw
from ...binary.debug.classes import Layout, Reader, normalise
from ...binary.names.templates import method_class
from .usage import BASE_OF, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ...atlas.format import Atlas
    from ...binary.debug.dwarf import Attributes, Dwarf, Unit


class DebugFacts:
    """Functions and classes that a plugin's debug information names."""

    def __init__(self, dwarf: Dwarf) -> None:
        self.functions: set[str] = set()  # mangled, inlined or emitted
        self.emitted = 0  # functions with code of their own
        self.held: set[int] = set()  # type entries of variables and parameters
        reader = Reader(dwarf)
        self.layouts: dict[str, Layout] = reader.read()
        #: What the compiler of each unit calls itself, with its flags.
        self.producers: set[str] = set()
        #: Mangled names of the virtual functions of all classes that are described.
        self.virtual: set[str] = set()
        self._returned: dict[str, int] = {}  # function -> the type that it gives back
        self._reader: Reader | None = reader
        self._linkage: dict[int, str] = {}
        self._origin: dict[int, int] = {}
        self._variables: dict[int, int] = {}  # variable entry -> its type
        self._copies: set[int] = set()  # variables whose type stands in their abstract instance
        used: set[int] = set()
        for unit in dwarf.units:
            self._scan(dwarf, unit, used)
        for offset in used:
            name = self._name_of(offset)
            if name:
                self.functions.add(name)
        self.held.update(self._variables[o] for o in self._copies if o in self._variables)
        #: Classes of which the plugin's code holds objects, and those it points or refers to.
        self.by_value = self._held(reader, pointers=False)
        self.pointed_to = self._held(reader, pointers=True)

    def _scan(self, dwarf: Dwarf, unit: Unit, used: set[int]) -> None:
        code_depth = -1
        for offset, tag, attributes, depth, children in dwarf.entries(unit):
            if depth <= code_depth:
                code_depth = -1
            if tag == dw.TAG_SUBPROGRAM:
                if dw.AT_LINKAGE_NAME in attributes:
                    name = dwarf.text(attributes[dw.AT_LINKAGE_NAME], unit)
                    self._linkage[offset] = name
                    if dw.AT_VIRTUALITY in attributes:
                        self.virtual.add(name)
                    returned = attributes.get(dw.AT_TYPE)
                    if type(returned) is int:
                        self._returned[name] = returned
                origin = attributes.get(dw.AT_SPECIFICATION, attributes.get(dw.AT_ABSTRACT_ORIGIN))
                if type(origin) is int:
                    self._origin[offset] = origin
                if dw.AT_LOW_PC in attributes or dw.AT_RANGES in attributes:
                    used.add(offset)
                    self.emitted += 1
                    if children and code_depth < 0:
                        code_depth = depth
            elif tag == dw.TAG_COMPILE_UNIT:
                self.producers.add(dwarf.text(attributes.get(dw.AT_PRODUCER), unit))
            elif tag == dw.TAG_INLINED:
                origin = attributes.get(dw.AT_ABSTRACT_ORIGIN)
                if type(origin) is int:
                    used.add(origin)
            elif tag == dw.TAG_VARIABLE or tag == dw.TAG_PARAMETER:
                self._hold(offset, attributes, code_depth >= 0)

    def _hold(self, offset: int, attributes: Attributes, in_code: bool) -> None:
        if attributes.get(dw.AT_ARTIFICIAL):
            return  # `this` of an inlined function says nothing that the function's name does not
        kind = attributes.get(dw.AT_TYPE)
        origin = attributes.get(dw.AT_ABSTRACT_ORIGIN)
        if type(kind) is int:
            self._variables[offset] = kind
            if in_code:
                self.held.add(kind)
        elif type(origin) is int and in_code:
            self._copies.add(origin)

    def __getstate__(self) -> dict[str, Any]:
        # The reader holds the file; what else it is asked for is known by then.
        return {**self.__dict__, "_reader": None}

    def exchanged(self, imported: Iterable[str]) -> tuple[str, set[str]]:
        """What objects can be handed over by: the names of imported and of virtual functions, one
        a line, and the classes of which such functions give back objects."""
        assert self._reader is not None
        functions = {*imported, *self.virtual}
        returned = set()
        for name in functions:
            kind, _, target = self._reader.describe(self._returned.get(name))
            if target and kind[len(target) :][:1] not in ("*", "&"):
                returned.add(normalise(target))
        return "\n".join(functions), returned

    def _name_of(self, offset: int) -> str:
        for _ in range(8):
            name = self._linkage.get(offset)
            if name:
                return name
            following = self._origin.get(offset)
            if following is None:
                return ""
            offset = following
        return ""

    def _held(self, reader: Reader, *, pointers: bool) -> set[str]:
        found = set()
        for offset in self.held:
            name, _, target = reader.describe(offset)
            if target and (name[len(target) :][:1] in ("*", "&")) == pointers:
                found.add(normalise(target))
        return found


def collect(facts: DebugFacts, atlas: Atlas, abi: int, usage: Usage) -> set[str]:
    """Add the facts that the plugin relies on, as far as the atlas's ABI table knows them.

    Gives the classes of which the plugin contains functions that the table does not know:
    templates that the headers themselves never instantiate.
    """
    unknown = set()
    for function in sorted(facts.functions):
        for name in _variants(function):
            known = atlas.facts(name, abi)
            if known is not None:
                for fact in known:
                    usage.add(fact, function)
                break
        else:
            owner = method_class(function)
            if owner and atlas.shape(owner, abi) is not None:
                unknown.add(owner)
    for name in sorted(facts.by_value):
        if atlas.shape(name, abi) is not None:
            usage.add(("s", name, ""), "held by value")
    for raw, layout in sorted(facts.layouts.items()):
        own = normalise(raw)
        if atlas.shape(own, abi) is not None:
            continue
        for base in layout.bases:
            parent = normalise(base.target)
            if atlas.shape(parent, abi) is not None:
                usage.add(("s", parent, ""), BASE_OF + own)
                if atlas.slots(parent, abi):
                    usage.add(("t", parent, ""), BASE_OF + own)
    return unknown


def _variants(name: str) -> tuple[str, ...]:
    """A mangled name, and for constructors and destructors those of their kinds."""
    for unified, kinds in (("C4", ("C2", "C1")), ("D4", ("D2", "D1", "D0"))):
        at = name.rfind(unified)
        if at > 0:
            return (name, *(name[:at] + kind + name[at + 2 :] for kind in kinds))
    return (name,)
