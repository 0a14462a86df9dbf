"""Which members and virtual slots each inline function touches, from g++'s own dump of it.

`g++ -fdump-tree-ssa-asmname` writes every function after its first lowering: one memory access a
statement, members by name, callees by mangled name. That is independent of optimisation and of
the machine, and unlike machine code it says *which* member an offset means. A function's needs
are facts about classes: ("m", class, member), ("v", class, signature) for a virtual call,
("s", class, "") for code that depends on a class's size.
"""

from __future__ import annotations

import re

from ..binary.debug.classes import Layout
from .dump import Function, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dump import Fact, Path, Step

_BASE = r"(?:D\.\d+|[A-Za-z_]\w*(?:\.\d+(?:_\d+)?)?)(?:\(D\))?"
_FIELD = r"(?:D\.\d+|_vptr\.\w+|[A-Za-z_]\w*)"
_ACCESS = re.compile(rf"(&?)(?<![\w.>])({_BASE})((?:(?:->|\.){_FIELD}(?:\[[^\]]*\])?)+)")
_STEP = re.compile(rf"(->|\.)({_FIELD})(\[[^\]]*\])?")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_ASSIGN = re.compile(r"^([\w.]+) = (.*);$")
_CALL = re.compile(r"^(?:([^=]+?) = )?([A-Za-z_]\w*) \((.*)\);?")
_VIRTUAL = re.compile(r"OBJ_TYPE_REF\(([^;]+);\((?:const )?struct (\w+)[^)]*\)([\w.()]+)->(\d+)B\)")
_ADD = re.compile(rf"^({_BASE}) \+ (\d+)$")
_PLAIN = re.compile(rf"^(?:\([^()]*\) ?)?({_BASE})$")
_DEREF = re.compile(rf"^\*({_BASE})$")

MAX_INLINE = 14  # statements: what optimising compilers inline without being asked
MAX_STEPS = 4


