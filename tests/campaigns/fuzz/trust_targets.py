"""The readers of signatures: key files, signature notes, statements about a file."""

from __future__ import annotations

import struct
from random import Random

from envlock.plugin.signature.keys import fingerprint, parse_public
from envlock.plugin.signature.note import decode_note, find_signature
from envlock.plugin.signature.statement import (
    INTACT,
    build_statement,
    compare,
    decode_statement,
    encode_statement,
)
from tests.campaigns.fuzz import elf_mutator
from tests.campaigns.fuzz.elf_targets import _skeleton, mapped
from tests.campaigns.fuzz.guard import Finding, Target
from tests.campaigns.fuzz.text_mutator import json_mutator, text_mutator

_HEAD = 8 + 32 + 64


def keys(data: bytes) -> None:
    """A file of public keys."""
    for key in parse_public(data, "keys.pem"):
        if len(key) != 32 or not fingerprint(key).startswith("SHA256:"):
            raise Finding(f"a key of {len(key)} bytes")


def note(data: bytes) -> None:
    """A signature note, and the statement in it."""
    found = decode_note(data, "plugin.so")
    statement = decode_statement(found.statement, "plugin.so")
    if decode_statement(encode_statement(statement), "again") != statement:
        raise Finding("the statement changes when it is written and read again")
    raw = struct.pack("<III", 8, len(data), 2) + b"envlock\0" + data
    with mapped(_skeleton(raw)) as elf:
        again = find_signature(elf)
        if again is None or again.encode() != data:
            raise Finding("the note is not found in a file")


def mutate_note(data: bytes, chance: Random) -> bytes:
    """The statement changed, or any bytes."""
    if chance.random() < 0.8:
        return data[:_HEAD] + json_mutator(data[_HEAD:], chance)
    return elf_mutator.blunt(data, chance)


def statement(data: bytes) -> None:
    """What is stated of a file holds for that file."""
    with mapped(data) as elf:
        made = build_statement(elf, b"{}")
        again = decode_statement(encode_statement(made), "plugin.so")
        outcome = compare(elf, again, b"{}")
        if outcome.kind != INTACT:
            said = "; ".join(str(change) for change in outcome.changes)
            raise Finding(f"a file is not what was just stated of it: {outcome.kind}: {said:.200}")


_WORDS = (
    "-----BEGIN PUBLIC KEY-----",
    "-----END PUBLIC KEY-----",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN CERTIFICATE-----",
    "ssh-ed25519",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "#",
    "=",
    "====",
    "AAAA",
    "MCowBQYDK2VwAyEA",
    'restrict,command="x"',
)

TARGETS = (
    Target("trust-keys", keys, text_mutator(_WORDS)),
    Target("signature", note, mutate_note),
    Target("statement", statement, elf_mutator.mutate, family="elf"),
)
