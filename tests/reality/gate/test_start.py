"""What the gate may import, and what it may not."""

from __future__ import annotations

import subprocess
import sys

import pytest

import envlock

HEAVY = {
    "pydantic", "packaging", "elftools", "tensorflow", "numpy", "typing_extensions",
    "importlib.metadata", "importlib_metadata", "dataclasses", "inspect", "pathlib", "subprocess",
    "email", "logging", "sqlite3", "yaml", "rich", "jinja2", "asyncio", "multiprocessing",
    "concurrent.futures", "unittest", "ctypes", "typing",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    """The modules that a bare interpreter has imported after running `code`."""
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n"))


def test_importing_envlock_imports_nothing_heavy() -> None:
    assert not modules_after("import envlock") & HEAVY


def test_the_modules_of_load_and_check_need_only_light_standard_library() -> None:
    heavy = (
        modules_after("import envlock; envlock.load; envlock.check; import envlock.cli.check")
        & HEAVY
    )
    assert not heavy


def test_every_public_name_exists() -> None:
    for name in envlock.__all__:
        assert getattr(envlock, name) is not None
    assert set(envlock.__all__) <= set(dir(envlock))


def test_public_classes_and_functions_are_documented() -> None:
    for name in envlock.__all__:
        if not name.startswith("__"):
            assert (getattr(envlock, name).__doc__ or "").strip(), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        envlock.unload  # noqa: B018
