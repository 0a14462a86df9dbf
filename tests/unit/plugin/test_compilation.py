"""What a binary tells about its compilation, with real compilers and real flags."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.binary.debug.producers import read_producers
from envlock.binary.elf import ElfFile
from envlock.models.manifest import Compilation
from envlock.plugin.compilation import read_compilation, undefined_names
from tests.support.elves import BARE_SOURCE, C_SOURCE, CXX_SOURCE, PEAK, compile_library, run

GXX, CLANGXX = ("g++",), ("clang++",)
FLAGS = ("-std=c++17", "-mavx2", "-march=haswell", "-DNDEBUG", "-DEIGEN_MAX_ALIGN_BYTES=64")


def read(library: Path) -> Compilation:
    with ElfFile.open(library) as elf:
        return read_compilation(elf)


def cxx(
    folder: Path, *flags: str, compiler: tuple[str, ...] = GXX, source: str = CXX_SOURCE
) -> Path:
    return compile_library(folder / "plugin.so", *flags, source=source, compiler=compiler)


def test_without_debug_information(cxx_plugin: Path) -> None:
    found = read(cxx_plugin)
    (compiler,) = found.compilers
    assert compiler.startswith("GCC: (")
    assert found.flags == ()
    assert found.cxx11_abi is True
    for name in ("cxx_standard", "ndebug", "march", "eigen_max_align_bytes", "absl_namespace"):
        assert getattr(found, name) is None, name


@pytest.mark.parametrize("abi", [0, 1])
@pytest.mark.parametrize("compiler", [GXX, CLANGXX])
def test_the_abi_of_strings(
    abi: int, compiler: tuple[str, ...], tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool(compiler[0])
    library = cxx(tmp_path, f"-D_GLIBCXX_USE_CXX11_ABI={abi}", compiler=compiler)
    assert read(library).cxx11_abi is bool(abi)
    run("strip", library)
    assert read(library).cxx11_abi is bool(abi)


def test_c_knows_no_abi_of_strings(plugin: Path) -> None:
    assert read(plugin).cxx11_abi is None


def test_hidden_names_leave_the_abi_open(tmp_path: Path) -> None:
    source = 'extern "C" int answer(int which) { return which; }'
    assert read(cxx(tmp_path, source=source)).cxx11_abi is None


@pytest.mark.parametrize(
    ("version", "packed"), list(itertools.product(["-gdwarf-3", "-gdwarf-4", "-gdwarf-5"], [0, 1]))
)
def test_the_flags_in_gccs_debug_information(version: str, packed: int, tmp_path: Path) -> None:
    found = read(cxx(tmp_path, "-g", version, *["-gz"] * packed, *FLAGS))
    assert any(re.fullmatch(r"GNU C\+\+17 \d+\.\d+\.\d+.*", text) for text in found.compilers)
    assert {"-march=haswell", "-mavx2", "-std=c++17"} <= set(found.flags)
    assert (found.cxx_standard, found.march) == (17, "haswell")
    # GCC leaves -D out of the producer, and without assertions nothing tells.
    assert found.ndebug is None
    assert found.eigen_max_align_bytes is None


@pytest.mark.parametrize("width", ["-gdwarf32", "-gdwarf64"])
def test_both_widths_of_dwarf(width: str, tmp_path: Path) -> None:
    assert read(cxx(tmp_path, "-g", width, "-std=c++20")).cxx_standard == 20


def test_macro_information_tells_definitions(tmp_path: Path) -> None:
    found = read(cxx(tmp_path, "-g3", *FLAGS))
    assert (found.ndebug, found.eigen_max_align_bytes) == (True, 64)
    assert read(cxx(tmp_path, "-g3")).ndebug is False


def test_recorded_command_lines_of_clang(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("clang++")
    for recorded in ("-frecord-command-line", "-grecord-command-line"):
        library = cxx(tmp_path, "-g1", recorded, *FLAGS, compiler=CLANGXX)
        found = read(library)
        assert set(found.flags) == set(FLAGS), recorded
        assert (found.ndebug, found.eigen_max_align_bytes) == (True, 64)
        assert (found.cxx_standard, found.march) == (17, "haswell")
        assert any("clang version" in text for text in found.compilers)


def test_recorded_switches_of_gcc(tmp_path: Path) -> None:
    library = cxx(tmp_path, "-frecord-gcc-switches", *FLAGS)
    with ElfFile.open(library) as elf:
        assert elf.section(".debug_info") is None
    found = read(library)
    assert (found.cxx_standard, found.march) == (17, "haswell")
    assert "-mavx2" in found.flags


def test_no_path_and_no_name_gets_in(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("clang++")
    (tmp_path / "secret").mkdir()
    for compiler in (GXX, CLANGXX):
        library = cxx(
            tmp_path, "-g", "-grecord-gcc-switches", f"-I{tmp_path}/secret", "-DUSER=somebody",
            f'-DWHERE="{tmp_path}/secret"', f"-fdebug-prefix-map={tmp_path}/secret=/x",
            compiler=compiler,
        )  # fmt: skip
        text = repr(read(library))
        assert "secret" not in text
        assert "somebody" not in text
        assert "/" not in text, text


def test_several_compilers_and_standards_in_one_plugin(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("clang++")
    other = tmp_path / "other.o"
    (tmp_path / "other.cc").write_text("int other(int a) { return a; }")
    run("clang++", "-g", "-grecord-gcc-switches", "-fPIC", "-std=c++14", "-march=x86-64-v2",
        "-c", tmp_path / "other.cc", "-o", other)  # fmt: skip
    found = read(cxx(tmp_path, "-g", "-std=c++17", "-march=haswell", str(other)))
    assert {"-std=c++14", "-std=c++17"} <= set(found.flags)
    assert found.cxx_standard == 17, "the newest one"
    assert found.march is None, "not one for all"
    assert len([text for text in found.compilers if "clang" in text]) == 1
    assert any(text.startswith("GNU C++17") for text in found.compilers)


def test_live_assertions_show_in_the_imports(tmp_path: Path) -> None:
    assert read(cxx(tmp_path, "-DWITH_ASSERT")).ndebug is False
    assert read(cxx(tmp_path, "-DWITH_ASSERT", "-DNDEBUG")).ndebug is None


def test_names_that_need_cxx17(tmp_path: Path) -> None:
    source = '#include <filesystem>\nbool answer(int) { return std::filesystem::exists("x"); }'
    assert read(cxx(tmp_path, "-std=c++20", source=source)).cxx_standard == 17


def imports(folder: Path, text: str) -> Compilation:
    """The compilation of a plugin that imports what `text` calls."""
    return read(cxx(folder, "-std=c++17", source=text))


CALLS = {
    "nothing of TensorFlow": ("", "", None, None),
    "the C interface": ('extern "C" void TF_NewKernelBuilder();', "TF_NewKernelBuilder();", True, None),
    "the C++ interface": ("namespace tensorflow { void Go(); }", "tensorflow::Go();", False, None),
    "both": (
        'extern "C" void TF_NewStatus(); namespace tsl { void Go(); }',
        "TF_NewStatus(); tsl::Go();", False, None,
    ),
    "a function that only sounds so": (
        'extern "C" void TF(); extern "C" void my_TF_Function();', "TF(); my_TF_Function();",
        None, None,
    ),
    "Abseil": (
        "namespace absl { inline namespace lts_20230802 { void Go(); } }", "absl::Go();",
        False, "lts_20230802",
    ),
    "Abseil twice": (
        "namespace absl { namespace lts_20230802 { void Go(); } "
        "namespace lts_20240116 { void Go(); } }",
        "absl::lts_20230802::Go(); absl::lts_20240116::Go();", False, None,
    ),
    "an Abseil of its own": (
        "namespace absl { inline namespace lts_20230802 { __attribute__((noinline)) void Go() "
        '{ asm(""); } } }',
        "absl::Go();", None, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CALLS)
def test_what_is_imported_from_tensorflow(what: str, tmp_path: Path) -> None:
    declared, called, c_api_only, absl = CALLS[what]
    found = imports(tmp_path, f'{declared}\nextern "C" int answer(int) {{ {called} return 42; }}')
    assert (found.uses_c_api_only, found.absl_namespace) == (c_api_only, absl)


STRINGS = {
    # name -> (calls, extra object's ABI, expected)
    "TensorFlow's functions decide": (
        "namespace tensorflow { void Go(const std::string &); }",
        True,
    ),
    "no function that is shared": ("namespace other { void Go(const std::string &); }", None),
}


@pytest.mark.parametrize("what", STRINGS)
def test_both_string_abis_in_one_plugin(what: str, tmp_path: Path) -> None:
    """A part with the old ABI linked in: only what crosses to TensorFlow counts."""
    declared, expected = STRINGS[what]
    (tmp_path / "old.cc").write_text(
        "#include <string>\nnamespace third { void Go(const std::string &); }\n"
        "void old_part() { third::Go(std::string(100, 'x')); }\n"
    )
    run(
        "g++",
        "-fPIC",
        "-D_GLIBCXX_USE_CXX11_ABI=0",
        "-c",
        tmp_path / "old.cc",
        "-o",
        tmp_path / "old.o",
    )
    space = re.findall(r"namespace (\w+)", declared)[0]
    text = (
        f"#include <string>\n{declared}\nvoid old_part();\n"
        f"int answer(int) {{ old_part(); {space}::Go(std::string(100, 'y')); return 42; }}"
    )
    assert read(cxx(tmp_path, str(tmp_path / "old.o"), source=text)).cxx11_abi is expected


def test_undefined_names_are_those_of_nm(cxx_plugin: Path) -> None:
    listed = run("nm", "-D", "--undefined-only", "--without-symbol-versions", cxx_plugin)
    expected = {line.split()[-1] for line in listed.splitlines()}
    with ElfFile.open(cxx_plugin) as elf:
        names = undefined_names(elf).decode().split("\n")
    assert set(names) == expected
    assert len(names) == len(expected)


@pytest.mark.parametrize("flags", [("-gdwarf-2",), ("-gdwarf-4",), ("-gdwarf-5",), ("-gz",),
                                   ("-gdwarf-5", "-fdebug-types-section"), ("-flto",)])  # fmt: skip
@pytest.mark.parametrize("compiler", [GXX, CLANGXX])
def test_producers_are_those_of_pyelftools(
    flags: tuple[str, ...], compiler: tuple[str, ...], tmp_path: Path, tool: Callable[[str], str]
) -> None:
    from elftools.elf.elffile import ELFFile

    tool(compiler[0])
    if compiler == CLANGXX and flags == ("-flto",):
        flags = ("-flto", f"-fuse-ld={tool('ld.lld')}")
    library = cxx(tmp_path, "-g", *flags, compiler=compiler)
    with library.open("rb") as file:
        units = ELFFile(file).get_dwarf_info().iter_CUs()
        tops = [unit.get_top_DIE().attributes for unit in units]
        expected = {
            (top["DW_AT_producer"].value.decode(), top["DW_AT_language"].value)
            for top in tops
            if "DW_AT_producer" in top
        }
    with ElfFile.open(library) as elf:
        found = {(producer.text, producer.language) for producer in read_producers(elf)}
    assert found == expected
    assert found


def test_split_debug_information_is_simply_absent(tmp_path: Path) -> None:
    found = read(cxx(tmp_path, "-g", "-gsplit-dwarf"))
    assert found.flags == ()
    assert found.cxx_standard is None


@pytest.mark.parametrize("name", [".debug_info", ".debug_abbrev", ".debug_str", ".comment"])
def test_damaged_debug_information_is_absent_not_an_error(name: str, tmp_path: Path) -> None:
    """Every byte of the section overwritten in turn, and the section cut off everywhere."""
    library = compile_library(tmp_path / "plugin.so", "-g", source=BARE_SOURCE)
    content = library.read_bytes()
    with ElfFile.open(library) as elf:
        section = elf.section(name)
        assert section is not None
        start, size = section.offset, section.size
        size_at = elf.shoff + section.index * 64 + 32
    for at in range(start, start + size, max(1, size // 150)):
        for byte in (0x00, 0x7F, 0xFF):
            worked = bytearray(content)
            worked[at] = byte
            library.write_bytes(worked)
            assert read(library).compilers is not None
        worked = bytearray(content)
        worked[size_at : size_at + 8] = (at - start).to_bytes(8, "little")
        library.write_bytes(worked)
        assert read(library).compilers is not None


@pytest.mark.slow
def test_a_compressed_section_that_unpacks_to_half_a_gigabyte(tmp_path: Path) -> None:
    import zlib

    library = compile_library(tmp_path / "plugin.so", "-g", "-gz", source=BARE_SOURCE)
    with ElfFile.open(library) as elf:
        section = elf.section(".debug_info")
        assert section is not None
        at = elf.shoff + section.index * 64 + 24
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(32)) + packer.flush()
    content = bytearray(library.read_bytes())
    blob = bytes.fromhex("0100000000000000") + (1 << 29).to_bytes(8, "little")
    blob += (1).to_bytes(8, "little") + bomb
    content[at : at + 16] = len(content).to_bytes(8, "little") + len(blob).to_bytes(8, "little")
    library.write_bytes(content + blob)
    code = (
        "import sys; from envlock.binary.elf import ElfFile\n"
        "from envlock.plugin.compilation import read_compilation\n"
        "print(read_compilation(ElfFile.open(sys.argv[1])).flags)\n" + PEAK
    )
    import sys

    flags, peak = run(sys.executable, "-c", code, str(library)).split()
    assert flags == "()"
    assert int(peak) < 250 << 10


def test_no_import_of_pyelftools(cxx_plugin: Path) -> None:
    """The gate judges unstamped plugins by this, with the standard library only."""
    import sys

    code = (
        "import sys; from envlock.binary.elf import ElfFile\n"
        "from envlock.plugin.compilation import read_compilation\n"
        "read_compilation(ElfFile.open(sys.argv[1]))\n"
        "assert not {'elftools', 'hashlib', 'dataclasses', 'typing'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, cxx_plugin], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_c_only(tmp_path: Path) -> None:
    found = read(compile_library(tmp_path / "plugin.so", "-g", source=C_SOURCE))
    assert any(text.startswith("GNU C") for text in found.compilers)
    assert found.cxx_standard is None
