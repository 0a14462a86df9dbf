"""The libraries that every loader is shown: what releases of glibc and distributions do differently.

A case builds a plugin in an empty workshop, and may say what was opened before, what the
environment is, and which folders ldconfig shall know. The rows are those of the page's table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from envlock.binary.elf.file import ElfFile
from envlock.binary.elf.image import PT_LOAD
from envlock.binary.elf.symbols import sysv_hash
from tests.unit.linker.workshop import Workshop

F = "int f(void) { return 1; }"
USES_F = "int f(void); int g(void) { return f(); }"
VF = "int vf(void) { return 1; }"
USES_VF = "int vf(void); int g(void) { return vf(); }"
V1 = "V1 { global: vf; local: *; };"
CONSTRUCTOR = "static int x; __attribute__((constructor)) static void begin(void) { x = 1; }"

Build = Callable[["Bench"], Path]


class Bench(Workshop):
    """A workshop that also says what ldconfig is given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ldconfig: list[Path] = []

    def patched(self, path: Path, *changes: tuple[int, bytes]) -> Path:
        """The file with other bytes at some offsets."""
        data = bytearray(path.read_bytes())
        for offset, new in changes:
            data[offset : offset + len(new)] = new
        path.write_bytes(data)
        return path

    def both(self, where: str) -> Path:
        """A plugin whose library is in a folder and, better, in one below it."""
        for folder in ("a", f"a/{where}"):
            self.lib(f"{folder}/libf.so", F, soname="libf.so")
        return self.lib("plugin.so", USES_F, [self.folder / "a/libf.so"], runpath="$ORIGIN/a")


def _folders(where: str) -> Build:
    return lambda b: b.both(where)


def _header(offset: int, new: bytes) -> Build:
    return lambda b: b.patched(b.lib("plugin.so", F), (offset, new))


def _mark(bits: int) -> Build:
    """GNU_PROPERTY_X86_ISA_1_NEEDED with these bits."""

    def build(b: Bench) -> Path:
        plugin = b.lib("plugin.so", F, flags=["-Wl,-z,x86-64-v2"])
        at = plugin.read_bytes().find(struct.pack("<II", 0xC0008002, 4))
        assert at > 0
        return b.patched(plugin, (at + 8, struct.pack("<I", bits)))

    return build


def _alignment(align: int) -> Build:
    """The last PT_LOAD with another p_align."""

    def build(b: Bench) -> Path:
        plugin = b.lib("plugin.so", F + "int *p = (int *)&p;")
        with ElfFile.open(plugin) as elf:
            index = max(i for i, s in enumerate(elf.segments) if s.type == PT_LOAD)
            at = elf.phoff + index * elf.phentsize + 48
        return b.patched(plugin, (at, struct.pack("<Q", align)))

    return build


def _kernel(major: int) -> str:
    return (
        '__asm__(".section .note.ABI-tag,\\"a\\"\\n.balign 4\\n.long 4,16,1\\n.asciz \\"GNU\\"\\n'
        f'.long 0,{major},0,0\\n.previous");'
    )


def _newer_kernel_in_a_dependency(b: Bench) -> Path:
    b.lib("a/libf.so", F + _kernel(99), soname="libf.so")
    b.lib("b/libf.so", F + _kernel(3), soname="libf.so")
    return b.lib("plugin.so", USES_F, [b.folder / "b/libf.so"], runpath="$ORIGIN/a:$ORIGIN/b")


def _pie(b: Bench) -> Path:
    plugin = b.lib("plugin.so", F, flags=["-Wl,-z,nodelete"])
    at = plugin.read_bytes().find(struct.pack("<QQ", 0x6FFFFFFB, 8))
    assert at > 0
    return b.patched(plugin, (at + 8, struct.pack("<Q", 0x08000000)))


