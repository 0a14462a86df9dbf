"""The manifest's JSON: the same bytes every time, and nothing but a manifest is taken for one."""

from __future__ import annotations

import json
import sys

import pytest

from envlock.binary.elf.notes import MAX_MANIFEST
from envlock.models.errors import ManifestError
from envlock.models.manifest import (
    MANIFEST_FORMAT,
    CodeDigest,
    Compilation,
    Library,
    Manifest,
    Owner,
    PlatformFacts,
    PluginIdentity,
    PythonFacts,
)
from envlock.plugin.manifest import MAX_DEPTH, decode_manifest, encode_manifest

MANIFEST = Manifest(
    format=MANIFEST_FORMAT,
    generator="tf-envlock 0",
    plugin=PluginIdentity(
        name="zéro.so",
        machine="x86_64",
        bits=64,
        byte_order="little",
        code=CodeDigest(algorithm="sha256", value="00", covers="code/1"),
        needed=("libc.so.6", "libtensorflow_framework.so.2"),
        compilation=Compilation(cxx11_abi=False, ndebug=None),
    ),
    python=PythonFacts(version="3.9.18", implementation="cpython"),
    platform=PlatformFacts(machine="x86_64"),
    libraries=(
        Library(soname="libz.so.1", owner=Owner(manager="pip", name="zlib", version="1.3")),
    ),
)
TEXT = encode_manifest(MANIFEST)


def changed(**values: object) -> bytes:
    table = json.loads(TEXT)
    table.update(values)
    return json.dumps(table).encode()


def test_there_and_back() -> None:
    assert decode_manifest(TEXT) == MANIFEST
    assert encode_manifest(decode_manifest(TEXT)) == TEXT


