"""Which C and C++ run time takes a plugin, as far as its own file says."""

from __future__ import annotations

from ..binary.elf.dynamic import DT_RELR
from ..linker.header import asks_for_stack
from ..models.runtime import RuntimeNeeds
from ..models.versions import of_glibc, order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..binary.elf import ElfFile

#: Versions of glibc's that stand for a change and not for a release: the release that brought it.
#: Distributions have carried the later ones back (Debian's 2.41 has them).
MARKS = {
    "GLIBC_ABI_DT_RELR": (2, 36),
    "GLIBC_ABI_GNU_TLS": (2, 42),
    "GLIBC_ABI_GNU2_TLS": (2, 42),
    "GLIBC_ABI_DT_X86_64_PLT": (2, 42),
}
#: The last release whose dlopen makes a stack executable.
LAST_EXECUTABLE_STACK = "2.40"


def runtime_needs(elf: ElfFile) -> RuntimeNeeds:
    """The oldest glibc and libstdc++ that have every version which the file needs, and the newest
    glibc that takes it. Raises `ElfError`."""
    glibc: list[tuple[int, ...]] = []
    glibcxx: list[str] = []
    for library, version in needed_versions(elf):
        if of_glibc(library):
            release = release_of_version(version)
            glibc += [release] if release else []
        elif library.startswith("libstdc++.so") and version.startswith("GLIBCXX_"):
            glibcxx.append(version[len("GLIBCXX_") :])
    if elf.dynamic.get(DT_RELR) is not None:
        glibc.append(MARKS["GLIBC_ABI_DT_RELR"])
    return RuntimeNeeds(
        glibc_oldest=".".join(map(str, max(glibc))) if glibc else None,
        glibc_newest=LAST_EXECUTABLE_STACK if asks_for_stack(elf) else None,
        glibcxx_oldest=max(glibcxx, key=order, default=None),
    )


def needed_versions(elf: ElfFile) -> Iterable[tuple[str, str]]:
    """(library, version) of every version that must be there."""
    for need in elf.dynamic.version_needs:
        for version in need.versions:
            if not version.weak:
                library = need.library.decode("utf-8", "backslashreplace")
                yield library, version.name.decode("utf-8", "backslashreplace")


def release_of_version(version: str) -> tuple[int, ...]:
    """The release of glibc that brought a version: (2, 34) for GLIBC_2.34; empty for
    GLIBC_PRIVATE."""
    return MARKS.get(version) or (
        order(version[len("GLIBC_") :]) if version.startswith("GLIBC_") else ()
    )
