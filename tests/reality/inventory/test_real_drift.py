"""Environments with TensorFlow and stamped ops that really drift: the report names every change
and only what it affects. Needs g++, patchelf and the headers of the Python that is used."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from envlock.actions.stamping import stamp
from envlock.binary.elf import ElfFile
from envlock.inventory.diff import diff
from envlock.inventory.sides import from_environment
from envlock.models.drift import Change, DriftDocument
from tests.support import environments
from tests.support.building import build
from tests.support.environments import TfEnvironment
from tests.unit.inventory import conda_world as conda
from tests.unit.inventory.packaging_world import environ

OPS = Path(__file__).parent / "ops"
VERSION, NEXT = "2.6.5", "2.11.1"
NUMPY, OLDER_NUMPY, NEWER_NUMPY = "1.22.4", "1.19.5", "1.23.5"

pytestmark = pytest.mark.xdist_group("real-drift")


def uv_into(python: Path, *arguments: str) -> None:
    """Install from the index that this machine uses, out of uv's cache where it has the files."""
    command = [*environments.uv(), "pip", "install", "--quiet", "--python", str(python)]
    answer = subprocess.run(
        [*command, "--link-mode=hardlink", *arguments],
        capture_output=True,
        text=True,
        env=environments.clean_environ(),
    )
    assert answer.returncode == 0, answer.stderr


def envlock(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envlock", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environ())


@dataclass
class Place:
    """An environment of the test's own, with two stamped ops in a package folder."""

    env: TfEnvironment
    store: Path

    @property
    def ops(self) -> Path:
        return self.env.site_packages / "acme_ops"

    def drift(self, *options: object) -> DriftDocument:
        return diff("@1", from_environment(self.env.prefix), store=open_store(self.store))


def open_store(path: Path) -> object:
    from envlock.inventory.store import Store

    return Store(str(path))


def python_headers(env: TfEnvironment) -> str:
    answer = env.run("-c", "import sysconfig; print(sysconfig.get_path('include'))")
    found = answer.stdout.strip()
    if not (Path(found) / "Python.h").is_file():
        pytest.skip(f"no Python.h in {found}: the test compiles against Python's C-API")
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tf_env: Callable[..., TfEnvironment]) -> Place:
    model = tf_env(VERSION)
    folder = tmp_path_factory.mktemp("drift")
    prefix = folder / "env"
    base = environments.available_interpreters()[model.python_minor]
    command = [*environments.uv(), "venv", "--quiet", "--no-project", "--python", str(base)]
    subprocess.run([*command, str(prefix)], check=True, env=environments.clean_environ())
    python = prefix / "bin/python"
    uv_into(python, f"tensorflow-cpu=={VERSION}", *environments.pins(VERSION))
    uv_into(python, "--no-deps", f"numpy=={NUMPY}")
    site = prefix / "lib" / model.site_packages.parent.name / "site-packages"
    env = TfEnvironment(python, prefix, site, VERSION, "tensorflow-cpu")
    environments.mend(env)
    made = Place(env, folder / "history.sqlite3")
    made.ops.mkdir()
    (made.ops / "__init__.py").write_text("")
    # The build is kept under a name that has the flags in it: the headers stand in one place.
    headers = environments.cache_root() / "headers" / f"numpy-{NUMPY}"
    if not headers.is_dir():
        shutil.copytree(site / "numpy/core/include", headers)
    flags = [f"-I{python_headers(env)}", f"-I{headers}"]
    for op, extra in (("minimal", []), ("c_api", []), (OPS / "uses_numpy.cc", flags)):
        plugin = build(op, model, flags=extra)
        target = made.ops / f"_{plugin.stem}.so"
        shutil.copy(plugin, target)
        assert stamp(target, env=prefix).written
    answer = envlock("snapshot", "--env", prefix, "--save", "good", "--store", made.store)
    assert answer.returncode == 0, answer.stderr
    return made


def changes(document: DriftDocument) -> dict[str, Change]:
    return {change.subject: change for change in document.changes}


