"""Every damage: a group, a name, and what is done to the plugin."""

from __future__ import annotations

from collections.abc import Callable

from tests.campaigns.corruptions.patient import DYN, PHDR, SHDR, SYM, Patient

FAR = 0x7FFFF000
LOAD, DYNAMIC, NOTE, EH_FRAME, STACK, RELRO = 1, 2, 4, 0x6474E550, 0x6474E551, 0x6474E552

Damage = Callable[[Patient], object]


def byte(at: int, value: int) -> Damage:
    return lambda p: p.put(at, "B", value)


def header(field: str, value: int) -> Damage:
    return lambda p: p.header(field, value)


def segment(kind: int, field: str, value: int, number: int = 0) -> Damage:
    return lambda p: p.segment(kind, field, value, number)


def dynamic(tag: str, value: int, number: int = 0) -> Damage:
    return lambda p: p.dynamic(tag, value, number)


def retag(tag: str, to: str, value: int | None = None) -> Damage:
    return lambda p: p.retag(tag, to, value)


def at(tag: str, offset: int, layout: str, value: int) -> Damage:
    """A number in the table that a dynamic entry points to."""
    return lambda p: p.put(p.place(tag) + offset, layout, value)


def symbol(name: str, field: str, value: int) -> Damage:
    return lambda p: p.symbol(name, field, value)


def relocation(table: str, number: int, field: str, value: int) -> Damage:
    return lambda p: p.relocation(table, number, field, value)


def replace(old: bytes, new: bytes) -> Damage:
    return lambda p: p.replace(old, new)


def cut(length: int) -> Damage:
    return lambda p: p.cut(length)


def cut_at(section: str, share: float = 0.0) -> Damage:
    """Nothing from a section on, or from somewhere in it."""

    def damage(p: Patient) -> None:
        _, start, size = p.section(section)
        p.cut(start + int(size * share))

    return damage


def swapped_loads(p: Patient) -> None:
    first, second = p.segment_at(LOAD, 0), p.segment_at(LOAD, 1)
    p.data[first : first + PHDR] = p.whole[second : second + PHDR]
    p.data[second : second + PHDR] = p.whole[first : first + PHDR]


def no_loads(p: Patient) -> None:
    for number in range(4):
        p.segment(LOAD, "type", 0, number)


def only_sysv(damage: Damage | None = None) -> Damage:
    """DT_GNU_HASH taken away, so that DT_HASH is looked at."""

    def both(p: Patient) -> None:
        p.retag("GNU_HASH", "UNKNOWN")
        if damage is not None:
            damage(p)

    return both


def all_chains(p: Patient) -> None:
    start = p.place("GNU_HASH")
    buckets, first, words = (p.get(start + 4 * i, "I") for i in range(3))
    chains = start + 16 + 8 * words + 4 * buckets
    count = p.get(p.place("HASH") + 4, "I")
    for number in range(count - first):
        here = chains + 4 * number
        p.put(here, "I", p.get(here, "I") & ~1)


def bucket(value: int) -> Damage:
    def damage(p: Patient) -> None:
        start = p.place("GNU_HASH")
        buckets, _, words = (p.get(start + 4 * i, "I") for i in range(3))
        for number in range(buckets):
            p.put(start + 16 + 8 * words + 4 * number, "I", value)

    return damage


def empty_filter(p: Patient) -> None:
    start = p.place("GNU_HASH")
    for number in range(p.get(start + 8, "I")):
        p.put(start + 16 + 8 * number, "Q", 0)


def sysv_loop(p: Patient) -> None:
    start = p.place("HASH")
    buckets, chains = p.get(start, "I"), p.get(start + 4, "I")
    for number in range(buckets):
        p.put(start + 8 + 4 * number, "I", 1)
    for number in range(chains):
        p.put(start + 8 + 4 * (buckets + number), "I", 1)


