"""What no linter here looks at: modules keep to what others offer, and offer what is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "envlock"
#: Underscored names of the standard library that are public.
STANDARD = {
    "os._exit",
    "sys._version_info",
    "node._fields",
    "ctypes._NamedFuncPointer",
    "ctypes.CDLL(None)._handle",
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def strange_names(module: Path) -> Iterator[str]:
    """Private names that a module takes from elsewhere."""
    tree = ast.parse(module.read_text())
    own = {
        node.name if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                # `from . import _version` takes a module.
                if private(alias.name) and node.module is not None:
                    yield f"{module.name}:{node.lineno}: {alias.name}"
        elif isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            text = ast.unparse(node)
            if not text.startswith(("self.", "cls.")) and text not in STANDARD:
                yield f"{module.name}:{node.lineno}: {text}"


def test_private_names_stay_in_their_module() -> None:
    found = [one for module in sorted(PACKAGE.rglob("*.py")) for one in strange_names(module)]
    assert found == []


def definitions(body: list[ast.stmt], inside: bool = False) -> Iterator[tuple[str, int]]:
    """Functions, classes and methods, and the constants of a module, with their lines."""
    for node in body:
        if isinstance(node, ast.If):
            yield from definitions([*node.body, *node.orelse], inside)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, inside=True)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not inside:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(name, ast.Name):
                        yield name.id, node.lineno


def uses(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value  # as `envlock.__getattr__` takes them


def test_nothing_is_left_over() -> None:
    """What only a test would call belongs to the test. Names that many things share hide some."""
    trees = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
    makers = [ast.parse(path.read_text()) for path in (PACKAGE.parent / "tools").glob("*.py")]
    used = {name for tree in [*trees.values(), *makers] for name in uses(tree)}
    used |= {"script", "symbolic"}  # pyproject.toml's; `Library` says what ELF can say
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path, tree in trees.items()
        for name, line in definitions(tree.body)
        if name not in used and not name.startswith("__")
    ]
    assert found == []
