"""Whether freshly compiled objects are a plugin's own code, and what their debug information says.

The same compiler makes the same code of the same source and flags, with `-g` or without. So each
function of an object is looked for in the plugin, bytes against bytes except where the linker
fills in addresses. That works on a stripped plugin, too: functions are found by its unwind table.
"""

from __future__ import annotations

import struct

from ...binary.code.calls import unwind_table
from ...binary.debug.dwarf import Dwarf
from ...binary.elf.symbols import STB_LOCAL, STB_WEAK, STT_FILE, STT_FUNC, STT_OBJECT
from ...models.errors import InputError
from .analyse import InterfaceFacts
from .debuginfo import DebugFacts
from .recompile import Objects, belonging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...binary.elf import ElfFile
    from ...binary.elf.image import Section
    from .recompile import Command

PT_LOAD, PF_X = 1, 1
#: Shorter functions look alike.
SHORT = 8
#: Share of an object's functions that must be in the plugin as they are.
SAME = 0.95
MAX_SYMBOLS = 1 << 22
#: Relocation types that a linker may turn into another instruction sequence, of thread-local data.
_THREAD_LOCAL = (19, 20, 34, 35)
_FOREIGN = ("10tensorflow", "3tsl", "4absl", "6google8protobuf", "5Eigen", "St", "9__gnu_cxx")


class Function:
    """One function of an object: its code, as runs of bytes that the linker leaves alone."""

    __slots__ = ("name", "own", "runs", "size")

    def __init__(self, name: str, size: int, own: bool, runs: list[tuple[int, bytes]]) -> None:
        self.name = name
        self.size = size
        self.own = own  # no other source can bring the same one along
        self.runs = runs


class Source:
    """One compiled source: its functions, and the names that only it defines."""

    def __init__(self, command: Command, elf: ElfFile) -> None:
        self.command = command
        self.functions: list[Function] = []
        self.names: set[str] = set()
        relocations = _code_relocations(elf)
        wide = elf.machine_number == 62
        for name, info, other, section, value, size in symbols(elf):
            kind, binding = info & 15, info >> 4
            if not section or section >= len(elf.sections):
                continue
            shown = binding != STB_LOCAL and other & 3 in (0, 3)
            if shown and kind in (STT_FUNC, STT_OBJECT) and _is_key(name, binding):
                self.names.add(name)
            if kind == STT_FUNC and size >= SHORT:
                holes = relocations.get(section, {})
                runs = _runs(elf, elf.sections[section], value, size, holes, wide)
                self.functions.append(Function(name, size, binding != STB_WEAK, runs))


def _is_key(name: str, binding: int) -> bool:
    """Whether a name belongs to the source itself, not to a header that others include as well."""
    if any(part in name for part in _FOREIGN):
        return False
    return binding != STB_WEAK or name.startswith(("_ZTI", "_ZTV"))


