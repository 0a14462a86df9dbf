"""What docs/reference/manifest.md shows works as it is written there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import notes
from envlock.binary.elf.digest import BLOCK, WHOLE
from envlock.binary.elf.note_source import linked_note_source
from envlock.plugin.manifest import MAX_DEPTH
from tests.support.elves import compile_library, run

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "manifest.md"
PAYLOAD = '{"name":"zéro_out.so","text":"with } and \\" and more"}'


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C program, compiled without a warning."""
    folder = tmp_path_factory.mktemp("reader")
    source = folder / "reader.c"
    source.write_text(block("c"))
    strict = ("-Wall", "-Wextra", "-Werror", "-Wno-sign-compare")
    watched = ("-fsanitize=address,undefined", "-fno-sanitize=alignment")
    run("gcc", "-g", *strict, *watched, source, "-o", folder / "reader")
    return folder / "reader"


def read(reader: Path, library: Path) -> tuple[int, str]:
    done = subprocess.run([reader, library], capture_output=True, text=True, encoding="utf-8")
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_program_reads_both_forms(
    reader: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    source = tmp_path / "note.c"
    source.write_text(linked_note_source(b'{"linked":"in"}', "c"))
    library = compile_library(tmp_path / "plugin.so", str(source))
    assert read(reader, library) == (0, '{"linked":"in"}')
    write_stamp(library, None, PAYLOAD.encode())
    assert read(reader, library) == (0, PAYLOAD)
    run(tool("eu-strip"), "--strip-sections", library)
    assert read(reader, library) == (0, '{"linked":"in"}')


def test_the_program_says_that_there_is_none(reader: Path, plugin: Path) -> None:
    assert read(reader, plugin) == (1, "")


def test_the_program_survives_damage(reader: Path, plugin: Path) -> None:
    """Whoever copies it from the page gets no program that a truncated file can crash."""
    write_stamp(plugin, None, PAYLOAD.encode())
    content = plugin.read_bytes()
    for length in range(0, len(content), 1009):
        plugin.write_bytes(content[:length])
        assert read(reader, plugin)[0] in (1, 2)


def test_the_shell_recipe_reads_the_appended_form(plugin: Path, tool: Callable[[str], str]) -> None:
    write_stamp(plugin, None, PAYLOAD.encode())
    recipe = block("sh").replace("| jq .", "")
    assert recipe.count("\n") == 2, "the recipe was rewritten"
    done = subprocess.run(
        ["sh", "-e", "-c", recipe], cwd=plugin.parent, capture_output=True, check=True
    )
    assert done.stdout.decode("utf-8") == PAYLOAD
    assert shutil.which("objcopy") == tool("objcopy")


def test_the_numbers_are_the_programs() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert notes.MAX_MANIFEST == 4 << 20
    assert "more than 4 MiB" in text
    assert MAX_DEPTH == 64
    assert "more than 64 levels" in text
    assert notes.MAX_NOTES == 65_536
    assert "65,536 notes" in text
    assert (WHOLE, BLOCK, WHOLE // BLOCK) == (16 << 20, 65_536, 256)
    assert "up to 16 MiB (256 blocks)" in text