def hurt(change: Change) -> list[str]:
    return [Path(effect.plugin).name for effect in change.effects]


def test_nothing_changed(place: Place) -> None:
    document = place.drift()
    assert document.changes == ()
    assert document.verdict == "compatible"
    assert [Path(r.plugin.path).name for r in document.reports] == [
        *("_c_api.so", "_minimal.so", "_uses_numpy.so"),
    ]
    assert all(r.plugin.stamped for r in document.reports)


def test_numpy_upgraded(place: Place) -> None:
    """A higher level of the same C-API: named, and harmless even for the op that uses it."""
    uv_into(place.env.python, "--no-deps", f"numpy=={NEWER_NUMPY}")
    try:
        found = changes(place.drift())
        assert list(found) == ["numpy"]
        assert (found["numpy"].kind, found["numpy"].effects) == ("upgraded", ())
        assert found["numpy"].before == NUMPY
        assert found["numpy"].after == NEWER_NUMPY
        answer = envlock("drift", "--env", place.env.prefix, "--store", place.store)
        assert answer.returncode == 0
        assert "1 change, none of which affects a plugin" in answer.stdout
    finally:
        uv_into(place.env.python, "--no-deps", f"numpy=={NUMPY}")


def test_numpy_downgraded(place: Place) -> None:
    """Below the level that the op was compiled for: that op is endangered, the others are not.

    numpy itself judges last: the op's import_array() fails with the older one.
    """
    uv_into(place.env.python, "--no-deps", f"numpy=={OLDER_NUMPY}")
    try:
        document = place.drift()
        found = changes(document)
        assert list(found) == ["numpy"]
        assert (found["numpy"].kind, found["numpy"].verdict) == ("downgraded", "unsafe")
        assert hurt(found["numpy"]) == ["_uses_numpy.so"]
        assert any(detail.startswith("C-API level: ") for detail in found["numpy"].details)
        verdicts = {Path(r.plugin.path).name: r.verdict for r in document.reports}
        assert verdicts["_uses_numpy.so"] == "unsafe"
        assert verdicts["_minimal.so"] in ("compatible", "drifted")
        run_op = (
            "import tensorflow as tf, sys; m = tf.load_op_library(sys.argv[1]); "
            "print(m.envlock_uses_numpy(x=[1]))"
        )
        really = place.env.run("-c", run_op, str(place.ops / "_uses_numpy.so"))
        assert really.returncode != 0
        assert "numpy" in really.stderr
    finally:
        uv_into(place.env.python, "--no-deps", f"numpy=={NUMPY}")


def test_a_file_edited_by_hand(place: Place) -> None:
    edited = place.env.site_packages / "keras/losses.py"
    original = edited.read_bytes()
    # A new file, as editors write it: uv's cache is behind the hard link.
    edited.unlink()
    edited.write_bytes(original.replace(b"def ", b"def  ", 1))
    try:
        found = changes(place.drift())
        assert list(found) == ["keras"]
        change = found["keras"]
        assert (change.part, change.kind, change.verdict) == ("files", "modified", "drifted")
        assert "`keras/losses.py`" in change.details
        assert place.drift().before.digests["packages"] != place.drift().after.digests["packages"]
    finally:
        edited.unlink()
        edited.write_bytes(original)
    assert place.drift().changes == ()


def test_an_edit_that_keeps_size_and_time(place: Place) -> None:
    """Only the full comparison finds it, and says so."""
    import os

    edited = place.env.site_packages / "keras/losses.py"
    original = edited.read_bytes()
    installed = next(place.env.site_packages.glob("keras-*.dist-info/RECORD")).stat()
    edited.unlink()
    edited.write_bytes(original.replace(b"Keras", b"Xeras", 1))
    os.utime(edited, ns=(installed.st_atime_ns, installed.st_mtime_ns))
    try:
        assert place.drift().changes == ()
        full = diff("@1", from_environment(place.env.prefix, "full"), store=open_store(place.store))
        assert list(changes(full)) == ["keras"]
    finally:
        edited.unlink()
        edited.write_bytes(original)


