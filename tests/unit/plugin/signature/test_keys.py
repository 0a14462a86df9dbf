"""Keys as people have them: from openssl and ssh-keygen, and everything that is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envlock.models.errors import FileAccessError, InputError, KeyFileError, ManifestError
from envlock.plugin.signature.keys import (
    PASSPHRASE,
    fingerprint,
    parse_public,
    read_private,
    read_trusted,
)
from envlock.plugin.signature.keys import verify as verify_signature
from envlock.plugin.signature.note import SignatureNote, decode_note
from tests.support.elves import run
from tests.unit.plugin.signature.conftest import Signer


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Path:
    """A key of ssh-keygen; the public one has the same name and ends in .pub."""
    path = tmp_path_factory.mktemp("ssh") / "id"
    run(tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", path)
    return path


def test_openssl_and_openssh_keys_sign_and_are_trusted(signer: Signer, ssh: Path) -> None:
    for private, public in (
        (signer.private, signer.public),
        (ssh, ssh.with_suffix(".pub")),
    ):
        key = read_private(str(private))
        assert list(read_trusted([str(public)])) == [key.public]
        assert verify_signature(key.public, key.sign(b"text"), b"text")
        assert not verify_signature(key.public, key.sign(b"text"), b"texts")


def test_a_key_in_both_forms_is_one_key(ssh: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form

    public = form.load_ssh_public_key(ssh.with_suffix(".pub").read_bytes())
    pem = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "id.pem").write_bytes(pem)
    both = read_trusted([str(tmp_path / "id.pem"), str(ssh.with_suffix(".pub"))])
    assert len(both) == 1


def test_the_fingerprint_is_ssh_keygen_s(ssh: Path, tool: Callable[[str], str]) -> None:
    (key,) = read_trusted([str(ssh.with_suffix(".pub"))])
    assert fingerprint(key) == run(tool("ssh-keygen"), "-lf", ssh).split()[1]


def test_openssl_verifies_a_signature(
    signer: Signer, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Without envlock: the note's message, signature and key, after docs/reference/signature.md."""
    key = read_private(str(signer.private))
    note = SignatureNote(key.public, b"", b'{"format":"envlock.signature/1"}')
    raw = SignatureNote(key.public, key.sign(note.message), note.statement).encode()
    assert raw[:8] == b"ed25519\0"
    (tmp_path / "message").write_bytes(b"envlock signature 1\0" + raw[104:])
    (tmp_path / "signature").write_bytes(raw[40:104])
    said = run(
        *(tool("openssl"), "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", signer.public),
        *("-in", tmp_path / "message", "-sigfile", tmp_path / "signature"),
    )
    assert "Signature Verified Successfully" in said


