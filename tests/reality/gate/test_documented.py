"""What a public function raises stands in its documentation, as far as a caller can tell it apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

import envlock
from envlock.models import errors
from envlock.models.policy import PolicyFile
from tests.support.elves import compile_library
from tests.support.environments import TfEnvironment

MISSING = "/nonexistent/file"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("documented") / "plugin.so")


#: function, error, positional arguments, keywords; PLUGIN, NOTHING (an empty file) and ENV are
#: filled in.
CASES: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("stamp", "FileAccessError", (MISSING,), {}),
    ("stamp", "ElfError", ("NOTHING",), {}),
    ("stamp", "EnvironmentUnreadable", ("PLUGIN",), {"env": MISSING}),
    ("stamp", "KeyFileError", ("PLUGIN",), {"sign": "NOTHING"}),
    ("stamp", "InputError", ("PLUGIN",), {"env": "ENV", "compile_commands": "NOTHING"}),
    ("stamp", "WriteError", ("PLUGIN",), {"env": "ENV", "output": f"{MISSING}/x.so"}),
    ("check", "FileAccessError", (MISSING,), {"env": "ENV"}),
    ("check", "ElfError", ("NOTHING",), {"env": "ENV"}),
    ("check", "EnvironmentUnreadable", ("PLUGIN",), {"env": MISSING}),
    ("check", "PolicyError", ("PLUGIN",), {"policy": MISSING}),
    ("check", "KeyFileError", ("PLUGIN",), {"env": "ENV", "policy": PolicyFile(trust=("NOTHING",))}),
    ("compat", "FileAccessError", (MISSING,), {}),
    ("compat", "ElfError", ("NOTHING",), {}),
    ("read_manifest", "FileAccessError", (MISSING,), {}),
    ("read_manifest", "ElfError", ("NOTHING",), {}),
    ("read_manifest", "ManifestMissing", ("PLUGIN",), {}),
    ("snapshot", "EnvironmentUnreadable", (MISSING,), {}),
    ("snapshot", "UsageError", ("ENV",), {"integrity": "some"}),
    ("diff", "FileAccessError", (MISSING, "ENV"), {}),
    ("diff", "EnvironmentUnreadable", ("ENV", "/proc/sys"), {}),
    ("diff", "ManifestMissing", ("PLUGIN", "ENV"), {}),
    ("diff", "UsageError", ("ENV", None), {"integrity": "some"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "error", "arguments", "keywords"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES]
)
def test_the_error_is_documented(
    name: str,
    error: str,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    plugin: Path,
    tf_env: Callable[[str], TfEnvironment],
) -> None:
    nothing = plugin.with_name("nothing")
    nothing.touch()
    known = {"PLUGIN": str(plugin), "NOTHING": str(nothing), "ENV": str(tf_env("2.15.1").prefix)}

    def filled(value: Any) -> Any:
        if isinstance(value, PolicyFile):
            return value.replace(trust=tuple(map(filled, value.trust)))
        return known.get(value, value)

    function = getattr(envlock, name)
    with pytest.raises(errors.EnvlockError) as caught:
        function(*map(filled, arguments), **{k: filled(v) for k, v in keywords.items()})
    assert type(caught.value).__name__ == error
    assert f"`{error}`" in (function.__doc__ or "")


def test_every_error_that_is_documented_exists() -> None:
    import re

    for name in envlock.__all__:
        text = getattr(getattr(envlock, name), "__doc__", None) or ""
        for said in re.findall(r"`(\w+(?:Error|Unreadable|Missing|Refused))`", text):
            assert issubclass(getattr(errors, said), errors.EnvlockError), name
