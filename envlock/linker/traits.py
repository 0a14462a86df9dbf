"""What one dynamic linker does that others do not: `Traits`, read from its own texts.

Releases of glibc differ in what ld.so checks, where it looks and in which words it refuses, and
distributions carry single changes back to older releases, so that the number alone misleads.
Most changes brought or took a message, a tunable's name or an assertion, which stands in the file
as a string: it decides where the file is there. Without one (`Traits.of_release`), and for
changes that left no text, the release of glibc decides.

The next difference between loaders is one property of `Traits`.
"""

from __future__ import annotations

from ..binary.libc import UNKNOWN, is_musl, release_of

#: An ld.so without a release to be found is taken for this one; no other release is nearer to all.
PRESUMED = (2, 36)


class Traits:
    """What a dynamic linker does. `kind` is "glibc" or "musl", `release` (2, 36), or (0, 0) where
    it could not be found; `data` is ld.so's file, kept to be asked.

    Every property is one difference, with the release that made it and the text that tells it.
    """

    __slots__ = ("_answers", "_data", "_start", "kind", "release")

    def __init__(self, release: tuple[int, int], data: bytes = b"", kind: str = "glibc") -> None:
        self.kind = kind
        self.release = release
        self._data = data
        self._answers: dict[bytes, bool] = {}
        self._start = _behind_code(data)

    @classmethod
    def of_release(cls, release: tuple[int, int]) -> Traits:
        """What upstream's release does, by its number alone."""
        return cls(release)

    @classmethod
    def of_file(cls, path: str, data: bytes) -> Traits:
        """What the ld.so in a file does; `data` is what is in it."""
        if is_musl(path):
            return cls(UNKNOWN, data, "musl")
        return cls(release_of(path, data), data)

    @property
    def musl(self) -> bool:
        """Whether it is musl's."""
        return self.kind == "musl"

    def says(self, text: bytes) -> bool:
        """Whether a text stands in ld.so's file."""
        known = self._answers.get(text)
        if known is None:
            known = self._answers[text] = self._data.find(text, self._start) >= 0
        return known

    def _since(self, release: tuple[int, int], text: bytes = b"") -> bool:
        """Whether it has what came with a release and a text; nothing of glibc's is musl's."""
        if self.musl:
            return False
        if text and self._data:
            return self.says(text)
        return (self.release if self.release != UNKNOWN else PRESUMED) >= release

    def _until(self, release: tuple[int, int], text: bytes = b"") -> bool:
        """Whether it still has what went with a release, and with it a text."""
        if self.musl:
            return False
        if text and self._data:
            return self.says(text)
        return not self._since(release)

    # Where it looks.

    @property
    def searches_hwcaps(self) -> bool:
        """Folders glibc-hwcaps/NAME/ (2.33)."""
        return self._since((2, 33), b"glibc-hwcaps")

    @property
    def searches_legacy(self) -> bool:
        """Folders tls/, x86_64/ and their like, and hwcap bits in ld.so.cache (until 2.37)."""
        if self._data and self.searches_hwcaps:
            return self.says(b"Legacy HWCAP")
        return self._until((2, 37))

    @property
    def passes_over_files(self) -> bool:
        """A search path's folder that is a file does not end the search of that path (2.39)."""
        return self._since((2, 39))

    @property
    def haswell(self) -> bool:
        """$PLATFORM is `haswell` or `xeon_phi` on such processors of Intel's."""
        return not self.musl and (not self._data or self.says(b"\0haswell\0"))

    @property
    def takes_vmx_for_lzcnt(self) -> bool:
        """Where `haswell` asks for LZCNT, another bit is looked at (2.26 and 2.27, bug 23709)."""
        return (2, 26) <= self.release < (2, 28)

    @property
    def avx512_folders(self) -> bool:
        """Folders avx512_1/ (2.26)."""
        return self._since((2, 26), b"avx512_1")

    # What it takes.

    @property
    def checks_alignment(self) -> bool:
        """p_align must be of whole pages, and p_vaddr and p_offset must fit it (until 2.35)."""
        return self._until((2, 35), b"ELF load command address/offset not properly aligned")

    @property
    def checks_kernel(self) -> bool:
        """A .note.ABI-tag that names a newer kernel is passed over (until 2.36)."""
        return self._until((2, 36), b"FATAL: kernel too old")

    @property
    def gnu_abi_versions(self) -> int:
        """EI_ABIVERSION of an ELFOSABI_GNU file is below this (LIBC_ABI_MAX; one more in 2.28)."""
        return 4 if self._since((2, 28)) else 3

    @property
    def refuses_noopen(self) -> bool:
        """DF_1_NOOPEN."""
        return not self.musl

    @property
    def refuses_pie(self) -> bool:
        """DF_1_PIE (2.30)."""
        text = b"cannot dynamically load position-independent executable"
        return self._since((2, 30), text)

    @property
    def refuses_executable_stack(self) -> bool:
        """Unless glibc.rtld.execstack=2, dlopen makes no stack executable (2.41)."""
        return self._since((2, 41), b"glibc.rtld.execstack")

    @property
    def checks_processor(self) -> bool:
        """GNU_PROPERTY_X86_ISA_1_NEEDED is held against the processor (2.33)."""
        return self._since((2, 33), b"CPU ISA level is lower than required")

    # Versions and symbols.

    @property
    def applies_relr(self) -> bool:
        """DT_RELR is applied, and asks for the version GLIBC_ABI_DT_RELR of libc.so.6 (2.36)."""
        return self._since((2, 36), b"DT_RELR without GLIBC_ABI_DT_RELR dependency")

    @property
    def asserts_versions(self) -> bool:
        """`check_match` ends the process where a library that versions are needed from has none
        (until 2.42; Debian's 2.41 does not)."""
        return self._until((2, 42), b"_dl_name_match_p (version->filename, map)")

    @property
    def insists_on_file(self) -> bool:
        """A versioned symbol must be in the library that its need names (until 2.30)."""
        return self._until((2, 30), b" not defined in file ")

    @property
    def comma_before_version(self) -> bool:
        """`symbol f, version V1 not defined in file`; without the comma since 2.27."""
        return self.insists_on_file and not self._since(
            (2, 27), b"symbol %s version %s not defined in file"
        )

    @property
    def sorts_depth_first(self) -> bool:
        """The order of relocation is `_dl_sort_maps_dfs`' (2.35, glibc.rtld.dynamic_sort=2)."""
        return self._since((2, 35), b"glibc.rtld.dynamic_sort")

    # Tunables.

    @property
    def strict_tunables(self) -> bool:
        """What is wrong in GLIBC_TUNABLES is not heard (2.39)."""
        return self._since((2, 39), b"invalid GLIBC_TUNABLES")

    @property
    def usable_names(self) -> bool:
        """glibc.cpu.hwcaps calls the features that the system must support AVX2_Usable (until
        2.33)."""
        return self._until((2, 33), b"AVX2_Usable")

    # Thread-local storage.

    @property
    def tunes_static_tls(self) -> bool:
        """glibc.rtld.nns and glibc.rtld.optional_static_tls are heard (2.32)."""
        return self._since((2, 32), b"glibc.rtld.optional_static_tls")

    @property
    def namespace_tls(self) -> int:
        """Bytes of surplus static TLS a namespace (LIBC_IE_TLS + OTHER_IE_TLS)."""
        return 288 if self._since((2, 35)) else 336

    @property
    def rseq_in_tls(self) -> bool:
        """The rseq area is part of static TLS, behind the libraries' blocks (2.41)."""
        return self._since((2, 41))


def _behind_code(data: bytes) -> int:
    """The offset from which on an x86-64 or other 64-bit little-endian ld.so holds its texts.

    They lie behind the segment with its code, which is most of the file; 0 where that is not told.
    """
    if data[:6] != b"\x7fELF\2\1" or len(data) < 64:
        return 0
    table, count = int.from_bytes(data[32:40], "little"), data[56]
    for index in range(count):
        header = data[table + 56 * index : table + 56 * index + 40]
        if header[:4] == b"\1\0\0\0" and header[4:5] and header[4] & 1:  # PT_LOAD, PF_X
            offset = int.from_bytes(header[8:16], "little")
            # One that begins with the file holds the texts too.
            return offset + int.from_bytes(header[32:40], "little") if offset else 0
    return 0
