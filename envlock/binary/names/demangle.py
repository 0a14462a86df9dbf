"""Mangled C++ names as C++ writes them: the Itanium C++ ABI, chapter 5.1, bounded.

The text is that of GNU's `cp-demangle.c` (`c++filt`, `__cxa_demangle`). Each production of the
grammar gives its text at once, in two halves: what stands before and what stands behind a declared
name. A name that is not understood, or that would cost more than the limits, is given back as it is.
"""

from __future__ import annotations

from .texts import (
    BEHIND,
    BUILTIN,
    DISCRIMINATOR,
    FLOATS,
    MAX_NAME,
    NUMBER,
    OFFSET,
    OPERATORS,
    QUALIFIERS,
    SEQUENCE,
    SPECIAL,
    STANDARD,
    SUFFIX,
    Reader,
    Text,
    Unreadable,
)


def demangle(name: str) -> str:
    """A mangled name as C++ writes it; any other text, and what costs too much, unchanged."""
    if not name.startswith("_Z") or len(name) > MAX_NAME:
        return name
    try:
        return _Name(name).text()
    except (Unreadable, RecursionError):
        return name


class _Name(Reader):
    """Reads one name. Raises `Unreadable`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.last = ""  # the innermost class, which constructors are called after
        self.known: list[Text] = []  # what substitutions refer to
        #: Where those were read that refer to template arguments, and to which.
        self.origins: dict[int, tuple[int, list[Text] | None, bool]] = {}
        self.resolved = 0
        self.arguments: list[Text] | None = None  # of the template whose types are read
        self.in_lambda = False

    def text(self) -> str:
        """The whole name."""
        found = self._encoding().left
        if self.at != len(self.name):
            raise Unreadable
        return found

    def _encoding(self, *, returns: bool = True) -> Text:
        """A function or an object; `returns` says whether with what it returns."""
        if self.peek() in ("T", "G"):
            return self._special_name()
        outer, self.arguments = self.arguments, None
        self.nest()
        name = self._name(own=True)
        if self.peek() not in ("", "E"):
            given = self.take("J") or name.kind == "<>"
            result = self._type() if given else Text("")
            result = result if returns else Text("")
            space = " " if result.left and not result.right else ""
            left = f"{result.left}{space}{name.left}{self._parameters()}{name.tail}{result.right}"
            name = self.make(left, "", "function", "" if name.tail else name.operand)
        elif name.tail:
            name = self.make(name.left + name.tail)
        self.arguments = outer
        self.depth -= 1
        return name

    def _special_name(self) -> Text:
        code = self.peek(2)
        self.at += 2
        if code == "TC":
            derived = self._type()
            self.match(NUMBER)
            self.need("_")
            base = self.around("construction vtable for ", self._type())
            return self.scoped(base, derived, "-in-")
        if code not in SPECIAL:
            raise Unreadable
        text = SPECIAL[code] + (" to " if code in ("Th", "Tv", "Tc") else " for ")
        if code in ("TV", "TT", "TI", "TS", "TF"):
            return self.around(text, self._type())
        if code in ("TH", "TW", "GV"):
            return self.around(text, self._name())
        if code == "GT":
            self.need("t")
        else:
            self.at -= code != "Tc"
            for _ in range(2 if code == "Tc" else 1):
                self.match(OFFSET)
        return self.around(text, self._encoding())

    def _name(self, *, own: bool = False) -> Text:
        """`own`: it is that of a function, whose types may refer to its template arguments."""
        here = self.peek()
        if here == "N":
            return self._nested(own)
        if here == "Z":
            return self._local(own)
        again = here == "S" and self.peek(2) != "St"
        if again:
            found = self._substitution()
        elif self.take("St"):
            found = self.scoped(Text("std"), self._unqualified())
        else:
            found = self._unqualified()
        if self.peek() == "I":
            if not again:
                self.known.append(found)
            found = self._template(found, own)
        return found

    def _nested(self, own: bool) -> Text:
        self.need("N")
        tail = self._qualifiers()
        reference = self.take("R", "O")
        found: Text | None = None
        while not self.take("E"):
            here = self.peek()
            if here == "I" and found is not None:
                found = self._template(found, own)
            elif here == "M" and found is not None:
                self.at += 1  # the member whose initialiser a lambda stands in
                continue
            else:
                if here == "S":
                    part = self._substitution(before_member=True)
                elif here == "T":
                    part = self._parameter()
                elif self.peek(2) in ("DT", "Dt"):
                    part = self._type()
                else:
                    part = self._unqualified()
                found = part if found is None else self.scoped(found, part)
            if here != "S" and self.peek() != "E":
                self.known.append(found)
        if found is None:
            raise Unreadable
        tail += f" {BEHIND[reference]}" if reference else ""
        return self.make(found.left, found.right, found.kind, tail) if tail else found

    def _local(self, own: bool) -> Text:
        self.need("Z")
        function = self._encoding(returns=False)
        self.need("E")
        default = f"::{{default arg#{self.compact()}}}" if self.take("d") else ""
        name = self._name(own=own)
        if name.kind != "local":
            self.match(DISCRIMINATOR)
        return self.make(f"{function.left}{default}::{name.left}", "", name.kind, name.tail)

    def _unqualified(self) -> Text:
        here = self.peek()
        if here.isdigit():
            found = self._source()
        elif here.islower():
            text, count, _ = self._operator()
            space = " " if text[0].islower() or not count else ""
            found = self.make(
                f"operator{space}{text.rstrip()}", "", "plain" if count else "special"
            )
        elif self.take("L"):
            found = self._source()
            self.match(DISCRIMINATOR)
        elif self.take("Ul"):
            was, self.in_lambda = self.in_lambda, True
            parameters = self._parameters()
            self.in_lambda = was
            self.need("E")
            found = self.make(f"{{lambda{parameters}#{self.compact()}}}", "", "local")
        elif self.take("Ut"):
            found = self.make(f"{{unnamed type#{self.compact()}}}", "", "local")
            self.known.append(found)
        else:
            kind = self.need("C", "D")
            inherited = kind == "C" and self.take("I")
            self.need(*("12345" if kind == "C" else "01245"))
            if inherited:
                self._type()
            found = self.make("~" * (kind == "D") + self.last, "", "special")
        return self._tagged(found)

    def _tagged(self, found: Text) -> Text:
        last = self.last
        while self.take("B"):
            found = self.make(f"{found.left}[abi:{self._source().left}]", "", found.kind)
        self.last = last
        return found

    def _source(self) -> Text:
        size = int(self.match(NUMBER))
        text = self.peek(size)
        if not size or len(text) < size:
            raise Unreadable
        self.at += size
        if text.startswith(("_GLOBAL_.N", "_GLOBAL__N", "_GLOBAL_$N")):
            text = "(anonymous namespace)"
        self.last = text
        return self.make(text, "", "plain")

    def _operator(self) -> tuple[str, int, str]:
        """What is written for an operator, its operands (none: a conversion), its code."""
        code = self.peek(2)
        self.at += 2
        if code == "cv":
            before, text = self.resolved, self._type().whole
            if self.resolved != before:
                raise Unreadable  # the operator's own arguments, which come later
            return text, 0, code
        for count, texts in OPERATORS.items():
            if code in texts:
                return texts[code] + (self._source().left if code == "li" else ""), count, code
        raise Unreadable

    def _template(self, name: Text, own: bool = False) -> Text:
        """A template with its arguments, which come next."""

        def make(name: Text, *items: Text) -> Text:
            inside = self.listed(items)
            # As GNU does, a list whose last pack is empty is closed without a space.
            close = " >" if inside.endswith(">") and items[-1].whole else ">"
            kind = "special" if name.kind == "special" else "<>"
            space = " " if name.left.endswith("<") else ""
            return self.make(f"{name.whole}{space}<{inside}{close}", "", kind)

        return self.lift(make, name, *self.flat(self._arguments(own)))

    def _substitution(self, *, before_member: bool = False) -> Text:
        self.need("S")
        if self.take("t"):
            return self.make("std", "", "standard")
        letter = self.take(*STANDARD)
        if not letter:
            digits = self.match(SEQUENCE)[:-1]
            return self._again(int(digits, 36) + 1 if digits else 0)
        text, self.last, arguments = STANDARD[letter]
        if arguments and before_member and self.peek() in ("C", "D"):
            text = f"std::{self.last}{arguments}"
        found = self.make(text, "", "standard")
        if self.peek() == "B":
            found = self._tagged(found)
            self.known.append(found)
        return found

    def _again(self, index: int) -> Text:
        """What a substitution stands for; read once more where template arguments have changed."""
        if index >= len(self.known):
            raise Unreadable
        start, arguments, in_lambda = self.origins.get(index, (0, None, False))
        # GNU writes a reference to a parameter as it was first.
        same = arguments is self.arguments or self.name[start : start + 2] in ("RT", "OT")
        if not start or (same and in_lambda == self.in_lambda):
            return self.known[index]
        state = self.at, len(self.known), self.depth, self.last
        try:
            self.nest()
            self.at = start
            return self._any_type()[0]
        except Unreadable:
            if self.work < 0:
                raise  # what is spent stays spent: every other way would be tried in vain
            return self.known[index]
        finally:
            self.at, count, self.depth, self.last = state
            del self.known[count:]

    def _qualifiers(self) -> str:
        """Those of a type or of a member function, the innermost first."""
        found = ""
        while True:
            code = self.take(*QUALIFIERS)
            if not code:
                return found
            found = QUALIFIERS[code] + found

    def _type(self) -> Text:
        self.nest()
        start, resolved = self.at, self.resolved
        found, new = self._any_type()
        if new:
            if self.resolved != resolved:
                self.origins[len(self.known)] = start, self.arguments, self.in_lambda
            self.known.append(found)
        self.depth -= 1
        return found

    def _any_type(self) -> tuple[Text, bool]:
        """A type, and whether substitutions refer to it."""
        here, two = self.peek(), self.peek(2)
        if here in QUALIFIERS or two in QUALIFIERS:
            qualifiers = self._qualifiers()
            if self.peek() == "F":
                return self._function_type(qualifiers), True
            return self.modified(self._type(), qualifiers), True
        if here in BUILTIN or two in BUILTIN:
            code = self.take(here if here in BUILTIN else two)
            return self.make(BUILTIN[code], "", code), False
        if self.take(*BEHIND):
            return self.modified(self._type(), BEHIND[here]), True
        if self.take("Dp"):
            return self.expanded(self._type()), True
        if self.take("DT", "Dt"):
            found = self.around("decltype (", self._expression(), ")")
            self.need("E")
            return found, True
        if self.take("Dv"):
            size = self.match(NUMBER)
            self.need("_")
            return self.modified(self._type(), f" __vector({size})"), True
        if self.take("u"):
            return self._source(), False
        if here == "F":
            return self._function_type(""), True
        if here == "A":
            return self._array(), True
        if self.take("M"):
            owner = self._type()
            return self.modified(self._type(), f"{owner.whole}::*"), True
        if here == "T":
            found = self._parameter()
            if self.peek() == "I":
                self.known.append(found)
                found = self._template(found)
            return found, True
        if here == "S" and not two[1:].islower():
            found = self._substitution()
            again = self.peek() != "I"
            return found if again else self._template(found), not again
        if here in ("N", "S", "Z") or here.isdigit():
            found = self._name()
            return found, found.kind != "standard"
        raise Unreadable

    def _function_type(self, qualifiers: str) -> Text:
        self.need("F")
        self.take("Y")
        result, parameters = self._type(), self._parameters()
        reference = self.take("R", "O")
        self.need("E")
        behind = qualifiers + (f" {BEHIND[reference]}" if reference else "")

        def make(one: Text) -> Text:
            space = "" if one.right else " "
            return self.make(f"{one.left}{space}", f"{parameters}{behind}{one.right}", "()")

        return self.lift(make, result)

    def _parameters(self) -> str:
        """The types of a function's parameters, in parentheses."""
        items = []
        while self.peek() not in ("", "E") and self.peek(2) not in ("RE", "OE"):
            items.append(self._type())
        if not items:
            raise Unreadable
        if len(items) == 1 and items[0].kind == "v":
            return "()"
        return self.make(f"({self.listed(self.flat(items))})").left

    def _array(self) -> Text:
        self.need("A")
        size = ""
        if self.peek().isdigit():
            size = self.match(NUMBER)
        elif self.peek() != "_":
            size = self._expression().left
        self.need("_")

        def make(one: Text) -> Text:
            right = one.right[1:] if one.kind == "[]" else one.right
            return self.make(one.left, f" [{size}]{right}", "[]")

        return self.lift(make, self._type())

    def _parameter(self) -> Text:
        """A template parameter: the argument that it stands for."""
        self.need("T")
        number = self.compact()
        self.resolved += 1
        if self.in_lambda:
            return self.make(f"auto:{number}")
        if self.arguments is None or number > len(self.arguments):
            raise Unreadable
        found = self.arguments[number - 1]
        if found.spread is not None:
            pack, found = found.spread, self.make("")
            found.pack = self.flat(pack)
        return found

    def _arguments(self, own: bool = False) -> list[Text]:
        self.need("I", "J")
        last = self.last
        found: list[Text] = []
        if own:
            self.arguments = found
        while not self.take("E"):
            found.append(self._argument())
        self.last = last
        return found

    def _argument(self) -> Text:
        here = self.peek()
        if self.take("X"):
            found = self._expression()
            self.need("E")
            return found
        if here in ("I", "J"):
            found = self.make("")
            found.spread = self._arguments()
            return found
        return self._primary() if here == "L" else self._type()

    def _primary(self) -> Text:
        """A literal, or something that has a mangled name of its own."""
        self.need("L")
        if self.take("_Z", "Z"):
            found = self._encoding()
            self.need("E")
            return found
        kind = self._type()
        sign = "-" if self.take("n") else ""
        end = self.name.find("E", self.at)
        if end < 0:
            raise Unreadable
        text = self.name[self.at : end]
        self.at = end + 1
        if not text:
            return kind
        if kind.kind in SUFFIX:
            return self.make(f"{sign}{text}{SUFFIX[kind.kind]}")
        if kind.kind == "b" and text in "01":
            return self.make("true" if text == "1" else "false")
        text = f"[{text}]" if kind.kind in FLOATS else text
        return self.around("(", kind, f"){sign}{text}")

    def _expression(self) -> Text:
        self.nest()
        found = self._any_expression()
        self.depth -= 1
        return found

    def _member(self) -> Text:
        name = self._unqualified()
        return self._template(name) if self.peek() == "I" else name

    def _any_expression(self) -> Text:
        here = self.peek()
        if here == "L":
            return self._primary()
        if here == "T":
            return self._parameter()
        if here.isdigit() or self.take("on"):
            return self._member()
        if self.take("sr"):
            return self._unresolved()
        if self.take("sp"):
            return self.expanded(self._expression())
        if self.take("fp"):
            return self.make(f"{{parm#{self.compact()}}}", "", "plain")
        text, count, code = self._operator()
        if count == 0:
            raise Unreadable
        if count == 1:
            return self._unary(text, code)
        return self._binary(text, code)

    def _unresolved(self) -> Text:
        """A member of what depends on template arguments: its scopes, then its name."""
        several = self.peek().isdigit()
        scope = self._member() if several else self._type()
        while several and not self.take("E"):
            scope = self.scoped(scope, self._member())
        start = self.at
        found = self.scoped(scope, self._member())
        return self.around("", found) if several and "I" in self.name[start : self.at] else found

    def _unary(self, text: str, code: str) -> Text:
        behind = code in ("pp", "mm") and not self.take("_")

        def make(operand: Text) -> Text:
            inside = operand.operand
            if code == "ad" and operand.kind == "function" and not operand.tail.startswith("("):
                inside = operand.tail or inside
            return self.make(inside + text if behind else text + inside)

        return self.lift(make, self._expression())

    def _binary(self, text: str, code: str) -> Text:
        left = self._expression()
        if code == "cl":
            items = []
            while not self.take("E"):
                items.append(self._expression())
            right = self.make(self.listed(self.flat(items)))
        else:
            right = self._member() if code in ("dt", "pt") else self._expression()

        def make(a: Text, b: Text) -> Text:
            if code == "cl":
                name = a.tail if a.kind == "function" and a.tail else a.operand
                return self.make(f"{name}({b.left})")
            whole = f"{a.operand}{text}{b.operand}"
            return self.make(f"({whole})" if text == ">" else whole)

        return self.lift(make, left, right)