def test_another_tensorflow_release(place: Place, tf_env: Callable[..., TfEnvironment]) -> None:
    """The C++ ops cannot load any more, the C API op can: dlopen agrees in a child process.

    The loads run in a whole environment of that release; here only TensorFlow was replaced.
    """
    uv_into(place.env.python, "--no-deps", f"tensorflow-cpu=={NEXT}")
    try:
        document = place.drift()
        found = changes(document)
        assert list(found) == ["TensorFlow"]
        change = found["TensorFlow"]
        assert (change.kind, change.verdict) == ("upgraded", "incompatible")
        assert change.before == f"tensorflow-cpu {VERSION}"
        assert change.after == f"tensorflow-cpu {NEXT}"
        assert set(hurt(change)) == {"_minimal.so", "_uses_numpy.so"}
        answer = envlock(
            *("drift", "--env", place.env.prefix, "--store", place.store, "--format", "json")
        )
        assert answer.returncode == 1
        assert json.loads(answer.stdout)["verdict"] == "incompatible"
        for op in ("minimal", "c_api"):
            code = f"import tensorflow as tf; tf.load_op_library({str(place.ops / f'_{op}.so')!r})"
            loaded = tf_env(NEXT).run("-c", code).returncode == 0
            assert loaded is (op == "c_api")
    finally:
        uv_into(place.env.python, "--no-deps", f"tensorflow-cpu=={VERSION}")
    assert place.drift().changes == ()


def test_another_distribution_name(place: Place) -> None:
    """`tensorflow` in the place of `tensorflow-cpu`: one change, and the ops still load."""
    command = [*environments.uv(), "pip", "uninstall", "--quiet", "--python"]
    subprocess.run([*command, str(place.env.python), "tensorflow-cpu"], check=True)
    uv_into(place.env.python, "--no-deps", f"tensorflow=={VERSION}")
    try:
        document = place.drift()
        found = changes(document)
        assert list(found) == ["TensorFlow"]
        change = found["TensorFlow"]
        assert change.kind == "replaced"
        assert change.message == (
            f"`tensorflow-cpu {VERSION}` was replaced by `tensorflow {VERSION}`"
        )
        assert change.effects == ()
        assert any(detail.startswith("is_cuda_build: ") for detail in change.details)
        code = f"import tensorflow as tf; tf.load_op_library({str(place.ops / '_minimal.so')!r})"
        assert place.env.run("-c", code).returncode == 0
        uv_into(place.env.python, "--no-deps", f"tensorflow-cpu=={VERSION}")
        messages = [change.message for change in place.drift().changes]
        assert (
            f"`tensorflow-cpu` {VERSION} and `tensorflow` {VERSION} are installed in one place, "
            "so the files are a mixture"
        ) in messages
    finally:
        for name in ("tensorflow", "tensorflow-cpu"):
            subprocess.run([*command, str(place.env.python), name], check=False)
        uv_into(place.env.python, "--no-deps", f"tensorflow-cpu=={VERSION}")


def metadata_of(place: Place, package: str) -> Path:
    return next(place.env.site_packages.glob(f"{package}-*.dist-info"))


def test_the_metadata_of_tensorflow_vanished(place: Place) -> None:
    """The libraries are as they were, so nobody but the package itself can tell."""
    info = metadata_of(place, "tensorflow_cpu")
    aside = Path(shutil.move(info, info.parent / "tensorflow_cpu.aside"))
    try:
        document = place.drift()
        assert document.before.digests["packages"] != document.after.digests["packages"]
        change = changes(document)["tensorflow-cpu"]
        assert (change.kind, change.before) == ("removed", VERSION)
        assert change.message == f"`tensorflow-cpu` {VERSION} is gone"
    finally:
        aside.rename(info)
    assert place.drift().changes == ()