def all_versions(value: int) -> Damage:
    def damage(p: Patient) -> None:
        for index in range(1, p.get(p.place("HASH") + 4, "I")):
            p.put(p.place("VERSYM") + 2 * index, "H", value)

    return damage


def version_of(name: str, value: int) -> Damage:
    return lambda p: p.put(p.place("VERSYM") + 2 * p.symbol_index(name), "H", value)


def unterminated(p: Patient) -> None:
    start, size = p.place("STRTAB"), p.address("STRSZ")
    p.data[start + 1 : start + size] = bytes(p.data[start + 1 : start + size]).replace(b"\0", b"X")


def note_word(number: int, value: int) -> Damage:
    return lambda p: p.put(p.section(".note.envlock")[1] + 4 * number, "I", value)


def build_id_word(number: int, value: int) -> Damage:
    return lambda p: p.put(p.get(p.segment_at(NOTE) + 8, "Q") + 4 * number, "I", value)


def section(name: str, offset: int, layout: str, value: int) -> Damage:
    return lambda p: p.put(p.section(name)[0] + offset, layout, value)


def zeroed_strings(p: Patient) -> None:
    start, size = p.place("STRTAB"), p.address("STRSZ")
    p.data[start : start + size] = bytes(size)


def zeroed_symbols(p: Patient) -> None:
    start = p.place("SYMTAB")
    count = p.get(p.place("HASH") + 4, "I")
    p.data[start : start + SYM * count] = bytes(SYM * count)


def no_terminator(p: Patient) -> None:
    size = p.get(p.segment_at(DYNAMIC) + 32, "Q")
    start = p.get(p.segment_at(DYNAMIC) + 8, "Q")
    for place in range(start, start + size, DYN):
        if p.get(place, "Q") == 0:
            p.put(place, "Q", 0x6FFFF123)


def two_manifests(p: Patient) -> None:
    """Another `.note.envlock`: a section that says the same name, and different JSON."""
    head, start, _ = p.section(".note.envlock")
    _, comment, _ = p.section(".comment")
    row = p.section(".comment")[0]
    p.data[row : row + SHDR] = p.whole[head : head + SHDR]
    p.data += b"\7\0\0\0\2\0\0\0\1\0\0\0envlock\0{}\0\0"
    p.put(len(p.data) - 24, "I", 8)
    p.put(row + 24, "Q", len(p.data) - 24)
    p.put(row + 32, "Q", 24)
    assert start != comment


TF = "TF_NewStatus"

