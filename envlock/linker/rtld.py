"""What the program interpreter itself was built with, and what it asks of the processor.

The default folders and the `$LIB` replacement differ between distributions (Debian's multiarch
folders, `/lib64` elsewhere, conda's own prefix never counts): they are read out of the ld.so that
the executable names in PT_INTERP, which holds them as strings. What it does otherwise than other
releases is told by `envlock.linker.traits` from the same bytes.
"""

from __future__ import annotations

import os

from ..binary.elf.file import ElfFile
from ..binary.elf.image import PT_INTERP
from ..binary.libc import is_musl
from .traits import Traits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..files.roots import Root
    from .tunables import Tunables

#: Interpreters are a few hundred KB.
MAX_INTERPRETER = 16 << 20
#: Where musl looks without an /etc/ld-musl-ARCH.path (ldso/dynlink.c).
MUSL_DIRS = ("/lib/", "/usr/local/lib/", "/usr/lib/")

_X86_LEVELS = (
    ("x86-64-v4", 8, ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")),
    ("x86-64-v3", 4, ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")),
    ("x86-64-v2", 2, ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3")),
)
_HASWELL = ("avx2", "bmi1", "bmi2", "movbe", "popcnt", "fma")
_AVX512_1 = ("avx512cd", "avx512bw", "avx512dq", "avx512vl")
#: What the tunable glibc.cpu.hwcaps can take away of the above, and what the kernel calls it.
_FLAG_OF = {
    **{name: name.lower() for name in ("AVX", "AVX2", "BMI1", "BMI2", "FMA", "MOVBE", "POPCNT")},
    **{name: name.lower() for name in ("SSSE3", "SSE4_1", "SSE4_2", "AVX512F")},
    **{f"AVX512{name}": f"avx512{name.lower()}" for name in ("BW", "CD", "DQ", "ER", "PF", "VL")},
    "LZCNT": "abm",
}
_USABLE = frozenset(("AVX", "AVX2", "FMA", "AVX512F", "AVX512DQ"))
#: sysdeps/x86/dl-hwcap.h up to 2.36: HWCAP_X86_64, HWCAP_X86_AVX512_1, and _DL_FIRST_PLATFORM (48)
#: with the places in _dl_x86_platforms.
_HWCAP_X86_64, _HWCAP_AVX512_1 = 1 << 1, 1 << 2
_PLATFORM_BITS = {"haswell": 1 << 50, "xeon_phi": 1 << 51}


class Interpreter:
    """ld.so's built-in facts: default folders (each ends in "/"), `$LIB`, traits, its own path."""

    __slots__ = ("lib_token", "path", "system_dirs", "traits")

    def __init__(
        self, path: str, system_dirs: tuple[str, ...], lib_token: str, traits: Traits
    ) -> None:
        self.path = path
        self.system_dirs = system_dirs
        self.lib_token = lib_token
        self.traits = traits


_known: dict[tuple[str, int], Interpreter] = {}


def interpreter_of(executable: ElfFile, root: Root | None = None) -> Interpreter:
    """Read the interpreter that an executable names; an absent one gives the usual folders.

    In another root file system, its path and folders are as they are from here.
    """
    path = ""
    for segment in executable.segments:
        if segment.type == PT_INTERP and segment.filesz < 4096:
            raw = executable.data[segment.offset : segment.offset + segment.filesz]
            path = os.fsdecode(raw.rstrip(b"\0"))
    file = path
    if root is not None:
        path = root.outside(path)
        file = root.real(path)
    key = (path, executable.machine_number)
    if key not in _known:
        _known[key] = found = _read(path, file, executable)
        if root is not None:
            found.system_dirs = tuple(map(root.outside, found.system_dirs))
    return _known[key]


def _read(path: str, file: str, executable: ElfFile) -> Interpreter:
    wide = "64" if executable.bits == 64 else ""
    dirs: tuple[str, ...] = (f"/lib{wide}/", f"/usr/lib{wide}/", "/lib/", "/usr/lib/")
    token = f"lib{wide}"
    try:
        with open(file, "rb", buffering=0) as opened:
            data = opened.read(MAX_INTERPRETER) or b""
    except (OSError, ValueError):
        return Interpreter(path, dirs, token, Traits.of_file(path, b""))
    traits = Traits.of_file(path if is_musl(path) else file, data)
    if traits.musl:
        return Interpreter(path, MUSL_DIRS, token, traits)
    dirs = _system_dirs(data) or dirs
    # $LIB is one of those folders without its slashes, and stands in the file as a string.
    words = {folder.strip("/").partition("usr/")[2] or folder.strip("/") for folder in dirs}
    named = [word for word in words if data.find(b"\0" + os.fsencode(word) + b"\0") >= 0]
    if named:
        token = max(named, key=len)
    return Interpreter(path, dirs, token, traits)


def _system_dirs(data: bytes) -> tuple[str, ...]:
    """SYSTEM_DIRS: NUL-separated absolute folders, each ending in a slash; the longest such list."""
    best: list[bytes] = []
    for mark in (b"/lib/\0", b"/lib64/\0", b"/lib32/\0"):
        at = data.find(mark)
        while at >= 0:
            start = data.rfind(b"\0", 0, at) + 1
            while start > 1:
                before = data.rfind(b"\0", 0, start - 1) + 1
                if not _is_folder(data[before : start - 1]):
                    break
                start = before
            found = []
            while _is_folder(folder := data[start : data.find(b"\0", start)]):
                found.append(folder)
                start += len(folder) + 1
            if len(found) > len(best):
                best = found
            at = data.find(mark, at + 1)
    return tuple(map(os.fsdecode, best))


def _is_folder(text: bytes) -> bool:
    return 1 < len(text) < 200 and text[:1] == b"/" and text[-1:] == b"/"


class Processor:
    """What the processor offers, as far as the linker asks: names of hwcaps folders, platform."""

    __slots__ = ("hwcap_bits", "hwcaps", "isa_level", "legacy", "platform")

    def __init__(
        self,
        hwcaps: tuple[str, ...],
        isa_level: int | None,
        platform: str,
        legacy: tuple[str, ...],
        hwcap_bits: int,
    ) -> None:
        self.hwcaps = hwcaps  # glibc-hwcaps names, best first
        self.isa_level = isa_level
        self.platform = platform  # $PLATFORM
        self.legacy = legacy  # subfolders tried in turn before 2.37, without the empty one
        self.hwcap_bits = hwcap_bits  # the same as GL(dl_hwcap) and the platform's bit in a cache


def processor(machine_number: int, traits: Traits, tunables: Tunables) -> Processor:
    """This machine's processor as that linker sees it."""
    vendor, flags = cpu_flags() if machine_number == 62 else ("", frozenset())
    if machine_number != 62:
        platform = {183: "aarch64", 3: "i686", 22: "z900"}.get(machine_number, "")
        parts = [platform] if platform else []
        return Processor((), None, platform, _power_set([*parts, "tls"], traits), 0)
    level = 1
    for _, bit, needed in reversed(_X86_LEVELS):
        if not flags.issuperset(needed):
            break
        level |= bit
    # The level is worked out before the tunables are heard, folders and platform behind them.
    off = tunables.without("glibc.cpu.hwcaps")
    flags -= {flag for name, flag in _FLAG_OF.items() if _called(name, traits) in off}
    hwcaps: list[str] = []
    for name, _, needed in reversed(_X86_LEVELS):
        if not flags.issuperset(needed):
            break
        hwcaps.insert(0, name)
    platform = "x86_64"
    capabilities = ["x86_64"]
    bits = _HWCAP_X86_64
    if vendor == "GenuineIntel":
        if flags.issuperset(("avx512cd", "avx512er", "avx512pf")):
            platform = "xeon_phi"
        elif flags.issuperset((*_HASWELL, "vmx" if traits.takes_vmx_for_lzcnt else "abm")):
            platform = "haswell"
        if traits.avx512_folders and flags.issuperset(_AVX512_1):
            capabilities.append("avx512_1")
            bits |= _HWCAP_AVX512_1
        if not traits.haswell:
            platform = "x86_64"
    bits |= _PLATFORM_BITS.get(platform, 0)
    legacy = _power_set([*capabilities, platform, "tls"], traits)
    return Processor(tuple(hwcaps), level, platform, legacy, bits)


def _called(name: str, traits: Traits) -> str:
    return f"{name}_Usable" if traits.usable_names and name in _USABLE else name


def _power_set(names: list[str], traits: Traits) -> tuple[str, ...]:
    """The folders of the mechanism that glibc 2.37 removed, in `_dl_important_hwcaps`' order."""
    if not traits.searches_legacy:
        return ()
    found: dict[str, None] = {}
    for mask in range((1 << len(names)) - 1, 0, -1):
        chosen = [names[i] for i in range(len(names) - 1, -1, -1) if mask >> i & 1]
        found["/".join(chosen) + "/"] = None
    return tuple(found)


def cpu_flags() -> tuple[str, frozenset[str]]:
    """Vendor and flags of the first processor; the file lists every one, the start is enough."""
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            text = (file.read(1 << 14) or b"").decode("ascii", "replace")
    except OSError:
        return "", frozenset()
    known: dict[str, list[str]] = {}
    for line in text.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        known[name.strip()] = value.split()
    vendor = known.get("vendor_id") or [""]
    return vendor[0], frozenset(known.get("flags", ()))


def kernel() -> int:
    """The running kernel's number as `_dl_discover_osversion` packs it: 6.1.12 is 0x06010c."""
    import re

    parts = re.findall(r"\d+", os.uname().release.split("-", 1)[0])[:3]
    number = 0
    for part in (*parts, "0", "0", "0")[:3]:
        number = number << 8 | min(int(part[:4]), 255)
    return number
