"""The readers of documents: manifest, policy, snapshot, history, reports, lock files, indexes."""

from __future__ import annotations

import os
import sqlite3
import struct
import tempfile
from random import Random

from envlock.actions.registering import _repeats
from envlock.atlas.format import Atlas
from envlock.atlas.registrations import BuiltIn
from envlock.cli.report import parse_document
from envlock.inventory import lockfiles
from envlock.inventory.files import parse_snapshot, snapshot_text
from envlock.inventory.index import _html_files, _json_files
from envlock.inventory.store import Store
from envlock.plugin.manifest import decode_manifest, encode_manifest
from envlock.rules.ops.rules import RULES, Registering
from envlock.rules.policy import resolve_policy
from tests.campaigns.fuzz.binary_mutator import words_mutator
from tests.campaigns.fuzz.elf_mutator import blunt
from tests.campaigns.fuzz.guard import Finding, Target, either
from tests.campaigns.fuzz.text_mutator import json_mutator, text_mutator

_FOLDER = tempfile.TemporaryDirectory(
    prefix="envlock-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
)


def place(name: str, data: bytes) -> str:
    """The bytes as a file, in memory where the machine has such a folder."""
    path = os.path.join(_FOLDER.name, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def manifest(data: bytes) -> None:
    """What is read can be written, and reads the same again."""
    found = decode_manifest(data)
    again = encode_manifest(found)
    if decode_manifest(again) != found:
        raise Finding("the manifest changes when it is written and read again")


def registrations(data: bytes) -> None:
    """What a manifest says is registered, beside all that a release registers itself."""
    found = decode_manifest(data).registrations
    if found is None:
        return
    builtin = BuiltIn("/nonexistent", "2.15.1")
    case = Registering(
        "plugin.so",
        "plugin.so",
        found,
        builtin=builtin.has,
        taken=builtin.has,
        kernels=builtin.cpu_kernels,
        registrants=lambda op: (),
        copies=tuple,
    )
    _repeats(found.kernels)
    for rule in RULES:
        for answer in rule(case):
            assert answer


def snapshot(data: bytes) -> None:
    """The same of snapshots."""
    found = parse_snapshot(data, "snapshot")
    if parse_snapshot(snapshot_text(found).encode(), "again") != found:
        raise Finding("the snapshot changes when it is written and read again")


def report(data: bytes) -> None:
    """A check or drift report."""
    parse_document(data, "report.json")


def policy(data: bytes) -> None:
    """A policy file."""
    resolve_policy(place("policy.json", data))


def store(data: bytes) -> None:
    """The history: any bytes in place of the SQLite file."""
    path = place("history.sqlite", data)
    for suffix in ("-journal", "-wal", "-shm"):
        if os.path.lexists(path + suffix):
            os.unlink(path + suffix)
    with Store(path) as history:
        for entry in history.list()[:8]:
            history.find(entry.name)
            either(lambda entry=entry: history.load(entry))  # type: ignore[misc]


def mutate_store(data: bytes, chance: Random) -> bytes:
    """Rows changed by SQL, which keeps the pages right, or numbers of the file's pages."""
    if chance.random() < 0.5:
        return words_mutator(data, chance)
    path = place("mutated.sqlite", data)
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = MEMORY")
            column = chance.choice(
                (
                    "id",
                    "name",
                    "saved",
                    "environment",
                    "fingerprint",
                    "packages",
                    "plugins",
                    "tensorflow",
                    "document",
                )
            )
            value = chance.choice(
                (0, -1, 1 << 62, 1.5, "", "x" * 200, b"", b"\xff\0", "\ud7ff", b"x\x9c" + data[:99])
            )
            connection.execute(f"UPDATE snapshots SET {column} = ?", (value,))
        finally:
            connection.close()
    except (sqlite3.Error, OverflowError, ValueError, MemoryError):
        return blunt(data, chance)
    with open(path, "rb") as file:
        return file.read()


#: As EXPI has it, 65,537 offsets: every other bucket is empty.
_INDEX = struct.pack("<65537I", *(5 * (number & 1) for number in range(65537)))


def atlas(data: bytes) -> None:
    """Everything that an atlas is asked for; the index of exports stands behind the input."""
    found = Atlas("fuzz.atlas", data + _INDEX)
    for release in found.releases[:4]:
        repr(release)
        assert release.global_scope in (True, False)
        either(lambda r=release: [dict(one) for one in r.libraries])  # type: ignore[misc]
    either(lambda: found.find("2.15.1", "tensorflow-cpu"))
    for abi in sorted({release.abi for release in found.releases})[:3] or [0]:
        either(lambda abi=abi: found.windows(abi))  # type: ignore[misc]
        for name in ("a::Base", "a::Derived", "a::Missing", *found.moving_tables[:4]):
            either(lambda n=name, a=abi: found.shape(n, a))  # type: ignore[misc]
            either(lambda n=name, a=abi: found.slots(n, a))  # type: ignore[misc]
        for name in ("_ZN1a4BaseC1Ev", "_ZNK1a7Derived3oneEv", "_ZN1a1bIiEEvT_"):
            either(lambda n=name, a=abi: found.facts(n, a))  # type: ignore[misc]
            either(lambda n=name, a=abi: found.has_function(n, a))  # type: ignore[misc]
    for symbol in (b"a_symbol", b"another", b"_ZN1a4BaseC1Ev"):
        either(lambda s=symbol: found.membership(s))  # type: ignore[misc]


def mutate_atlas(data: bytes, chance: Random) -> bytes:
    """Numbers of its tables, or its list of releases with the section's size kept right."""
    at = data.find(b"META")
    if chance.random() < 0.6 or at < 0 or at + 12 > len(data):
        return _indexed(words_mutator(data, chance))
    start = int.from_bytes(data[at + 4 : at + 8], "little")
    size = int.from_bytes(data[at + 8 : at + 12], "little")
    changed = json_mutator(data[start : start + size], chance)
    # At the end, where it may have any size.
    where = len(data).to_bytes(4, "little") + len(changed).to_bytes(4, "little")
    return _indexed(data[: at + 4] + where + data[at + 12 :] + changed)


def _indexed(data: bytes) -> bytes:
    """The same with the place of the index put right."""
    at = data.find(b"EXPI")
    if at < 0:
        return data
    return data[: at + 4] + len(data).to_bytes(4, "little") + data[at + 8 :]


_TARGET = lockfiles.Target("3.11.7", "x86_64")


def _lock(name: str) -> object:
    def call(data: bytes) -> None:
        for pin in lockfiles.read(place(name, data), _TARGET).pins:
            repr(pin)

    return call


_MARKERS = (
    "python_version",
    "platform_machine",
    "platform_release",
    "extra",
    "os_name",
    "sys_platform",
    "~=",
    "===",
    "in",
    "not in",
    "'x'",
    "'3.8'",
    "''",
    "and",
    "or",
    "(",
    ")",
    "; ",
)
_REQUIREMENT_WORDS = (
    *_MARKERS,
    "-r",
    "-c other.txt",
    "-e .",
    "--hash=sha256:" + "a" * 64,
    "@",
    "git+https://h/x@abc",
    "file:///x.whl",
    "./a.whl",
    "numpy",
    "==",
    "==1.0.*",
    "[",
    "]",
    "#",
    "\\",
    "@EXPLICIT",
    "--index-url https://h",
    "${HOME}",
    ",",
)
_TOML_WORDS = (
    *_MARKERS,
    "[[packages]]",
    "[[package]]",
    "[",
    "]",
    "{",
    "}",
    "=",
    '"',
    "'''",
    "1979-13-45",
    "0x",
    "1e999",
    "inf",
    "nan",
    "lock-version",
    "version",
    "source",
    "dependencies",
    "marker",
    "wheels",
    "hashes",
    "archive",
    "directory",
    "vcs",
    "virtual",
    "editable",
    "git",
    "url",
    "true",
)
_YAML_WORDS = (
    "&a",
    "*a",
    "&a [*a,*a]",
    "<<: *a",
    "<<: [*a, *a]",
    "- ",
    ": ",
    "? ",
    "|",
    ">",
    "!!int",
    "!!bool x",
    "!!timestamp x",
    "!!python/object:os.system",
    "!!binary =",
    "!!set",
    "!!omap",
    "!!float",
    "---",
    "...",
    "%YAML 9.9",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "dependencies",
    "pip",
    "packages",
    "environments",
    "default",
    "linux-64",
    "metadata",
    "package",
    "conda",
    "pypi",
    "null",
    "~",
    "1:60:60",
    "0x",
    "2001-99-99",
    "name",
    "version",
    "url",
    "hash",
    "sha256",
    "manager",
    "platform",
)
_CONDA_WORDS = (
    "@EXPLICIT",
    "https://h/t/x/linux-64/a-1-0.conda",
    "a-1-0.tar.bz2",
    "#",
    "file:///a-1-0.conda",
    "a--.conda",
    "-",
    "/",
    "sha256:",
)


def index(data: bytes) -> None:
    """What a package index answers, in both forms."""
    text = data.decode("utf-8", "replace")
    _json_files(text, "https://host/simple/a/")
    _html_files(text, "https://host/simple/a/")


def mutate_index(data: bytes, chance: Random) -> bytes:
    """JSON, or a page of links."""
    if data.lstrip().startswith(b"{"):
        return json_mutator(data, chance)
    return text_mutator(
        (
            "<a href=",
            "</a>",
            '"',
            "'",
            "http://[",
            "//",
            "#sha256=" + "0" * 64,
            "&amp;",
            "&#x110000;",
            "%00",
            "%zz",
            ">",
            "a-1.0-py3-none-any.whl",
            "a-1.0.tar.gz",
            "data-yanked",
        )
    )(data, chance)


def _document(name: str, call: object, mutate: object, **more: object) -> Target:
    return Target(name, call, mutate, **more)  # type: ignore[arg-type]


TARGETS = (
    _document("manifest", manifest, json_mutator),
    _document("registrations", registrations, json_mutator, family="manifest"),
    _document("snapshot", snapshot, json_mutator),
    _document("report", report, json_mutator),
    _document("policy", policy, json_mutator),
    _document("store", store, mutate_store, largest=64 << 10),
    _document("atlas", atlas, mutate_atlas),
    _document("lock-requirements", _lock("requirements.txt"), text_mutator(_REQUIREMENT_WORDS)),
    _document("lock-pylock", _lock("pylock.toml"), text_mutator(_TOML_WORDS)),
    _document("lock-uv", _lock("uv.lock"), text_mutator(_TOML_WORDS)),
    _document(
        "lock-environment",
        _lock("environment.yml"),
        text_mutator((*_YAML_WORDS, *_REQUIREMENT_WORDS)),
    ),
    _document("lock-explicit", _lock("explicit.txt"), text_mutator(_CONDA_WORDS)),
    _document("lock-pixi", _lock("pixi.lock"), text_mutator(_YAML_WORDS)),
    _document("lock-conda", _lock("conda-lock.yml"), text_mutator(_YAML_WORDS)),
    _document("index", index, mutate_index),
)
