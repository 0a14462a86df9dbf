"""How a plugin was compiled, as far as the file itself shows.

Evidence in falling order: recorded command lines (`-frecord-gcc-switches`), DWARF producers,
macro information (`-g3`), the names of imported symbols, `.comment`. Only flags that bear on the
binary interface are kept, so no path and no user name gets into a manifest. Symbol names are
joined once and searched as one string: unstamped plugins are judged by this when they are loaded.
"""

from __future__ import annotations

import re

from ..binary.debug.producers import Producer, debug_table, read_producers
from ..binary.elf.file import ElfFile
from ..binary.elf.image import SHT_NOBITS
from ..models.errors import ElfError
from ..models.manifest import Compilation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_COMMENT = 1 << 20
MAX_COMMAND_LINES = 16 << 20
#: Bytes of one symbol's name.
MAX_NAME = 1 << 16
#: And of all, beside four times the string table: names hardly overlap in what linkers write.
SPARE = 1 << 20
#: Bytes of the symbol table looked at in one go, a multiple of both entry sizes.
TABLE_PIECE = 24 << 13

#: Flags that change layouts, calling conventions, inline code or which names are used. Compiled at
#: first use: plugins without debug information, most of them, have no flags to look at.
_FLAG = (
    r"-(?:"
    r"std=\S+|stdlib=\S+"
    r"|[DU](?:_GLIBCXX_(?:USE_CXX11_ABI|DEBUG\w*|ASSERTIONS|CONCEPT_CHECKS)|_LIBCPP_ABI_\w+"
    r"|_FILE_OFFSET_BITS|_TIME_BITS|NDEBUG|EIGEN_\w+|NPY_\w+|PROTOBUF_USE_DLLS"
    r"|GOOGLE_CUDA|TENSORFLOW_USE_ROCM|INTEL_MKL|ABSL_\w+)(?:=[\w.+-]*)?"
    r"|march=\S+|mcpu=\S+|mabi=\S+|mfpmath=\S+|mfpu=\S+|mfloat-abi=\S+"
    r"|m(?:no-)?(?:avx|sse|ssse|fma|f16c|bmi|lzcnt|popcnt|amx|vaes|sve)[\w.-]*"
    r"|m(?:16|32|64|x32|long-double-\w+|128bit-long-double|96bit-long-double|align-double)"
    r"|fabi-version=\d+|fno-(?:exceptions|rtti|threadsafe-statics|use-cxa-atexit)"
    r"|f(?:short-enums|short-wchar|signed-char|unsigned-char|fast-math|finite-math-only"
    r"|unsafe-math-optimizations)"
    r"|f(?:no-)?(?:aligned-new|sized-deallocation|char8_t)"
    r"|fsanitize=[\w,-]+|fpack-struct(?:=\d+)?|fopenmp"
    r")"
)
#: No other flag that is kept begins so.
_NDEBUG = "-DNDEBUG"
_STANDARD = r"(?:-std=(?:c|gnu)\+\+|GNU C\+\+)(\d\w)\b"
_STANDARDS = {
    "98": 98, "03": 98, "0x": 11, "11": 11, "1y": 14, "14": 14, "1z": 17, "17": 17,
    "2a": 20, "20": 20, "2b": 23, "23": 23, "2c": 26, "26": 26,
}  # fmt: skip
#: DW_LANG_C_plus_plus_11, _17, _20. Compilers also say _14 for what is newer, so it is left out.
_LANGUAGES = {0x1A: 11, 0x2B: 17, 0x2C: 20}

