"""Class layouts out of debug information: size, members, bases, virtual-table slots."""

from __future__ import annotations

import re

from . import dwarf as dw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .dwarf import Attributes, Dwarf, Unit

_CLASS_TAGS = frozenset((dw.TAG_CLASS, dw.TAG_STRUCT, dw.TAG_UNION))
_POINTERS = {dw.TAG_POINTER: "*", dw.TAG_REFERENCE: "&", dw.TAG_RVALUE_REFERENCE: "&&"}
_NAMED = _CLASS_TAGS | {dw.TAG_NAMESPACE}
_TYPES = _CLASS_TAGS | frozenset(
    (
        dw.TAG_ARRAY,
        dw.TAG_ENUM,
        dw.TAG_POINTER,
        dw.TAG_REFERENCE,
        dw.TAG_RVALUE_REFERENCE,
        dw.TAG_TYPEDEF,
        dw.TAG_BASE_TYPE,
        dw.TAG_CONST,
        dw.TAG_VOLATILE,
        0x15,  # subroutine_type
        0x1F,  # ptr_to_member_type
        0x3B,  # unspecified_type
    )
)

#: Characters of a qualified name; those of nested scopes add up. TensorFlow's longest has 1,290.
MAX_NAME = 1 << 12
#: Elements of an array, all dimensions multiplied; more do not fit into any address space.
MAX_ELEMENTS = 1 << 64


class Member:
    """A data member or a base class; `offset` and `size` in bytes, `bits` for bit fields."""

    __slots__ = ("bits", "name", "offset", "public", "size", "target", "type")

    def __init__(self, name: str, offset: int, size: int, type_name: str, target: str) -> None:
        self.name = name
        self.offset = offset
        self.size = size
        self.type = type_name
        self.target = target  # the class that the type is, or points to
        self.bits = ""
        self.public = True


class Layout:
    """One class as compiled: everything that code which touches it has baked in."""

    __slots__ = ("bases", "members", "methods", "name", "private", "size", "slots", "virtual_bases")

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.members: list[Member] = []
        self.bases: list[Member] = []
        self.virtual_bases = False
        self.private = False  # members are private unless they say otherwise
        self.slots: dict[int, str] = {}  # own virtual functions: slot -> signature
        self.methods: list[str] = []  # mangled names of member functions


def normalise(name: str) -> str:
    """A type name with the differences that are no differences taken out.

    absl's inline namespace carries its release, `tsl` is `tensorflow` moved, and compilers
    space template arguments differently.
    """
    if "lts_" in name:
        name = re.sub(r"\blts_\d+::", "", name)
    name = name.replace("> >", ">>").replace("> >", ">>").replace(", ", ",").replace(" *", "*")
    if "tsl::" in name:
        name = re.sub(r"\btsl::", "tensorflow::", name)
    if "__cxx11::" in name:
        name = name.replace("__cxx11::", "")
    return name


def signature(name: str, linkage: str) -> str:
    """What identifies a virtual function across classes: its own name and parameters, mangled."""
    if name.startswith("~"):
        return "~"
    part = f"{len(name)}{name}"
    at = linkage.rfind(part)
    return linkage[at:] if at >= 0 else linkage


