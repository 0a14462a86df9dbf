"""Symbol versions: which library must define them, which references they satisfy."""

from __future__ import annotations

import pytest

from tests.unit.linker.workshop import Workshop

F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"
V1 = "V1 { global: f; local: *; };"


def test_a_version_that_is_there(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    assert shop.agree(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")).ok


def test_a_version_that_is_not(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions="V2 { global: f; };")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    shop.lib("libf.so", F, soname="libf.so", versions=V1)
    prediction = shop.refused(plugin, "version")
    assert [v.version for v in prediction.missing_versions] == ["V2"]


def test_all_missing_versions_are_listed_the_first_is_named(shop: Workshop) -> None:
    script = "V1 { global: f; };\nV2 { global: f2; } V1;\nV3 { global: f3; } V2;"
    source = F + "int f2(void) { return 2; } int f3(void) { return 3; }"
    f = shop.lib("libf.so", source, soname="libf.so", versions=script)
    uses = USES_F + "int f2(void), f3(void); int h(void) { return f2() + f3(); }"
    plugin = shop.lib("plugin.so", uses, [f], runpath="$ORIGIN")
    shop.lib("libf.so", F, soname="libf.so", versions=V1)
    prediction = shop.refused(plugin, "version")
    assert {v.version for v in prediction.missing_versions} == {"V2", "V3"}


def test_a_weak_version_may_be_absent(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    weak = "int f(void) __attribute__((weak)); int g(void) { return f ? f() : 0; }"
    plugin = shop.lib("plugin.so", weak, [f], runpath="$ORIGIN")
    shop.lib(
        "libf.so",
        "int other(void) { return 1; }",
        soname="libf.so",
        versions="OTHER { global: other; };",
    )
    shop.agree(plugin)


def test_a_library_without_versions_satisfies_versioned_references(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    # It needs versions itself (of libc), so its symbols are of the global version.
    shop.lib(
        "libf.so",
        F + 'int puts(const char *); int p(void) { return puts(""); }',
        soname="libf.so",
        libc=True,
    )
    assert shop.agree(plugin).ok


def test_a_library_without_any_version_table(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    shop.lib("libf.so", F, soname="libf.so")
    # Up to 2.41 an assertion of the dynamic linker fails, later it accepts.
    shop.agree(plugin)


def test_an_unversioned_library_elsewhere_in_the_scope_is_taken(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    shop.before(shop.lib("interposer.so", F), make_global=True)
    assert shop.agree(plugin).ok


def test_a_hidden_version_is_found_by_its_name(shop: Workshop) -> None:
    old = '__asm__(".symver f_old, f@V1"); int f_old(void) { return 1; }'
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    shop.lib("libf.so", old, soname="libf.so", versions="V1 { local: f_old; };")
    assert shop.agree(plugin).ok


def test_an_unversioned_reference_takes_the_oldest_version(shop: Workshop) -> None:
    plugin = shop.lib(
        "plugin.so", USES_F, [shop.lib("libf.so", F, soname="libf.so")], runpath="$ORIGIN"
    )
    source = """
    __asm__(".symver f_1, f@V1"); __asm__(".symver f_2, f@@V2");
    int f_1(void) { return 1; } int f_2(void) { return 2; }
    """
    shop.lib("libf.so", source, soname="libf.so", versions="V1 { local: f_1; f_2; };\nV2 { } V1;")
    assert shop.agree(plugin).ok


def test_an_unversioned_reference_takes_a_single_later_version(shop: Workshop) -> None:
    plugin = shop.lib(
        "plugin.so", USES_F, [shop.lib("libf.so", F, soname="libf.so")], runpath="$ORIGIN"
    )
    script = "V1 { global: other; };\nV2 { global: f; } V1;"
    shop.lib("libf.so", F + "int other(void) { return 1; }", soname="libf.so", versions=script)
    assert shop.agree(plugin).ok


def test_an_unversioned_reference_does_not_take_a_hidden_later_version(shop: Workshop) -> None:
    plugin = shop.lib(
        "plugin.so", USES_F, [shop.lib("libf.so", F, soname="libf.so")], runpath="$ORIGIN"
    )
    source = """
    __asm__(".symver f_1, f@V2"); int f_1(void) { return 1; } int other(void) { return 1; }
    """
    shop.lib(
        "libf.so",
        source,
        soname="libf.so",
        versions="V1 { global: other; local: f_1; };\nV2 { } V1;",
    )
    shop.refused(plugin, "symbol")


def test_the_message_for_a_versioned_symbol_names_the_version(shop: Workshop) -> None:
    script = "V1 { global: f; h; };"
    f = shop.lib("libf.so", F + "int h(void) { return 2; }", soname="libf.so", versions=script)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    shop.lib(
        "libf.so", "int h(void) { return 2; }", soname="libf.so", versions="V1 { global: h; };"
    )
    prediction = shop.refused(plugin, "symbol")
    assert prediction.missing_symbols[0].version == "V1"
    assert prediction.missing_symbols[0].version_file == "libf.so"


def test_versions_of_libc(shop: Workshop) -> None:
    source = 'int puts(const char *); int g(void) { return puts(""); }'
    plugin = shop.lib("plugin.so", source, libc=True)
    assert shop.agree(plugin).ok
    data = plugin.read_bytes()
    assert b"GLIBC_2.2.5\0" in data
    # The name and its hash, as a linker on a newer system would have written them.
    from envlock.binary.elf.symbols import sysv_hash

    newer = data.replace(b"GLIBC_2.2.5\0", b"GLIBC_9.2.5\0").replace(
        sysv_hash(b"GLIBC_2.2.5").to_bytes(4, "little"),
        sysv_hash(b"GLIBC_9.2.5").to_bytes(4, "little"),
    )
    plugin.write_bytes(newer)
    prediction = shop.refused(plugin, "version")
    assert prediction.missing_versions[0].version == "GLIBC_9.2.5"


@pytest.mark.parametrize("loaded", [False, True])
def test_versions_are_looked_for_in_the_library_of_that_name(shop: Workshop, loaded: bool) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    if loaded:
        shop.before(f)
    assert shop.agree(plugin).ok


def test_a_version_of_a_library_that_is_not_needed(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", versions=V1)
    plugin = shop.lib(
        "plugin.so", USES_F, [f, shop.lib("libe.so", "", soname="libe.so")], runpath="$ORIGIN"
    )
    # Rename the needed library in DT_NEEDED only: the string is shared, so give it its own.
    data = plugin.read_bytes()
    at = data.index(b"libe.so\0")
    table = data.index(b"libf.so\0")
    assert at != table
    from envlock.binary.elf.dynamic import DT_NEEDED
    from envlock.binary.elf.file import Dynamic, ElfFile

    with ElfFile.open(plugin) as elf:
        offsets = Dynamic(elf).values(DT_NEEDED)
    swapped = data.replace(offsets[0].to_bytes(8, "little"), offsets[1].to_bytes(8, "little"), 1)
    plugin.write_bytes(swapped)
    shop.agree(plugin)
