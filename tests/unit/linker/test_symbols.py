"""Which definition satisfies a reference, one rule a test, as dlopen itself answers it."""

from __future__ import annotations

import pytest

from tests.unit.linker.workshop import Workshop

F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"


def test_a_symbol_of_a_needed_library(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    assert shop.agree(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")).ok


def test_a_symbol_that_nothing_defines(shop: Workshop) -> None:
    prediction = shop.refused(shop.lib("plugin.so", USES_F), "symbol")
    assert [s.name for s in prediction.missing_symbols] == ["f"]


def test_a_weak_reference_may_stay_open(shop: Workshop) -> None:
    source = "int f(void) __attribute__((weak)); int g(void) { return f ? f() : 0; }"
    assert shop.agree(shop.lib("plugin.so", source)).ok


def test_an_undefined_symbol_without_a_relocation_is_not_missed(shop: Workshop) -> None:
    assert shop.agree(shop.lib("plugin.so", '__asm__(".globl f");')).ok
    used = shop.lib("used.so", "extern int f; int *p(void) { return &f; }")
    shop.refused(used, "symbol")


def test_the_first_missing_symbol_is_the_one_dlopen_names(shop: Workshop) -> None:
    source = """
    extern int data1, data2; int call1(void), call2(void);
    int *table[] = {&data2, &data1};
    int g(void) { return call2() + call1() + *table[0]; }
    """
    prediction = shop.refused(shop.lib("plugin.so", source), "symbol")
    assert {s.name for s in prediction.missing_symbols} == {"data1", "data2", "call1", "call2"}


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_both_kinds_of_hash_tables(shop: Workshop, style: str) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", flags=[f"-Wl,--hash-style={style}"])
    many = "".join(f"int q{i}(void) {{ return {i}; }}" for i in range(300))
    h = shop.lib("libh.so", many, soname="libh.so", flags=[f"-Wl,--hash-style={style}"])
    uses = "int q7(void), q299(void); int h(void) { return q7() + q299(); }" + USES_F
    flags = [f"-Wl,--hash-style={style}"]
    assert shop.agree(shop.lib("plugin.so", uses, [f, h], runpath="$ORIGIN", flags=flags)).ok
    bad = "int q300(void); int h(void) { return q300(); }"
    shop.refused(shop.lib("bad.so", bad, [f, h], runpath="$ORIGIN", flags=flags), "symbol")


def test_a_library_loaded_locally_is_not_seen(shop: Workshop) -> None:
    shop.before(shop.lib("libf.so", F, soname="libf.so"))
    shop.refused(shop.lib("plugin.so", USES_F), "symbol")


def test_a_library_loaded_globally_is_seen(shop: Workshop) -> None:
    shop.before(shop.lib("libf.so", F, soname="libf.so"), make_global=True)
    assert shop.agree(shop.lib("plugin.so", USES_F)).ok


def test_what_a_global_library_needs_is_global_too(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    shop.before(shop.lib("libtop.so", "", [f], runpath="$ORIGIN"), make_global=True)
    assert shop.agree(shop.lib("plugin.so", USES_F)).ok


def test_made_global_later(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    shop.before(f)
    shop.before(f, make_global=True)
    assert shop.agree(shop.lib("plugin.so", USES_F)).ok


def test_a_preloaded_library_is_global(shop: Workshop) -> None:
    shop.env["LD_PRELOAD"] = str(shop.lib("libf.so", F, soname="libf.so"))
    assert shop.agree(shop.lib("plugin.so", USES_F)).ok


def test_the_program_exports_only_what_it_was_told_to(shop: Workshop) -> None:
    extra = shop.path("extra.c")
    extra.write_text(F)
    plugin = shop.lib("plugin.so", USES_F)
    shop.host(str(extra))
    shop.refused(plugin, "symbol")
    shop.host(str(extra), "-rdynamic")
    assert shop.agree(plugin).ok


def test_a_program_at_a_fixed_address(shop: Workshop) -> None:
    extra = shop.path("extra.c")
    extra.write_text(F)
    shop.host(str(extra), "-rdynamic", "-no-pie", "-fno-pie")
    assert shop.agree(shop.lib("plugin.so", USES_F)).ok


def test_the_address_of_a_function_in_a_fixed_program_is_no_definition(shop: Workshop) -> None:
    # Taking printf's address in a fixed program gives its entry a value without a definition;
    # the plugin's call must go to libc all the same.
    extra = shop.path("extra.c")
    extra.write_text("int printf(const char *, ...); void *p = (void *)printf;")
    shop.host(str(extra), "-no-pie", "-fno-pie")
    source = 'int printf(const char *, ...); int g(void) { return printf(""); }'
    assert shop.agree(shop.lib("plugin.so", source)).ok


def test_dependencies_see_the_plugin(shop: Workshop) -> None:
    dependency = shop.lib("libd.so", USES_F, soname="libd.so")
    assert shop.agree(shop.lib("plugin.so", F, [dependency], runpath="$ORIGIN")).ok


def test_siblings_see_each_other(shop: Workshop) -> None:
    user = shop.lib("libuser.so", USES_F, soname="libuser.so")
    f = shop.lib("libf.so", F, soname="libf.so")
    assert shop.agree(shop.lib("plugin.so", "", [user, f], runpath="$ORIGIN")).ok


def test_what_a_loaded_library_needs_is_in_the_scope(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    top = shop.lib("libtop.so", "", [f], soname="libtop.so", runpath="$ORIGIN")
    shop.before(top)
    assert shop.agree(shop.lib("plugin.so", USES_F, [top])).ok


def test_missing_symbols_of_a_dependency(shop: Workshop) -> None:
    dependency = shop.lib("libd.so", USES_F, soname="libd.so")
    uses = "int missing(void); int h(void) { return missing(); }"
    prediction = shop.refused(
        shop.lib("plugin.so", uses, [dependency], runpath="$ORIGIN"), "symbol"
    )
    assert [s.name for s in prediction.missing_symbols] == ["f", "missing"]


def test_the_order_of_relocation_with_a_diamond(shop: Workshop) -> None:
    def missing(name: str) -> str:
        return f"int {name}(void); int u_{name}(void) {{ return {name}(); }}"

    bottom = shop.lib("libbottom.so", missing("m1"), soname="libbottom.so")
    left = shop.lib("libleft.so", missing("m2"), [bottom], soname="libleft.so", runpath="$ORIGIN")
    right = shop.lib(
        "libright.so", missing("m3"), [bottom], soname="libright.so", runpath="$ORIGIN"
    )
    plugin = shop.lib("plugin.so", missing("m4"), [right, left], runpath="$ORIGIN")
    assert len(shop.refused(plugin, "symbol").missing_symbols) == 4


def test_a_cycle_of_dependencies(shop: Workshop) -> None:
    uses = "int a(void); int b(void) { return a(); }"
    shop.lib("liba.so", "int a(void) { return 1; }", soname="liba.so")
    b = shop.lib("libb.so", uses, [shop.folder / "liba.so"], soname="libb.so", runpath="$ORIGIN")
    a = shop.lib(
        "liba.so",
        "int b(void); int none(void); int a(void) { return b() + none(); }",
        [b],
        soname="liba.so",
        runpath="$ORIGIN",
    )
    shop.refused(shop.lib("plugin.so", "", [a], runpath="$ORIGIN"), "symbol")


def test_hidden_symbols_are_not_seen(shop: Workshop) -> None:
    hidden = '__attribute__((visibility("hidden"))) ' + F
    f = shop.lib("libf.so", hidden, soname="libf.so")
    shop.refused(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN"), "symbol")


def test_protected_symbols_are_seen(shop: Workshop) -> None:
    protected = '__attribute__((visibility("protected"))) ' + F
    f = shop.lib("libf.so", protected, soname="libf.so")
    assert shop.agree(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")).ok


def test_a_weak_definition_is_a_definition(shop: Workshop) -> None:
    f = shop.lib("libf.so", "__attribute__((weak)) " + F, soname="libf.so")
    assert shop.agree(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")).ok


def test_unique_symbols(shop: Workshop) -> None:
    unique = '__asm__(".data\\n.globl f\\n.type f, %gnu_unique_object\\n.size f, 4\\nf: .long 1");'
    f = shop.lib("libf.so", unique, soname="libf.so")
    plugin = shop.lib(
        "plugin.so", "extern int f; int *g(void) { return &f; }", [f], runpath="$ORIGIN"
    )
    assert shop.agree(plugin).ok


def test_indirect_functions(shop: Workshop) -> None:
    source = """
    static int one(void) { return 1; }
    static void *pick(void) { return one; }
    int f(void) __attribute__((ifunc("pick")));
    """
    f = shop.lib("libf.so", source, soname="libf.so")
    assert shop.agree(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")).ok


def test_thread_local_symbols(shop: Workshop) -> None:
    f = shop.lib("libf.so", "__thread int t = 3;", soname="libf.so", libc=True)
    uses = "extern __thread int t; int g(void) { return t; }"
    assert shop.agree(shop.lib("plugin.so", uses, [f], runpath="$ORIGIN", libc=True)).ok
    shop.refused(shop.lib("bad.so", uses, libc=True), "symbol")


def test_symbolic_libraries_still_see_others(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN", flags=["-Wl,-Bsymbolic"])
    assert shop.agree(plugin).ok
    shop.refused(shop.lib("bad.so", USES_F, flags=["-Wl,-Bsymbolic"]), "symbol")


def test_an_absolute_symbol_is_a_definition(shop: Workshop) -> None:
    f = shop.lib("libf.so", '__asm__(".globl f\\n.set f, 0");', soname="libf.so")
    plugin = shop.lib(
        "plugin.so", "extern char f; void *g(void) { return &f; }", [f], runpath="$ORIGIN"
    )
    shop.agree(plugin)


def test_an_auxiliary_library_may_be_absent(shop: Workshop) -> None:
    auxiliary = shop.lib("libf.so", F, soname="libf.so")
    real = shop.lib(
        "libreal.so", "", soname="libreal.so", runpath="$ORIGIN", flags=["-Wl,-f,libf.so"]
    )
    plugin = shop.lib("plugin.so", USES_F, [real], runpath="$ORIGIN")
    assert shop.agree(plugin).ok
    auxiliary.unlink()
    shop.refused(plugin, "symbol")


def test_a_filtered_library_must_be_there(shop: Workshop) -> None:
    filtee = shop.lib("libf.so", F, soname="libf.so")
    real = shop.lib(
        "libreal.so", "", soname="libreal.so", runpath="$ORIGIN", flags=["-Wl,-F,libf.so"]
    )
    plugin = shop.lib("plugin.so", USES_F, [real], runpath="$ORIGIN")
    assert shop.agree(plugin).ok
    filtee.unlink()
    shop.refused(plugin, "library")


def test_a_plugin_with_auxiliary_libraries_of_its_own(shop: Workshop) -> None:
    shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib(
        "plugin.so", USES_F, runpath="$ORIGIN", flags=["-Wl,-f,libf.so", "-Wl,-f,libabsent.so"]
    )
    assert shop.agree(plugin).ok


def test_relative_relocations_in_the_packed_form(shop: Workshop) -> None:
    source = "static int x[64]; int *p[] = {&x[1], &x[2], &x[3]};" + USES_F
    f = shop.lib("libf.so", F, soname="libf.so")
    flags = ["-Wl,-z,pack-relative-relocs"]
    plugin = shop.lib("plugin.so", source, [f], runpath="$ORIGIN", flags=flags)
    assert shop.agree(plugin).ok