@pytest.mark.parametrize("form", ["openssl", "ssh-keygen"])
def test_encrypted_keys_take_their_passphrase_from_the_environment(
    form: str, tmp_path: Path, tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    if form == "openssl":
        run(
            *(tool("openssl"), "genpkey", "-algorithm", "ed25519", "-aes-256-cbc"),
            *("-pass", "pass:a word", "-out", path),
        )
    else:
        run(tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "a word", "-f", path)
    monkeypatch.delenv(PASSPHRASE, raising=False)
    with pytest.raises(KeyFileError, match="is encrypted") as missing:
        read_private(str(path))
    assert missing.value.hint == f"put its passphrase into `{PASSPHRASE}`"
    monkeypatch.setenv(PASSPHRASE, "another")
    with pytest.raises(KeyFileError, match="is not its passphrase"):
        read_private(str(path))
    monkeypatch.setenv(PASSPHRASE, "a word")
    assert len(read_private(str(path)).public) == 32


def test_a_passphrase_for_a_key_without_one_does_no_harm(
    signer: Signer, ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE, "not needed")
    for path in (signer.private, ssh):
        assert len(read_private(str(path)).public) == 32


def test_a_key_that_others_can_read_is_said_so(signer: Signer, tmp_path: Path) -> None:
    copy = tmp_path / "key.pem"
    copy.write_bytes(signer.private.read_bytes())
    copy.chmod(0o644)
    (note,) = read_private(str(copy)).notes
    assert "can be read by others (mode 0644)" in note
    assert read_private(str(signer.private)).notes == ()


def test_a_private_key_can_come_through_a_pipe(signer: Signer) -> None:
    out, into = os.pipe()
    os.write(into, signer.private.read_bytes())
    os.close(into)
    assert read_private(f"/dev/fd/{out}").public in signer.verifier.keys
    os.close(out)


PRIVATE_ERRORS = {
    "missing": (None, "cannot read the key `KEY`: No such file or directory"),
    "empty": (b"", "`KEY` is no private key; a key to sign with is PEM or OpenSSH"),
    "DER": (b"\x30\x2e\x02\x01", "`KEY` is DER; a key to sign with is PEM or OpenSSH"),
    "cut off": (
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIE\n",
        "`KEY` is damaged",
    ),
    "not base64": (
        b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        "`KEY` is damaged",
    ),
    "OpenSSH, cut off": (
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n-----END OPENSSH PRIVATE KEY-----\n",
        "`KEY` is damaged",
    ),
    "large": (b"-----BEGIN PRIVATE KEY-----\n" * 5000, "`KEY` is larger than 65536 bytes"),
}


@pytest.mark.parametrize("case", PRIVATE_ERRORS)
def test_a_file_that_is_no_private_key(case: str, tmp_path: Path) -> None:
    content, message = PRIVATE_ERRORS[case]
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_private(str(path))
    assert error.value.message.startswith(message.replace("KEY", str(path)))
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"), "RSA"),
        (("-algorithm", "x25519"), "X25519"),
        (("-algorithm", "ed448"), "Ed448"),
        (("-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "(EC|EllipticCurve)"),
    ],
)
def test_other_kinds_of_keys_are_named(
    options: tuple[str, ...], kind: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    private, public = tmp_path / "key", tmp_path / "key.pub"
    run(tool("openssl"), "genpkey", *options, "-out", private)
    run(tool("openssl"), "pkey", "-in", private, "-pubout", "-out", public)
    with pytest.raises(KeyFileError, match=f"of type {kind}; envlock signs with Ed25519 only"):
        read_private(str(private))
    with pytest.raises(KeyFileError, match=r"line [0-9]+: the key is not an Ed25519 key"):
        read_trusted([str(public)])


GOOD = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + b"B" * 43
PUBLIC_ERRORS = {
    "empty": (b"", "`KEYS` holds no key"),
    "comments only": (b"# nothing\n\n", "`KEYS` holds no key"),
    "DER": (b"\x30\x2a\x30\x05", "`KEYS` is DER; keys are read as PEM"),
    "text": (b"hello\n", "`KEYS`, line 1 is neither PEM nor an OpenSSH public key"),
    "binary": (b"\xff\x00\x1b[31m", "`KEYS`, line 1 is neither PEM nor an OpenSSH public key"),
    "a private key": (
        b"-----BEGIN PRIVATE KEY-----\n",
        "`KEYS`, line 1: `PRIVATE KEY` is not a public key",
    ),
    "a certificate": (
        b"-----BEGIN CERTIFICATE-----\n",
        "`KEYS`, line 1: `CERTIFICATE` is not a public key",
    ),
    "a block without end": (
        b"-----BEGIN PUBLIC KEY-----\nMCow\n",
        "`KEYS` ends inside a key, a line `-----END PUBLIC KEY-----` is missing",
    ),
    "a block that is not base64": (
        b"-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n",
        "`KEYS`, line 3: the key is not base64",
    ),
    "an RSA line": (b"ssh-rsa AAAA", "`KEYS`, line 1: the key is `ssh-rsa`, not `ssh-ed25519`"),
    "a security key": (
        b"sk-ssh-ed25519@openssh.com AAAA",
        "`KEYS`, line 1: the key is `sk-ssh-ed25519@openssh.com`, not `ssh-ed25519`",
    ),
    "a line without a key": (b"ssh-ed25519", "`KEYS`, line 1: the key is not an Ed25519 key"),
    "a cut line": (
        b"# one\n" + GOOD[:-4],
        "`KEYS`, line 2: the key is not an Ed25519 key",
    ),
    "one bad line among good ones": (
        b"\n".join([GOOD] * 3 + [b"ssh-ed25519 ?"]),
        "`KEYS`, line 4: the key is not base64",
    ),
}


@pytest.mark.parametrize("case", PUBLIC_ERRORS)
def test_a_file_that_holds_no_public_keys(case: str, tmp_path: Path) -> None:
    content, message = PUBLIC_ERRORS[case]
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(KeyFileError) as error:
        read_trusted([str(path)])
    assert error.value.message == message.replace("KEYS", str(path))


def test_a_folder_is_read_by_its_files_endings(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"holds no keys, no file in it ends in \.pem or \.pub"):
        read_trusted([str(tmp_path)])
    (tmp_path / "README").write_text("who is who")
    (tmp_path / "one.pub").write_bytes(GOOD + b" somebody\n")
    assert len(read_trusted([str(tmp_path)])) == 1
    os.mkfifo(tmp_path / "two.pem")
    with pytest.raises(FileAccessError, match="is not a regular file"):
        read_trusted([str(tmp_path)])
    with pytest.raises(FileAccessError, match="No such file"):
        read_trusted([str(tmp_path / "absent")])


def test_ten_thousand_keys_are_read(tmp_path: Path) -> None:
    import base64

    head = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
    path = tmp_path / "keys"
    path.write_bytes(
        b"".join(
            b"ssh-ed25519 " + base64.b64encode(head + number.to_bytes(32, "big")) + b"\n"
            for number in range(10_000)
        )
    )
    assert len(read_trusted([str(path)])) == 10_000


@given(st.binary(max_size=300))
def test_any_bytes_are_keys_or_an_error(content: bytes) -> None:
    try:
        keys = parse_public(content, "keys")
    except KeyFileError:
        return
    assert keys


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_signature_note_or_an_error(content: bytes, headed: bool) -> None:
    raw = (b"ed25519\0" if headed else b"") + content
    try:
        note = decode_note(raw, "plugin.so")
    except ManifestError:
        return
    assert note.encode() == raw
    assert (len(note.key), len(note.signature)) == (32, 64)
    assert not verify_signature(note.key, note.signature, note.message)
