"""The readers of ELF files, each with everything that it is asked for in earnest."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from envlock.binary.code.functions import READERS, Functions
from envlock.binary.debug import dwarf
from envlock.binary.elf import ElfFile
from envlock.binary.elf.append import plan_append
from envlock.binary.elf.digest import code_digest
from envlock.binary.elf.dynamic import build_id
from envlock.binary.elf.notes import APPENDED, build_note, find_stamp, has_linked_note
from envlock.binary.elf.relocations import read_relocations
from envlock.binary.elf.symbols import begin_plugin, gnu_hash, sysv_hash
from envlock.environment import binary
from envlock.files.plan import Plan
from envlock.linker.header import Host, cut_off, isa_needed, verify_header, verify_mapping
from envlock.linker.library import Library
from envlock.linker.lookup import LookupScope
from envlock.linker.soundness import verify
from envlock.linker.traits import Traits
from envlock.plugin.compilation import read_compilation
from envlock.plugin.dependencies.debuginfo import DebugFacts
from envlock.plugin.dependencies.imports import Symbols
from envlock.plugin.identity import read_identity
from envlock.plugin.manifest import decode_manifest, read_embedded
from envlock.plugin.registrations.reading import read_registrations
from envlock.rules.loading.case import siblings
from tests.campaigns.fuzz import elf_mutator, text_mutator
from tests.campaigns.fuzz.guard import Finding, Target, either

_STATUS = os.stat_result((0o100644, 1, 1, 1, 0, 0, 0, 0, 0, 0))
_HOST = Host(64, "little", 62, Traits.of_release((2, 36)), 7)
_NAMES = (b"answer", b"f", b"printf", b"nothing", b"_ZN10tensorflow8OpKernel7ComputeEv", b"")


@contextmanager
def mapped(data: bytes) -> Iterator[ElfFile]:
    """The bytes as a mapped file; `close` fails if a reader still holds on to the mapping."""
    memory = mmap.mmap(-1, max(len(data), 1))
    memory[: len(data)] = data
    try:
        elf = ElfFile("plugin.so", memory, _STATUS)
    except BaseException:
        memory.close()
        raise
    try:
        yield elf
    finally:
        elf.close()


def headers(data: bytes) -> None:
    """Header, segments, sections, notes, the linker's own checks."""
    with mapped(data) as elf:
        verify_header(elf, _HOST)
        isa_needed(elf)
        cut_off(elf)
        build_id(elf)
        assert elf.machine
        for section in elf.sections:
            if section.name:
                elf.section(section.name)
        has_linked_note(elf)
        verify_mapping(elf, _HOST)
        read_embedded(elf)


def dynamic(data: bytes) -> None:
    """The dynamic section, its strings and versions."""
    with mapped(data) as elf:
        library = Library(elf, "plugin.so")
        part = elf.dynamic
        for what in (
            lambda: (library.soname, library.rpath, library.runpath, library.needed),
            lambda: library.versions,
            lambda: part.version_needs,
            lambda: read_identity(elf, digest=True),
            lambda: (library.symbolic, library.has_properties, part.flags, part.flags_1),
        ):
            either(what)


def symbols(data: bytes) -> None:
    """Symbols, both hash tables, versions of symbols, relocations, what ld.so would act on."""
    with mapped(data) as elf:
        table = elf.dynamic.symbols
        library = Library(elf, "plugin.so")
        either(lambda: verify(elf))
        either(lambda: library.bloom)
        either(lambda: siblings(library, "_ZN10tensorflow8OpKernel7ComputeEv"))
        either(lambda: read_relocations(elf.dynamic))
        either(lambda: binary.cxx11_abi(elf))
        either(lambda: _look_up(library))
        for name in _NAMES:
            either(lambda name=name: _found(table.candidates(name), name))  # type: ignore[misc]
        for index in range(min(len(table), 64)):
            symbol = table.symbol(index)
            table.version_index(index)
            found = table.candidates(symbol.name)
            _found(found, symbol.name)


def _look_up(library: Library) -> None:
    """What relocations name, looked up in the library itself."""
    scope = LookupScope([library])
    begin_plugin()
    for index, kind in library.relocations.references:
        scope.find(library.symbols.symbol(index).name, None, kind)


def _found(candidates: list[object], name: bytes) -> None:
    for symbol in candidates:
        if symbol.name != name:  # type: ignore[attr-defined]
            raise Finding(f"asked for {name!r}, found {symbol!r}")


def compilation(data: bytes) -> None:
    """Producers, command lines, comments, macros; version strings of a TensorFlow library."""
    with mapped(data) as elf:
        either(lambda: binary.version_strings(elf))
        either(lambda: binary.loaded_constant(elf, {20230802: 20230802}))
        read_compilation(elf)


