"""What mangled names are put together from, and the limits on what a name can cost."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Characters of a name that is read, and of the text of any part of it. TensorFlow's longest have
#: 20,000 and 25,000.
MAX_NAME = 1 << 15
MAX_TEXT = 1 << 15
#: Characters of all texts that are made on the way: names can repeat earlier parts of themselves.
MAX_WORK = 1 << 19
#: What a part of a name costs beside the characters of its text.
COST = 32
#: How deep types and expressions may nest; a level takes up to six frames of Python's stack.
MAX_DEPTH = 100

NUMBER = re.compile(r"[0-9]{1,18}(?![0-9])")
BUILTIN = {
    "a": "signed char", "b": "bool", "c": "char", "d": "double", "e": "long double", "f": "float",
    "g": "__float128", "h": "unsigned char", "i": "int", "j": "unsigned int", "l": "long",
    "m": "unsigned long", "n": "__int128", "o": "unsigned __int128", "s": "short",
    "t": "unsigned short", "v": "void", "w": "wchar_t", "x": "long long",
    "y": "unsigned long long", "z": "...", "Da": "auto", "Dc": "decltype(auto)",
    "Dd": "decimal64", "De": "decimal128", "Df": "decimal32", "Dh": "half", "Di": "char32_t",
    "Dn": "decltype(nullptr)", "Ds": "char16_t", "Du": "char8_t",
}  # fmt: skip
#: What stands behind a literal of a type that needs no cast; how others are written.
SUFFIX = {"i": "", "j": "u", "l": "l", "m": "ul", "x": "ll", "y": "ull"}
FLOATS = frozenset("defg")
#: Substitutions: how they are written, the class's own name, what a constructor stands behind.
STANDARD = {
    "a": ("std::allocator", "allocator", ""),
    "b": ("std::basic_string", "basic_string", ""),
    "s": ("std::string", "basic_string", "<char, std::char_traits<char>, std::allocator<char> >"),
    "i": ("std::istream", "basic_istream", "<char, std::char_traits<char> >"),
    "o": ("std::ostream", "basic_ostream", "<char, std::char_traits<char> >"),
    "d": ("std::iostream", "basic_iostream", "<char, std::char_traits<char> >"),
}
#: How operators are written, by the number of their operands.
OPERATORS = {
    1: {
        "ad": "&", "aw": "co_await ", "az": "alignof ", "co": "~", "da": "delete[] ", "de": "*",
        "dl": "delete ", "gs": "::", "mm": "--", "na": "new[]", "ng": "-", "nt": "!", "nw": "new",
        "pp": "++", "ps": "+", "sz": "sizeof ", "tw": "throw ",
    },
    2: {
        "aN": "&=", "aS": "=", "aa": "&&", "an": "&", "cl": "()", "cm": ",", "dV": "/=", "ds": ".*",
        "dt": ".", "dv": "/", "ix": "[]", "eO": "^=", "eo": "^", "eq": "==", "ge": ">=", "gt": ">",
        "lS": "<<=", "le": "<=", "li": 'operator"" ', "ls": "<<", "lt": "<", "mI": "-=", "mL": "*=",
        "mi": "-", "ml": "*", "ne": "!=", "oR": "|=", "oo": "||", "or": "|", "pL": "+=", "pl": "+",
        "pm": "->*", "pt": "->", "rM": "%=", "rS": ">>=", "rm": "%", "rs": ">>",
        "ss": "<=>",
    },
}  # fmt: skip
SPECIAL = {
    "TV": "vtable", "TT": "VTT", "TI": "typeinfo", "TS": "typeinfo name", "TF": "typeinfo fn",
    "TH": "TLS init function", "TW": "TLS wrapper function", "GV": "guard variable",
    "GT": "transaction clone", "Th": "non-virtual thunk", "Tv": "virtual thunk",
    "Tc": "covariant return thunk",
}  # fmt: skip
QUALIFIERS = {"r": " restrict", "V": " volatile", "K": " const", "Do": " noexcept"}
BEHIND = {"P": "*", "R": "&", "O": "&&", "C": " _Complex", "G": " _Imaginary"}
OFFSET = re.compile(r"h n?\d+ _ | v n?\d+ _ n?\d+ _", re.VERBOSE)
DISCRIMINATOR = re.compile(r"(?:_(?:\d|_\d\d+_))?")
SEQUENCE = re.compile("[0-9A-Z]{0,6}_")


class Unreadable(Exception):
    """A name that is not understood, or that exceeds a limit."""


class Text:
    """What is written for a part of a name, before and behind what is declared with it.

    `kind` is "()" for a function type, "[]" for an array, "<>" for a template with its arguments,
    "special" for a constructor, destructor or conversion, "plain" for what needs no parentheses as
    an operand, "function" for one with its parameters, the code of a builtin type. `tail` holds a
    member function's qualifiers, or a function's own name. `pack` are the texts of a parameter
    pack, one of which is meant; `spread` those of an expanded one, all of which are.
    """

    __slots__ = ("kind", "left", "pack", "right", "spread", "tail")

    def __init__(self, left: str, right: str = "", kind: str = "", tail: str = "") -> None:
        self.left = left
        self.right = right
        self.kind = kind
        self.tail = tail
        self.pack: list[Text] | None = None
        self.spread: list[Text] | None = None

    @property
    def whole(self) -> str:
        return self.left + self.right

    @property
    def operand(self) -> str:
        """As part of an expression."""
        return self.left if self.kind == "plain" else f"({self.whole})"


class Reader:
    """A name and what is made of it: the parts that have no grammar. Raises `Unreadable`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.at = 2
        self.work = MAX_WORK
        self.depth = 0

    def peek(self, size: int = 1) -> str:
        return self.name[self.at : self.at + size]

    def take(self, *texts: str) -> str:
        """The one of these texts that comes next, passed over; empty where none does."""
        for text in texts:
            if self.name.startswith(text, self.at):
                self.at += len(text)
                return text
        return ""

    def need(self, *texts: str) -> str:
        found = self.take(*texts)
        if not found:
            raise Unreadable
        return found

    def match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.name, self.at)
        if match is None:
            raise Unreadable
        self.at = match.end()
        return match[0]

    def compact(self) -> int:
        """`_` is 1, `0_` is 2."""
        number = 1 if self.peek() == "_" else int(self.match(NUMBER)) + 2
        self.need("_")
        return number

    def spend(self, amount: int) -> None:
        """Take note of work that is done, or of a list that is made."""
        self.work -= amount
        if self.work < 0:
            raise Unreadable

    def make(self, left: str, right: str = "", kind: str = "", tail: str = "") -> Text:
        size = len(left) + len(right)
        if size > MAX_TEXT:
            raise Unreadable
        self.spend(size + COST)
        return Text(left, right, kind, tail)

    def lift(self, make: Callable[..., Text], *parts: Text) -> Text:
        """`make(*parts)`; of packs, for each of their elements."""
        packs = [part.pack for part in parts if part.pack is not None]
        if not packs:
            if sum(len(part.left) + len(part.right) for part in parts) > MAX_TEXT:
                raise Unreadable
            return make(*parts)
        found = self.make("")
        found.pack = [
            self.lift(make, *(part if part.pack is None else part.pack[number] for part in parts))
            for number in range(min(len(pack) for pack in packs))
        ]
        return found

    def around(self, before: str, part: Text, behind: str = "") -> Text:
        return self.lift(lambda one: self.make(f"{before}{one.whole}{behind}"), part)

    def scoped(self, scope: Text, name: Text, between: str = "::") -> Text:
        def make(outer: Text, inner: Text) -> Text:
            kind = "plain" if inner.kind == "<>" else inner.kind
            return self.make(f"{outer.whole}{between}{inner.left}", "", kind, inner.tail)

        return self.lift(make, scope, name)

    def nest(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable

    def flat(self, items: list[Text]) -> list[Text]:
        """Items with those of expanded packs; an empty pack is an empty item."""
        found: list[Text] = []
        for item in items:
            found.extend([item] if item.spread is None else self.flat(item.spread) or [Text("")])
        self.spend(COST * len(found))
        return found

    @staticmethod
    def listed(items: Sequence[Text]) -> str:
        """Items with commas between them; what is empty at the end is left out."""
        if sum(len(item.left) + len(item.right) for item in items) > MAX_TEXT:
            raise Unreadable
        texts = [item.whole for item in items]
        while texts and not texts[-1]:
            texts.pop()
        return ", ".join(texts)

    def modified(self, inner: Text, mark: str) -> Text:
        """A pointer to a type, a reference, a qualified one and the like."""

        def make(one: Text) -> Text:
            left, right = one.left, one.right
            member = mark.endswith("::*")
            if mark.startswith(" ") and one.kind != "()":
                # GNU writes a qualifier once, however often it is given.
                return self.make(left if left.endswith(mark) else left + mark, right, one.kind)
            if one.kind == "()":
                tight = left.endswith(" ") or (left.endswith(("(", "*")) and not member)
                return self.make(f"{left}{'' if tight else ' '}({mark}", f"){right}")
            if one.kind == "[]":
                return self.make(f"{left} ({mark}", f"){right}")
            if member and not left.endswith("("):
                return self.make(f"{left} {mark}", right)
            if mark in ("&", "&&") and left.endswith("&"):
                # A reference to a reference: only && to && stays what it is.
                both = mark == "&&" and left.endswith("&&")
                return self.make(left.rstrip("&") + ("&&" if both else "&"), right)
            return self.make(left + mark, right)

        return self.lift(make, inner)

    def expanded(self, pattern: Text) -> Text:
        """All elements of a pack, or the pattern with dots where there is none."""
        if pattern.pack is None:
            return self.make(f"{pattern.operand}...")
        found = self.make("")
        found.spread = pattern.pack
        return found
