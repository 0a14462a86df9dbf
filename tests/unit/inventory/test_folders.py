"""Where what belongs to the user lies: one reading of the XDG specification for all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envlock.atlas.adding import headers_folder
from envlock.files.folders import atlas_folder
from envlock.inventory.names import default_path

PLACES = {
    "XDG_DATA_HOME": {
        default_path: "{}/envlock/history.sqlite3",
        atlas_folder: "{}/envlock/atlas",
    },
    "XDG_CACHE_HOME": {lambda: str(Path(headers_folder()).parent): "{}/envlock/headers"},
}
DEFAULTS = {"XDG_DATA_HOME": ".local/share", "XDG_CACHE_HOME": ".cache"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ENVLOCK_STORE", raising=False)
    return tmp_path


@pytest.mark.parametrize("variable", PLACES)
@pytest.mark.parametrize("value", [None, "", "relative", "./share", "~/share"])
def test_a_relative_folder_is_ignored(
    variable: str, value: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    for place, expected in PLACES[variable].items():
        assert place() == expected.format(home / DEFAULTS[variable])


@pytest.mark.parametrize("variable", PLACES)
def test_an_absolute_folder_is_taken(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/elsewhere")
    for place, expected in PLACES[variable].items():
        assert place() == expected.format("/elsewhere")