def test_the_text_is_canonical() -> None:
    text = TEXT.decode("utf-8")
    assert text == json.dumps(
        json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert "zéro.so" in text
    assert "null" not in text, "what is unknown is left out"
    assert '"cxx11_abi":false' in text, "false is not unknown"


def test_the_order_of_definition_does_not_matter() -> None:
    turned = dict(reversed(json.loads(TEXT).items()))
    assert encode_manifest(decode_manifest(json.dumps(turned, indent=2).encode())) == TEXT


def test_unknown_keys_are_ignored() -> None:
    assert decode_manifest(changed(added_in_a_later_release={"a": [1, 2.5, None]})) == MANIFEST


def nested(depth: int, opening: str, closing: str) -> bytes:
    return changed(extra=0).replace(
        b'"extra": 0', b'"extra": ' + (opening * depth + closing * depth).encode()
    )


BAD = {
    "empty": (b"", "not JSON"),
    "zeros": (b"\0" * 64, "not JSON"),
    "not UTF-8": (b'{"format":"\xff"}', "byte 11 is not UTF-8"),
    "UTF-16": (TEXT.decode().encode("utf-16"), "byte 0 is not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + TEXT, "not JSON"),
    "cut off": (TEXT[:-1], "not JSON"),
    "text behind it": (TEXT + b"}", "not JSON: Extra data"),
    "an array": (b"[1,2]", "its format is none, not `envlock.manifest/1`"),
    "null": (b"null", "its format is none"),
    "another document": (b'{"format":"other/1"}', "its format is `other/1`, not"),
    "a number as format": (b'{"format":1}', "its format is none"),
    "a key twice": (
        TEXT.replace(b'"generator"', b'"forced":true,"forced":false,"generator"'),
        "the key 'forced' appears twice",
    ),
    "a key twice, deep inside": (
        TEXT.replace(b'"bits":64', b'"bits":32,"bits":64'),
        "the key 'bits' appears twice",
    ),
    "NaN": (changed(extra=float("nan")), "NaN is not a JSON value"),
    "infinity": (changed(extra=float("-inf")), "-Infinity is not a JSON value"),
    "a number without end": (TEXT[:-1] + b',"extra":1e999}', "1e999 is not a finite number"),
    "an integer of a million digits": (
        TEXT[:-1] + b',"extra":' + b"9" * 1_000_000 + b"}",
        "an integer of 1000000 digits",
    ),
    "a missing key": (changed(platform={}), "`$.platform`: the key 'machine' is missing"),
    "a wrong type": (
        TEXT.replace(b'"bits":64', b'"bits":"64"'),
        "`$.plugin.bits`: expected an integer, got a string",
    ),
    "true as a number": (
        TEXT.replace(b'"bits":64', b'"bits":true'),
        "`$.plugin.bits`: expected an integer, got true or false",
    ),
    "a wrong choice": (
        TEXT.replace(b'"little"', b'"middle"'),
        "`$.plugin.byte_order`: expected little or big, got 'middle'",
    ),
    "a wrong element": (
        changed(libraries=[{"soname": "a"}, {"soname": 7}]),
        "`$.libraries[1].soname`: expected a string, got an integer",
    ),
    "a lone surrogate": (
        TEXT.replace(b'"libc.so.6"', b'"\\ud800"'),
        "`$.plugin.needed[0]`: a lone surrogate is not text",
    ),
    "100,000 arrays": (nested(100_000, "[", "]"), f"nested deeper than {MAX_DEPTH} levels"),
    "100,000 objects": (nested(100_000, '{"a":', "}"), f"nested deeper than {MAX_DEPTH} levels"),
    "100,000 never closed": (b"[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
    "one level too much": (nested(MAX_DEPTH, "[", "]"), f"nested deeper than {MAX_DEPTH}"),
    "a string that hides brackets": (
        nested(MAX_DEPTH, '{"\\\\\\"]":[', "]}"), f"nested deeper than {MAX_DEPTH}"
    ),
    "too large": (b" " * (MAX_MANIFEST + 1), f"more than {MAX_MANIFEST}"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_refused_and_with_which_words(what: str) -> None:
    payload, words = BAD[what]
    with pytest.raises(ManifestError) as caught:
        decode_manifest(payload, "plugin.so")
    assert caught.value.message.startswith("`plugin.so`: the manifest")
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


def test_a_newer_format_asks_for_a_newer_envlock() -> None:
    with pytest.raises(ManifestError) as caught:
        decode_manifest(changed(format="envlock.manifest/2"), "plugin.so")
    assert "has format `envlock.manifest/2`, and envlock " in caught.value.message
    assert "reads `envlock.manifest/1`" in caught.value.message
    assert caught.value.hint == "upgrade envlock: `pip install --upgrade tf-envlock`"


def test_depth_is_counted_outside_of_strings_only() -> None:
    assert decode_manifest(changed(extra="[" * 1000 + '\\"' + "{" * 1000)) == MANIFEST
    assert decode_manifest(nested(MAX_DEPTH - 1, "[", "]")) == MANIFEST


def test_depth_does_not_depend_on_the_recursion_limit() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with pytest.raises(ManifestError, match="nested deeper"):
            decode_manifest(nested(100_000, "[", "]"))
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "piece",
    [b'"', b'\\"', b'"\\', b"\\", b"[]", b'{"":', b"[,", b'"a":1,', b"1", b"-", b"\xc3\xa4"],
)
def test_four_megabytes_of_anything_end_in_an_error(piece: bytes) -> None:
    """No quadratic corner: the largest input that is looked at at all, in every shape.

    A quadratic step would take hours here.
    """
    for start in (b"", b'"', b"[", b'{"a":"'):
        payload = start + piece * ((MAX_MANIFEST - len(start)) // len(piece))
        with pytest.raises(ManifestError):
            decode_manifest(payload)


def test_what_json_cannot_hold_is_not_written() -> None:
    with pytest.raises(ManifestError, match="cannot be written as JSON"):
        encode_manifest(MANIFEST.replace(generator="\ud800"))
    with pytest.raises(ManifestError, match="more than the"):
        encode_manifest(MANIFEST.replace(generator="x" * MAX_MANIFEST))
