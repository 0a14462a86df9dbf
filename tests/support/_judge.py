"""Loads plugins for real, each in a child of its own. Runs inside a TensorFlow environment.

Reads one JSON object a line, `{"plugin", "answer", "answers", "runs"}`, and prints one a line with
the outcome. TensorFlow is imported once; a fork afterwards costs a few milliseconds, and a plugin
that kills its process takes nothing else with it. Only what every TensorFlow brings is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import traceback
from typing import Any

SECONDS = 60


def child(job: dict[str, Any], pipe: int, tf: Any) -> None:
    """Load and ask; what is known is written at once, for the next step may kill the process."""

    def tell(**facts: object) -> None:
        os.write(pipe, (json.dumps(facts) + "\n").encode())

    try:
        module = tf.load_op_library(job["plugin"])
    except BaseException as problem:
        tell(outcome="load_error", error_class=type(problem).__name__, message=str(problem))
        return
    ops = getattr(getattr(module, "OP_LIST", None), "op", None)
    if ops is None:
        ops = [name for name in dir(module) if hasattr(getattr(module, name), "__wrapped__")]
    tell(outcome="loads", ops=len(ops))
    if not job["answer"]:
        return
    answer = runpy.run_path(job["answers"])["ANSWERS"][job["answer"]]
    try:
        answer(tf, module)
    except AssertionError as problem:
        tell(functional="wrong", message=str(problem))
    except BaseException as problem:
        tell(functional="exception", message=f"{type(problem).__name__}: {problem}")
    else:
        tell(functional="pass")


def once(job: dict[str, Any], tf: Any) -> dict[str, Any]:
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as stderr:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(reading)
                os.dup2(stderr.fileno(), 2)
                os.dup2(stderr.fileno(), 1)
                signal.alarm(SECONDS)
                child(job, writing, tf)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                # Without atexit: TensorFlow's threads were not forked along.
                os._exit(status)
        os.close(writing)
        told = b""
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(pid, 0)
        stderr.seek(0)
        said = stderr.read().decode(errors="replace").strip().splitlines()
    return judged(told, status, said, job)


def judged(told: bytes, status: int, said: list[str], job: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "outcome": "crash",
        "error_class": None,
        "message": None,
        "functional": None,
        "ops": None,
        "signal": None,
    }
    for line in told.splitlines():
        result.update(json.loads(line))
    if os.WIFSIGNALED(status) or os.WEXITSTATUS(status):
        result["signal"] = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        result["message"] = "\n".join(said[-5:])
        if result["outcome"] == "loads" and job["answer"]:
            result["functional"] = "timeout" if result["signal"] == signal.SIGALRM else "crash"
    return result


def worst(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several runs the worst: some crashes happen in one run of five only."""
    order = {"pass": 0, None: 0, "exception": 1, "wrong": 2, "timeout": 3, "crash": 4}
    return max(
        results, key=lambda result: (result["outcome"] == "crash", order[result["functional"]])
    )


def main() -> None:
    # Kept away from whatever TensorFlow prints.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tf = importlib.import_module("tensorflow")

    for line in sys.stdin:
        job = json.loads(line)
        result = worst([once(job, tf) for _ in range(job["runs"])])
        answers.write(json.dumps(result) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