@pytest.mark.parametrize("package", ["tensorflow_cpu", "keras"])
def test_an_emptied_record(place: Place, package: str) -> None:
    record = metadata_of(place, package) / "RECORD"
    kept = record.with_name("kept")
    record.rename(kept)
    record.touch()
    try:
        change = changes(place.drift())[package.replace("_", "-")]
        assert (change.part, change.kind, change.verdict) == ("packages", "changed", "drifted")
        assert "its RECORD is empty or gone" in change.message
    finally:
        kept.replace(record)
    assert place.drift().changes == ()


def test_another_version_in_the_metadata_than_in_the_code(place: Place) -> None:
    """The remedy names the distribution that is installed, in the version that its code is of."""
    metadata = metadata_of(place, "tensorflow_cpu") / "METADATA"
    kept = metadata.rename(metadata.with_name("kept"))
    metadata.write_bytes(kept.read_bytes().replace(VERSION.encode(), b"9.9.9", 1))
    try:
        messages = {c.message: c.details for c in place.drift().changes}
        details = messages[
            f"the headers of `tensorflow-cpu` are those of {VERSION}, but its metadata says 9.9.9"
        ]
        command = f"pip install --force-reinstall --no-deps tensorflow-cpu=={VERSION}"
        assert details == (f"to undo: `{command}`",)
    finally:
        kept.replace(metadata)
    assert place.drift().changes == ()


def test_a_plugin_replaced(place: Place) -> None:
    target = place.ops / "_minimal.so"
    kept = target.read_bytes()
    shutil.copy(place.ops / "_c_api.so", target)
    try:
        found = changes(place.drift())
        assert list(found) == ["{site}/acme_ops/_minimal.so"]
        assert found["{site}/acme_ops/_minimal.so"].kind == "changed"
    finally:
        target.write_bytes(kept)


def test_a_stamped_plugin_as_the_side_before(place: Place) -> None:
    """The build environment in the stamp against the environment of today."""
    answer = envlock("diff", place.ops / "_minimal.so", place.env.prefix, "--format", "json")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["before"]["kind"] == "plugin"
    assert document["changes"] == []


def test_recorded_facts_alone_are_judged_by_the_same_rules(
    place: Place, tf_env: Callable[..., TfEnvironment], tmp_path: Path
) -> None:
    """Two snapshots, no environment at hand: the release rule still says what is endangered."""
    from envlock.inventory.collect import snapshot
    from envlock.inventory.files import snapshot_text

    first = snapshot(place.env.prefix)
    assert {p.stamp for p in first.plugins} == {"appended"}
    second = snapshot(tf_env(NEXT).prefix)
    second = second.replace(plugins=first.plugins)
    for name, taken in (("a", first), ("b", second)):
        (tmp_path / f"{name}.json").write_text(snapshot_text(taken))
    document = diff(tmp_path / "a.json", tmp_path / "b.json")
    change = changes(document)["TensorFlow"]
    assert change.verdict == "unsafe"
    assert "{site}/acme_ops/_minimal.so" in {e.plugin for e in change.effects}
    assert "{site}/acme_ops/_c_api.so" not in {e.plugin for e in change.effects}
    assert all(
        any("dynamic linker" in u.what for u in report.unchecked) for report in document.reports
    )


# --- a conda libstdc++ made older ----------------------------------------------------------------


def system_libstdcxx() -> Path:
    answer = subprocess.run(
        ["g++", "-print-file-name=libstdc++.so.6"], capture_output=True, text=True, check=True
    )
    return Path(answer.stdout.strip()).resolve()


