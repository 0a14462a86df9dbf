"""What the binaries and generated files of a TensorFlow build reveal about it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..binary.elf import ElfFile

# `git describe --long`: tag, commits since, commit.
_GIT = rb"\0(v(\d+\.\d+)\.\d+[-.\w]{0,40}?-\d{1,7}-g[0-9a-f]{7,40}[-\w]{0,40})\0"
_GCC_COMMENT = rb"GCC: \([^\0]*?\) (\d+\.\d+\.\d+(?: \d{8})?)"
_CLANG_COMMENT = rb"([^\0]*?)clang version ([^\0]+)"

# tensorflow::OpDefBuilder::Attr(std::string), exported by every release from 2.5 on.
_ATTR = b"_ZN10tensorflow12OpDefBuilder4AttrE"
_NEW_STRING = b"NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_OLD_STRING = b"Ss"

_WHOLE_LIMIT = 1 << 27  # bytes
_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST; the ast module itself is not needed


def _content(elf: ElfFile, section: str) -> bytes:
    """A section's bytes (searched several times faster than the mapping itself).

    Where the section headers are gone, the whole file as far as the limit.
    """
    found = elf.section(section)
    if found is None:
        return elf.data[:_WHOLE_LIMIT]
    return elf.section_bytes(found)


def version_strings(elf: ElfFile) -> tuple[str | None, str | None, str | None]:
    """tf_git_version(), tf_compiler_version() and TF_VERSION_STRING, found among the constants."""
    import re

    constants = _content(elf, ".rodata")
    # Searching for the tag's start first is several times faster than the pattern.
    at = constants.find(b"\0v")
    while at >= 0:
        git = re.match(_GIT, constants[at : at + 200])
        if git:
            release = _release(constants, git[2])
            return git[1].decode(), _compiler(elf, constants), release
        at = constants.find(b"\0v", at + 1)
    return None, None, None


def _compiler(elf: ElfFile, constants: bytes) -> str | None:
    """__VERSION__ of the compiler: `.comment` tells who it may be, the constants who it was.

    `.comment` alone is not enough: it also names the compilers of linked-in objects.
    """
    import re

    section = elf.section(".comment")
    if section is None or section.size > 1 << 16:
        return None
    for entry in elf.section_bytes(section).split(b"\0"):
        clang = re.match(_CLANG_COMMENT, entry)
        gcc = re.match(_GCC_COMMENT, entry)
        if clang:
            text = clang[1] + b"Clang " + clang[2]
        elif gcc:
            text = gcc[1]
        else:
            continue
        if b"\0" + text + b"\0" in constants:
            return text.decode("utf-8", "replace")
    return None


def _release(constants: bytes, series: bytes) -> str | None:
    """The release number: the constant of the same minor release as the git tag."""
    import re

    pattern = rb"\0(" + re.escape(series) + rb"\.\d{1,3}(?:-?rc\d{1,2})?)\0"
    found = re.search(pattern, constants)
    return None if found is None else found[1].decode().replace("-", "")


def cxx11_abi(elf: ElfFile) -> bool | None:
    """Which std::string the library's own functions take; None where it exports neither form."""
    symbols = elf.dynamic.symbols
    for spelling, answer in ((_NEW_STRING, True), (_OLD_STRING, False)):
        if any(symbol.defined for symbol in symbols.candidates(_ATTR + spelling)):
            return answer
    return None


def loaded_constant(elf: ElfFile, numbers: Mapping[int, int]) -> int | None:
    """The key of the first of these 32-bit numbers that the code loads into a register.

    x86-64: `mov r32, imm32` (B8+r id). aarch64: MOVZ of the lower half, then MOVK of the upper one
    into the same register. None on other machines.
    """
    loads = {"x86_64": _loads_x86, "aarch64": _loads_aarch64}.get(elf.machine)
    if loads is None:
        return None
    code = _content(elf, ".text")
    for key, number in numbers.items():
        if loads(code, number):
            return key
    return None


def _loads_x86(code: bytes, number: int) -> bool:
    needle = number.to_bytes(4, "little")
    at = code.find(needle, 1)
    while at >= 0:
        if code[at - 1] & 0xF8 == 0xB8:
            return True
        at = code.find(needle, at + 1)
    return False


def _loads_aarch64(code: bytes, number: int) -> bool:
    low = 0x52800000 | (number & 0xFFFF) << 5
    high = 0x72A00000 | (number >> 16) << 5
    for register in range(31):
        needle = (low | register).to_bytes(4, "little")
        follower = (high | register).to_bytes(4, "little")
        at = code.find(needle)
        while at >= 0:
            if at % 4 == 0 and follower in code[at + 4 : at + 36]:
                return True
            at = code.find(needle, at + 1)
    return False


def literal_pairs(source: bytes) -> dict[str, str]:
    """The ("name", value) pairs of literals in a generated Python file; nothing is executed.

    A value that is a path of the building machine is reduced to its last part.
    """
    try:
        tree = compile(source, "build_info.py", "exec", _ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    pairs: dict[str, str] = {}
    pending = [tree]
    while pending:
        node = pending.pop()
        if type(node).__name__ == "Tuple" and len(node.elts) == 2:
            name, value = (_literal(item) for item in node.elts)
            if isinstance(name, str) and value is not None:
                pairs[name] = _spelled(value)
                continue
        for field in node._fields:
            child = getattr(node, field, None)
            pending += [
                item
                for item in (child if isinstance(child, list) else [child])
                if hasattr(item, "_fields")
            ]
    return pairs


def _literal(node: Any) -> object:
    """A string, bool, integer or list of them; None for everything else."""
    kind = type(node).__name__
    if kind == "Constant" and isinstance(node.value, (str, bool, int)):
        value: object = node.value
        return value
    if kind in ("List", "Tuple"):
        items = [_literal(item) for item in node.elts]
        return items if None not in items else None
    return None


def _spelled(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_spelled(item) for item in value)
    text = str(value)
    return os.path.basename(text) if text.startswith("/") else text
