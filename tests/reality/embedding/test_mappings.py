"""What a check, and a load that is refused, leave mapped in the process: nothing of their own.

Later checks of the process go by what is mapped, and so does its dynamic linker.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import envlock
from tests.reality.embedding.conftest import ANOTHER, PRELUDE, RELEASE, Place
from tests.support.building import build
from tests.support.environments import TfEnvironment

#: Extension modules of Python's own library that a check imports: files are mapped, numbers unpacked,
#: JSON and compressed records read, sums made. Where Python was built with them inside, nothing is mapped.
MODULES = {"_bisect", "_blake2", "_heapq", "_json", "_struct", "binascii", "mmap", "zlib"}
#: What of these a plugin built for another release is refused for, or not.
KINDS = ("minimal", "resource", "dataset", "other_abi", "dependency_absent", "c_api")

LOOK = """
def mapped():
    with open("/proc/self/maps") as file:
        fields = [line.rstrip("\\n").split(None, 5) for line in file]
    return {part[5] for part in fields if len(part) == 6 and part[5].startswith("/")}

def one(action, path):
    try:
        report = action(path)
    except envlock.IncompatiblePluginError as error:
        report = error.report
    return getattr(report, "verdict", "loaded")
"""


@pytest.fixture(scope="module")
def plugins(
    place: Place, tf_env: Callable[[str], TfEnvironment], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Plugins of several kinds for two releases, as compiled and stamped."""
    folder = tmp_path_factory.mktemp("mappings")
    found = []
    for release in (RELEASE, ANOTHER):
        env = tf_env(release)
        for kind in KINDS:
            plain = folder / f"{kind}-{release}.so"
            shutil.copy(build(kind, env), plain)
            stamped = folder / f"{kind}-{release}-stamped.so"
            shutil.copy(plain, stamped)
            envlock.stamp(stamped, env=env.prefix, force=True)
            found += [plain, stamped]
    return found


@pytest.mark.parametrize("imported", [False, True], ids=["before TensorFlow", "with TensorFlow"])
def test_nothing_new_is_mapped(
    imported: bool, place: Place, plugins: list[Path], tmp_path: Path
) -> None:
    # A plugin of the C interface alone is loaded by either.
    refused = [path for path in plugins if ANOTHER in path.name and "c_api" not in path.name]
    script = tmp_path / "mappings.py"
    script.write_text(
        PRELUDE
        + LOOK
        + f"""
if {imported}:
    import tensorflow
known = set(sys.modules)
before = mapped()
import envlock
verdicts = {{}}
for path in {[str(path) for path in plugins]}:
    verdicts[os.path.basename(path)] = [one(envlock.check, path)]
    if path in {[str(path) for path in refused]}:
        verdicts[os.path.basename(path)].append(one(envlock.load, path))
reports = [envlock.check(path) for path in {[str(path) for path in plugins]}]
demangled = [text for report in reports for finding in report.findings
             for text in finding.examples if "::" in text]
limits = sorted({{gap.why for report in reports for gap in report.unchecked
                  if "machine code" in gap.what + gap.why}})
answer(new=sorted(mapped() - before), verdicts=verdicts, demangled=len(demangled), limits=limits,
       imported=sorted({{"ctypes", "subprocess"}} & (set(sys.modules) - known)),
       children=open(f"/proc/self/task/{{os.getpid()}}/children").read())
"""
    )
    got, _ = place.run(script)
    names = {Path(path).name for path in got["new"]}
    modules = {Path(path).name.split(".")[0] for path in got["new"] if "/lib-dynload/" in path}
    assert modules <= MODULES
    others = {name for name in names if ".cpython-" not in name and not name.endswith(".atlas")}
    # What Python's module `zlib` is linked with.
    assert {name for name in others if not name.startswith("libz.so.")} == set()
    assert got["imported"] == []
    assert got["children"] == ""
    # What could have mapped something did happen: C++ names were shown, machine code was read,
    # and plugins were refused.
    assert got["demangled"] > 0
    assert got["limits"] == []
    loads = [verdicts[1] for verdicts in got["verdicts"].values() if len(verdicts) > 1]
    assert len(loads) == len(refused)
    assert set(loads) <= {"unsafe", "incompatible"}