def _moved(elsewhere: bool) -> Build:
    """The library that a version is needed from lost the symbol."""

    def build(b: Bench) -> Path:
        ver = b.lib("libver.so", VF, soname="libver.so", versions=V1)
        plugin = b.lib("stub.so", USES_VF, [ver])
        other = b.lib("libother.so", VF, soname="libother.so", versions=V1)
        needs = [ver, other] if elsewhere else [ver]
        plugin = b.lib("plugin.so", USES_VF, needs, runpath="$ORIGIN")
        script = "V1 { global: another; local: *; };"
        b.lib("libver.so", "int another(void) { return 1; }", soname="libver.so", versions=script)
        return plugin

    return build


def _unversioned(b: Bench) -> Path:
    ver = b.lib("libver.so", VF, soname="libver.so", versions=V1)
    plugin = b.lib("plugin.so", USES_VF, [ver], runpath="$ORIGIN")
    b.lib("libver.so", VF, soname="libver.so")
    return plugin


def _version_missing(b: Bench) -> Path:
    ver = b.lib("libver.so", VF, soname="libver.so", versions=V1)
    plugin = b.lib("plugin.so", USES_VF, [ver], runpath="$ORIGIN")
    b.lib("libver.so", VF, soname="libver.so", versions="V0 { global: vf; local: *; };")
    return plugin


def _relr(source: str, libc: bool) -> Build:
    """DT_RELR, without a need of GLIBC_ABI_DT_RELR; `libc`: it needs another version of libc.

    The linker adds that need wherever libc is linked in; it is made a second need of GLIBC_2.2.5.
    """

    def build(b: Bench) -> Path:
        flags = ["-Wl,-z,pack-relative-relocs"]
        if not libc:
            return b.lib("plugin.so", source, flags=flags)
        calls = "int getpid(void); int h(void) { return getpid(); }"
        plugin = b.lib("plugin.so", source + calls, flags=[*flags, "-nostartfiles"], libc=True)
        data = plugin.read_bytes()
        # Elf64_Vernaux: vna_hash, vna_flags, vna_other, vna_name, vna_next.
        wanted, other = (
            data.find(struct.pack("<I", sysv_hash(name)))
            for name in (b"GLIBC_ABI_DT_RELR", b"GLIBC_2.2.5")
        )
        assert min(wanted, other) > 0
        hashed, name = data[other : other + 4], data[other + 8 : other + 12]
        return b.patched(plugin, (wanted, hashed), (wanted + 8, name))

    return build


def _stack(value: int | None, preload: bool = False) -> Build:
    def build(b: Bench) -> Path:
        if value is not None:
            b.env["GLIBC_TUNABLES"] = f"glibc.rtld.execstack={value}"
        if preload:
            first = b.lib("libfirst.so", "int first;", flags=["-Wl,-z,execstack"])
            b.env["LD_PRELOAD"] = str(first)
        return b.lib("plugin.so", F, flags=["-Wl,-z,execstack"])

    return build


def _tls(size: int, align: int, tunables: str = "", before: int = 0) -> Build:
    def build(b: Bench) -> Path:
        def one(name: str, size: int) -> Path:
            source = (
                f"static __thread char t[{size}] __attribute__((aligned({align}))) = {{1}};"
                "char *g(void) { return t; }"
            )
            return b.lib(name, source, flags=["-ftls-model=initial-exec"], libc=True)

        if tunables:
            b.env["GLIBC_TUNABLES"] = tunables
        if before:
            b.before(one("first.so", before))
        return one("plugin.so", size)

    return build


def _platform(off: str = "") -> Build:
    def build(b: Bench) -> Path:
        if off:
            b.env["GLIBC_TUNABLES"] = f"glibc.cpu.hwcaps={off}"
        for name in ("haswell", "x86_64", "xeon_phi"):
            b.lib(f"{name}/libf.so", F, soname="libf.so")
        return b.lib(
            "plugin.so", USES_F, [b.folder / "haswell/libf.so"], runpath="$ORIGIN/$PLATFORM"
        )

    return build


