"""Reading ELF files as the dynamic linker does: program headers first, every offset checked."""

from .file import ElfFile

__all__ = ["ElfFile"]
