"""What no linter here looks at: that modules keep to what others offer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "envlock"
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