def debug(data: bytes) -> None:
    """Debug information: classes, inlined functions."""
    with mapped(data) as elf:
        DebugFacts(dwarf.Dwarf(elf))


def code(data: bytes) -> None:
    """Machine code: access paths, virtual tables, registrations."""
    with mapped(data) as elf:
        read_registrations(elf)
        either(lambda: Symbols(elf))
        either(lambda: code_digest(elf))
        if elf.machine in READERS:
            Functions(elf).follow_all()


def append(data: bytes) -> None:
    """What a stamp would write must be readable, and everything loaded must stay."""
    with mapped(data) as elf:
        plan = plan_append(elf, b'{"format":"x"}')
        before = [(s.type, s.offset, s.vaddr, s.filesz, s.memsz) for s in elf.segments]
        work = carried_out(plan, data)
        if len(work) != plan.size:
            raise Finding(f"planned {plan.size} bytes, made {len(work)}")
    with mapped(work) as elf:
        after = [(s.type, s.offset, s.vaddr, s.filesz, s.memsz) for s in elf.segments]
        if after != before:
            raise Finding("the program headers changed")
        stamp = find_stamp(elf)
        if stamp is None or stamp.kind != APPENDED or stamp.payload != b'{"format":"x"}':
            raise Finding(f"the stamp reads {stamp and stamp.payload!r}")


def carried_out(plan: Plan, data: bytes) -> bytes:
    """The stamped file."""
    work = bytearray(data[: plan.keep])
    for offset, patch in plan.patches:
        work[offset : offset + len(patch)] = patch
    for piece in plan.pieces:
        work += piece if isinstance(piece, bytes) else data[piece[0] : piece[0] + piece[1]]
    return bytes(work)


def _skeleton(notes: bytes) -> bytes:
    """The smallest ELF file that holds these bytes as `.note.envlock`."""
    names = b"\0.note.envlock\0.shstrtab\0"
    start = 64 + len(names) + -len(names) % 8
    table = start + len(notes) + -len(notes) % 8
    rows = (
        (0,) * 10,
        (1, 7, 0, 0, start, len(notes), 0, 0, 4, 0),
        (15, 3, 0, 0, 64, len(names), 0, 0, 1, 0),
    )
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, table, 0, 64, 56, 0, 64, 3, 2)
    raw = (head + names).ljust(start, b"\0") + notes
    return raw.ljust(table, b"\0") + b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)


def note(data: bytes) -> None:
    """The note section and the manifest in it."""
    with mapped(_skeleton(data)) as elf:
        stamp = find_stamp(elf)
        if stamp is not None:
            decode_manifest(stamp.payload, elf.path)


def mutate_note(data: bytes, chance: Random) -> bytes:
    """The manifest changed and the note's sizes kept right, or its three numbers changed."""
    if len(data) < 20 or chance.random() < 0.3:
        return elf_mutator.blunt(data, chance)
    if chance.random() < 0.4:
        return build_note(text_mutator.json_mutator(data[20:].rstrip(b"\0"), chance), "<")
    at = 4 * chance.randrange(3)
    old = int.from_bytes(data[at : at + 4], "little")
    near = (old + chance.choice((-8, -4, -1, 1, 4, 8)), chance.choice(elf_mutator.BOUNDARY))
    word = (chance.choice(near) & 0xFFFFFFFF).to_bytes(4, "little")
    return data[:at] + word + data[at + 4 :] + (data if chance.random() < 0.2 else b"")


def hashes(data: bytes) -> None:
    """The GNU hash as one sum against its definition as a loop; the classic one's range."""
    value = 5381
    for byte in data:
        value = (value * 33 + byte) & 0xFFFFFFFF
    if gnu_hash(data) != value:
        raise Finding(f"gnu_hash gives {gnu_hash(data)}, not {value}")
    if not 0 <= sysv_hash(data) <= 0x0FFFFFFF:
        raise Finding("sysv_hash leaves 28 bits")


TARGETS = (
    Target("elf-headers", headers, elf_mutator.mutate, family="elf"),
    Target("elf-dynamic", dynamic, elf_mutator.mutate, family="elf"),
    Target("elf-symbols", symbols, elf_mutator.mutate, family="elf"),
    Target(
        "elf-compilation", compilation, elf_mutator.mutate, largest=24 << 10, family="elf-debug"
    ),
    Target("elf-debug", debug, elf_mutator.mutate, largest=24 << 10),
    Target("elf-code", code, elf_mutator.mutate, slow=2.0, family="elf"),
    Target("elf-append", append, elf_mutator.mutate, family="elf"),
    Target("note", note, mutate_note),
    Target("hashes", hashes, elf_mutator.blunt, largest=2 << 10),
)