def made_older(library: bytes, below: int, folder: Path) -> bytes:
    """libstdc++ without the versions GLIBCXX_3.4.<below> and up: its DT_VERDEF chain skips them."""
    from envlock.binary.elf.dynamic import DT_VERDEF

    path = folder / "original.so"
    path.write_bytes(library)
    raw = bytearray(library)
    with ElfFile.open(path) as elf:
        dynamic = elf.dynamic
        start = dynamic.get(DT_VERDEF)
        assert start is not None
        at = elf.offset_of(start, 20, "DT_VERDEF")
        layout = struct.Struct("<HHHHIII")
        previous = at
        while True:
            *_, aux, following = layout.unpack_from(raw, at)
            name = dynamic.string(struct.unpack_from("<I", raw, at + aux)[0], "a version")
            level = name.decode().removeprefix("GLIBCXX_3.4.")
            if level.isdecimal() and int(level) >= below:
                assert following
                struct.pack_into("<I", raw, previous + 16, at + following - previous)
            else:
                previous = at
            if not following:
                return bytes(raw)
            at += following


def conda_python(channel: Path, base: Path, folder: Path) -> None:
    """A `python` as conda's is: its DT_RPATH leads to the prefix's own lib folder."""
    interpreter = folder / "python"
    shutil.copy(base.resolve(), interpreter)
    interpreter.chmod(0o755)
    lib = base.resolve().parent.parent / "lib"
    subprocess.run(
        ["patchelf", "--force-rpath", "--set-rpath", f"$ORIGIN/../lib:{lib}", str(interpreter)],
        check=True,
    )
    version = environments.available_interpreters()
    minor = next(m for m, path in version.items() if path == base)
    short = f"{minor[0]}.{minor[1]}"
    config = f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {short}.0\n"
    conda.make_package(
        channel,
        "python",
        f"{short}.0",
        {
            "pyvenv.cfg": config,
            f"bin/python{short}": interpreter.read_bytes(),
            f"lib/python{short}/site-packages/README.txt": "packages\n",
        },
        links={"bin/python": f"python{short}"},
        depends=["libstdcxx-ng"],
    )


def test_a_conda_libstdcxx_made_older(
    tmp_path: Path, tf_env: Callable[..., TfEnvironment], tool: Callable[[str], str]
) -> None:
    tool("patchelf")
    model = tf_env(VERSION)
    channel = conda.new_channel(tmp_path)
    conda_python(channel, environments.available_interpreters()[model.python_minor], tmp_path)
    newer = system_libstdcxx().read_bytes()
    for version, library in (("12.2.0", newer), ("9.3.0", made_older(newer, 29, tmp_path))):
        conda.make_package(
            channel, "libstdcxx-ng", version, {"lib/libstdc++.so.6": library}, form=".tar.bz2"
        )
    conda.index_channel(channel)
    prefix = tmp_path / "prefix"
    conda.install(channel, prefix, ["python", "libstdcxx-ng=12"])
    python = prefix / "bin/python"
    uv_into(python, f"tensorflow-cpu=={VERSION}", *environments.pins(VERSION))
    site = prefix / "lib" / model.site_packages.parent.name / "site-packages"
    env = TfEnvironment(python, prefix, site, VERSION, "tensorflow-cpu")
    ops = site / "acme_ops"
    ops.mkdir()
    for op in (OPS / "modern.cc", "minimal"):
        plugin = build(op, model)
        shutil.copy(plugin, ops / plugin.name)
        assert stamp(ops / plugin.name, env=prefix).written
    good = from_environment(prefix)
    assert good.libstdcxx is not None
    assert good.libstdcxx.owner is not None
    assert good.libstdcxx.owner.name == "libstdcxx-ng"

    conda.install(channel, prefix, ["python", "libstdcxx-ng=9"])
    document = diff(good, prefix)
    found = changes(document)
    assert list(found) == ["libstdc++"]
    change = found["libstdc++"]
    assert (change.kind, change.verdict) == ("downgraded", "incompatible")
    assert "conda's libstdcxx-ng 9.3.0" in (change.after or "")
    assert hurt(change) == ["modern.so"]
    # The dynamic linker says the same.
    for op, loads in (("modern", False), ("minimal", True)):
        code = f"import tensorflow as tf; tf.load_op_library({str(ops / f'{op}.so')!r})"
        answer = env.run("-c", code)
        assert (answer.returncode == 0) is loads, answer.stderr
        if not loads:
            assert "GLIBCXX_3.4.29' not found" in answer.stderr
