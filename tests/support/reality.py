"""What really happens when a plugin is loaded: `tf.load_op_library` in a child process, and kept.

    outcome = judge([Trial(plugin, "resource")], env)[0]
    outcome.outcome      # "loads", "load_error" or "crash"
    outcome.functional   # "pass", "wrong", "exception", "crash", "timeout"; None: not asked

An outcome is kept in the cache folder under the plugin's bytes, the libraries beside it and the
environment, so that only what is new is tried.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support import environments
from tests.support.environments import TfEnvironment

ANSWERS = Path(__file__).resolve().parents[1] / "campaigns" / "conformance" / "answers.py"
_JUDGE = Path(__file__).with_name("_judge.py")


@dataclass(frozen=True)
class Trial:
    """One plugin to load; `answer` names the function that knows what it must compute."""

    plugin: Path
    answer: str = ""
    runs: int = 1
    """How many processes try it; the worst outcome counts, since some crashes are rare."""


@dataclass(frozen=True)
class Outcome:
    """What became of one load."""

    outcome: str
    error_class: str | None
    message: str | None
    functional: str | None
    ops: int | None
    signal: int | None

    @property
    def accepted(self) -> bool:
        """Whether the dynamic linker took it; a crash comes after that."""
        return self.outcome != "load_error"

    @property
    def dangerous(self) -> bool:
        """Taken, and then the process died or did not give the answer that is known."""
        return self.outcome == "crash" or self.functional not in ("pass", None)

    @property
    def works(self) -> bool:
        return self.outcome == "loads" and self.functional in ("pass", None)


class JudgeError(RuntimeError):
    """TensorFlow itself could not be imported in the environment."""


def judge(trials: Sequence[Trial], env: TfEnvironment) -> list[Outcome]:
    """The outcome of each trial in `env`, in order; TensorFlow is imported at most once."""
    folder = environments.cache_root() / "outcomes" / env.prefix.name
    keys = [_key(trial) for trial in trials]
    known = {key: _read(folder / f"{key}.json") for key in set(keys)}
    new = {key: trial for key, trial in zip(keys, trials) if known[key] is None}
    if new:
        for key, raw in zip(new, _try([*new.values()], env)):
            _write(folder / f"{key}.json", raw)
            known[key] = raw
    return [_outcome(known[key]) for key in keys]


def _outcome(raw: dict[str, Any] | None) -> Outcome:
    if raw is None:
        raise JudgeError("an outcome got lost")
    return Outcome(**raw)


def _try(trials: Sequence[Trial], env: TfEnvironment) -> list[dict[str, Any]]:
    jobs = [
        {**asdict(trial), "plugin": str(trial.plugin), "answers": str(ANSWERS)} for trial in trials
    ]
    answer = subprocess.run(
        [str(env.python), str(_JUDGE)],
        input="".join(json.dumps(job) + "\n" for job in jobs),
        env={**environments.clean_environ(), **environments.QUIET},
        capture_output=True,
        text=True,
    )
    results = [json.loads(line) for line in answer.stdout.splitlines()]
    if answer.returncode != 0 or len(results) != len(trials):
        raise JudgeError(f"{env.prefix.name}: {answer.stderr.strip()[-2000:]}")
    return results


def _key(trial: Trial) -> str:
    digest = hashlib.sha256(_JUDGE.read_bytes())
    beside = sorted(p for p in trial.plugin.parent.glob("*.so*") if p.name != trial.plugin.name)
    for path in (trial.plugin, *beside):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    digest.update(f"{trial.answer}\0{trial.runs}\0".encode())
    if trial.answer:
        digest.update(ANSWERS.read_bytes())
    return digest.hexdigest()[:32]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return raw


def _write(path: Path, raw: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        json.dump(raw, file, sort_keys=True)
    os.replace(temporary, path)
