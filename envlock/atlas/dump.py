"""Reading g++'s dump of a compiled probe: each function's statements and variables.

The dump is what `-fdump-tree-ssa-asmname` writes: one memory access a statement, members by name,
callees by mangled name.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Fact = tuple[str, str, str]
    Step = tuple[Fact, ...]
    Path = tuple[Step, ...]

_HEADER = re.compile(r"^;; Function (.*) \(([^\s,()]+), funcdef_no=")
_DECLARATION = re.compile(r"^  (?:static )?(?:const )?(?:volatile )?(?:struct|union|class) (.+);$")
_PARAMETER = re.compile(r"(?:const )?(?:struct|union|class) (\w+)")


class Value:
    """What a variable holds: a pointer reached from `root` by `steps`, then moved by `here`."""

    __slots__ = ("cls", "here", "root", "steps")

    def __init__(self, cls: str, root: str, steps: Path, here: Step) -> None:
        self.cls = cls
        self.root = root
        self.steps = steps
        self.here = here


class Function:
    """One function of the dump and what it needs of classes."""

    __slots__ = (
        "body",
        "facts",
        "name",
        "owner",
        "parameters",
        "paths",
        "result",
        "state",
        "types",
    )

    def __init__(self, name: str, owner: str) -> None:
        self.name = name
        self.owner = owner  # class of `this`
        self.parameters: list[str] = []
        self.types: dict[str, str] = {}  # variable -> unqualified class
        self.body: list[str] = []
        self.facts: set[Fact] = set()
        self.paths: set[tuple[str, Path]] = set()  # (root parameter, steps)
        self.result: Value | None = None
        self.state = 0


def read_functions(lines: Iterable[str], owners: Mapping[str, str]) -> dict[str, Function]:
    """Split a dump into functions; `owners` gives the class of a mangled member function."""
    functions: dict[str, Function] = {}
    current: Function | None = None
    in_body = False
    for line in lines:
        if line.startswith(";; Function "):
            match = _HEADER.match(line)
            current = None
            in_body = False
            if match and match[2] not in functions:
                current = functions[match[2]] = Function(match[2], owners.get(match[2], ""))
            continue
        if current is None:
            continue
        if line.startswith("}"):
            current = None
        elif line.startswith("{"):
            in_body = True
        elif not in_body:
            if line[:1] not in ("\n", ";", " ") and "(" in line:
                _read_signature(current, line)
        elif line.startswith("  "):
            text = line.strip()
            if line.startswith("  <bb"):
                continue
            declared = _DECLARATION.match(line.rstrip("\n"))
            if declared and "=" not in text:
                _declare(current, declared[1])
            elif not (text.endswith(";") and " = " not in text and "(" not in text):
                current.body.append(text)
    return functions


def _declare(function: Function, text: str) -> None:
    # "Params * _1", "Span _2", "basic_string & value", "Status D.12"
    words = text.split()
    if len(words) >= 2:
        by_value = "*" not in words and "&" not in words and "&&" not in words
        name = words[-1].split("[")[0]
        function.types[name] = ("=" if by_value else "") + words[0]


def _read_signature(function: Function, line: str) -> None:
    start = line.rfind(" (")
    if start < 0:
        return
    for text in line[start + 2 :].rstrip().rstrip(")").split(", "):
        words = text.split()
        if not words:
            continue
        name = words[-1]
        function.parameters.append(name)
        match = _PARAMETER.match(text)
        if match:
            by_value = "*" not in words and "&" not in words and "&&" not in words
            function.types[name] = ("=" if by_value else "") + match[1]


def iter_lines(path: str) -> Iterator[str]:
    """The lines of a dump."""
    with open(path, encoding="utf-8", errors="replace") as file:
        yield from file
