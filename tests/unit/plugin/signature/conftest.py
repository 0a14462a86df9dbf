"""A key made by openssl, and small libraries signed with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.stamp_writing import write_stamp
from envlock.binary.elf import ElfFile
from envlock.models.report import Finding
from envlock.plugin.signature.keys import read_private
from envlock.plugin.signature.sign import sign
from envlock.plugin.signature.signed import Signed
from envlock.rules.signature.verify import Verifier
from tests.support.elves import run

MANIFEST = b'{"format":"envlock.manifest/1"}'


class Signer:
    """A private key's file, its public half, and what they say about files."""

    def __init__(self, folder: Path, openssl: str) -> None:
        self.private, self.public = folder / "key.pem", folder / "key.pub.pem"
        run(openssl, "genpkey", "-algorithm", "ed25519", "-out", self.private)
        run(openssl, "pkey", "-in", self.private, "-pubout", "-out", self.public)
        self.private.chmod(0o600)
        self.verifier = Verifier([str(self.public)])

    def sign(self, library: Path, manifest: bytes = MANIFEST) -> Path:
        """Stamp and sign in place, without an environment."""
        key = read_private(str(self.private))
        with ElfFile.open(library) as elf:
            signature = sign(elf, manifest, key)
        write_stamp(library, None, manifest, signature=signature)
        return library

    def judge(self, library: Path) -> Finding | None:
        """The one finding on a file; None where it is vouched for."""
        with ElfFile.open(library) as elf:
            word = self.verifier.judge(Signed(elf), library.name)
        assert len(word.findings) <= 1
        return word.findings[0] if word.findings else None

    def rule(self, library: Path) -> str:
        found = self.judge(library)
        return "trusted" if found is None else found.rule


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys"), tool("openssl"))