DAMAGES: dict[str, dict[str, Damage]] = {
    "ELF header": {
        "magic number": byte(3, ord("G")),
        "EI_CLASS says 32-bit": byte(4, 1),
        "EI_CLASS 9": byte(4, 9),
        "EI_DATA says big-endian": byte(5, 2),
        "EI_DATA 0": byte(5, 0),
        "EI_VERSION 0": byte(6, 0),
        "EI_OSABI FreeBSD": byte(7, 9),
        "EI_ABIVERSION 1": byte(8, 1),
        "padding not zero": byte(12, 1),
        "e_type ET_REL": header("type", 1),
        "e_type ET_EXEC": header("type", 2),
        "e_type ET_CORE": header("type", 4),
        "e_machine aarch64": header("machine", 183),
        "e_machine 0": header("machine", 0),
        "e_version 0": header("version", 0),
        "e_phoff behind the end": header("phoff", FAR),
        "e_phentsize 57": header("phentsize", 57),
        "e_phnum 0": header("phnum", 0),
        "e_phnum 60,000": header("phnum", 60_000),
        "e_shoff behind the end": header("shoff", FAR),
        "e_shentsize 1": header("shentsize", 1),
        "e_shnum 60,000": header("shnum", 60_000),
        "e_shstrndx 999": header("shstrndx", 999),
        "e_ehsize 0": header("ehsize", 0),
        "e_flags odd": header("flags", 0xFFFFFFFF),
    },
    "program headers": {
        "PT_LOAD offset not aligned as its address": segment(LOAD, "offset", 0x1010, 1),
        "PT_LOAD longer than the file": segment(LOAD, "filesz", 0x100000, 3),
        "PT_LOAD p_memsz below p_filesz": segment(LOAD, "memsz", 8, 1),
        "PT_LOAD p_align 3": segment(LOAD, "align", 3, 1),
        "PT_LOAD p_align 2^63": segment(LOAD, "align", 1 << 63, 1),
        "PT_LOAD at an address far away": segment(LOAD, "vaddr", 0x7FFFFFFFF000, 3),
        "PT_LOAD needs a terabyte": segment(LOAD, "memsz", 1 << 60, 3),
        "code not executable": segment(LOAD, "flags", 4, 1),
        "code not readable": segment(LOAD, "flags", 0, 0),
        "data not writable": segment(LOAD, "flags", 4, 3),
        "first two PT_LOAD exchanged": swapped_loads,
        "no PT_LOAD": no_loads,
        "no PT_DYNAMIC": segment(DYNAMIC, "type", 0),
        "PT_DYNAMIC of no bytes": segment(DYNAMIC, "filesz", 0),
        "PT_DYNAMIC p_filesz too large": segment(DYNAMIC, "filesz", FAR),
        "PT_DYNAMIC p_offset wrong": segment(DYNAMIC, "offset", 0),
        "PT_DYNAMIC p_vaddr wrong": segment(DYNAMIC, "vaddr", 0),
        "PT_DYNAMIC p_vaddr outside": segment(DYNAMIC, "vaddr", FAR),
        "PT_NOTE behind the end": segment(NOTE, "offset", FAR),
        "PT_GNU_EH_FRAME behind the end": segment(EH_FRAME, "offset", FAR),
        "PT_GNU_STACK executable": segment(STACK, "flags", 7),
        "PT_GNU_RELRO far away": segment(RELRO, "vaddr", FAR),
    },
    "dynamic section": {
        "empty: DT_NULL first": lambda p: p.put(p.dynamic_at("NEEDED"), "Q", 0),
        "no DT_NULL": no_terminator,
        "no DT_STRTAB": retag("STRTAB", "UNKNOWN"),
        "no DT_SYMTAB": retag("SYMTAB", "UNKNOWN"),
        "no hash table": lambda p: (p.retag("GNU_HASH", "UNKNOWN"), p.retag("HASH", "UNKNOWN")),
        "DT_STRTAB outside": dynamic("STRTAB", FAR),
        "DT_SYMTAB outside": dynamic("SYMTAB", FAR),
        "DT_STRSZ 0": dynamic("STRSZ", 0),
        "DT_STRSZ too large": dynamic("STRSZ", FAR),
        "DT_SYMENT 7": dynamic("SYMENT", 7),
        "DT_RELAENT 8": dynamic("RELAENT", 8),
        "DT_PLTREL says DT_REL": dynamic("PLTREL", 17),
        "DT_NEEDED name outside": dynamic("NEEDED", FAR),
        "DT_NEEDED is another string": lambda p: p.dynamic(
            "NEEDED", p.get(p.place("SYMTAB") + SYM * p.symbol_index(TF), "I")
        ),
        "DT_SONAME outside": dynamic("SONAME", FAR),
        "DT_RUNPATH outside": dynamic("RUNPATH", FAR),
        "DF_1_NOOPEN": retag("RELACOUNT", "FLAGS_1", 0x40),
        "DF_1_PIE": retag("RELACOUNT", "FLAGS_1", 0x08000000),
        "DT_INIT outside": dynamic("INIT", FAR),
        "DT_INIT_ARRAY outside": dynamic("INIT_ARRAY", FAR),
        "DT_INIT_ARRAYSZ too large": dynamic("INIT_ARRAYSZ", 0x100000),
        "DT_INIT_ARRAYSZ 0": dynamic("INIT_ARRAYSZ", 0),
        "DT_PLTGOT outside": dynamic("PLTGOT", FAR),
        "an unknown tag": retag("RELACOUNT", "UNKNOWN"),
    },
    "hash tables": {
        "DT_GNU_HASH outside": dynamic("GNU_HASH", FAR),
        "GNU hash: no buckets": at("GNU_HASH", 0, "I", 0),
        "GNU hash: a billion buckets": at("GNU_HASH", 0, "I", 1 << 30),
        "GNU hash: no filter words": at("GNU_HASH", 8, "I", 0),
        "GNU hash: three filter words": at("GNU_HASH", 8, "I", 3),
        "GNU hash: filter shift 99": at("GNU_HASH", 12, "I", 99),
        "GNU hash: first symbol 1,000,000": at("GNU_HASH", 4, "I", 1_000_000),
        "GNU hash: buckets point far away": bucket(0x7FFFFFF),
        "GNU hash: chains without end": all_chains,
        "GNU hash: filter empty": empty_filter,
        "classic hash alone, whole": only_sysv(),
        "classic hash: no buckets": only_sysv(at("HASH", 0, "I", 0)),
        "classic hash: a billion chains": only_sysv(at("HASH", 4, "I", 1 << 30)),
        "classic hash: a chain that loops": only_sysv(sysv_loop),
        "DT_HASH outside, beside a GNU hash": dynamic("HASH", FAR),
    },
    "versions": {
        "DT_VERNEED outside": dynamic("VERNEED", FAR),
        "DT_VERNEEDNUM 0": dynamic("VERNEEDNUM", 0),
        "DT_VERNEEDNUM 1,000": dynamic("VERNEEDNUM", 1000),
        "vn_version 2": at("VERNEED", 0, "H", 2),
        "vn_cnt 0": at("VERNEED", 2, "H", 0),
        "vn_file outside": at("VERNEED", 4, "I", FAR),
        "vn_file is another library": at("VERNEED", 4, "I", 1),
        "vn_aux outside": at("VERNEED", 8, "I", FAR),
        "vn_next outside": at("VERNEED", 12, "I", FAR),
        "vna_name outside": at("VERNEED", 16 + 8, "I", FAR),
        "vna_hash wrong": at("VERNEED", 16, "I", 0x1234567),
        "vna_next loops": at("VERNEED", 16 + 12, "I", 0xFFFFFFF0),
        "a version that does not exist": replace(b"GLIBC_2.2.5\0", b"GLIBC_9.9.9\0"),
        "DT_VERDEF outside": dynamic("VERDEF", FAR),
        "vd_version 2": at("VERDEF", 0, "H", 2),
        "vd_aux outside": at("VERDEF", 12, "I", FAR),
        "vd_next outside": at("VERDEF", 16, "I", FAR),
        "DT_VERSYM outside": dynamic("VERSYM", FAR),
        "all symbols of version 99": all_versions(99),
        "an import of version 0x7fff": version_of("fprintf", 0x7FFF),
        "no DT_VERSYM": retag("VERSYM", "UNKNOWN"),
    },
    "symbols and strings": {
        "an import renamed": replace(b"TF_NewStatus\0", b"TF_NewStatuX\0"),
        "an import's name outside": symbol(TF, "name", FAR),
        "an import without name": symbol(TF, "name", 0),
        "an import that claims to be defined": symbol(TF, "section", 5),
        "an import made local": symbol(TF, "info", 0x02),
        "an import made weak": symbol(TF, "info", 0x22),
        "an import of visibility hidden": symbol(TF, "other", 2),
        "an export at an address outside": symbol("RegisterAllVersion", "value", FAR),
        "strings without terminators": unterminated,
        "strings all zero": zeroed_strings,
        "symbols all zero": zeroed_symbols,
    },
    "relocations": {
        "DT_RELA outside": dynamic("RELA", FAR),
        "DT_RELASZ 0": dynamic("RELASZ", 0),
        "DT_RELASZ too large": dynamic("RELASZ", FAR // 24 * 24),
        "DT_RELASZ one byte short": dynamic("RELASZ", 239),
        "DT_RELACOUNT 1,000": dynamic("RELACOUNT", 1000),
        "DT_JMPREL outside": dynamic("JMPREL", FAR),
        "DT_PLTRELSZ 0": dynamic("PLTRELSZ", 0),
        "DT_PLTRELSZ too large": dynamic("PLTRELSZ", FAR // 24 * 24),
        "unknown relocation type": relocation("JMPREL", 0, "type", 99),
        "symbol 1,000,000": relocation("JMPREL", 0, "symbol", 1_000_000),
        "a place outside": relocation("JMPREL", 0, "place", FAR),
        "a place in the code": relocation("JMPREL", 0, "place", 0x1200),
        "a constructor relocated to nowhere": relocation("RELA", 1, "addend", FAR),
        "IRELATIVE of no function": relocation("JMPREL", 0, "type", 37),
        "TPOFF64 of no variable": relocation("JMPREL", 0, "type", 18),
    },
    "notes": {
        "build-id: name of a gigabyte": build_id_word(0, 1 << 30),
        "build-id: descriptor of a gigabyte": build_id_word(1, 1 << 30),
        "manifest: name of a gigabyte": note_word(0, 1 << 30),
        "manifest: descriptor of a gigabyte": note_word(1, 1 << 30),
        "manifest: note type 2": note_word(2, 2),
        "manifest: another owner": replace(b"\x01\0\0\0envlock\0{", b"\x01\0\0\0envlocK\0{"),
        "manifest: not JSON": replace(b'envlock\0{"', b"envlock\0{'"),
        "manifest: newer format": replace(b"envlock.manifest/1", b"envlock.manifest/2"),
        "manifest: an object where a number belongs": replace(b'"bits":64', b'"bits":{}'),
        "manifest: section behind the end": section(".note.envlock", 24, "Q", FAR),
        "manifest: two different ones": two_manifests,
    },
    "cut off": {
        "empty": cut(0),
        "after the magic number": cut(4),
        "after e_ident": cut(16),
        "inside the ELF header": cut(40),
        "after the ELF header": cut(64),
        "inside the program headers": cut(64 + 3 * PHDR),
        "after the program headers": cut(64 + 9 * PHDR),
        "before DT_HASH's table": cut_at(".hash"),
        "before DT_GNU_HASH's table": cut_at(".gnu.hash"),
        "before the symbols": cut_at(".dynsym"),
        "inside the symbols": cut_at(".dynsym", 0.5),
        "before the strings": cut_at(".dynstr"),
        "inside the strings": cut_at(".dynstr", 0.5),
        "before the symbols' versions": cut_at(".gnu.version"),
        "before the defined versions": cut_at(".gnu.version_d"),
        "before the needed versions": cut_at(".gnu.version_r"),
        "before the relocations": cut_at(".rela.dyn"),
        "before the PLT's relocations": cut_at(".rela.plt"),
        "before the code": cut_at(".init"),
        "inside the code": cut_at(".text", 0.5),
        "before the constants": cut_at(".rodata"),
        "before the unwind table": cut_at(".eh_frame_hdr"),
        "before the constructors": cut_at(".init_array"),
        "before the dynamic section": cut_at(".dynamic"),
        "inside the dynamic section": cut_at(".dynamic", 0.5),
        "before the GOT": cut_at(".got.plt"),
        "before the data": cut_at(".data"),
        "behind what is loaded": cut_at(".comment"),
        "before the manifest": cut_at(".note.envlock"),
        "inside the manifest": cut_at(".note.envlock", 0.5),
        "before the section names": cut_at(".shstrtab"),
        "before the section headers": lambda p: p.cut(p.get(40, "Q")),
        "one byte short": lambda p: p.cut(len(p.whole) - 1),
    },
}


def damaged(group: str, name: str, content: bytes) -> bytes:
    """The plugin with one damage."""
    patient = Patient(content)
    DAMAGES[group][name](patient)
    return bytes(patient.data)