def symbols(elf: ElfFile) -> Iterator[tuple[str, int, int, int, int, int]]:
    """(name, info, other, section, value, size) of each entry of `.symtab`, if there is one."""
    table = elf.section(".symtab")
    if table is None or elf.bits != 64:
        return
    layout = struct.Struct(elf.order + "IBBHQQ")
    if table.size // layout.size > MAX_SYMBOLS or table.link >= len(elf.sections):
        raise elf.damaged("its symbol table's size or string table makes no sense")
    strings = elf.section_bytes(elf.sections[table.link])
    raw = elf.section_bytes(table)
    for name, info, other, section, value, size in layout.iter_unpack(
        raw[: len(raw) // layout.size * layout.size]
    ):
        end = strings.find(b"\0", name)
        if end >= 0:
            text = strings[name:end].decode("utf-8", "replace")
            yield text, info, other, section, value, size


def _code_relocations(elf: ElfFile) -> dict[int, dict[int, int]]:
    """Section number -> offset -> type of each relocation in an object's code."""
    found: dict[int, dict[int, int]] = {}
    layout = struct.Struct(elf.order + "QQq")
    for section in elf.sections:
        if section.type != 4 or section.info >= len(elf.sections):  # SHT_RELA
            continue
        if not elf.sections[section.info].flags & 4:  # SHF_EXECINSTR
            continue
        raw = elf.section_bytes(section)
        table = found.setdefault(section.info, {})
        for offset, info, _ in layout.iter_unpack(raw[: len(raw) // 24 * 24]):
            table[offset] = info & 0xFFFFFFFF
    return found


def _runs(
    elf: ElfFile, section: Section, start: int, size: int, holes: dict[int, int], wide: bool
) -> list[tuple[int, bytes]]:
    """A function's bytes between the places that the linker changes, with their offsets."""
    code = elf.read(section.offset + start, size, "a function")
    found, at = [], 0
    for offset in sorted(one for one in holes if start <= one < start + size):
        place = offset - start
        if not wide:  # instructions of four bytes, each with its own relocation
            first, last = place & ~3, (place & ~3) + 4
        elif holes[offset] in _THREAD_LOCAL:
            first, last = place - 4, place + 12
        else:
            # The linker may turn a load from the offset table into the address itself.
            first, last = place - 3, place + (8 if holes[offset] == 1 else 4)
        if first > at:
            found.append((at, code[at:first]))
        at = max(at, last)
    if at < size:
        found.append((at, code[at:size]))
    return found


class Image:
    """The functions of a plugin, by size."""

    def __init__(self, elf: ElfFile) -> None:
        self.code: dict[int, bytes] = {}  # address -> code
        self.by_size: dict[int, list[int]] = {}
        stubs = [s for s in elf.sections if s.name.startswith((".plt", ".init", ".fini"))]
        segments = [s for s in elf.segments if s.type == PT_LOAD and s.flags & PF_X]
        for start, size in _sizes(elf):
            if size < SHORT or any(s.addr <= start < s.addr + s.size for s in stubs):
                continue
            for segment in segments:
                if segment.vaddr <= start and start + size <= segment.vaddr + segment.filesz:
                    at = segment.offset + start - segment.vaddr
                    self.code[start] = elf.read(at, size, "a function")
                    self.by_size.setdefault(size, []).append(start)

    def find(self, function: Function) -> list[int]:
        """Addresses at which a function's code stands."""
        return [
            start
            for start in self.by_size.get(function.size, ())
            if all(self.code[start].startswith(run, at) for at, run in function.runs)
        ]


def _sizes(elf: ElfFile) -> list[tuple[int, int]]:
    """(address, size) of each function with unwind information in its usual form."""
    found = {}
    entry = elf.struct("IIiI")
    for start, address in unwind_table(elf):
        at = elf.offset_of(address, entry.size, "an unwind entry")
        _, _, first, size = elf.unpack(entry, at, "an unwind entry")
        # pc_begin as linkers write it, relative to its own place.
        if address + 8 + first == start:
            found[start] = size
    return sorted(found.items())


def from_sources(
    elf: ElfFile, commands: Sequence[Command]
) -> tuple[InterfaceFacts, tuple[str, ...]]:
    """The evidence of a plugin's recompiled sources, and what there is to say about it.

    Where the objects make up the whole plugin, their debug information is as good as its own.
    Where they do not, the plugin's machine code is looked at as well, and the evidence is no more
    than that. Raises `InputError` when a source does not compile, or none is the plugin's.
    """
    table = list(symbols(elf))
    files = [name for name, info, *_ in table if info & 15 == STT_FILE]
    chosen = belonging(commands, elf.path, files)
    evidence = InterfaceFacts(elf)
    known = evidence.symbols.defined | {name for name, _, _, section, *_ in table if section}
    image = Image(elf)
    covered: set[int] = set()
    used: list[Source] = []
    left_out: list[Source] = []
    same = proven = True
    facts: DebugFacts | None = None
    with Objects(chosen) as objects:
        for command, path in objects:
            with type(elf).open(path) as compiled:
                if compiled.machine_number != elf.machine_number:
                    raise InputError(
                        f"`{command.source}` was compiled for {compiled.machine}, the plugin is "
                        f"for {elf.machine}"
                    )
                source = Source(command, compiled)
                places = [(one, image.find(one)) for one in source.functions]
                if not _is_part(source, places, known):
                    left_out.append(source)
                    continue
                used.append(source)
                covered.update(address for _, found in places for address in found)
                alike = _share(places) >= SAME
                same = same and alike
                proven = proven and (alike or command.optimised_late)
                fresh = DebugFacts(Dwarf(compiled))
                evidence.commands.append((sorted(fresh.producers), command.arguments[1:]))
                facts = _merged(facts, fresh)
    if facts is None:
        raise InputError(
            f"{_absent(left_out)}, so nothing is known of `{elf.path}`",
            hint="name the commands that it was really built with, and build it before it is "
            "stamped: a changed source, other flags or another compiler make other code",
        )
    if not proven:
        evidence.commands = []  # with these flags the compiler makes other code
    notes = [_absent(left_out) + ", left out"] if left_out else []
    evidence.debug = facts
    evidence.limits = [text for text in evidence.limits if not text.startswith("debug info")]
    missing = len(image.code) - len(covered)
    late = any(source.command.optimised_late for source in used)
    evidence.covered = bool(image.code) and same and missing == 0
    if not evidence.covered and late:
        notes.append(
            "the plugin's code was made by the linker (`-flto`), so it cannot be compared with "
            "what its sources compile to; both count"
        )
    elif not evidence.covered:
        notes.append(
            f"{missing} of the plugin's {len(image.code)} functions are not what these sources "
            "compile to (other sources or libraries, flags or compiler); its machine code counts "
            "as well"
        )
    return evidence, tuple(notes)


def _share(places: Sequence[tuple[Function, list[int]]]) -> float:
    return sum(bool(found) for _, found in places) / len(places) if places else 1.0


def _is_part(source: Source, places: Sequence[tuple[Function, list[int]]], known: set[str]) -> bool:
    """Whether an object is in the plugin: by the code of its own functions, else by its names."""
    own = [(one, found) for one, found in places if one.own]
    if own and _share(own) > 0.5:
        return True
    if source.names:
        return len(source.names & known) > 0.5 * len(source.names)
    return not own and _share(places) > 0.5


def _absent(sources: Sequence[Source]) -> str:
    first = f"`{sources[0].command.source}`"
    if len(sources) > 1:
        first = f"{len(sources)} sources, {first} among them,"
    verb = "compiles" if len(sources) == 1 else "compile"
    return f"what {first} {verb} to is not in the plugin"


def _merged(facts: DebugFacts | None, more: DebugFacts) -> DebugFacts:
    if facts is None:
        return more
    facts.functions |= more.functions
    facts.by_value |= more.by_value
    facts.pointed_to |= more.pointed_to
    facts.emitted += more.emitted
    facts.layouts.update(more.layouts)
    return facts