class Reader:
    """Reads all complete classes of a file's debug information into `layouts`, by name."""

    def __init__(self, dwarf: Dwarf) -> None:
        self.dwarf = dwarf
        self.layouts: dict[str, Layout] = {}
        self.types: dict[int, tuple[int, Attributes, Unit]] = {}
        self.names: dict[int, str] = {}  # class or namespace entry -> qualified name
        self.arrays: dict[int, int] = {}  # array entry -> number of elements
        self._described: dict[int, tuple[str, int, str]] = {}

    def read(self) -> dict[str, Layout]:
        """All complete classes outside functions."""
        pending: list[tuple[Layout, int, Attributes, Unit]] = []
        for unit in self.dwarf.units:
            self._scan(unit, pending)
        for layout, tag, attributes, unit in pending:
            self._fill(layout, tag, attributes, unit)
        self._place_unnamed()
        return self.layouts

    def _place_unnamed(self) -> None:
        """Fold anonymous structs and unions into their class, name those of a named member."""
        for layout in list(self.layouts.values()):
            if not layout.name.startswith("#"):
                self._fold(layout, 0)
        for key in [key for key in self.layouts if key.startswith("#")]:
            del self.layouts[key]

    def _fold(self, layout: Layout, depth: int) -> None:
        members: list[Member] = []
        for member in layout.members:
            if not member.target.startswith("#") or depth > 16:
                members.append(member)
                continue
            inner = self.layouts.get(member.target)
            if inner is None:
                members.append(member)
                continue
            if member.name:
                name = f"{layout.name}::({member.name})"
                if name not in self.layouts:
                    inner.name = name
                    self.layouts[name] = inner
                    self._fold(inner, depth + 1)
                pointer = member.type.endswith("*")
                member.target, member.type = name, name + ("*" if pointer else "")
                members.append(member)
                continue
            self._fold(inner, depth + 1)
            for part in inner.members:
                copy = Member(
                    part.name, member.offset + part.offset, part.size, part.type, part.target
                )
                copy.bits = part.bits
                copy.public = member.public and part.public
                members.append(copy)
        layout.members = members

    def _scan(self, unit: Unit, pending: list[tuple[Layout, int, Attributes, Unit]]) -> None:
        text = self.dwarf.text
        stack: list[tuple[int, str, Layout | None]] = []  # depth, prefix, class
        array = 0

        def skip(tag: int, attributes: Attributes) -> bool:
            return tag == dw.TAG_SUBPROGRAM

        for offset, tag, attributes, depth, children in self.dwarf.entries(unit, skip):
            while stack and stack[-1][0] >= depth:
                stack.pop()
            prefix, owner = (stack[-1][1], stack[-1][2]) if stack else ("", None)
            if tag in _TYPES:
                self.types[offset] = (tag, attributes, unit)
                if tag == dw.TAG_ARRAY:
                    array = offset
            if tag in _NAMED or tag == dw.TAG_ENUM:
                name = text(attributes[dw.AT_NAME], unit) if dw.AT_NAME in attributes else ""
                if not name:
                    name = "(anonymous)" if tag == dw.TAG_NAMESPACE else f"(unnamed@{depth})"
                qualified = prefix + name
                if len(qualified) > MAX_NAME:
                    qualified = qualified[:MAX_NAME]  # nothing nests so deep in earnest
                self.names[offset] = qualified
                layout = None
                if tag in _CLASS_TAGS:
                    declared = attributes.get(dw.AT_DECLARATION)
                    if not declared and dw.AT_BYTE_SIZE in attributes:
                        layout = Layout(qualified, dw.constant(attributes[dw.AT_BYTE_SIZE]) or 0)
                        if dw.AT_NAME in attributes:
                            layout = self.layouts.setdefault(qualified, layout)
                        else:
                            layout.name = f"#{offset}"
                            self.layouts[layout.name] = layout
                        layout.private = tag == dw.TAG_CLASS
                        if layout.members or layout.methods or layout.bases:
                            layout = Layout(qualified, layout.size)  # another unit's copy
                if children:
                    stack.append((depth, qualified + "::", layout))
            elif tag == dw.TAG_SUBRANGE and array:
                bound = attributes.get(dw.AT_UPPER_BOUND)
                count = dw.constant(attributes.get(dw.AT_COUNT))
                if count is None and type(bound) is int:
                    count = bound + 1
                elements = self.arrays.get(array, 1) * (count or 0)
                self.arrays[array] = elements if 0 <= elements < MAX_ELEMENTS else 0
            elif owner is not None:
                if tag == dw.TAG_MEMBER or tag == dw.TAG_INHERITANCE:
                    pending.append((owner, tag, attributes, unit))
                elif tag == dw.TAG_SUBPROGRAM and dw.AT_LINKAGE_NAME in attributes:
                    linkage = text(attributes[dw.AT_LINKAGE_NAME], unit)
                    owner.methods.append(linkage)
                    slot = dw.constant(attributes.get(dw.AT_VTABLE_SLOT))
                    if slot is not None and dw.AT_NAME in attributes:
                        name = text(attributes[dw.AT_NAME], unit)
                        owner.slots[slot] = signature(name, linkage)

    def _fill(self, layout: Layout, tag: int, attributes: Attributes, unit: Unit) -> None:
        if attributes.get(dw.AT_EXTERNAL) or attributes.get(dw.AT_DECLARATION):
            return  # a static member
        type_offset = attributes.get(dw.AT_TYPE)
        name, size, target = self.describe(type_offset)
        offset = dw.constant(attributes.get(dw.AT_MEMBER_LOCATION))
        if tag == dw.TAG_INHERITANCE:
            if attributes.get(dw.AT_VIRTUALITY):
                layout.virtual_bases = True
            layout.bases.append(Member(target, offset or 0, size, name, target))
            return
        if offset is None:
            bit = attributes.get(dw.AT_DATA_BIT_OFFSET)
            offset = bit // 8 if type(bit) is int else 0
        label = ""
        if dw.AT_NAME in attributes:
            label = self.dwarf.text(attributes[dw.AT_NAME], unit)
        member = Member(label, offset, size, name, target)
        access = attributes.get(dw.AT_ACCESSIBILITY)
        member.public = access == 1 if access is not None else not layout.private
        width = attributes.get(dw.AT_BIT_SIZE)
        if type(width) is int:
            bit = attributes.get(dw.AT_DATA_BIT_OFFSET)
            member.bits = f":{width}@{bit}"
        layout.members.append(member)

    def describe(self, offset: object, depth: int = 0) -> tuple[str, int, str]:
        """(type name, size in bytes, class that it is or points to) of a type entry."""
        if type(offset) is not int:
            return "void", 0, ""
        known = self._described.get(offset)
        if known is not None:
            return known
        if depth > 64:
            return "?", 0, ""
        result = self._described[offset] = self._describe(offset, depth)
        return result

    def _describe(self, offset: int, depth: int) -> tuple[str, int, str]:
        entry = self.types.get(offset)
        if entry is None:
            return "?", 0, ""
        tag, attributes, unit = entry
        if tag in _POINTERS:
            name, _, target = self.describe(attributes.get(dw.AT_TYPE), depth + 1)
            return name + _POINTERS[tag], unit.address_size, target
        if tag == dw.TAG_CONST or tag == dw.TAG_VOLATILE:
            return self.describe(attributes.get(dw.AT_TYPE), depth + 1)
        if tag == dw.TAG_TYPEDEF:
            return self.describe(attributes.get(dw.AT_TYPE), depth + 1)
        if tag == dw.TAG_ARRAY:
            name, size, target = self.describe(attributes.get(dw.AT_TYPE), depth + 1)
            count = self.arrays.get(offset, 0)
            return f"{name}[{count}]", size * count, target
        size = dw.constant(attributes.get(dw.AT_BYTE_SIZE)) or 0
        if tag in _CLASS_TAGS:
            name = self.names.get(offset, "?")
            if dw.AT_NAME not in attributes:
                return "(unnamed)", size, f"#{offset}"
            return name, size, name
        if tag == dw.TAG_ENUM:
            return self.names.get(offset, "enum"), size, ""
        if tag == dw.TAG_BASE_TYPE and dw.AT_NAME in attributes:
            return self.dwarf.text(attributes[dw.AT_NAME], unit), size, ""
        if tag == 0x1F:
            return "member pointer", 16, ""
        return "function" if tag == 0x15 else "?", size, ""
