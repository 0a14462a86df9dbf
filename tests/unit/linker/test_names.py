"""When is a needed library one that is loaded already? By name, by soname, by file."""

from __future__ import annotations

import os
import shutil

from tests.unit.linker.workshop import Workshop

F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"


def test_by_its_soname_wherever_it_lies(shop: Workshop) -> None:
    shop.before(shop.lib("deep/other-name.so", F, soname="libf.so.1"))
    f = shop.lib("gone/libf.so", F, soname="libf.so.1")
    plugin = shop.lib("plugin.so", USES_F, [f])
    assert shop.accepted(plugin)["libf.so.1"] == ("deep/other-name.so", "loaded")


def test_not_by_its_file_name(shop: Workshop) -> None:
    shop.before(shop.lib("deep/libf.so", F))
    f = shop.lib("gone/libf.so", F, soname="libf.so")
    f.unlink()
    shop.lib("stub/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [shop.folder / "stub/libf.so"])
    shop.refused(plugin, "library")


def test_by_the_name_it_was_needed_under(shop: Workshop) -> None:
    # The file behind the name carries another soname: the name it was asked for counts.
    f = shop.lib("lib/libf.so.1", F, soname="libf.so.1")
    top = shop.lib("libtop.so", "", [f], runpath="$ORIGIN/lib")
    shop.lib("lib/libf.so.1", F, soname="libf.so.999")
    shop.before(top)
    plugin = shop.lib("plugin.so", "", [shop.lib("x/libf.so.1", F, soname="libf.so.1")])
    assert shop.accepted(plugin)["libf.so.1"] == ("lib/libf.so.1", "loaded")


def test_by_being_the_same_file(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F)
    shop.before(f)
    shop.path("b/libf.so").symlink_to(f)
    shop.lib("stub/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [shop.folder / "stub/libf.so"], runpath="$ORIGIN/b")
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "loaded")


def test_by_being_a_hard_link_to_the_same_file(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F)
    shop.before(f)
    os.link(f, shop.path("b/libf.so"))
    shop.lib("stub/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [shop.folder / "stub/libf.so"], runpath="$ORIGIN/b")
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "loaded")


def test_a_copy_is_another_library(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F)
    shop.before(f)
    shutil.copy(f, shop.path("b/libf.so"))
    shop.lib("stub/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [shop.folder / "stub/libf.so"], runpath="$ORIGIN/b")
    assert shop.accepted(plugin)["libf.so"] == ("b/libf.so", "runpath")


def test_two_names_for_one_new_file(shop: Workshop) -> None:
    f = shop.lib("lib/libf.so.1", F, soname="libf.so.1")
    h = shop.lib("lib/libh.so.1", F, soname="libh.so.1")
    plugin = shop.lib("plugin.so", USES_F, [f, h], runpath="$ORIGIN/lib")
    h.unlink()
    h.symlink_to(f)
    found = shop.accepted(plugin)
    assert found["libf.so.1"] == ("lib/libf.so.1", "runpath")
    assert "libh.so.1" not in found or found["libh.so.1"][0] == "lib/libf.so.1"


def test_the_plugin_itself_is_loaded_already(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F)
    shop.before(plugin)
    assert shop.agree(plugin).already_loaded
    other = shop.path("b/plugin.so")
    other.symlink_to(plugin)
    assert shop.agree(other).already_loaded


def test_a_plugin_that_needs_itself(shop: Workshop) -> None:
    stub = shop.lib("stub/libself.so", F, soname="libself.so")
    plugin = shop.lib("libself.so", USES_F + F, [stub], soname="libself.so")
    assert shop.agree(plugin).ok


def test_an_older_soname_wins_over_a_newer_file(shop: Workshop) -> None:
    shop.before(shop.lib("one/x.so", F, soname="libf.so"))
    newer = shop.lib("two/libf.so", "int h(void) { return 2; }", soname="libf.so")
    source = "int h(void); int g(void) { return h(); }"
    shop.refused(shop.lib("plugin.so", source, [newer], runpath="$ORIGIN/two"), "symbol")


def test_without_a_soname_a_loaded_library_is_looked_for_again(shop: Workshop) -> None:
    # What happened to _pywrap_tensorflow_internal.so when it lost its soname.
    shop.before(shop.lib("package/_internal.so", F), make_global=True)
    shop.lib("stub/_internal.so", F, soname="_internal.so")
    plugin = shop.lib("plugin.so", USES_F, [shop.folder / "stub/_internal.so"])
    shop.refused(plugin, "library")
