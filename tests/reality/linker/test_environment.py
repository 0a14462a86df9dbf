"""What `import tensorflow` has loaded, worked out from files, beside what it really loads."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from envlock.environment.live import Environment
from envlock.linker.scope import LiveScope
from envlock.linker.simulate import for_environment
from tests.support.environments import (
    FOR_TESTS,
    QUIET,
    TfEnvironment,
    clean_environ,
    ensure,
    for_tests,
)
from tests.unit.linker.workshop import Workshop

# Tells every mapped object in load order, as the linker spells its path.
CHILD = """
import ctypes, json, tensorflow
read = lambda at: ctypes.c_size_t.from_address(at).value
link, found = read(ctypes.CDLL(None)._handle + 24), []
while link:
    found.append(ctypes.string_at(read(link + 8)).decode())
    link = read(link + 24)
print(json.dumps(found))
"""


#: One release of every way in which TensorFlow's libraries were cut and loaded.
GENERATIONS = ("2.6.5", "2.11.1", "2.18.1", "2.20.0", "2.21.0")
assert set(GENERATIONS) <= set(FOR_TESTS)


@pytest.fixture(params=GENERATIONS, scope="module")
def env(request: pytest.FixtureRequest) -> TfEnvironment:
    _, left_out = for_tests()
    if request.param in left_out:
        pytest.skip(left_out[request.param])
    return ensure(request.param)


@pytest.fixture(scope="module")
def real(env: TfEnvironment, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    """What a process really maps, and what the linker says about its global scope."""
    log = tmp_path_factory.mktemp("debug") / "log"
    answer = subprocess.run(
        [str(env.python), "-c", CHILD],
        capture_output=True,
        text=True,
        env={**clean_environ(), **QUIET, "LD_DEBUG": "scopes", "LD_DEBUG_OUTPUT": str(log)},
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr
    debug = "".join(path.read_text(errors="replace") for path in log.parent.iterdir())
    return json.loads(answer.stdout.splitlines()[-1]), debug


@pytest.fixture(scope="module")
def scope(env: TfEnvironment) -> LiveScope:
    return for_environment(Environment.open(str(env.prefix)), {})


def relevant(path: str) -> bool:
    """What is not an extension module that only Python looks into."""
    name = os.path.basename(path)
    return bool(path) and not name.startswith("linux-") and ".cpython-" not in name


def test_the_framework_has_the_paths_that_the_linker_gives_it(
    scope: LiveScope, real: tuple[list[str], str]
) -> None:
    mapped = real[0]
    assert scope.framework
    for item in scope.framework:
        assert item.path in mapped


def test_everything_predicted_is_really_mapped(
    scope: LiveScope, real: tuple[list[str], str]
) -> None:
    mapped = {os.path.realpath(path) for path in real[0] if path}
    for item in scope.namespace.objects:
        if item is not scope.main:
            assert os.path.realpath(item.path) in mapped, item
    assert not scope.unchecked


def test_the_global_scope_is_the_real_one(
    scope: LiveScope, real: tuple[list[str], str], env: TfEnvironment
) -> None:
    added = re.findall(r"add (\S+) \[0\] to global scope", real[1])
    later = [item.path for item in scope.global_scope if item not in scope.startup]
    assert later == added
    assert bool(added) == (env.minor >= (2, 20) or (env.minor == (2, 19)))


def test_what_the_standard_library_brings_is_known_when_it_is_asked_for(
    env: TfEnvironment, real: tuple[list[str], str]
) -> None:
    scope = for_environment(Environment.open(str(env.prefix)), {})
    mapped = {os.path.basename(path): path for path in real[0]}
    for name in ("libz.so.1", "libcrypto.so.3", "libssl.so.3", "libffi.so.8"):
        if name in mapped:
            found = scope.namespace.find(name)
            assert found is not None
            assert os.path.realpath(found.path) == os.path.realpath(mapped[name])
    assert scope.namespace.find("libdoesnotexist.so.1") is None


def test_an_environment_without_tensorflow(tmp_path: Path) -> None:
    import sys

    from envlock.linker.simulate import build_scope

    scope = build_scope(sys.executable, None, environ={})
    assert scope.framework == []
    assert scope.namespace.find("libc.so.6") is not None
    empty = build_scope(sys.executable, str(tmp_path), environ={})
    assert "_pywrap_tensorflow_internal.so" in empty.unchecked[0]


def test_the_programs_own_libstdcxx_counts(shop: Workshop) -> None:
    """As in a conda prefix: the program's RPATH leads to a libstdc++ beside it, not to the system's."""
    shop.host("-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib")
    source = "int f(void) { return 1; }"
    new = "GLIBCXX_3.4.28 { };\nGLIBCXX_3.4.30 { global: f; } GLIBCXX_3.4.28;"
    stub = shop.lib("stub/libstdc++.so.6", source, soname="libstdc++.so.6", versions=new)
    plugin = shop.lib("plugin.so", "int f(void); int g(void) { return f(); }", [stub])
    old = "GLIBCXX_3.4.28 { global: f; };"
    shop.lib("lib/libstdc++.so.6", source, soname="libstdc++.so.6", versions=old)
    prediction = shop.refused(plugin, "version")
    missing = prediction.missing_versions[0]
    assert missing.version == "GLIBCXX_3.4.30"
    assert missing.provider_path == str(shop.folder / "lib/libstdc++.so.6")
