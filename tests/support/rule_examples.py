"""A pytest option that keeps one finding for each rule: `pytest --rule-examples FILE tests/...`.

The examples of docs/reference/rules.md are findings that envlock made while the tests ran, on real
files and real environments. A better example than the one in FILE takes its place, so the tests can
be run in pieces. `tools.rules_page` turns FILE into the page.

The Pythons of TensorFlow environments that tests start take part too: they find a `sitecustomize`
that starts a recorder of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envlock.models.compat import CompatRelease
from envlock.models.report import Finding, Report
from tests.support import environments
from tests.support.environments import TfEnvironment

if TYPE_CHECKING:
    import subprocess

    import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
#: Names the file to a child, whose processes may end without running anything more.
VARIABLE = "ENVLOCK_RULE_EXAMPLES"
PACKAGE = str(CHECKOUT / "envlock") + os.sep
#: Modules that pass records on; who makes a finding stands above them.
CARRIERS = ("record.py", "report.py", "rules/base.py")
FIELDS = ("verdict", "subject", "built", "live", "message", "why", "remedy", "examples")
#: What the tests of an example work on: TensorFlow environments, real files, or facts that they state.
REALITY, FILES, FACTS = "reality", "files", "facts"
#: Characters of a message or remedy that is easily read.
SHORT = 240


class Recorder:
    """Keeps the best finding of every rule that the tests of one process made."""

    def __init__(self, file: Path, kind: str = FILES, *, at_once: bool = False) -> None:
        self.file = file
        self.found: dict[str, dict[str, Any]] = {}
        self.kind = kind
        self.at_once = at_once

    def start(self) -> None:
        """Have findings and reports tell when they are made, until the process ends."""
        for cls in (Finding, Report, CompatRelease):
            setattr(cls, "__init__", self._watched(cls))  # noqa: B010 (mypy)

    def _watched(self, cls: Any) -> Any:
        made = cls.__init__

        @functools.wraps(made)
        def init(record: Any, *args: Any, **values: Any) -> None:
            made(record, *args, **values)
            if not _by_envlock():
                return
            if isinstance(record, Finding):
                self.consider(record, "rule")
            else:
                source = "check" if isinstance(record, Report) else "compat"
                for finding in record.findings:
                    self.consider(finding, source)

        return init

    def consider(self, finding: Finding, source: str) -> None:
        """Keep a finding if it is a better example than the one that is kept.

        `source` is "check" or "compat" where it stands in such a report, "rule" where a rule was
        only asked by itself.
        """
        told = {name: getattr(finding, name) for name in FIELDS}
        told = {name: _plain(value) for name, value in told.items() if value}
        example = {"source": source, "tests": self.kind, **told}
        kept = self.found.get(finding.rule)
        if kept is None or worth(example) > worth(kept):
            self.found[finding.rule] = example
            if self.at_once:
                self.write()

    def write(self) -> None:
        """Merge what was found into the file; other processes may do the same."""
        with _locked(self.file):
            kept = json.loads(self.file.read_text()) if self.file.is_file() else {}
            for rule, example in self.found.items():
                if rule not in kept or worth(example) > worth(kept[rule]):
                    kept[rule] = example
            text = json.dumps(dict(sorted(kept.items())), indent=2, ensure_ascii=False)
            self.file.write_text(text + "\n", encoding="utf-8")


def worth(example: dict[str, Any]) -> tuple[object, ...]:
    """How good an example is; a total order, so that the order of the tests does not matter."""
    text = json.dumps(example, sort_keys=True)
    return (
        example["tests"] == REALITY,
        example["tests"] == FILES,
        example["source"] == "check",
        example["source"] == "compat",
        "remedy" in example,
        len(example["message"]) + len(example.get("remedy", "")) <= SHORT,
        "/" not in example["message"],
        "built" in example and "live" in example,
        -len(text),
        text,
    )


def _by_envlock() -> bool:
    """Whether the record is made by envlock itself, not by a test."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.endswith(CARRIERS) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename.startswith(PACKAGE)


def _plain(value: Any) -> Any:
    """Text without the names of this machine's folders."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    text = str(value)
    cache = re.escape(str(environments.cache_root()))
    environment = rf"{cache}/tensorflow(?:-cpu)?-(\d+)\.(\d+)[^/\s'`]*"
    text = re.sub(environment, r"/opt/tf\1\2", text)
    text = re.sub(rf"{cache}/plugins/[^/\s]+/[^/\s]+", "/project", text)
    text = re.sub(cache, "/cache", text)
    text = re.sub(r"/tmp/pytest-of-[^/]+/pytest-\d+/(popen-gw\d+/)?[^/\s'`,;:]+", "/project", text)
    text = text.replace(os.path.realpath(sys.prefix), "/opt/tools")
    return text.replace(sys.prefix, "/opt/tools").replace(str(Path.home()), "~")


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with open(file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rule-examples",
        metavar="FILE",
        help="keep one finding for each rule that the tests make there (for docs/reference)",
    )


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--rule-examples")
    if file:
        config.pluginmanager.register(Keeping(Path(file).absolute()), "rule-examples")


class Keeping:
    """The hooks of a run that keeps examples."""

    def __init__(self, file: Path) -> None:
        self.recorder = Recorder(file)
        self.hooks = tempfile.TemporaryDirectory(prefix="envlock-rule-examples-")
        (Path(self.hooks.name) / "sitecustomize.py").write_text(
            f"import sys\nsys.path.append({str(CHECKOUT)!r})\n"
            "from tests.support.rule_examples import in_child\nin_child()\n"
        )

    def pytest_sessionstart(self) -> None:
        self.recorder.start()
        started = TfEnvironment.run

        def run(
            env: TfEnvironment, *args: str, timeout: float = 300, **environ: str
        ) -> subprocess.CompletedProcess[str]:
            environ["PYTHONPATH"] = f"{self.hooks.name}:{environ.get('PYTHONPATH', '')}"
            environ[VARIABLE] = str(self.recorder.file)
            return started(env, *args, timeout=timeout, **environ)

        setattr(TfEnvironment, "run", run)  # noqa: B010 (mypy)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        parts = item.path.parts
        made_up = parts[-3:-1] == ("unit", "rules")
        self.recorder.kind = REALITY if "reality" in parts else FACTS if made_up else FILES

    def pytest_sessionfinish(self) -> None:
        self.hooks.cleanup()
        self.recorder.write()


def in_child() -> None:
    """Record in a process that a test has started."""
    Recorder(Path(os.environ[VARIABLE]), REALITY, at_once=True).start()
