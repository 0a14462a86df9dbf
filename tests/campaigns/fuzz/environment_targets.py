"""The readers of an environment's own records: pip, conda, ld.so.cache, wheels, settings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from random import Random

from envlock.binary.elf import ElfFile
from envlock.environment import binary, headers, locate
from envlock.environment.conda import CondaPrefix
from envlock.environment.distributions import Distribution, Distributions
from envlock.files import reading as files
from envlock.inventory import packages, wheels
from envlock.inventory.plugins import is_plugin
from envlock.linker.cache import LinkerCache, compare
from envlock.models.record import decode, encode
from envlock.models.snapshot import CondaPackage, PipPackage
from envlock.plugin.dependencies import origin
from tests.campaigns.fuzz.binary_mutator import words_mutator, zip_mutator
from tests.campaigns.fuzz.document_targets import place
from tests.campaigns.fuzz.elf_mutator import blunt
from tests.campaigns.fuzz.guard import Finding, Target, either
from tests.campaigns.fuzz.text_mutator import json_mutator, text_mutator

_PART = re.compile(rb"^=== (\S+)\n", re.M)


def parts_of(data: bytes) -> list[tuple[str, bytes]]:
    """Several files in one input: `=== name` above each."""
    found = _PART.split(data)
    return [(n.decode("ascii", "replace"), c) for n, c in zip(found[1::2], found[2::2])]


def several(mutators: dict[str, Callable[[bytes, Random], bytes]]) -> Callable[..., bytes]:
    """Damage to one of several files, as suits its name."""

    def mutate(data: bytes, chance: Random) -> bytes:
        parts = parts_of(data)
        if not parts or chance.random() < 0.05:
            return blunt(data, chance)
        number = chance.randrange(len(parts))
        name, content = parts[number]
        parts[number] = (name, mutators.get(name, blunt)(content, chance))
        if chance.random() < 0.03:
            del parts[number]
        return b"".join(b"=== " + n.encode("ascii", "replace") + b"\n" + c for n, c in parts)

    return mutate


_PIP_FILES = ("METADATA", "RECORD", "WHEEL", "INSTALLER", "direct_url.json", "installed-files.txt")


def pip(data: bytes) -> None:
    """One dist-info folder: its metadata, its RECORD, who owns a file."""
    site = os.path.dirname(place("x", b""))
    folder = os.path.join(site, "demo-1.0.dist-info")
    os.makedirs(folder, exist_ok=True)
    given = dict(parts_of(data))
    for name in _PIP_FILES:
        path = os.path.join(folder, name)
        if name in given:
            place(f"demo-1.0.dist-info/{name}", given[name])
        elif os.path.lexists(path):
            os.unlink(path)
    one = Distribution(site, "demo-1.0.dist-info")
    package = packages.pip_package(one, None)
    if decode(PipPackage, encode(package)) != package:
        raise Finding("the package changes when it is written and read again")
    for entry in one.entries():
        one.entry_of(entry.path)
    one.check()
    Distributions([site]).owner_of(os.path.join(site, "demo/_op.so"))
    origin.find_origin(os.path.join(site, "demo/_op.so"))
    match = origin._REQUIREMENT.search(given.get("METADATA", b"").decode("utf-8", "replace"))
    if match:
        origin.satisfies("2.15.1", match[1])


def conda(data: bytes) -> None:
    """One prefix record."""
    prefix = os.path.dirname(place("x", b""))
    os.makedirs(os.path.join(prefix, "conda-meta"), exist_ok=True)
    place("conda-meta/demo-1.0-0.json", data)
    found = CondaPrefix(prefix)
    (record,) = found.records()
    package = packages.conda_package(record, record.parse())
    if decode(CondaPackage, encode(package)) != package:
        raise Finding("the package changes when it is written and read again")
    found.owner_of(os.path.join(prefix, "lib/libdemo.so"))
    found.installed(os.path.join(prefix, "demo-1.0.dist-info"))
    record.check()


_ASKED = ("libc.so.6", "libm.so.6", "libfoo.so.1", "lib9999999999999999999.so", "", "libz")


def cache(data: bytes) -> None:
    """ld.so.cache: damaged or not, an answer; lookups are deterministic."""
    found = LinkerCache(data, 0x0303, ("x86-64-v3", "x86-64-v2"))
    if found._nlibs:
        for name in _ASKED:
            if found.lookup(name) != found.lookup(name):
                raise Finding("two lookups differ")


def names(data: bytes) -> None:
    """The comparison that the cache is sorted by: antisymmetric, but for the smallest `int`."""
    one, _, other = data.partition(b"\n")
    one, other = one.replace(b"\0", b""), other.replace(b"\0", b"")
    first, second = compare(one, other), compare(other, one)
    if first == second == -(1 << 31):
        return
    if (first > 0) != (second < 0) or (first < 0) != (second > 0):
        raise Finding(f"{first} one way, {second} the other")


def wheel(data: bytes) -> None:
    """A wheel: its members, each read into memory, their neighbours unpacked."""
    path = place("demo-1.0-cp311-cp311-linux_x86_64.whl", data)
    for member in wheels.libraries_in(path)[:8]:
        either(lambda member=member: _member(path, member))  # type: ignore[misc]


def _member(path: str, member: str) -> None:
    with wheels.open_wheel(path) as archive, wheels.in_memory(archive, member) as file:
        with ElfFile.open(file) as elf:
            is_plugin(elf)
            beside = wheels.libraries_beside(archive, elf)
        with wheels.unpacked(archive, {member, *beside}) as folder:
            _inside(folder)


def _inside(folder: str) -> None:
    total = 0
    for parent, _, members in os.walk(folder):
        for name in members:
            full = os.path.join(parent, name)
            if not os.path.realpath(full).startswith(folder + os.sep):
                raise Finding(f"unpacked outside: {full}")
            total += os.path.getsize(full)
    if total > 64 << 20:
        raise Finding(f"unpacked {total} bytes")


def settings(data: bytes) -> None:
    """pyvenv.cfg, C headers, the generated build_info.py, macros."""
    text = data.decode("utf-8", "replace")
    binary.literal_pairs(data)
    for parse in (headers._eigen, headers._absl, headers._protobuf):
        parse(text)
    files.macro(text, "TF_MAJOR_VERSION")
    if data:
        config = place("pyvenv.cfg", data)
        either(lambda: locate._read_config(config))


_RECORD_WORDS = (
    "demo/_op.so,sha256=abc,10",
    ",,",
    '"a,b",,',
    "../../bin/x,sha256=x,1",
    "RECORD,,",
    ",",
    '"',
    '""',
    "sha256=",
    "9" * 5000,
    "²",
    "٣",
    "/abs,,",
    "demo-1.0.dist-info/direct_url.json,sha256=a,1",
)
_METADATA_WORDS = (
    "Name:",
    "Version:",
    "Name: demo",
    "Version: 1!2",
    "Requires-Dist: tensorflow (>=2.5,<2.6)",
    "Requires-Dist: tensorflow~=2.15; extra",
    ":",
    "Metadata-Version: 99",
    "Tag: a-b-c",
    "Build: 1x",
    "~=",
    "===",
    "!=",
    "v",
    ".*",
    "9" * 5000,
)
_SETTINGS_WORDS = (
    "#define EIGEN_WORLD_VERSION 3",
    "#define EIGEN_MAJOR_VERSION",
    "#define EIGEN_PATCH_VERSION 1",
    "# define EIGEN_MINOR_VERSION 4",
    "#define PROTOBUF_VERSION 9",
    "#define GOOGLE_PROTOBUF_VERSION ²",
    "#define ABSL_OPTION_USE_INLINE_NAMESPACE 1",
    "home = /x",
    "=",
    "build_info = {",
    "}",
    "(",
    ")",
    '("a", "b")',
    "[",
    "]",
    "'x'",
    "1" * 5000,
    "-" * 3000,
    "(" * 3000,
    "\\",
    "lambda:",
    "0x",
    "1j",
    "#define TF_MAJOR_VERSION",
)

TARGETS = (
    Target(
        "pip",
        pip,
        several(
            {
                "METADATA": text_mutator(_METADATA_WORDS),
                "WHEEL": text_mutator(_METADATA_WORDS),
                "RECORD": text_mutator(_RECORD_WORDS),
                "direct_url.json": json_mutator,
            }
        ),
    ),
    Target("conda", conda, json_mutator),
    Target("ld.so.cache", cache, words_mutator),
    Target(
        "cache-names",
        names,
        text_mutator(("lib", "0", "00", "9" * 400, ".so.", "10", "2")),
        largest=2 << 10,
    ),
    Target("wheel", wheel, zip_mutator, slow=2.0),
    Target("settings", settings, text_mutator(_SETTINGS_WORDS)),
)
