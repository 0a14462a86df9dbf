"""Inside a real notebook and inside a real pytest, with TensorFlow in both."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.reality.embedding.conftest import Place


@pytest.fixture
def notebook(place: Place, extra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`notebook(cell, ...)`: runs the cells in a kernel of the environment, gives their outputs."""
    spec = tmp_path / "share" / "kernels" / "plugins"
    spec.mkdir(parents=True)
    command = [str(place.env.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    environ = place.environ(extra)
    (spec / "kernel.json").write_text(
        json.dumps(
            {
                "argv": command,
                "display_name": "plugins",
                "language": "python",
                "env": {name: environ[name] for name in ("PYTHONPATH", *_QUIET)},
            }
        )
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))

    def run(*cells: str) -> list[list[Any]]:
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        NotebookClient(book, timeout=300, kernel_name="plugins").execute()
        return [cell.outputs for cell in book.cells]

    return run


_QUIET = ("CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL")


def test_in_a_notebook(place: Place, notebook: Any) -> None:
    loaded, computed, refused = notebook(
        f"import envlock\nop = envlock.load({str(place.fitting)!r})",
        "op.zero_out([4, 3]).numpy().tolist()",
        f"try:\n    envlock.load({str(place.unfit)!r})\n"
        "except envlock.IncompatiblePluginError as error:\n    print(error)",
    )
    assert loaded == []  # nothing printed, nothing displayed
    assert [output["data"]["text/plain"] for output in computed] == ["[4, 0]"]
    (stream,) = refused
    assert stream["name"] == "stdout"
    first, second = stream["text"].splitlines()[:2]
    assert first.endswith("unfit.so: incompatible with TensorFlow 2.15.1 (tensorflow-cpu): "
                          "it would not load")  # fmt: skip
    assert second.startswith("  incompatible[")


def test_under_pytest(place: Place, extra: Path, tmp_path: Path) -> None:
    """Warnings as errors, output captured at the level of file descriptors, random threads none."""
    (tmp_path / "test_op.py").write_text(
        f"""
import threading, warnings
import pytest
import envlock

@pytest.fixture(scope="module")
def op():
    return envlock.load({str(place.fitting)!r})

def test_op(op, capfd, caplog):
    again = envlock.load({str(place.fitting)!r})
    assert again is op
    assert op.zero_out([2, 1]).numpy().tolist() == [2, 0]
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []

def test_unfit(capfd):
    with pytest.raises(envlock.IncompatiblePluginError, match="would not load"):
        envlock.load({str(place.unfit)!r})
    assert capfd.readouterr() == ("", "")

def test_threads_are_none():
    assert not [t for t in threading.enumerate() if "envlock" in t.name.lower()]
"""
    )
    done = subprocess.run(
        [place.env.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_op.py",
         "-W", "error::envlock.EnvlockWarning", "-W", "error::ResourceWarning"],
        cwd=tmp_path,
        env=place.environ(extra),
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "3 passed" in done.stdout