_NEW_STRING = re.compile(rb"B5cxx11|NSt7__cxx11")
#: Members of the old std::string, or one passed by reference or pointer.
_OLD_STRING = re.compile(rb"(?:\n|^)_ZNK?Ss[A-Z0-9]|[EIK_0-9](?:RKSs|RSs|PKSs|PSs|OSs)")
#: C++ interfaces that a plugin shares with TensorFlow's own libraries.
_CXX_INTERFACE_NAME = re.compile(
    rb"^_Z[^\n]*(?:10tensorflow|3tsl\d|3xla\d|4absl\d|6google8protobuf\d|5Eigen\d)[^\n]*", re.M
)
_C_INTERFACE = re.compile(rb"(?:\n|^)(?:TF|TFE|TSL)_[A-Z]")
_ABSL = re.compile(rb"4absl\d+(lts_\d{8})")
_CXX17_NAMES = re.compile(rb"St17basic_string_viewI|NSt10filesystem|St3pmr")


def read_compilation(elf: ElfFile) -> Compilation:
    """Compilers, flags and what follows from them; None where nothing shows it.

    Raises `ElfError` when the dynamic symbols are damaged; damaged debug information, command
    lines or comments count as absent.
    """
    producers = read_producers(elf)
    lines = _command_lines(elf)
    units = [producer.text for producer in producers] + lines
    flags = _flags(units)
    names = undefined_names(elf)
    macros = _macros(elf)
    return Compilation(
        compilers=_compilers(elf, producers, lines),
        flags=flags,
        some_flags=_of_some([_flags([unit]) for unit in units]) if len(units) > 1 else (),
        cxx_standard=_standard(producers, lines, names),
        cxx11_abi=_cxx11_abi(elf, names),
        absl_namespace=_absl(names),
        ndebug=_ndebug(flags, macros, names),
        march=_single(flags, "-march="),
        eigen_max_align_bytes=_eigen_alignment(flags, macros),
        uses_c_api_only=_c_api_only(names),
    )


def completed(
    found: Compilation, commands: Sequence[tuple[Sequence[str], Sequence[str]]]
) -> Compilation:
    """What a file shows, and in its gaps what the commands show that its sources are compiled with.

    Of each source: what the compiler calls itself, with the flags that it took, and the arguments
    of the command. Where sources differ, nothing is claimed of the whole.
    """
    each = [_in_force(producers, arguments) for producers, arguments in commands]
    flags = tuple(sorted({*found.flags, *(flag for one in each for flag in one)}))[:256]
    told: dict[str, object] = {
        "cxx_standard": _newest([text for group in commands for part in group for text in part]),
        "eigen_max_align_bytes": _agreed(_eigen_alignment(one, None) for one in each),
        "ndebug": _agreed(any(flag.startswith(_NDEBUG) for flag in one) for one in each),
    }
    if not any(flag.startswith("-m") for flag in found.flags):
        told["march"] = _agreed(_single(one, "-march=") for one in each)
        told["some_flags"] = _of_some(each)
    changes = {n: v for n, v in told.items() if getattr(found, n) in (None, ()) and v is not None}
    if flags != found.flags:
        changes["flags"] = flags
    marked = sorted(name for name in changes if name != "some_flags")
    return found.replace(**changes, from_command=tuple(marked))


