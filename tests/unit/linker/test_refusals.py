"""What dlopen refuses before it looks at a symbol, and what kills the process instead."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from envlock.binary.elf.file import ElfFile
from envlock.binary.elf.image import PT_DYNAMIC, PT_GNU_STACK, PT_LOAD
from envlock.linker.traits import Traits
from envlock.models.errors import ElfError, FileAccessError
from tests.unit.linker.workshop import Workshop

F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"


def cut(path: Path, keep: int) -> None:
    """Cut a library off at the page in which its writable segment begins."""
    with ElfFile.open(path) as elf:
        start = max(s.offset for s in elf.segments if s.type == PT_LOAD) & -4096
    path.write_bytes(path.read_bytes()[: start + keep])


def patched(shop: Workshop, path: Path, changes: dict[int, bytes]) -> Path:
    """A copy of a file with other bytes at some offsets."""
    data = bytearray(path.read_bytes())
    for offset, new in changes.items():
        data[offset : offset + len(new)] = new
    target = shop.path("patched.so")
    target.write_bytes(data)
    return target


HEADER_CHANGES = {
    "class": ({4: b"\1"}, "class"),
    "byte order": ({5: b"\2"}, "header"),
    "ident version": ({6: b"\7"}, "header"),
    "operating system": ({7: b"\x09"}, "header"),
    "gnu operating system": ({7: b"\x03"}, None),
    "gnu operating system, ABI version 3": ({7: b"\x03\x03"}, None),
    "gnu operating system, ABI version 9": ({7: b"\x03\x09"}, "header"),
    "ABI version": ({8: b"\1"}, "header"),
    "padding": ({12: b"\1"}, "header"),
    "file version": ({20: b"\2"}, "header"),
    "machine": ({18: b"\xb7\0"}, "machine"),
    "relocatable": ({16: b"\1\0"}, "header"),
    "core": ({16: b"\4\0"}, "header"),
    "executable": ({16: b"\2\0"}, "flags"),
    "size of program headers": ({54: b"\x39\0"}, "header"),
}


@pytest.mark.parametrize("name", HEADER_CHANGES)
def test_the_elf_header(shop: Workshop, name: str) -> None:
    changes, reason = HEADER_CHANGES[name]
    plugin = patched(shop, shop.lib("plugin.so", F), changes)
    if reason is None:
        assert shop.agree(plugin).ok
    elif name == "size of program headers":
        # No program header can be read, so it is an error of the input, not an answer.
        assert shop.judge(plugin).outcome == "refused"
        assert shop.predict(plugin).reason == reason
    else:
        shop.refused(plugin, reason)


def test_a_header_fault_in_a_dependency_is_named_with_its_path(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    patched(shop, f, {12: b"\1"}).rename(f)
    shop.refused(plugin, "header")


def test_a_mapping_fault_in_a_dependency_is_named_as_it_was_asked_for(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    patched(shop, f, {16: b"\2\0"}).rename(f)
    shop.refused(plugin, "flags")


def test_programs_are_not_loaded(shop: Workshop) -> None:
    for flags in (("-pie", "-fPIE"), ("-no-pie", "-fno-pie")):
        target = shop.path("program")
        shop.gcc("-x", "c", "-", *flags, "-o", target, source="int main(void) { return 0; }")
        shop.refused(target, "flags")


def test_a_library_that_says_no(shop: Workshop) -> None:
    shop.refused(shop.lib("plugin.so", F, flags=["-Wl,-z,nodlopen"]), "flags")


def test_a_needed_library_that_says_no(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so", flags=["-Wl,-z,nodlopen"])
    shop.agree(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN"))


def test_a_missing_file(shop: Workshop) -> None:
    assert shop.judge(shop.folder / "none.so").outcome == "refused"
    with pytest.raises(FileAccessError, match="No such file"):
        shop.predict(shop.folder / "none.so")


def test_a_text_file_and_an_empty_one(shop: Workshop) -> None:
    text = shop.path("text.so")
    text.write_text("not an ELF file, " * 20)
    assert "invalid ELF header" in (shop.judge(text).error or "")
    assert "invalid ELF header" in (shop.predict(text).error or "")
    empty = shop.path("empty.so")
    empty.write_bytes(b"")
    assert "file too short" in (shop.judge(empty).error or "")
    assert "file too short" in (shop.predict(empty).error or "")


def test_a_truncated_file_kills_the_process(shop: Workshop) -> None:
    source = "int big[4096] = {1};\n" + F + "int *p = &big[7];"
    plugin = shop.lib("plugin.so", source)
    cut(plugin, 0)
    real = shop.judge(plugin)
    assert (real.outcome, real.error) == ("crash", "SIGBUS")
    prediction = shop.predict(plugin)
    assert (prediction.outcome, prediction.reason) == ("crash", "truncated")


def test_a_truncated_dependency_kills_the_process(shop: Workshop) -> None:
    source = "int big[4096] = {1};\n" + F + "int *p = &big[7];"
    f = shop.lib("libf.so", source, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    cut(f, 0)
    assert shop.agree(plugin).outcome == "crash"


def test_a_file_cut_off_in_its_last_page_loads_with_zeros(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F + "int big[100] = {1}; int *p = &big[7];")
    with ElfFile.open(plugin) as elf:
        end = max(s.offset + s.filesz for s in elf.segments if s.type == PT_LOAD)
    plugin.write_bytes(plugin.read_bytes()[: end - 16])
    prediction = shop.agree(plugin)
    assert (prediction.ok, prediction.cut_off) == (True, 16)


def test_without_its_section_headers_a_file_loads(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F)
    with ElfFile.open(plugin) as elf:
        end = max(s.offset + s.filesz for s in elf.segments if s.type == PT_LOAD)
    plugin.write_bytes(plugin.read_bytes()[:end])
    assert shop.agree(plugin).ok


def test_without_dynamic_section(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F)
    with ElfFile.open(plugin) as elf:
        index = [s.type for s in elf.segments].index(PT_DYNAMIC)
        offset = elf.phoff + index * elf.phentsize
    shop.refused(patched(shop, plugin, {offset: b"\0\0\0\0"}), "header")


def test_a_debug_file(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F, flags=["-g"])
    debug = shop.path("plugin.debug")
    import subprocess

    subprocess.run(["objcopy", "--only-keep-debug", plugin, debug], check=True)
    shop.refused(debug, "header")


def test_without_segments_to_load(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F)
    with ElfFile.open(plugin) as elf:
        changes = {
            elf.phoff + i * elf.phentsize: b"\0\0\0\0"
            for i, segment in enumerate(elf.segments)
            if segment.type == PT_LOAD
        }
    shop.refused(patched(shop, plugin, changes), "header")


def test_segments_that_are_not_page_aligned(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F)
    with ElfFile.open(plugin) as elf:
        index = [s.type for s in elf.segments].index(PT_LOAD)
        offset = elf.phoff + index * elf.phentsize + 16
    shop.refused(patched(shop, plugin, {offset: struct.pack("<Q", 0x10)}), "header")


def test_an_executable_stack(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F, flags=["-Wl,-z,execstack"])
    with ElfFile.open(plugin) as elf:
        assert [s.flags & 1 for s in elf.segments if s.type == PT_GNU_STACK] == [1]
    # glibc up to 2.40 makes the stack executable, later it refuses.
    shop.agree(plugin)


def test_an_executable_stack_with_a_newer_glibc(shop: Workshop) -> None:
    plugin = shop.lib("plugin.so", F, flags=["-Wl,-z,execstack"])
    shop.host()
    scope = shop.scope()
    scope.host.traits = Traits.of_release((2, 41))
    from envlock.linker.resolve import predict

    prediction = predict(str(plugin), scope)
    assert (prediction.outcome, prediction.reason) == ("refused", "stack")
    assert prediction.error == (
        f"{plugin}: cannot enable executable stack as shared object requires: Invalid argument"
    )


@pytest.mark.parametrize("level", ["baseline", "v2", "v3", "v4"])
def test_the_processor_level(shop: Workshop, level: str) -> None:
    flag = f"-Wl,-z,x86-64-{level}"
    f = shop.lib("libf.so", F, soname="libf.so", flags=[flag])
    shop.agree(f)
    shop.agree(shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN"))


@pytest.mark.parametrize("size", [8, 1024, 1500, 1800, 4096])
def test_static_thread_local_storage(shop: Workshop, size: int) -> None:
    source = f"static __thread char t[{size}] = {{1}}; char *g(void) {{ return t; }}"
    plugin = shop.lib("plugin.so", source, flags=["-ftls-model=initial-exec"], libc=True)
    shop.agree(plugin)


def test_static_thread_local_storage_is_shared(shop: Workshop) -> None:
    source = "static __thread char t[1000] = {1}; char *g(void) { return t; }"
    flags = ["-ftls-model=initial-exec"]
    shop.before(shop.lib("first.so", source, flags=flags, libc=True))
    shop.refused(shop.lib("plugin.so", source, flags=flags, libc=True), "tls")


@pytest.mark.parametrize("tunables", ["glibc.rtld.optional_static_tls=8192", "glibc.rtld.nns=9"])
def test_static_thread_local_storage_with_tunables(shop: Workshop, tunables: str) -> None:
    source = "static __thread char t[2700] = {1}; char *g(void) { return t; }"
    plugin = shop.lib("plugin.so", source, flags=["-ftls-model=initial-exec"], libc=True)
    shop.refused(plugin, "tls")
    shop.env["GLIBC_TUNABLES"] = tunables
    assert shop.agree(plugin).ok


def test_dynamic_thread_local_storage_is_unlimited(shop: Workshop) -> None:
    source = "static __thread char t[100000] = {1}; char *g(void) { return t; }"
    assert shop.agree(shop.lib("plugin.so", source, libc=True)).ok


def test_damage_in_the_plugin_is_an_error_of_the_input(shop: Workshop) -> None:
    f = shop.lib("libf.so", F, soname="libf.so")
    plugin = shop.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")
    with ElfFile.open(plugin) as elf:
        segment = next(s for s in elf.segments if s.type == PT_DYNAMIC)
    # DT_STRTAB far outside: the dynamic linker would die of SIGSEGV.
    data = bytearray(plugin.read_bytes())
    for at in range(segment.offset, segment.offset + segment.filesz, 16):
        if data[at] == 5 and not any(data[at + 1 : at + 8]):
            data[at + 8 : at + 16] = struct.pack("<Q", 1 << 40)
    plugin.write_bytes(data)
    assert shop.judge(plugin).outcome == "crash"
    with pytest.raises(ElfError, match="damaged"):
        shop.predict(plugin)


def test_a_plugin_that_opens_others_itself(shop: Workshop) -> None:
    source = """
    void *dlopen(const char *, int);
    __attribute__((constructor)) static void begin(void) { dlopen("libnone.so", 2); }
    """
    prediction = shop.agree(shop.lib("plugin.so", source, libc=True))
    assert prediction.ok
    assert "dlopen" in prediction.unchecked[0]
