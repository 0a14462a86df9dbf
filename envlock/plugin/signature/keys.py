"""Ed25519 keys in files: public ones to trust, a private one to sign with.

Public keys are read without any package: both forms hold the 32 bytes of RFC 8032 behind a fixed
prefix (RFC 8410 for PEM, RFC 8709 for OpenSSH). Fingerprints are those of `ssh-keygen -l`.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import struct

from ...models.errors import DependencyMissing, FileAccessError, KeyFileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

KEY_SIZE = 32
#: SubjectPublicKeyInfo of RFC 8410 up to the key itself.
_SPKI = bytes.fromhex("302a300506032b6570032100")
_SSH_TYPE = b"ssh-ed25519"
_SSH = struct.pack(">I", len(_SSH_TYPE)) + _SSH_TYPE + struct.pack(">I", KEY_SIZE)
_SSH_TYPES = (b"ssh-", b"ecdsa-", b"sk-")
_PEM_BEGIN, _PEM_PUBLIC = b"-----BEGIN ", b"-----BEGIN PUBLIC KEY-----"
_PEM_END = b"-----END PUBLIC KEY-----"
#: Files of a folder that are read as keys.
ENDINGS = (".pem", ".pub")

MAX_FILE = 8 << 20
MAX_PRIVATE = 64 << 10
MAX_FILES = 1000
PASSPHRASE = "ENVLOCK_SIGN_PASSPHRASE"

MISSING = "pip install 'tf-envlock[sign]'"


def fingerprint(key: bytes) -> str:
    """A public key's name: `SHA256:` and the base64 of OpenSSH's encoding, hashed."""
    import hashlib

    digest = hashlib.sha256(_SSH + key).digest()
    return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode("ascii")


def read_trusted(paths: Iterable[str]) -> dict[bytes, str]:
    """The public keys in files and folders, and the file that each was found in.

    A file holds PEM blocks or OpenSSH lines, as many as there are; of a folder those that end in
    `ENDINGS` are read. Raises `KeyFileError` for anything but an Ed25519 public key, and where
    there is none at all, because a requirement that nothing can meet is a mistake; `FileAccessError`.
    """
    found: dict[bytes, str] = {}
    for path in paths:
        for name in _files(path):
            keys = parse_public(_read(name, MAX_FILE), name)
            for key in keys:
                found.setdefault(key, name)
    return found


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    try:
        names = sorted(name for name in os.listdir(path) if name.endswith(ENDINGS))
    except OSError as error:
        raise FileAccessError(f"cannot read `{path}`: {error.strerror}") from None
    if not names:
        raise KeyFileError(f"`{path}` holds no keys, no file in it ends in {' or '.join(ENDINGS)}")
    if len(names) > MAX_FILES:
        raise KeyFileError(f"`{path}` holds {len(names)} key files, more than {MAX_FILES}")
    files = [os.path.join(path, name) for name in names]
    for name in files:
        if not os.path.isfile(name):  # a FIFO would be waited for
            raise FileAccessError(f"`{name}` is not a regular file")
    return files


def _read(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileAccessError(f"cannot read the key `{path}`: {reason}") from None
    if len(content) > limit:
        raise KeyFileError(f"`{path}` is larger than {limit} bytes, so it is not a key")
    return content


def parse_public(content: bytes, source: str) -> list[bytes]:
    """The 32 bytes of each public key in a file; raises `KeyFileError`, naming the line."""
    if content[:1] == b"\x30":
        raise KeyFileError(
            f"`{source}` is DER; keys are read as PEM",
            hint=f"openssl pkey -pubin -inform DER -in {source} -out {source}.pem",
        )
    found = []
    block: list[bytes] | None = None
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.strip()
        where = f"`{source}`, line {number}"
        if block is not None:
            if line == _PEM_END:
                found.append(_from_pem(b"".join(block), where))
                block = None
            else:
                block.append(line)
        elif line == _PEM_PUBLIC:
            block = []
        elif line.startswith(_PEM_BEGIN):
            raise _wrong_pem(line, where)
        elif line and not line.startswith(b"#"):
            found.append(_from_ssh(line, where))
    if block is not None:
        raise KeyFileError(f"`{source}` ends inside a key, a line `{_PEM_END.decode()}` is missing")
    if not found:
        raise KeyFileError(f"`{source}` holds no key")
    return found


def _wrong_pem(line: bytes, where: str) -> KeyFileError:
    kind = line[len(_PEM_BEGIN) :].strip(b"- ").decode("ascii", "replace")[:60]
    hint = None
    if "PRIVATE" in kind:
        hint = "trust takes public keys: `openssl pkey -in KEY -pubout -out KEY.pub.pem`"
    return KeyFileError(f"{where}: `{kind}` is not a public key", hint=hint)


def _from_pem(text: bytes, where: str) -> bytes:
    try:
        der = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError(f"{where}: the key is not base64") from None
    if not der.startswith(_SPKI) or len(der) != len(_SPKI) + KEY_SIZE:
        raise KeyFileError(f"{where}: the key is not an Ed25519 key")
    return der[len(_SPKI) :]


def _from_ssh(line: bytes, where: str) -> bytes:
    parts = line.split(None, 2)
    kind = parts[0]
    if kind != _SSH_TYPE:
        if kind.startswith(_SSH_TYPES):
            shown = kind.decode("ascii", "replace")[:40]
            raise KeyFileError(f"{where}: the key is `{shown}`, not `ssh-ed25519`")
        raise KeyFileError(f"{where} is neither PEM nor an OpenSSH public key")
    try:
        blob = base64.b64decode(parts[1] if len(parts) > 1 else b"", validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError(f"{where}: the key is not base64") from None
    if not blob.startswith(_SSH) or len(blob) != len(_SSH) + KEY_SIZE:
        raise KeyFileError(f"{where}: the key is not an Ed25519 key")
    return blob[len(_SSH) :]


class PrivateKey:
    """A key to sign with; `public` is its 32-byte public half, `notes` what the user should know."""

    __slots__ = ("_key", "notes", "public")

    def __init__(self, key: Ed25519PrivateKey, public: bytes, notes: tuple[str, ...]) -> None:
        self._key = key
        self.public = public
        self.notes = notes

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of RFC 8032."""
        return self._key.sign(message)


