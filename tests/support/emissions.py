"""Every `Finding(...)` of the source, and which rules and verdicts it can have, without running it.

A rule or verdict is followed through conditional expressions, local names, parameters (to all
calls in the module), tables and functions of the module. What cannot be followed is an error: a
finding whose rule nobody can tell is one whose rule nobody can look up.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[2] / "envlock"
Function = ast.FunctionDef


class Source:
    """One module: its tree, its functions by name, and the function that each node is in."""

    def __init__(self, path: Path) -> None:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        self.name = ".".join(part for part in parts if part != "__init__")
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.functions: dict[str, Function] = {}
        self.inside: dict[ast.AST, Function | None] = {}
        self._following: set[tuple[str, Function | None]] = set()
        self._enter(self.tree, None)

    def _enter(self, node: ast.AST, function: Function | None) -> None:
        self.inside[node] = function
        if isinstance(node, Function):
            function = self.functions[node.name] = node
        for child in ast.iter_child_nodes(node):
            self._enter(child, function)

    @functools.cached_property
    def module(self) -> ModuleType:
        return importlib.import_module(self.name)

    def calls(self, name: str, within: ast.AST | None = None) -> Iterator[ast.Call]:
        for node in ast.walk(within or self.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == name
            ):
                yield node

    def findings(self, within: ast.AST | None = None) -> Iterator[tuple[set[str], set[str]]]:
        """The rules and the verdicts of each finding that is made here."""
        for call in self.calls("Finding", within):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            yield self.values(given["rule"]), self.values(given["verdict"])

    def values(self, expression: ast.expr) -> set[str]:
        """All strings that an expression can be."""
        if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
            return {expression.value}
        if isinstance(expression, ast.IfExp):
            return self.values(expression.body) | self.values(expression.orelse)
        if isinstance(expression, ast.Subscript) and isinstance(expression.value, ast.Name):
            return set(getattr(self.module, expression.value.id).values())
        if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
            called = self.functions[expression.func.id]
            returned = [n.value for n in ast.walk(called) if isinstance(n, ast.Return) and n.value]
            return set().union(*map(self.values, returned))
        if isinstance(expression, ast.Name):
            key = expression.id, self.inside[expression]
            if key in self._following:
                return set()  # what it is besides is being found out
            found = [*self._bound(*key)]
            if found:
                self._following.add(key)
                values = set().union(*map(self.values, found))
                self._following.remove(key)
                return values
            constant = getattr(self.module, expression.id, None)
            if isinstance(constant, str):
                return {constant}
        where = f"{self.name}:{expression.lineno}"
        raise AssertionError(f"{where}: nobody can tell what `{ast.unparse(expression)}` is")

    def _bound(self, name: str, function: Function | None) -> Iterator[ast.expr]:
        """The expressions that a name of a function can stand for."""
        if function is None:
            return
        parameters = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
        if name in parameters:
            for call in self.calls(function.name):
                given = dict(zip(parameters, call.args))
                given.update({k.arg: k.value for k in call.keywords if k.arg is not None})
                yield given[name]
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and _is(node.targets[0], name):
                yield node.value
            elif isinstance(node, ast.comprehension):
                yield from self._keys(name, node, function)

    def _keys(self, name: str, loop: ast.comprehension, function: Function) -> Iterator[ast.expr]:
        """`for (x, name), value in table.items()`: what is put into the keys of the table."""
        target = loop.target.elts[0] if isinstance(loop.target, ast.Tuple) else None
        if not isinstance(target, ast.Tuple) or not any(_is(one, name) for one in target.elts):
            return
        place = next(at for at, one in enumerate(target.elts) if _is(one, name))
        assert isinstance(loop.iter, ast.Call)
        assert isinstance(loop.iter.func, ast.Attribute)
        table = ast.unparse(loop.iter.func.value)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{table}.setdefault":
                assert isinstance(node.args[0], ast.Tuple)
                yield node.args[0].elts[place]

    def reached(self, name: str) -> set[str]:
        """A function of the module and those that it calls there."""
        found: set[str] = set()
        pending = [name]
        while pending:
            one = pending.pop()
            if one in self.functions and one not in found:
                found.add(one)
                pending += [
                    node.func.id
                    for node in ast.walk(self.functions[one])
                    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                ]
        return found


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@functools.cache
def sources() -> dict[str, Source]:
    """All modules of the package that make findings, by name."""
    found = (Source(path) for path in sorted(PACKAGE.rglob("*.py")))
    return {one.name: one for one in found if any(one.calls("Finding"))}


@functools.cache
def emitted() -> dict[str, set[str]]:
    """Each rule that a finding can have, and the verdicts that it can have with it."""
    found: dict[str, set[str]] = {}
    for source in sources().values():
        for rules, verdicts in source.findings():
            for rule in rules:
                found.setdefault(rule, set()).update(verdicts)
    return found


def emitted_by(function: object) -> set[str]:
    """The rules of the findings that a function, or what it calls in its module, makes."""
    source = sources()[function.__module__]
    names = source.reached(function.__name__)  # type: ignore[attr-defined]
    return {
        rule
        for name in names
        for rules, _ in source.findings(source.functions[name])
        for rule in rules
    }
