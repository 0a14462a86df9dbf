"""The same rules on aarch64, judged by its own dynamic linker under emulation.

Needs a cross compiler (gcc-aarch64-linux-gnu) and qemu-user-static; both run as a normal user.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.linker.workshop import Workshop, have

LIBRARIES = "/usr/aarch64-linux-gnu/lib"
F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"
V1 = "V1 { global: f; };"


class CrossWorkshop(Workshop):
    """Builds for aarch64 and runs under qemu; the C library is the cross compiler's."""

    compiler = "aarch64-linux-gnu-gcc"
    runner = ("qemu-aarch64-static",)
    host_flags = (
        f"-Wl,--dynamic-linker={LIBRARIES}/ld-linux-aarch64.so.1",
        f"-Wl,--disable-new-dtags,-rpath,{LIBRARIES}",
    )


@pytest.fixture
def cross(tmp_path: Path) -> CrossWorkshop:
    if not have("aarch64-linux-gnu-gcc", "qemu-aarch64-static") or not Path(LIBRARIES).is_dir():
        pytest.skip("needs gcc-aarch64-linux-gnu and qemu-user-static")
    return CrossWorkshop(tmp_path)


def test_a_plugin_that_loads(cross: CrossWorkshop) -> None:
    f = cross.lib("a/libf.so", F, soname="libf.so", versions=V1)
    plugin = cross.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/a", libc=True)
    assert cross.accepted(plugin)["libf.so"] == ("a/libf.so", "runpath")
    assert cross.predict(plugin).scope is not None


def test_missing_symbols_in_order(cross: CrossWorkshop) -> None:
    source = """
    extern int data1; int call1(void), call2(void); int *table[] = {&data1};
    int g(void) { return call2() + call1() + *table[0]; }
    """
    prediction = cross.refused(cross.lib("plugin.so", source), "symbol")
    assert {s.name for s in prediction.missing_symbols} == {"data1", "call1", "call2"}


def test_a_version_that_is_not_there(cross: CrossWorkshop) -> None:
    f = cross.lib("libf.so", F, soname="libf.so", versions="V2 { global: f; };")
    plugin = cross.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    cross.lib("libf.so", F, soname="libf.so", versions=V1)
    cross.refused(plugin, "version")


def test_a_library_that_is_not_there(cross: CrossWorkshop) -> None:
    f = cross.lib("libf.so", F, soname="libf.so")
    plugin = cross.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/$LIB:$ORIGIN/$PLATFORM")
    f.unlink()
    cross.refused(plugin, "library")


def test_tokens(cross: CrossWorkshop) -> None:
    cross.host()
    scope = cross.scope()
    token, platform = scope.interpreter.lib_token, scope.searcher.processor.platform
    assert scope.machine == "aarch64"
    f = cross.lib(f"x/{token}/libf.so", F, soname="libf.so")
    h = cross.lib(f"x/{platform}/libh.so", "int h(void) { return 2; }", soname="libh.so")
    plugin = cross.lib("plugin.so", USES_F, [f, h], runpath="$ORIGIN/x/$LIB:$ORIGIN/x/$PLATFORM")
    cross.accepted(plugin)


def test_a_plugin_for_this_machine(cross: CrossWorkshop, tmp_path: Path) -> None:
    plugin = Workshop(tmp_path).lib("native.so", F)
    cross.refused(plugin, "machine")


def test_thread_local_storage(cross: CrossWorkshop) -> None:
    f = cross.lib("libf.so", "__thread int t = 3;", soname="libf.so", libc=True)
    uses = "extern __thread int t; int g(void) { return t; }"
    assert cross.agree(cross.lib("plugin.so", uses, [f], runpath="$ORIGIN", libc=True)).ok
    cross.refused(cross.lib("bad.so", uses, libc=True), "symbol")


@pytest.mark.parametrize("size", [100, 8192])
def test_static_thread_local_storage(cross: CrossWorkshop, size: int) -> None:
    source = f"static __thread char t[{size}] = {{1}}; char *g(void) {{ return t; }}"
    cross.agree(cross.lib("plugin.so", source, flags=["-ftls-model=initial-exec"], libc=True))


def test_indirect_and_unique_symbols(cross: CrossWorkshop) -> None:
    source = """
    static int one(void) { return 1; }
    static void *pick(void) { return one; }
    int f(void) __attribute__((ifunc("pick")));
    """
    f = cross.lib("libf.so", source, soname="libf.so")
    assert cross.agree(cross.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")).ok