def _in_force(producers: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
    """The flags of one source; of those about the same thing the last one, as compilers do it."""
    words = [word for text in producers for word in text.split()]
    own = any(word.startswith("-march=") for word in words)
    pending = ""
    for word in arguments:
        if word in ("-D", "-U"):
            pending = word
        # Which processor `native` was stands in what the compiler says about itself.
        elif not (word == "-march=native" and own):
            words.append(pending + word.replace("--std=", "-std=", 1))
            pending = ""
    last: dict[str, str] = {}
    for word in words:
        if re.fullmatch(_FLAG, word):
            stem = word.partition("=")[0]
            about = (
                "-D" + stem[2:] if stem.startswith("-U") else re.sub("^-([mf])no-", r"-\1", stem)
            )
            last[about] = word
    return tuple(last.values())


def _of_some(units: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The flags of instruction sets that only some units were compiled with.

    Units without any do not count: they are assembly, or their compiler records none.
    """
    sets = [{flag for flag in unit if flag.startswith("-m")} for unit in units]
    sets = [one for one in sets if one]
    if not sets:
        return ()
    return tuple(sorted(sets[0].union(*sets).difference(sets[0].intersection(*sets))))


def _agreed(values: Iterable[object]) -> object:
    """The value of all; None where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def undefined_names(elf: ElfFile) -> bytes:
    """The names of all undefined dynamic symbols, one a line. Raises `ElfError`."""
    from ..binary.elf.dynamic import DT_SYMTAB

    dynamic = elf.dynamic
    address = dynamic.get(DT_SYMTAB)
    if address is None:
        return b""
    entry = 24 if elf.bits == 64 else 16
    size = len(dynamic.symbols) * entry
    first = elf.offset_of(address, size, "the symbol table")
    start, length = dynamic.string_table
    end = start + length
    find, data = elf.data.find, elf.data
    word = elf.struct("I").unpack_from
    names = []
    left = 4 * length + SPARE
    # In pieces: the table of a library as large as TensorFlow's own has ten megabytes.
    for piece in range(first, first + size, TABLE_PIECE):
        raw = elf.read(piece, min(TABLE_PIECE, first + size - piece), "the symbol table")
        for index in _undefined(raw, elf):
            (name,) = word(raw, index * entry)
            if 0 < name < length:
                at = start + name
                stop = find(b"\0", at, min(end, at + MAX_NAME))
                if stop < 0:
                    raise elf.damaged(f"an undefined symbol's name exceeds {MAX_NAME} bytes")
                left -= stop - at
                if left < 0:
                    raise elf.damaged("the names of its undefined symbols overlap each other")
                names.append(data[at:stop])
        if piece > first:
            elf.forget()
    return b"\n".join(names)


def _undefined(table: bytes, elf: ElfFile) -> list[int]:
    """The indices of the entries whose st_shndx is SHN_UNDEF."""
    at, step = (3, 12) if elf.bits == 64 else (7, 8)
    # Zero is zero in either byte order, so the processor's own reads it fastest.
    sections = memoryview(table).cast("H")[at::step].tolist()
    return [index for index, section in enumerate(sections) if not section]


def _strings(elf: ElfFile, name: str, limit: int) -> list[str]:
    """The NUL-separated strings of a section, each once, in order."""
    section = elf.section(name)
    if section is None or section.type == SHT_NOBITS or section.flags & 0x800:
        return []
    try:
        raw = elf.read(section.offset, min(section.size, limit), name)
    except ElfError:
        return []
    parts = (part.decode("utf-8", "replace").strip() for part in raw.split(b"\0"))
    return [text for text in dict.fromkeys(parts) if text]


def _command_lines(elf: ElfFile) -> list[str]:
    """Recorded command lines. GCC before 11 wrote one string for every option, so they are joined
    unless they start with a compiler's name."""
    found = _strings(elf, ".GCC.command.line", MAX_COMMAND_LINES)
    if found and all(text.startswith("-") or " " not in text for text in found):
        return [" ".join(found)]
    return found


def _compilers(elf: ElfFile, producers: list[Producer], lines: list[str]) -> tuple[str, ...]:
    comments = _strings(elf, ".comment", MAX_COMMENT)
    heads = [_head(producer.text) for producer in producers]
    heads += [_head(line) for line in lines if line.startswith("GNU ")]
    named = (_without_paths(text) for text in comments + heads)
    return tuple(text for text in dict.fromkeys(named) if text)[:64]


def _head(producer: str) -> str:
    """A producer without its flags; clang puts the path of the compiler in front of them."""
    return re.split(r" (?=-|/\S*(?:clang|cc1|gcc|g\+\+))", producer, maxsplit=1)[0].strip()


def _without_paths(text: str) -> str:
    """Linkers and clang name the folder or repository that they were built from."""
    return re.sub(r"\s*\([^()]*/[^()]*\)", "", text).strip()[:200]


def _flags(lines: list[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for line in lines:
        # GCC and clang write "-D NAME" for "-DNAME".
        for word in re.sub(r"(?<=\s-[DU]) ", "", " " + line).split():
            if re.fullmatch(_FLAG, word):
                found[word] = None
    return tuple(sorted(found))[:256]


def _single(flags: tuple[str, ...], prefix: str) -> str | None:
    values = {flag[len(prefix) :] for flag in flags if flag.startswith(prefix)}
    return values.pop() if len(values) == 1 else None


def _standard(producers: list[Producer], lines: list[str], names: bytes) -> int | None:
    """The newest standard of any unit, and at least 17 when names need it.

    Debug information may be there for linked-in archives alone, so it does not outweigh the names.
    """
    newest = _newest([producer.text for producer in producers] + lines)
    if newest is None:
        languages = (_LANGUAGES.get(producer.language or 0) for producer in producers)
        newest = max((one for one in languages if one), default=None)
    if _CXX17_NAMES.search(names):
        return max(newest or 0, 17)
    return newest


def _newest(texts: Iterable[str]) -> int | None:
    """The newest C++ standard that compilers or command lines name."""
    found = {_STANDARDS.get(match, 98) for text in texts for match in re.findall(_STANDARD, text)}
    found.discard(98)
    return max(found, default=None)


def _cxx11_abi(elf: ElfFile, names: bytes) -> bool | None:
    """Which std::string crosses to TensorFlow, else which one is used at all.

    Both can be there: a toolchain for old systems links the new one in and imports the old one.
    """
    shared = b"\n".join(_CXX_INTERFACE_NAME.findall(names))
    for some in (shared, names):
        new, old = _NEW_STRING.search(some), _OLD_STRING.search(some)
        if new and old:
            return None
        if new:
            return True
        if old:
            break
    start, size = elf.dynamic.string_table
    exported = any(
        elf.data.find(mark, start, start + size) >= 0 for mark in (b"NSt7__cxx11", b"B5cxx11")
    )
    if old:
        return False if some is shared or not exported else None
    return True if exported else None


def _absl(names: bytes) -> str | None:
    found = set(_ABSL.findall(names))
    return found.pop().decode("ascii") if len(found) == 1 else None


def _c_api_only(names: bytes) -> bool | None:
    """None for a library that imports nothing of TensorFlow by name."""
    if _CXX_INTERFACE_NAME.search(names):
        return False
    return True if _C_INTERFACE.search(names) else None


def _macros(elf: ElfFile) -> bytes | None:
    """The string table with macro definitions, when `-g3` put some there."""
    if debug_table(elf, ".debug_macro") is None:
        return None
    table = debug_table(elf, ".debug_str")
    if table is None or table.end - table.start > MAX_COMMAND_LINES:
        return None
    return b"\0" + table.data[table.start : table.end]


def _ndebug(flags: tuple[str, ...], macros: bytes | None, names: bytes) -> bool | None:
    """Whether NDEBUG was defined. GCC leaves -D out of what it records, so no flag proves nothing;
    an imported __assert_fail proves that some unit has live assertions."""
    defined = any(flag.startswith(_NDEBUG) for flag in flags)
    if macros is not None:
        defined = defined or b"\0NDEBUG 1\0" in macros or b"\0NDEBUG \0" in macros
    asserts = re.search(rb"(?:\n|^)__assert_fail(?:\n|$)", names) is not None
    if defined and asserts:
        return None
    if defined or asserts:
        return defined
    return False if macros is not None else None


def _eigen_alignment(flags: tuple[str, ...], macros: bytes | None) -> int | None:
    value = _single(flags, "-DEIGEN_MAX_ALIGN_BYTES=")
    if value is not None and value.isdigit() and len(value) < 6:
        return int(value)
    found = set(re.findall(rb"\0EIGEN_MAX_ALIGN_BYTES (\d{1,5})\0", macros or b""))
    return int(found.pop()) if len(found) == 1 else None
