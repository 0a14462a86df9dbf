"""Plugins in a process on musl, judged by musl's own dlopen. Needs musl-tools (musl-gcc)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from envlock.linker.link_map import RunningProcess
from envlock.linker.traits import Traits
from tests.unit.linker.workshop import HOST, Workshop, have

F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"


#: musl's headers have no `_r_debug`; DT_DEBUG leads to the same list.
FIRST = r"""
struct musl_debug { int version; struct link_map *map; };
extern ElfW(Dyn) _DYNAMIC[];
static struct link_map *first(void) {
    ElfW(Dyn) *entry = _DYNAMIC;
    while (entry->d_tag != DT_DEBUG) entry++;
    return ((struct musl_debug *)entry->d_un.d_ptr)->map;
}
"""


class MuslWorkshop(Workshop):
    """The program is linked with musl; the libraries say themselves what they are."""

    def host(self, *flags: str) -> Path:
        """Build the program."""
        source = HOST.replace("static void maps(", FIRST + "static void maps(")
        self.musl_gcc(source.replace("_r_debug.r_map", "first()"), self.host_path, *flags)
        self._built_host = True
        return self.host_path

    def musl_gcc(self, source: str, target: Path, *flags: str) -> None:
        """Compile a program."""
        command = ["musl-gcc", "-w", "-x", "c", "-", *flags, "-o", str(target)]
        subprocess.run(command, input=source, text=True, check=True)


@pytest.fixture
def musl(tmp_path: Path) -> MuslWorkshop:
    if not have("musl-gcc"):
        pytest.skip("needs musl-tools")
    return MuslWorkshop(tmp_path.resolve())


def test_a_library_that_needs_nothing(musl: MuslWorkshop) -> None:
    prediction = musl.agree(musl.lib("plugin.so", F))
    assert prediction.ok
    assert not prediction.other_libc
    assert any("musl" in text for text in prediction.unchecked)


def test_a_missing_symbol_has_musls_words(musl: MuslWorkshop) -> None:
    plugin = musl.lib("plugin.so", USES_F)
    assert musl.refused(plugin, "symbol").error == (
        f"Error relocating {plugin}: f: symbol not found"
    )


def test_a_missing_library_has_musls_words(musl: MuslWorkshop) -> None:
    f = musl.lib("stub/libf.so", F, soname="libf.so")
    plugin = musl.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    assert musl.refused(plugin, "library").error == (
        f"Error loading shared library libf.so: No such file or directory (needed by {plugin})"
    )


@pytest.mark.parametrize("kind", ["rpath", "runpath"])
def test_search_paths(musl: MuslWorkshop, kind: str) -> None:
    f = musl.lib("a/libf.so", F, soname="libf.so")
    plugin = musl.lib("plugin.so", USES_F, [f], **{kind: "$ORIGIN/a"})  # type: ignore[arg-type]
    assert musl.accepted(plugin)["libf.so"] == ("a/libf.so", kind)


def test_a_runpath_counts_for_what_is_below(musl: MuslWorkshop) -> None:
    """As an RPATH does in glibc."""
    f = musl.lib("a/libf.so", F, soname="libf.so")
    middle = musl.lib("libmiddle.so", USES_F, [f], soname="libmiddle.so")
    plugin = musl.lib(
        "plugin.so",
        "int g(void); int h(void) { return g(); }",
        [middle],
        runpath="$ORIGIN:$ORIGIN/a",
    )
    assert musl.accepted(plugin)["libf.so"][0] == "a/libf.so"


def test_library_path(musl: MuslWorkshop) -> None:
    f = musl.lib("a/libf.so", F, soname="libf.so")
    musl.lib("b/libf.so", F, soname="libf.so")
    plugin = musl.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/a")
    musl.env["LD_LIBRARY_PATH"] = str(musl.folder / "b")
    assert musl.accepted(plugin)["libf.so"] == ("b/libf.so", "LD_LIBRARY_PATH")


def test_versions_are_passed_over(musl: MuslWorkshop) -> None:
    f = musl.lib("libf.so", F, soname="libf.so", versions="V2 { global: f; };")
    plugin = musl.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    musl.lib("libf.so", F, soname="libf.so", versions="V1 { global: f; };")
    assert musl.agree(plugin).ok


def test_marks_that_glibc_heeds(musl: MuslWorkshop) -> None:
    flags = ["-Wl,-z,nodlopen", "-Wl,-z,x86-64-v4", "-Wl,-z,execstack"]
    assert musl.agree(musl.lib("plugin.so", F, flags=flags)).ok


def test_a_glibc_plugin_that_musl_takes(musl: MuslWorkshop) -> None:
    source = '#include <stdio.h>\nint g(void) { return printf("x"); }'
    prediction = musl.agree(musl.lib("plugin.so", source, libc=True))
    assert prediction.ok
    assert prediction.other_libc
    assert not prediction.unremarkable


def test_a_glibc_plugin_that_musl_refuses(musl: MuslWorkshop) -> None:
    source = 'int __printf_chk(int, const char *, ...); int g(void) { return __printf_chk(1, ""); }'
    plugin = musl.lib("plugin.so", source, libc=True)
    prediction = musl.refused(plugin, "symbol")
    assert prediction.other_libc


def test_nothing_of_glibcs_holds_for_musl() -> None:
    traits = Traits.of_file("/lib/ld-musl-x86_64.so.1", b"")
    assert traits.musl
    switched = [
        name
        for name, one in vars(Traits).items()
        if isinstance(one, property) and getattr(traits, name) is True
    ]
    assert switched == ["musl"]


def test_a_process_without_dlvsym(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Python on musl has: symbols are asked for without their version."""
    import ctypes

    class WithoutVersions:
        """`ctypes.CDLL(None)` of musl's libc."""

        def __init__(self, real: ctypes.CDLL) -> None:
            self.dlsym = real.dlsym

    real = ctypes.CDLL(None)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: WithoutVersions(real))
    process = object.__new__(RunningProcess)
    process.global_scope = None
    assert process.defines(b"printf", b"GLIBC_2.2.5")
    assert not process.defines(b"no_such_function_", b"GLIBC_2.2.5")


def test_a_live_process_is_read_with_what_musl_has(musl: MuslWorkshop) -> None:
    """musl's list of what is mapped has the layout that is read, and the program in front."""
    source = (
        "#include <link.h>\n#include <stdio.h>\n#include <stddef.h>\n"
        + FIRST
        + r"""
    #define AT(field) offsetof(struct link_map, field)
    int main(void) {
        printf("%zu %zu %zu %zu\n", AT(l_addr), AT(l_name), AT(l_ld), AT(l_next));
        for (struct link_map *one = first(); one; one = one->l_next) printf("%s\n", one->l_name);
        return 0;
    }
    """
    )
    target = musl.path("program")
    musl.musl_gcc(source, target)
    lines = subprocess.run([target], capture_output=True, text=True, check=True).stdout.split("\n")
    assert lines[0] == "0 8 16 24"
    assert lines[1] == str(target)
    assert any("ld-musl" in line for line in lines[2:])
