"""docs/reference/signature.md is enough to verify a signature without envlock."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from envlock.models.signature import LinkTables, Statement
from envlock.rules.signature.texts import RULES
from tests.support.elves import run
from tests.unit.binary.test_digest import make
from tests.unit.plugin.signature.conftest import MANIFEST, Signer

PAGES = Path(__file__).resolve().parents[4] / "docs"
PAGE = (PAGES / "reference" / "signature.md").read_text(encoding="utf-8")
TRUST = (PAGES / "explanation" / "trust.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    return signer.sign(make(tmp_path_factory.mktemp("documented"), "GNU ld"))


def note_of(library: Path) -> bytes:
    """The second note of the section, read with nothing but binutils and a struct."""
    blob = library.with_suffix(".section")
    run(
        *("objcopy", "-O", "binary", "--only-section=.note.envlock"),
        *("--set-section-flags", ".note.envlock=alloc", library, blob),
    )
    raw = blob.read_bytes()
    names, size, kind = struct.unpack_from("<III", raw)
    assert (names, kind) == (8, 1)
    at = 20 + size + -size % 4
    names, size, kind = struct.unpack_from("<III", raw, at)
    assert (names, kind, raw[at + 12 : at + 20]) == (8, 2, b"envlock\0")
    return raw[at + 20 : at + 20 + size]


def statement_of(library: Path) -> Any:
    return json.loads(note_of(library)[104:])


def test_the_commands_of_the_page_verify_a_real_signature(
    signed: Path, signer: Signer, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("openssl")
    block = next(b for b in re.findall(r"```sh\n(.*?)```", PAGE, re.S) if "pkeyutl" in b)
    assert "jq ." in block
    (tmp_path / "note").write_bytes(note_of(signed))
    shutil.copy(signer.public, tmp_path / "build.pub.pem")
    script = block.replace("jq .", "cat")  # jq only makes it pretty
    done = subprocess.run(
        ["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Signature Verified Successfully" in done.stdout
    assert '"format":"envlock.signature/1"' in done.stdout
    raw = bytearray((tmp_path / "note").read_bytes())
    raw[-3] ^= 1
    (tmp_path / "note").write_bytes(raw)
    failed = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Signature Verification Failure" in failed.stdout + failed.stderr


def test_every_field_and_rule_stands_on_the_page() -> None:
    for name in Statement.record_fields:
        assert f"`{name}`" in PAGE or name == "format", name
    for name in LinkTables.record_fields:
        assert f"`{name}`" in PAGE, name
    for rule in RULES:
        assert f"`{rule.id}`" in TRUST, rule.id


def test_the_digests_are_those_of_the_page(signed: Path) -> None:
    """Read once more, independently, for a 64-bit little-endian file."""
    content, stated = signed.read_bytes(), statement_of(signed)
    assert stated["format"] == "envlock.signature/1"
    assert stated["manifest"] == hashlib.sha256(MANIFEST).hexdigest()
    fields = struct.unpack_from("<HHIQQQIHHHHHH", content, 16)
    kind, machine, version, entry, phoff, _, flags, ehsize, phentsize, phnum = fields[:10]
    identity = content[:16] + struct.pack("<HHIQIH", kind, machine, version, entry, flags, ehsize)
    assert stated["identity"] == hashlib.sha256(identity).hexdigest()
    header = bytearray(content[:64])
    header[40:48], header[58:64] = bytes(8), bytes(6)
    table = bytearray(content[phoff : phoff + phentsize * phnum])
    loads, segments = [], []
    for start in range(0, len(table), phentsize):
        row = struct.unpack_from("<IIQQQQQQ", table, start)
        segments.append(row)
        if row[0] == 1:
            loads.append(row)
        table[start + 8 : start + 16] = bytes(8)
    assert stated["headers"] == hashlib.sha256(header + table).hexdigest()
    assert [
        (s["type"], s["flags"], s["address"], s["file_size"], s["memory_size"], s["align"])
        for s in stated["segments"]
    ] == [(s[0], s[1], s[3], s[5], s[6], s[7]) for s in segments]

    def place(address: int) -> int:
        offset, start = next((s[2], s[3]) for s in loads if s[3] <= address < s[3] + s[5])
        return int(offset + address - start)

    covered = bytearray(len(content))
    covered[:64] = b"\1" * 64
    covered[phoff : phoff + len(table)] = b"\1" * len(table)
    for item in (*stated["ranges"], *stated["tables"], *stated.get("gaps", ())):
        at = place(item["address"])
        assert hashlib.sha256(content[at : at + item["size"]]).hexdigest() == item["sha256"]
        covered[at : at + item["size"]] = b"\1" * item["size"]
    for row in loads:
        assert all(covered[row[2] : row[2] + row[5]])


def test_the_statement_validates_against_its_schema(signed: Path) -> None:
    schema = PAGES.parent / "schemas" / "signature-v1.schema.json"
    jsonschema.validate(statement_of(signed), json.loads(schema.read_text()))


def test_the_names_stand_there_as_they_are(signed: Path) -> None:
    names = statement_of(signed)["names"]
    assert names["runpath"] == "/some/long/folder/of/a/build"
    assert "libc.so.6" in names["needed"]
    assert "libc.so.6" in names["version_files"]
    said = run("readelf", "-dW", signed)
    assert re.findall(r"\(NEEDED\).*\[(.*)\]", said) == names["needed"]
