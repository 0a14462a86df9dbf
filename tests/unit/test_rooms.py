"""The rooms of the package: few, imports point down only, and nothing runs in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "envlock"
#: From the top. A module imports from its own room and from those below.
ROOMS = (
    "cli",
    "inventory",
    "actions",
    "report",
    "rules",
    "plugin",
    "atlas",
    "linker",
    "environment",
    "binary",
    "files",
    "models",
)


def modules(package: Path) -> dict[str, Path]:
    """Dotted names, relative to the package, of its modules."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> Iterator[tuple[str, str, str]]:
    """(importing module, imported module, where the import stands), also those within functions
    and those for type checkers."""
    known = modules(package)
    for name, path in known.items():
        inside = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            if node.level == 0:
                if (node.module or "").split(".")[0] != package.name:
                    continue
                base = (node.module or "").split(".")[1:]
            else:
                above = inside[: len(inside) - node.level + 1]
                base = [*above, *(node.module or "").split(".")] if node.module else above
            where = f"{path.relative_to(package.parent)}:{node.lineno}"
            for alias in node.names:
                target = ".".join([*base, alias.name])
                yield name, target if target in known else ".".join(base), where


def upward(package: Path) -> list[str]:
    """The imports that point up, or at the package itself, in words."""
    found = []
    for name, target, where in imports(package):
        room, other = name.split(".")[0], target.split(".")[0]
        if room in ("", "__main__"):
            continue
        if other not in ROOMS:
            found.append(f"{where}: `{name}` imports from the package itself")
        elif ROOMS.index(other) < ROOMS.index(room):
            found.append(f"{where}: `{name}` imports `{target}`, which is above it")
    return found


def circles(package: Path) -> list[str]:
    """Imports that lead back to where they stand, each as a path of modules."""
    reached: dict[str, set[str]] = {}
    for name, target, _ in imports(package):
        if name != target:
            reached.setdefault(name, set()).add(target)
    done: set[str] = set()
    found = []

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            found.append(" -> ".join([*trail[trail.index(module) :], module]))
            return
        if module not in done:
            for target in sorted(reached.get(module, ())):
                visit(target, [*trail, module])
            done.add(module)

    for module in sorted(reached):
        visit(module, [])
    return found


def test_every_unit_at_the_top_is_a_room() -> None:
    units = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert units - {"__pycache__"} == {*ROOMS, "__init__", "__main__"}
    assert len(units - {"__pycache__"}) <= 14


def test_imports_point_down() -> None:
    assert upward(PACKAGE) == []


def test_no_imports_run_in_a_circle() -> None:
    assert circles(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "line", "told"),
    [
        ("models/a.py", "from ..cli import b", "models/a.py:1: `models.a` imports `cli.b`"),
        ("files/a.py", "def f():\n    from ..rules.x import y", "files/a.py:2: `files.a` imports"),
        ("rules/a.py", "from .. import check", "`rules.a` imports from the package itself"),
    ],
)
def test_the_import_that_offends_is_named(
    tmp_path: Path, module: str, line: str, told: str
) -> None:
    package = tmp_path / "envlock"
    for name in ("__init__.py", "cli/__init__.py", "cli/b.py", "rules/__init__.py", "rules/x.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    (package / module).parent.mkdir(exist_ok=True)
    (package / module).write_text(line)
    assert any(told in text for text in upward(package))


def test_a_circle_is_shown_as_a_path(tmp_path: Path) -> None:
    package = tmp_path / "envlock"
    (package / "files").mkdir(parents=True)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (package / "files" / f"{name}.py").write_text(f"from .{other} import x")
    assert circles(package) == ["files.a -> files.b -> files.c -> files.a"]
