"""Real file systems that are small, full, read-only or layered, and files beyond 4 GiB.

They are mounted in a name space of their own, where that is permitted.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.binary.elf.image import PF_W, PT_LOAD
from envlock.binary.elf.notes import find_stamp
from envlock.models.errors import ElfError
from tests.campaigns.faults.scene import PAYLOAD, Scene
from tests.support.elves import ANSWER, BARE_SOURCE, PEAK, call, compile_library, run

ROOT = Path(__file__).resolve().parents[3]
#: Runs in the name space: `scene(kind, folder)` and `say(...)` are there for the test's lines.
HEAD = """
import os, subprocess, sys
from pathlib import Path
from tests.campaigns.faults.scene import Scene
library, folder = Path(sys.argv[1]), Path(sys.argv[2])
def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)
"""


def in_name_space(lines: str, library: Path, folder: Path) -> list[str]:
    """What a Python program prints that may mount things under `folder`."""
    folder.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c"]
    done = subprocess.run(
        [*command, HEAD + lines, library, folder], cwd=ROOT, capture_output=True, text=True
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no name spaces here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_amount_of_free_space(tmp_path: Path, library: Path) -> None:
    """A file system that is full one page later each time, until it has room."""
    lines = """
mount("-t", "tmpfs", "-o", "size=4m", "none", folder)
pages = (library.stat().st_size + 4095) // 4096
scene = Scene("in place", folder / "scene", library)
for more in range(-2, pages + 8):
    scene.prepare()
    mount("-o", f"remount,size={(pages + more) * 4096}", folder) if more >= 1 else None
    said = scene.work()
    print(more, scene.state(), len(scene.litter()), said)
    mount("-o", "remount,size=4m", folder)
"""
    rows = [row.split(" ", 3) for row in in_name_space(lines, library, tmp_path / "small")]
    rows = [row for row in rows if int(row[0]) >= 1]
    assert {row[2] for row in rows} == {"0"}
    for _, state, _, said in rows:
        if said == "written":
            assert state == "new"
        else:
            assert state == "old"
            assert said.startswith("WriteError: cannot write")
            assert said.endswith("No space left on device")
    assert {row[1] for row in rows} == {"old", "new"}


def test_no_more_files(tmp_path: Path, library: Path) -> None:
    """Space enough, but no inode."""
    lines = """
mount("-t", "tmpfs", "-o", "size=4m", "none", folder)
scene = Scene("in place", folder / "scene", library)
mount("-o", "remount,nr_inodes=3", folder)  # the folders and the plugin
print(scene.work())
print(scene.state(), scene.litter())
"""
    said, state = in_name_space(lines, library, tmp_path / "small")
    assert said.endswith("No space left on device")
    assert state == "old []"


def test_a_read_only_file_system(tmp_path: Path, library: Path) -> None:
    lines = """
mount("-t", "tmpfs", "none", folder)
scene = Scene("in place", folder / "scene", library)
other = Scene("new output", folder / "other", library)
mount("-o", "remount,ro", folder)
for each in (scene, other):
    print(each.work())
    print(each.state(), each.litter())
"""
    in_place, state, other, other_state = in_name_space(lines, library, tmp_path / "fixed")
    assert in_place.startswith("WriteError: cannot write")
    assert "read-only" in in_place
    assert other.startswith("WriteError: cannot write")
    assert "Read-only file system" in other
    assert state == other_state == "old []"


def test_a_file_of_a_lower_layer(tmp_path: Path, library: Path) -> None:
    """As in a container image: the file is in a layer that is never written to."""
    lines = """
mount("-t", "tmpfs", "none", folder)
for name in ("lower", "upper", "work", "merged"):
    (folder / name).mkdir()
