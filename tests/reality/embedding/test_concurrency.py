"""`envlock.load` from threads, after a fork and in spawned workers of real TensorFlow processes."""

from __future__ import annotations

from pathlib import Path

from tests.reality.embedding.conftest import PRELUDE, Place
from tests.reality.embedding.test_quiet import STATE

THREADS = """
import tensorflow as tf
import envlock, threading

tf.constant([1]).numpy()  # TensorFlow's own run time starts here, with what it opens
before = state()
start = threading.Barrier(12)
outcomes = [None] * 12

def load(index, path):
    start.wait()
    try:
        outcomes[index] = envlock.load(path)
    except Exception as error:
        outcomes[index] = error

# The same file under three spellings, another op, the same op in another file, an unfit one.
spellings = [fitting, os.path.relpath(fitting), os.path.join(os.path.dirname(fitting), ".",
             os.path.basename(fitting))]
wanted = [*spellings * 2, other, other, copy, copy, unfit, unfit]
threads = [threading.Thread(target=load, args=item) for item in enumerate(wanted)]
for thread in threads: thread.start()
for thread in threads: thread.join()
same, others = outcomes[:6], outcomes[6:8]
# Which of the two files of one op came first is open, but only one can have been loaded.
pair = [[o for o in same if not isinstance(o, Exception)],
        [o for o in outcomes[8:10] if not isinstance(o, Exception)]]
loaded = pair[0] or pair[1]
refusals = [o for o in outcomes if isinstance(o, Exception)]
threads_result = {
    "one file of the op": sorted(map(bool, pair)),
    "modules": len({id(m) for m in loaded}),
    "others": len({id(m) for m in others}),
    "unfit": [type(o).__name__ for o in outcomes[10:]],
    "errors": sorted({type(o).__name__ for o in refusals}),
    "out": loaded[0].zero_out([5, 4, 3]).numpy().tolist(),
}
"""

FORK = """
import warnings

# A child forked while another thread of its parent is in the middle of a load.
entered, leave = threading.Event(), threading.Event()
real = tf.load_op_library
def slow(path):
    entered.set()
    leave.wait(60)
    return real(path)
tf.load_op_library = slow
first = fitting if pair[0] else copy
holder = threading.Thread(target=envlock.load, args=(first,))
holder.start()
entered.wait(60)
tf.load_op_library = real
out, into = os.pipe()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, from Python 3.12 on
    child = os.fork()
if child == 0:
    module = envlock.load(first)
    os.write(into, json.dumps(module.zero_out([7, 8]).numpy().tolist()).encode())
    os._exit(0)
leave.set()
holder.join()
os.close(into)
forked = os.read(out, 100).decode()
os.close(out)
_, status = os.waitpid(child, 0)
fork_result = [status, json.loads(forked)]
"""


def test_threads_and_forks(place: Place, tmp_path: Path) -> None:
    script = tmp_path / "threads.py"
    script.write_text(
        PRELUDE
        + STATE
        + THREADS
        + "changed = changes(before, state())\n"
        + FORK
        + "answer(threads=threads_result, fork=fork_result, changed=changed)\n"
    )
    got, printed = place.run(script)
    assert got["threads"] == {
        "one file of the op": [False, True],
        "modules": 1,
        "others": 1,
        "unfit": ["IncompatiblePluginError"] * 2,
        "errors": ["IncompatiblePluginError"],
        "out": [5, 0, 0],
    }
    assert got["fork"] == [0, [7, 0]]
    assert got["changed"] == {}
    assert printed == ""


def test_spawned_workers(place: Place, tmp_path: Path) -> None:
    """Each worker is a new interpreter; the one that is refused never imports TensorFlow."""
    script = tmp_path / "spawned.py"
    script.write_text(
        PRELUDE
        + """
import multiprocessing
import envlock

def work(path):
    try:
        module = envlock.load(path)
    except envlock.IncompatiblePluginError as error:
        return "refused", "tensorflow" in sys.modules, str(error).count("unfit.so")
    return "loaded", "tensorflow" in sys.modules, module.zero_out([9, 8]).numpy().tolist()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, maxtasksperchild=1) as pool:
        results = pool.map(work, [fitting, unfit], chunksize=1)
    answer(results=results, here="tensorflow" in sys.modules)
"""
    )
    got, printed = place.run(script)
    loaded, refused = got["results"]
    assert loaded == ["loaded", True, [9, 0]]
    assert refused[:2] == ["refused", False]
    assert refused[2] >= 1
    assert got["here"] is False
    assert printed == ""