def read_private(path: str) -> PrivateKey:
    """A private key, PEM (PKCS #8) or OpenSSH; the passphrase of an encrypted one is in `PASSPHRASE`.

    Raises `KeyFileError` for another kind of key, a wrong or missing passphrase, and a file that is
    none; `FileAccessError`; `DependencyMissing` without the package `cryptography`.
    """
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = _read(path, MAX_PRIVATE)
    if b"PRIVATE KEY-----" not in content:
        what = "DER" if content[:1] == b"\x30" else "no private key"
        raise KeyFileError(
            f"`{path}` is {what}; a key to sign with is PEM or OpenSSH",
            hint="make one: `openssl genpkey -algorithm ed25519 -out KEY`",
        )
    openssh = b"OPENSSH PRIVATE KEY-----" in content
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    given = os.environ.get(PASSPHRASE)
    password = None if given is None else given.encode("utf-8", "surrogateescape")
    try:
        try:
            key = load(content, password)
        except TypeError:
            # cryptography tells a passphrase that is missing, or not needed, by this type.
            if password is None:
                raise KeyFileError(
                    f"`{path}` is encrypted", hint=f"put its passphrase into `{PASSPHRASE}`"
                ) from None
            key = load(content, None)
    except ValueError:
        with_it = "" if password is None else f", or `{PASSPHRASE}` is not its passphrase"
        if openssh and password is None and b"bcrypt" in _decoded(content):
            raise KeyFileError(
                f"`{path}` is encrypted", hint=f"put its passphrase into `{PASSPHRASE}`"
            ) from None
        raise KeyFileError(f"`{path}` is damaged{with_it}") from None
    except UnsupportedAlgorithm as error:
        # An encrypted OpenSSH key without the package `bcrypt`, an odd cipher.
        raise KeyFileError(f"`{path}` cannot be read: {error}", hint=MISSING) from None
    if not isinstance(key, Ed25519PrivateKey):
        kind = type(key).__name__.lstrip("_").replace("PrivateKey", "")
        raise KeyFileError(
            f"`{path}` holds a key of type {kind}; envlock signs with Ed25519 only",
            hint="make one: `openssl genpkey -algorithm ed25519 -out KEY`",
        )
    return PrivateKey(key, _raw(key.public_key()), _readable_by_others(path))


def _decoded(content: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(content.split(b"-----")[2].split()))
    except (IndexError, binascii.Error, ValueError):
        return b""


def _raw(key: Ed25519PublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _readable_by_others(path: str) -> tuple[str, ...]:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ()
    if stat.S_ISREG(mode) and mode & 0o077:
        shown = f"{stat.S_IMODE(mode):04o}"
        return (f"the key `{path}` can be read by others (mode {shown}): `chmod 600 {path}`",)
    return ()


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature is the key's over a message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def require_cryptography() -> None:
    """Raise `DependencyMissing` where the package `cryptography` cannot be imported."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError:
        raise DependencyMissing(
            "signatures need the package `cryptography`, which is not installed here", hint=MISSING
        ) from None