(folder / "lower" / "plugin.so").write_bytes(library.read_bytes())
mount("-t", "overlay", "overlay", "-o",
      f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work", folder / "merged")
from envlock.actions.stamp_writing import write_stamp
from tests.campaigns.faults.scene import PAYLOAD
plugin = folder / "merged" / "plugin.so"
result = write_stamp(plugin, None, PAYLOAD)
print(result.notes, PAYLOAD in plugin.read_bytes(), os.listdir(folder / "merged"))
print((folder / "lower" / "plugin.so").read_bytes() == library.read_bytes())
print(write_stamp(plugin, None, PAYLOAD).changed)
"""
    assert in_name_space(lines, library, tmp_path / "layers") == [
        "() True ['plugin.so']",
        "True",
        "False",
    ]


def test_the_output_is_on_another_file_system(tmp_path: Path, library: Path) -> None:
    lines = """
mount("-t", "tmpfs", "none", folder)
from envlock.actions.stamp_writing import write_stamp
from tests.campaigns.faults.scene import PAYLOAD
write_stamp(library, folder / "out.so", PAYLOAD)
print(PAYLOAD in (folder / "out.so").read_bytes(), os.listdir(folder))
"""
    assert in_name_space(lines, library, tmp_path / "other") == ["True ['out.so']"]


# Beyond 4 GiB. The files are sparse: they take some pages of the disk.

FAR = 0x1_4000_0000


def beyond_4_gib(library: Path) -> None:
    """Move what the writable segment loads, and the section headers, to 5 GiB; it still loads."""
    with ElfFile.open(library) as elf:
        (segment,) = (s for s in elf.segments if s.type == PT_LOAD and s.flags & PF_W)
        inside = range(segment.offset, segment.offset + segment.filesz)
        phoff, shoff, sections, segments = elf.phoff, elf.shoff, elf.sections, elf.segments
    content = bytearray(library.read_bytes())
    for number, each in enumerate(segments):
        if each.offset in inside:
            struct.pack_into("<Q", content, phoff + 56 * number + 8, each.offset + FAR)
    for section in sections:
        if section.offset >= segment.offset:
            struct.pack_into("<Q", content, shoff + 64 * section.index + 24, section.offset + FAR)
    struct.pack_into("<Q", content, 40, shoff + FAR)
    with library.open("wb") as file:
        file.write(content[: segment.offset])
        file.seek(segment.offset + FAR)
        file.write(content[segment.offset :])


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A library of 5 GiB that really loads."""
    library = compile_library(tmp_path / "large.so")
    beyond_4_gib(library)
    assert library.stat().st_size > FAR
    if library.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("the temporary folder's file system keeps no sparse files")
    assert call(library) == ANSWER
    return library


def test_a_library_beyond_4_gib(large: Path) -> None:
    """Time and memory are those of what is there, and the holes stay holes."""
    program = (
        "import sys; from envlock.actions.stamp_writing import write_stamp\n"
        "from tests.campaigns.faults.scene import *\n"
        "write_stamp(sys.argv[1], None, OTHER); write_stamp(sys.argv[1], None, PAYLOAD)\n"
    )
    peak = subprocess.run(
        [sys.executable, "-c", program + PEAK, large], cwd=ROOT, capture_output=True, text=True
    )
    assert peak.returncode == 0, peak.stderr
    assert int(peak.stdout) < 40 << 10
    with ElfFile.open(large) as elf:
        stamp = find_stamp(elf)
        section = elf.section(".note.envlock")
    assert stamp is not None
    assert stamp.payload == PAYLOAD
    assert section is not None
    assert section.offset > FAR
    assert large.stat().st_blocks * 512 < 1 << 20
    assert call(large) == ANSWER
    text = run("readelf", "--notes", "--sections", "--wide", large)
    assert "envlock" in text
    assert "Warning" not in text


@pytest.mark.parametrize("way", ["sendfile", "read and write"])
def test_holes_stay_holes_however_it_is_copied(
    way: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    if way == "read and write":
        monkeypatch.setattr(os, "sendfile", refuse)
    output = large.with_name("out.so")
    write_stamp(large, output, PAYLOAD)
    assert output.stat().st_blocks * 512 < 1 << 20
    assert call(output) == ANSWER


def test_a_small_hole_is_compared_by_reading(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have called data a hole; what was skipped in copying is noticed."""
    from envlock.files import copying
    from envlock.models.errors import WriteError

    plugin = Path(shutil.copy(library, tmp_path / "plugin.so"))
    real = copying._extents

    def lying(fd: int, start: int, size: int):  # type: ignore[no-untyped-def]
        if size < 8192:
            return real(fd, start, size)
        return iter(((4096, False), (4096, True), (size - 8192, False)))

    before = plugin.read_bytes()
    assert any(before[4096:8192])
    monkeypatch.setattr(copying, "_extents", lying)
    with pytest.raises(WriteError, match="the new file, read back, is not what was written"):
        write_stamp(plugin, None, PAYLOAD)
    assert plugin.read_bytes() == before


def test_32_bits_cannot_name_what_is_beyond_4_gib(tmp_path: Path) -> None:
    library = compile_library(
        tmp_path / "small.so", "-m32", "-nostdlib", source=BARE_SOURCE, compiler=("gcc",)
    )
    os.truncate(library, (1 << 32) - 64)
    before = library.stat()
    with pytest.raises(ElfError, match=r"too large to append to: its 32-bit headers cannot name"):
        write_stamp(library, None, PAYLOAD)
    assert library.stat() == before


def test_the_scene_tells_damage_from_old_and_new(tmp_path: Path, library: Path) -> None:
    scene = Scene("in place", tmp_path / "scene", library)
    assert scene.state() == "old"
    os.truncate(scene.target, 5000)
    assert scene.state() == "neither"
