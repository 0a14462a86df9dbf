"""Where a library is looked for, one rule a test, as dlopen itself answers it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import bombs
from tests.unit.linker.workshop import Workshop

F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"


def test_rpath_of_the_library_itself(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], rpath=str(shop.folder / "a"))
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "rpath")


def test_runpath_of_the_library_itself(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath=str(shop.folder / "a"))
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "runpath")


def test_rpath_is_inherited_by_what_is_needed(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    middle = shop.lib("a/libm.so", USES_F, [f], soname="libmiddle.so")
    os.rename(middle, shop.path("a/libmiddle.so"))
    plugin = shop.lib("plugin.so", "", [shop.folder / "a/libmiddle.so"], rpath="$ORIGIN/a")
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "rpath")


def test_runpath_is_not_inherited(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    middle = shop.lib("a/libmiddle.so", USES_F, [f], soname="libmiddle.so")
    plugin = shop.lib("plugin.so", "", [middle], runpath="$ORIGIN/a")
    prediction = shop.refused(plugin, "library")
    assert prediction.missing_libraries[0].name == "libf.so"


def test_a_runpath_in_between_switches_the_inherited_rpath_off(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    middle = shop.lib(
        "a/libmiddle.so", USES_F, [f], soname="libmiddle.so", runpath="$ORIGIN/nowhere"
    )
    plugin = shop.lib("plugin.so", "", [middle], rpath="$ORIGIN/a")
    shop.refused(plugin, "library")


def test_library_path_comes_after_rpath(shop: Workshop) -> None:
    shop.lib("env/libf.so", F, soname="libf.so")
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], rpath="$ORIGIN/a")
    shop.env["LD_LIBRARY_PATH"] = str(shop.folder / "env")
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "rpath")


def test_library_path_comes_before_runpath(shop: Workshop) -> None:
    shop.lib("env/libf.so", F, soname="libf.so")
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/a")
    shop.env["LD_LIBRARY_PATH"] = str(shop.folder / "env")
    assert shop.accepted(plugin)["libf.so"] == ("env/libf.so", "LD_LIBRARY_PATH")


@pytest.mark.parametrize("separator", [":", ";"])
def test_library_path_has_two_separators(shop: Workshop, separator: str) -> None:
    f = shop.lib("env/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f])
    shop.env["LD_LIBRARY_PATH"] = f"{shop.folder}/nowhere{separator}{shop.folder}/env"
    assert shop.accepted(plugin)["libf.so"] == ("env/libf.so", "LD_LIBRARY_PATH")


@pytest.mark.parametrize("value", [":", "nowhere:", ":nowhere", "nowhere::nowhere"])
def test_an_empty_entry_of_library_path_is_the_current_folder(shop: Workshop, value: str) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("sub/plugin.so", USES_F, [f])
    shop.env["LD_LIBRARY_PATH"] = value
    prediction = shop.agree(plugin)
    assert [d.path for d in prediction.closure] == ["libf.so"]


def test_an_empty_entry_of_runpath_is_the_current_folder(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("sub/plugin.so", USES_F, [f], runpath="/nowhere:")
    assert [d.path for d in shop.agree(plugin).closure] == ["libf.so"]


def test_rpath_of_the_program_serves_plugins_without_runpath(shop: Workshop) -> None:
    f = shop.lib("prefix/lib/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f])
    shop.host("-Wl,--disable-new-dtags,-rpath,$ORIGIN/prefix/lib")
    assert shop.accepted(plugin)["libf.so"] == ("prefix/lib/libf.so", "rpath")


def test_rpath_of_the_program_does_not_serve_plugins_with_runpath(shop: Workshop) -> None:
    f = shop.lib("prefix/lib/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="/nowhere")
    shop.host("-Wl,--disable-new-dtags,-rpath,$ORIGIN/prefix/lib")
    shop.refused(plugin, "library")


def test_runpath_of_the_program_serves_nobody_else(shop: Workshop) -> None:
    f = shop.lib("prefix/lib/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f])
    shop.host("-Wl,--enable-new-dtags,-rpath,$ORIGIN/prefix/lib")
    shop.refused(plugin, "library")


def test_origin_of_a_program_is_its_real_place(shop: Workshop) -> None:
    f = shop.lib("real/lib/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f])
    shop.host("-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib")
    real = shop.path("real/host")
    os.rename(shop.host_path, real)
    shop.host_path.symlink_to(real)
    assert shop.accepted(plugin)["libf.so"] == ("real/lib/libf.so", "rpath")


def test_origin_of_a_library_is_the_link_not_its_target(shop: Workshop) -> None:
    f = shop.lib("links/libf.so", F, soname="libf.so")
    real = shop.lib("real/plugin.so", USES_F, [f], runpath="$ORIGIN")
    link = shop.path("links/plugin.so")
    link.symlink_to(real)
    assert shop.accepted(link)["libf.so"] == ("links/libf.so", "runpath")
    shop.refused(real, "library")


@pytest.mark.parametrize("token", ["$ORIGIN", "${ORIGIN}"])
def test_origin_with_and_without_braces(shop: Workshop, token: str) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath=f"{token}/a")
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "runpath")


def test_a_longer_word_is_no_token(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGINAL/a:${ORIGIN/a:$HOME/a")
    shop.refused(plugin, "library")


def test_lib_and_platform_tokens(shop: Workshop) -> None:
    scope_of_host = shop.host() and shop.scope()
    token = scope_of_host.interpreter.lib_token
    platform = scope_of_host.searcher.processor.platform
    f = shop.lib(f"x/{token}/libf.so", F, soname="libf.so")
    h = shop.lib(f"x/{platform}/libh.so", "int h(void) { return 2; }", soname="libh.so")
    plugin = shop.lib("plugin.so", USES_F, [f, h], runpath="$ORIGIN/x/$LIB:$ORIGIN/x/$PLATFORM")
    found = shop.accepted(plugin)
    assert found["libf.so"] == (f"x/{token}/libf.so", "runpath")
    assert found["libh.so"] == (f"x/{platform}/libh.so", "runpath")


def test_trailing_slashes_and_doubled_folders(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/no//:$ORIGIN/a///:$ORIGIN/a")
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "runpath")


def test_a_needed_name_with_a_slash_is_a_path(shop: Workshop) -> None:
    shop.lib("a/libf.so", F)
    # Without a soname the linker records the path as it was given.
    plugin = shop.lib("plugin.so", USES_F, ["a/libf.so"])
    prediction = shop.agree(plugin)
    assert [(d.name, d.how) for d in prediction.closure] == [("a/libf.so", "path")]
    os.rename(shop.folder / "a", shop.folder / "b")
    shop.refused(plugin, "library")


def test_a_needed_name_may_hold_origin(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="$ORIGIN/a/libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f])
    assert [d.how for d in shop.agree(plugin).closure] == ["path"]


def test_the_cache_then_the_default_folders(shop: Workshop) -> None:
    # libc is loaded already, libresolv comes from the cache or a default folder.
    plugin = shop.lib("plugin.so", "", flags=["-l:libresolv.so.2"])
    found = shop.accepted(plugin)
    assert found["libresolv.so.2"][1] in ("ld.so.cache", "default")


def test_nodeflib_leaves_the_default_folders_out(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", "", flags=["-l:libresolv.so.2", "-Wl,-z,nodefaultlib"])
    shop.refused(plugin, "library")


def test_another_class_is_passed_over(shop: Workshop) -> None:
    f = shop.lib("good/libf.so", F, soname="libf.so")
    wrong = shop.path("bad/libf.so")
    data = bytearray(f.read_bytes())
    data[4] = 1
    wrong.write_bytes(data)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/bad:$ORIGIN/good")
    assert shop.accepted(plugin)["libf.so"] == ("good/libf.so", "runpath")
    f.unlink()
    prediction = shop.refused(plugin, "class")
    assert prediction.missing_libraries[0].rejected[0][0] == str(wrong)


def test_another_machine_is_passed_over(shop: Workshop) -> None:
    f = shop.lib("good/libf.so", F, soname="libf.so")
    data = bytearray(f.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")
    shop.path("bad/libf.so").write_bytes(data)
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/bad:$ORIGIN/good")
    assert shop.accepted(plugin)["libf.so"] == ("good/libf.so", "runpath")
    f.unlink()
    prediction = shop.refused(plugin, "machine")
    assert "No such file" in (prediction.error or "")


def test_a_file_that_is_no_elf_file_ends_the_search(shop: Workshop) -> None:
    f = shop.lib("good/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/bad:$ORIGIN/good")
    shop.path("bad/libf.so").write_text("INPUT(libf.so.1) and more than sixty-four bytes" * 3)
    shop.refused(plugin, "header")
    shop.path("bad/libf.so").write_text("short")
    shop.refused(plugin, "file")


def test_a_folder_of_the_right_name_ends_the_search(shop: Workshop) -> None:
    f = shop.lib("good/libf.so", F, soname="libf.so")
    shop.path("bad/libf.so/file")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/bad:$ORIGIN/good")
    shop.refused(plugin, "file")


def test_hardware_folders_come_first(shop: Workshop) -> None:
    names = (shop.host() and shop.scope()).searcher.processor.hwcaps
    if not names:
        pytest.skip("this processor has no glibc-hwcaps folder of its own")
    f = shop.lib("a/libf.so", F, soname="libf.so")
    shop.lib(f"a/glibc-hwcaps/{names[-1]}/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/a")
    assert shop.accepted(plugin)["libf.so"][0] == f"a/glibc-hwcaps/{names[-1]}/libf.so"
    shop.lib(f"a/glibc-hwcaps/{names[0]}/libf.so", F, soname="libf.so")
    assert shop.accepted(plugin)["libf.so"][0] == f"a/glibc-hwcaps/{names[0]}/libf.so"


def test_hardware_folders_of_an_absent_processor_are_left_out(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    shop.lib("a/glibc-hwcaps/x86-64-v9/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/a")
    assert shop.accepted(plugin)["libf.so"] == ("a/libf.so", "runpath")


@pytest.mark.parametrize("subfolder", ["tls", "x86_64", "tls/x86_64", "tls/x86_64/x86_64"])
def test_older_hardware_folders(shop: Workshop, subfolder: str) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    shop.lib(f"a/{subfolder}/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/a")
    # Whether they count depends on the release; dlopen decides.
    shop.agree(plugin)


def test_what_is_searched_is_told_in_order(shop: Workshop) -> None:
    f = shop.lib("gone/libf.so", F, soname="libf.so")
    for name in ("one", "two", "env"):
        shop.path(f"{name}/x")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/one:$ORIGIN/two")
    f.unlink()
    shop.env["LD_LIBRARY_PATH"] = str(shop.folder / "env")
    prediction = shop.refused(plugin, "library")
    missing = prediction.missing_libraries[0]
    folders = [s.folder for s in missing.searched if s.how != "ld.so.cache"]
    tried = [path for path in shop.judge(plugin, debug=True).tried if path.endswith("/libf.so")]
    real = [path[: -len("libf.so")] for path in tried]
    told = [folder for folder in folders if os.path.isdir(folder)]
    assert told == [folder for folder in dict.fromkeys(real) if folder in told]
    assert [s.how for s in missing.searched][:3] == ["LD_LIBRARY_PATH", "runpath", "runpath"]


def test_the_same_paths_as_ldd(shop: Workshop) -> None:
    f = shop.lib("a/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN/a", libc=True, flags=["-lm"])
    answer = subprocess.run(["ldd", str(plugin)], capture_output=True, text=True, check=True)
    listed = {
        line.split()[0]: line.split()[2] for line in answer.stdout.splitlines() if "=>" in line
    }
    found = {d.name: d.path for d in shop.agree(plugin).closure}
    assert {name: os.path.realpath(path) for name, path in listed.items()} == {
        name: os.path.realpath(path) for name, path in found.items() if name in listed
    }


def test_a_bare_name_is_searched(shop: Workshop) -> None:
    shop.lib("env/plugin.so", F)
    shop.env["LD_LIBRARY_PATH"] = str(shop.folder / "env")
    assert shop.judge("plugin.so").outcome == "ok"
    assert shop.predict("plugin.so").ok
    shop.env.clear()
    shop.refused("plugin.so", "library")


def test_unreadable_folders_are_passed_over(shop: Workshop, tmp_path: Path) -> None:
    f = shop.lib("good/libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath=f"{plugin_file(tmp_path)}:$ORIGIN/good")
    shop.agree(plugin)


def plugin_file(folder: Path) -> Path:
    """A plain file where a folder is expected."""
    path = folder / "file"
    path.write_text("no folder")
    return path


@pytest.mark.slow
def test_hundreds_of_libraries_in_hundreds_of_folders(shop: Workshop) -> None:
    """As build systems with a folder for each library write them; every library is in the last."""
    folders = [f"$ORIGIN/solib/target_{number}" for number in range(400)]
    for folder in folders:
        shop.path(folder.replace("$ORIGIN/", "") + "/x")
    entries, strings = [], b"\0"

    def entry(tag: int, text: str) -> None:
        nonlocal strings
        entries.append((tag, len(strings)))
        strings += text.encode() + b"\0"

    entry(bombs.RUNPATH, ":".join(folders))
    library = bombs.shared_library(b"\0")
    for number in range(400):
        (shop.folder / f"solib/target_399/lib{number}.so").write_bytes(library)
        entry(bombs.NEEDED, f"lib{number}.so")
    plugin = shop.path("plugin.so")
    plugin.write_bytes(bombs.shared_library(strings, entries=entries))
    assert len(shop.agree(plugin).closure) == 400