def _hwcaps(off: str) -> Build:
    def build(b: Bench) -> Path:
        b.env["GLIBC_TUNABLES"] = f"glibc.cpu.hwcaps={off}"
        for level in ("v2", "v3", "v4"):
            b.lib(f"a/glibc-hwcaps/x86-64-{level}/libf.so", F, soname="libf.so")
        return b.both("glibc-hwcaps/x86-64-v1")

    return build


def _mark_without_feature(b: Bench) -> Path:
    b.env["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=-AVX2"
    return b.lib("plugin.so", F, flags=["-Wl,-z,x86-64-v3"])


def _cached(*below: str) -> Build:
    """The library is known through ld.so.cache, in a folder and in others below it."""

    def build(b: Bench) -> Path:
        for folder in ("a", *(f"a/{name}" for name in below)):
            b.lib(f"{folder}/libcached.so", F, soname="libcached.so")
        b.ldconfig.append(b.folder / "a")
        return b.lib("plugin.so", USES_F, [b.folder / "a/libcached.so"])

    return build


def _listed(name: str) -> Build:
    """A folder of ld.so.conf that is called like a hardware folder."""

    def build(b: Bench) -> Path:
        b.lib(f"{name}/libcached.so", F, soname="libcached.so")
        b.lib("b/libcached.so", F, soname="libcached.so")
        b.ldconfig += [b.folder / "b", b.folder / name]
        return b.lib("plugin.so", USES_F, [b.folder / "b/libcached.so"])

    return build


#: For each: which libraries each needs. Each calls something that is not there.
_GRAPHS = {
    "diamond": {"p": "ab", "a": "c", "b": "c", "c": ""},
    "circle": {"p": "abc", "a": "b", "b": "c", "c": "a"},
    "back": {"p": "abcd", "a": "", "b": "a", "c": "bd", "d": "c"},
    "long": {"p": "ade", "a": "b", "b": "c", "c": "d", "d": "b", "e": "a"},
}


def _order(graph: str, sort: int) -> Build:
    def build(b: Bench) -> Path:
        if sort:
            b.env["GLIBC_TUNABLES"] = f"glibc.rtld.dynamic_sort={sort}"
        needs = _GRAPHS[graph]
        stubs = {
            name: b.lib(f"stub/lib{name}.so", f"int {name}_;", soname=f"lib{name}.so")
            for name in needs
        }
        for name, names in needs.items():
            source = f"int lacks_{name}(void); int {name}_(void) {{ return lacks_{name}(); }}"
            linked = [stubs[other] for other in names]
            b.lib(f"lib{name}.so", source, linked, soname=f"lib{name}.so", runpath="$ORIGIN")
        return b.folder / "libp.so"

    return build


def _missing_library(b: Bench) -> Path:
    f = b.lib("stub/libabsent.so", F, soname="libabsent.so")
    return b.lib("plugin.so", USES_F, [f], runpath="$ORIGIN")


def _file_for_a_folder(b: Bench) -> Path:
    b.lib("b/libf.so", F, soname="libf.so")
    b.path("a").write_text("no folder")
    return b.lib("plugin.so", USES_F, [b.folder / "b/libf.so"], runpath="$ORIGIN/a:$ORIGIN/b")


def cases() -> Iterator[tuple[str, str, Build]]:
    """(row of the table, name, how it is built)."""
    yield "plain", "a library that loads", lambda b: b.lib("plugin.so", F)
    yield "plain", "a missing symbol", lambda b: b.lib("plugin.so", USES_F)
    yield "plain", "a missing library", _missing_library
    yield "plain", "a missing version", _version_missing
    yield "plain", "a folder that is a file", _file_for_a_folder
    yield "plain", "$LIB", lambda b: b.lib("plugin.so", USES_F, runpath="$ORIGIN/$LIB")
    for name in ("tls", "x86_64", "tls/x86_64", "haswell", "haswell/x86_64", "avx512_1/x86_64"):
        yield "2", f"folder {name}/", _folders(name)
    for name in ("x86-64-v2", "x86-64-v3", "x86-64-v4"):
        yield "3", f"folder glibc-hwcaps/{name}/", _folders(f"glibc-hwcaps/{name}")
    for bits in (1, 2, 4, 0x40000000):
        yield "4", f"ISA level {bits:#x}", _mark(bits)
    for align in (0, 1, 0x200, 0x1800, 0x2000, 0x200000):
        yield "5, 6", f"p_align {align:#x}", _alignment(align)
    yield "8", "a version's symbol that its library lost", _moved(False)
    yield "9", "a version's symbol that moved to another library", _moved(True)
    yield "10", "DF_1_PIE", _pie
    for version in (0, 1, 2, 3, 4):
        yield "11", f"ELFOSABI_GNU, ABI version {version}", _header(7, bytes((3, version)))
    yield "12", "a newer kernel asked for", lambda b: b.lib("plugin.so", F + _kernel(99))
    yield "12", "an older kernel asked for", lambda b: b.lib("plugin.so", F + _kernel(2))
    yield "12", "a newer kernel in a library", _newer_kernel_in_a_dependency
    for below in ("tls", "haswell", "x86_64", "glibc-hwcaps/x86-64-v3", "glibc-hwcaps/x86-64-v2"):
        yield "13", f"ld.so.cache, {below}/", _cached(below)
    yield "13", "ld.so.cache, tls/ and glibc-hwcaps/", _cached("tls", "glibc-hwcaps/x86-64-v2")
    for name in ("tls", "haswell", "xeon_phi"):
        yield "13", f"ld.so.conf names a folder {name}", _listed(name)
    data = "static int x, y; int *p[64] = {&x, &y, &x, &y};"
    yield "14", "DT_RELR without the version, libc not needed", _relr(data, False)
    yield "14", "DT_RELR without the version, libc needed", _relr(data, True)
    yield "14b", "DT_RELR and constructors", _relr(data + CONSTRUCTOR, False)
    for value in (None, 0, 1, 2, 3):
        yield "15", f"executable stack, execstack={value}", _stack(value)
    yield "15", "executable stack, the process has one", _stack(None, preload=True)
    yield "16", "versions needed of a library without any", _unversioned
    for align in (8, 16, 64):
        for size in range(1536, 1800, 8 if align == 8 else 16):
            yield "17", f"TLS of {size} bytes, alignment {align}", _tls(size, align)
    for align in (32, 64, 128, 256):
        yield "17", f"TLS of 64 bytes, alignment {align}", _tls(64, align)
    for before in (8, 100, 1000):
        for size in (600, 640, 696, 704, 712, 1560, 1600, 1700):
            yield "17", f"TLS of {size} bytes behind {before}", _tls(size, 8, before=before)
    for setting in (
        "rtld.nns=1",
        "rtld.nns=2",
        "rtld.nns=5",
        "rtld.nns=17",
        "rtld.optional_static_tls=0",
        "rtld.optional_static_tls=1024",
        "rtld.optional_static_tls=0x400",
        "rtld.optional_static_tls=02000",
        "rtld.optional_static_tls=many",
        "rtld.optional_static_tls=1024k",
        "rtld.optional_static_tls=1024:nothing",
    ):
        for size in (700, 1100, 1400, 1700, 1950, 2000, 2048, 2176, 2232):
            tunables = f"glibc.{setting}"
            yield "17d", f"TLS of {size} bytes, {setting}", _tls(size, 8, tunables)
    yield "18", "$PLATFORM", _platform()
    for off in ("-AVX2", "-AVX", "-LZCNT", "-AVX512F,-SSE4_2", "-avx2", "AVX2"):
        yield "19", f"cpu.hwcaps={off}, folders", _hwcaps(off)
    for off in ("-AVX2", "-AVX2_Usable", "-LZCNT", "-FMA", "-FMA_Usable"):
        yield "19", f"cpu.hwcaps={off}, $PLATFORM", _platform(off)
    yield "19", "cpu.hwcaps=-AVX2, ISA level", _mark_without_feature
    for graph in _GRAPHS:
        for sort in (0, 1, 2):
            yield "20", f"order, {graph}, dynamic_sort={sort}", _order(graph, sort)
