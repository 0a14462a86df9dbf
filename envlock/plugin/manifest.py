"""The manifest as bytes: one canonical JSON text, and a strict reader of it.

On the gate's path, so standard library only. What is read may come from anyone: size, depth and
numbers are bounded before anything is built from them.
"""

from __future__ import annotations

from ..binary.elf.notes import MAX_MANIFEST, UPGRADE, find_stamp
from ..files.json_text import JsonReader
from ..models.errors import ManifestError
from ..models.manifest import MANIFEST_FORMAT, Manifest
from ..models.record import ValidationError, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..binary.elf.file import ElfFile

#: Arrays and objects inside each other; a manifest needs five.
MAX_DEPTH = 64


class EmbeddedManifest:
    """A decoded manifest and the form it was found in: "appended" or "linked-in"."""

    __slots__ = ("manifest", "stamp")

    def __init__(self, manifest: Manifest, stamp: str) -> None:
        self.manifest = manifest
        self.stamp = stamp


def read_embedded(elf: ElfFile) -> EmbeddedManifest | None:
    """The manifest that a plugin carries, None when it carries none.

    Raises `ManifestError` when there is one that cannot be read.
    """
    stamp = find_stamp(elf)
    if stamp is None:
        return None
    return EmbeddedManifest(decode_manifest(stamp.payload, elf.path), stamp.kind)


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's JSON: sorted keys, no spaces, absent values left out, UTF-8.

    The same manifest always gives the same bytes. Raises `ManifestError` when it is larger than
    `MAX_MANIFEST` or holds what JSON cannot.
    """
    import json

    try:
        text = json.dumps(
            encode(manifest, sparse=True),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        payload = text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ManifestError(f"the manifest cannot be written as JSON: {error}") from None
    if len(payload) > MAX_MANIFEST:
        raise ManifestError(
            f"the manifest has {len(payload)} bytes, more than the {MAX_MANIFEST} that are read"
        )
    return payload


def decode_manifest(payload: bytes, source: str = "manifest") -> Manifest:
    """Read a manifest's JSON; `source` is the file that errors name.

    Raises `ManifestError` for what is not JSON, has a key twice, NaN or an infinite number, is
    nested deeper than `MAX_DEPTH`, is of another format, or whose values have the wrong type (the
    text names the place). Unknown keys are ignored: a minor release may add some.
    """
    table = parse_json(payload, source)
    found = table.get("format") if isinstance(table, dict) else None
    if found != MANIFEST_FORMAT:
        raise _wrong_format(found, source)
    try:
        return decode(Manifest, table)
    except ValidationError as error:
        raise _damaged(source, f"`{error.path}`: {error.problem}") from None


def parse_json(payload: bytes, source: str) -> object:
    """Untrusted JSON into plain values, with the limits of `decode_manifest`."""
    if len(payload) > MAX_MANIFEST:
        raise ManifestError(
            f"`{source}`: the manifest has {len(payload)} bytes, more than {MAX_MANIFEST}"
        )
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(source, f"byte {error.start} is not UTF-8") from None
    if _too_deep(payload):
        raise _damaged(source, f"nested deeper than {MAX_DEPTH} levels")
    try:
        return _reader.read(text)
    except ValueError as error:
        raise _damaged(source, f"not JSON: {error}") from None


def _damaged(source: str, what: str) -> ManifestError:
    return ManifestError(
        f"`{source}`: the manifest is damaged: {what}", hint="stamp it again: `envlock stamp`"
    )


def _wrong_format(found: object, source: str) -> ManifestError:
    from ..models.version import __version__

    family = MANIFEST_FORMAT.rpartition("/")[0] + "/"
    if isinstance(found, str) and found.startswith(family):
        return ManifestError(
            f"`{source}`: the manifest has format `{found:.80}`, "
            f"and envlock {__version__} reads `{MANIFEST_FORMAT}`",
            hint=UPGRADE,
        )
    shown = f"`{found:.80}`" if isinstance(found, str) else "none"
    return _damaged(source, f"its format is {shown}, not `{MANIFEST_FORMAT}`")


_NOT_BRACKETS = bytes(c for c in range(256) if c not in b"[]{}")


def _too_deep(payload: bytes) -> bool:
    """Whether brackets outside of strings nest deeper than `MAX_DEPTH`, without recursion.

    The json module's scanner recurses, and how deep it can differs from one Python to another.
    """
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    # Without escapes every other piece between quotes is a string's inside.
    plain = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    depth = 0
    for byte in b"".join(plain.split(b'"')[::2]).translate(None, _NOT_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r:.60} appears twice")
            seen.add(key)
    return table


def _integer(text: str) -> int:
    # Turning a million digits into an integer takes minutes; the manifest's end at 64 bits.
    if len(text) > 20:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text:.40} is not a finite number")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON value")


_reader = JsonReader(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_constant,
)