class Analysis:
    """Resolves the accesses of all functions of a dump against the class layouts."""

    def __init__(
        self, layouts: dict[str, Layout], functions: dict[str, Function], owners: Mapping[str, str]
    ) -> None:
        self.layouts = layouts
        self.functions = functions
        self.owners = owners
        self.unresolved = 0
        self.resolved = 0
        self._short: dict[str, list[str]] = {}
        for name in layouts:
            self._short.setdefault(short_name(name), []).append(name)
        self._found: dict[tuple[str, str], tuple[str, str, str, bool] | None] = {}

    def run(self) -> None:
        """Fill in `facts`, `paths` and `result` of every function."""
        for function in self.functions.values():
            self._analyse(function, 0)

    def find(self, cls: str, field: str) -> tuple[str, str, str, bool] | None:
        """(declaring class, member, class it leads to, is it a pointer) of `cls`'s `field`.

        Bases and unnamed members are searched as C++ does.
        """
        key = (cls, field)
        if key not in self._found:
            self._found[key] = self._find(cls, field, 0)
        return self._found[key]

    def _find(self, cls: str, field: str, depth: int) -> tuple[str, str, str, bool] | None:
        layout = self.layouts.get(cls)
        if layout is None or depth > 12:
            return None
        for member in layout.members:
            if member.name == field:
                pointer = member.type.endswith(("*", "&"))
                return cls, field, member.target, pointer
        for member in layout.members:
            if not member.name and member.target:
                found = self._find(member.target, field, depth + 1)
                if found:
                    return found
        for base in layout.bases:
            found = self._find(base.target, field, depth + 1)
            if found:
                return found
        return None

    def _candidates(self, function: Function, variable: str, field: str) -> str:
        """The class of a variable whose origin is unknown, by its unqualified class name."""
        declared = _declared(function, variable)
        names = self._short.get(declared.lstrip("="), ())
        fitting = [name for name in names if self.find(name, field)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            first = self._offset_of(fitting[0], field)
            if all(self._offset_of(name, field) == first for name in fitting[1:]):
                return fitting[0]
        return ""

    def _offset_of(self, cls: str, field: str) -> int:
        found = self.find(cls, field)
        if not found:
            return -1
        layout = self.layouts[found[0]]
        return next(m.offset for m in layout.members if m.name == found[1])

    def _analyse(self, function: Function, depth: int) -> None:
        if function.state:
            return
        function.state = 1
        values: dict[str, Value] = {}
        for parameter in function.parameters:
            cls = (
                function.owner
                if parameter == "this"
                else self._class_by_name(function.types.get(parameter, ""))
            )
            values[parameter] = Value(cls, parameter, (), ())
        for text in function.body:
            self._statement(function, values, text, depth)
        if len(function.paths) > 400:
            function.paths = set(sorted(function.paths)[:400])
        function.state = 2

    def _class_by_name(self, declared: str) -> str:
        names = self._short.get(declared.lstrip("="), ())
        return names[0] if len(names) == 1 else ""

    def _value(self, function: Function, values: dict[str, Value], variable: str) -> Value:
        """The value of an SSA name; unknown ones become roots of their own."""
        name = variable.replace("(D)", "")
        known = values.get(name)
        if known is not None:
            return known
        plain = re.sub(r"_\d+$", "", name)
        if "(D)" in variable and plain in values:
            return values[plain]
        if name.startswith("_") or "(D)" not in variable:
            cls = self._class_by_name(_declared(function, name))
            value = values[name] = Value(cls, "?" + name, (), ())
            return value
        return Value("", "?" + name, (), ())

    def _access(
        self,
        function: Function,
        values: dict[str, Value],
        address: bool,
        variable: str,
        tail: str,
    ) -> Value | None:
        """Follow `variable->a.b`, note facts and paths, and give the value it evaluates to."""
        value = self._value(function, values, variable)
        cls, steps, here = value.cls, value.steps, value.here
        parts = _STEP.findall(tail)
        fields = [(arrow, field) for arrow, field, _ in parts]
        pointer = False
        vtable = ""
        holder = cls
        known = True
        for number, (_, field) in enumerate(fields):
            if field.startswith("D."):
                continue  # an unnamed member or a base: the next field is searched through it
            if field.startswith("_vptr."):
                vtable = holder or cls
                if not vtable:
                    vtable = self._class_by_name(field[6:])
                here = (*here, ("p", vtable, ""))
                pointer = True
                continue
            found = self.find(cls, field) if cls else None
            if (found is None and number == 0) or (found is None and fields[0][1].startswith("D.")):
                guess = self._candidates(function, variable, field)
                found = self.find(guess, field) if guess else None
            if found is None:
                self.unresolved += 1
                known = False
                break
            self.resolved += 1
            owner, member, target, pointer = found
            fact = ("m", owner, member)
            function.facts.add(fact)
            here = (*here, fact)
            cls = holder = target
        if not known:
            return None
        if address:
            return Value(cls, value.root, steps, here)
        self._note_path(function, value.root, (*steps, here))
        if pointer and len(steps) < MAX_STEPS:
            return Value(vtable or cls, value.root, (*steps, here), ())
        return None

    def _note_path(self, function: Function, root: str, steps: Path) -> None:
        if steps and len(steps) <= MAX_STEPS:
            function.paths.add((root, steps))

    def _statement(
        self, function: Function, values: dict[str, Value], text: str, depth: int
    ) -> None:
        if '"' in text:
            text = _STRING.sub("0", text)
        text = text.split("; [")[0].rstrip(";") + ";"
        virtual = _VIRTUAL.search(text)
        if virtual:
            self._virtual_call(function, values, virtual)
            return
        last: Value | None = None
        whole = ""
        for match in _ACCESS.finditer(text):
            last = self._access(function, values, match[1] == "&", match[2], match[3])
            whole = match[0]
        assign = _ASSIGN.match(text)
        call = _CALL.match(text)
        if call and call[2] not in ("if", "switch", "return"):
            self._call(function, values, call, depth)
            return
        if text.startswith("return "):
            name = text[7:].rstrip(";")
            function.result = values.get(name)
            return
        if not assign:
            return
        left, right = assign[1], assign[2]
        if right == whole:
            if last is not None:
                values[left] = last
            return
        plain = _PLAIN.match(right)
        if plain:
            source = values.get(plain[1].replace("(D)", "")) or (
                self._value(function, values, plain[1]) if "(D)" in plain[1] else None
            )
            if source is not None:
                values[left] = source
            return
        added = _ADD.match(right)
        if added:
            source = values.get(added[1].replace("(D)", ""))
            if source is not None:
                values[left] = Value(
                    source.cls, source.root, source.steps, (*source.here, ("k", "", added[2]))
                )
            return
        deref = _DEREF.match(right)
        if deref:
            source = values.get(deref[1].replace("(D)", ""))
            if source is not None and source.steps and not source.here:
                here: Step = (("k", "", "0"),)
            elif source is not None:
                here = source.here
            else:
                return
            if source.steps and source.steps[-1] and source.steps[-1][-1][0] == "p":
                slot = int(here[0][2]) // 8 if here[0][0] == "k" else 0
                found = self._slot(source.steps[-1][-1][1], slot)
                if found:
                    here = (found,)
            self._note_path(function, source.root, (*source.steps, here))

    def _slot(self, cls: str, number: int) -> Fact | None:
        """The virtual function at a slot of a class, looked up through its primary bases."""
        for _ in range(16):
            layout = self.layouts.get(cls)
            if layout is None:
                return None
            name = layout.slots.get(number)
            if name is None and layout.slots.get(number - 1) == "~":
                name = "~"
            if name is not None:
                return ("v", cls, name)
            primary = [b for b in layout.bases if b.offset == 0]
            if not primary:
                return None
            cls = primary[0].target
        return None

    def _virtual_call(
        self, function: Function, values: dict[str, Value], match: re.Match[str]
    ) -> None:
        number = int(match[4])
        value = values.get(match[3].replace("(D)", ""))
        if value is None and "(D)" in match[3]:
            value = self._value(function, values, match[3])
        candidates = [value.cls] if value is not None and value.cls else []
        candidates += self._short.get(match[2], [])
        for cls in candidates:
            fact = self._slot(cls, number)
            if fact is not None:
                # The static type, not the class that declares the function, fixes the slot.
                function.facts.add(("v", cls, fact[2]))
                return

    def _call(
        self, function: Function, values: dict[str, Value], call: re.Match[str], depth: int
    ) -> None:
        target = call[2]
        arguments = _split_arguments(call[3])
        owner = self.owners.get(target, "")
        if owner and _CONSTRUCTOR.search(target):
            function.facts.add(("s", owner, ""))
        for argument in arguments:
            if argument.startswith("&"):
                declared = function.types.get(argument[1:], "")
                if declared.startswith("="):
                    cls = self._class_by_name(declared)
                    if cls:
                        function.facts.add(("s", cls, ""))
        callee = self.functions.get(target)
        if callee is None or len(callee.body) > MAX_INLINE or depth > 8 or callee.state == 1:
            return  # unknown, not to be inlined, or calling itself
        self._analyse(callee, depth + 1)
        passed: dict[str, Value] = {}
        for parameter, argument in zip(callee.parameters, arguments):
            value = self._argument(function, values, argument)
            if value is not None:
                passed[parameter] = value
        for root, steps in callee.paths:
            value = passed.get(root)
            if value is not None and steps:
                self._note_path(
                    function,
                    value.root,
                    (*value.steps, (*value.here, *steps[0]), *steps[1:]),
                )
        result = callee.result
        if result is not None and call[1] and result.root in passed:
            value = passed[result.root]
            left = call[1].strip()
            if result.steps:
                steps = (*value.steps, (*value.here, *result.steps[0]), *result.steps[1:])
                if len(steps) <= MAX_STEPS:
                    values[left] = Value(result.cls, value.root, steps, result.here)
            else:
                here = (*value.here, *result.here)
                values[left] = Value(result.cls, value.root, value.steps, here)

    def _argument(self, function: Function, values: dict[str, Value], text: str) -> Value | None:
        match = _ACCESS.fullmatch(text)
        if match and match[1]:
            return self._access(function, values, True, match[2], match[3])
        plain = _PLAIN.match(text)
        if plain:
            name = plain[1]
            if name[:1].isdigit():
                return None
            known = values.get(name.replace("(D)", ""))
            if known is not None:
                return known
            if "(D)" in name:
                return self._value(function, values, name)
        return None


_CONSTRUCTOR = re.compile(r"C[12]E|C[12]I")


def _declared(function: Function, variable: str) -> str:
    name = variable.replace("(D)", "")
    found = function.types.get(name)
    if found is None:
        found = function.types.get(re.sub(r"_\d+$", "", name), "")
    return found


def _split_arguments(text: str) -> list[str]:
    if "(" not in text:
        return text.split(", ") if text else []
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return parts


def short_name(name: str) -> str:
    """The last component of a qualified name, without template arguments."""
    cut = name.find("<")
    if cut >= 0:
        name = name[:cut]
    return name.rsplit("::", 1)[-1]


def method_owners(layouts: Mapping[str, Layout]) -> dict[str, str]:
    """Mangled member function -> class, with the variants of constructors and destructors."""
    owners: dict[str, str] = {}
    for name, layout in layouts.items():
        for method in layout.methods:
            owners[method] = name
            for kind, numbers in (("C4", "123"), ("D4", "012")):
                at = method.rfind(kind)
                if at > 0:
                    for number in numbers:
                        owners[method[:at] + kind[0] + number + method[at + 2 :]] = name
    return owners
