"""Makes the binary seeds anew: `python -m tests.campaigns.fuzz.seeds`. Needs gcc, g++ and cross compilers.

Texts are seeds as they stand. The binary seeds are committed, because another compiler makes
others; they are small, so that a mutation has a chance to hit something.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from envlock.binary.elf.append import plan_append
from envlock.binary.elf.note_source import linked_note_source
from envlock.binary.elf.notes import build_note
from envlock.models.record import encode
from envlock.models.report import (
    REPORT_FORMAT,
    EnvironmentSummary,
    PluginSummary,
    Report,
    ReportDocument,
)
from envlock.plugin.manifest import encode_manifest
from envlock.plugin.signature.statement import build_statement, encode_statement
from tests.campaigns.fuzz.elf_targets import carried_out, mapped
from tests.campaigns.fuzz.guard import CORPUS
from tests.reality.hostile.manifests import manifest
from tests.support.elves import BARE_SOURCE

_TINY = ("-nostdlib", "-Wl,-z,noseparate-code", "-Wl,-z,norelro", "-Wl,-z,max-page-size=4096")
_SYMBOLS = """
extern int f(int); extern int data; __attribute__((weak)) int w(void);
__thread int t = 3; static __thread int u = 4;
int *p = &data; void *q[] = {&data, &p, (void *)f};
__attribute__((constructor)) static void begin(void) { t++; }
int answer(int x) { return f(x) + data + t + u + (w ? w() : 0); }
int old(void) { return 1; } int new_(void) { return 2; }
__asm__(".symver old,same@V1"); __asm__(".symver new_,same@@V2");
"""
_VERSIONS = "V1 { global: answer; p; q; local: u; }; V2 { } V1;"
_CXX = """
namespace absl { namespace lts_20230802 { struct Status { long word; }; } }
namespace tensorflow {
struct Base { virtual ~Base(); virtual int run(int); long a; int bits : 3; };
struct OpKernel : Base { long b; int many[3][2]; struct { int in; }; virtual void Compute(); };
struct Op : OpKernel { void Compute() override; absl::lts_20230802::Status s; };
void Op::Compute() { a = b + many[1][1] + in; run(bits); }
namespace register_op { struct OpDefBuilderWrapper { explicit OpDefBuilderWrapper(const char*); }; }
struct KernelDefBuilder {
  explicit KernelDefBuilder(const char*); KernelDefBuilder& Device(const char*);
  KernelDefBuilder& TypeConstraint(const char*, int); void Build();
};
}
static tensorflow::register_op::OpDefBuilderWrapper one("ZeroOut");
static struct Begin { Begin() {
  tensorflow::KernelDefBuilder("ZeroOut").Device("CPU").TypeConstraint("T", 3).Build(); } } two;
extern "C" tensorflow::Base* make() { return new tensorflow::Op; }
"""

_C_OPS = """
#include <stddef.h>
typedef struct B B; typedef struct S S;
B* TF_NewOpDefinitionBuilder(const char*); void TF_RegisterOpDefinition(B*, S*); S* TF_NewStatus(void);
B* TF_NewKernelBuilder(const char*, const char*, void*, void*, void*);
void TF_KernelBuilder_TypeConstraint(B*, const char*, int, S*);
void TF_KernelBuilder_Priority(B*, int); void TF_RegisterKernelBuilder(const char*, B*, S*);
void compute(void* kernel, void* context) { }
__attribute__((constructor)) static void begin(void) {
  S* status = TF_NewStatus();
  TF_RegisterOpDefinition(TF_NewOpDefinitionBuilder("ZeroOut"), status);
  B* builder = TF_NewKernelBuilder("ZeroOut", "CPU", NULL, compute, NULL);
  TF_KernelBuilder_TypeConstraint(builder, "T", 1, status);
  TF_KernelBuilder_Priority(builder, 3);
  TF_RegisterKernelBuilder("ZeroOut", builder, status);
}
"""


def _compile(folder: Path, name: str, source: str, *flags: str, compiler: str = "gcc") -> Path:
    suffix = ".cc" if "++" in compiler else ".c"
    text, output = folder / f"{name}{suffix}", folder / f"{name}.so"
    text.write_text(source)
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        f"-fdebug-prefix-map={folder}=.",
        *flags,
        text.name,
        "-o",
        output.name,
    ]
    subprocess.run(command, check=True, cwd=folder)
    return output


def elf_seeds(folder: Path) -> list[Path]:
    """Plugins of a few kilobytes that have, together, everything that is read."""
    (folder / "map").write_text(_VERSIONS)
    versions = ("-Wl,--version-script=map", "-Wl,-soname,libseed.so.1", "-Wl,-rpath,$ORIGIN/lib")
    library = _compile(
        folder,
        "libf",
        "int f(int x) { return x; } int data = 7;",
        *_TINY,
        "-s",
        "-Wl,-soname,libf.so",
    )
    found = [
        _compile(folder, "plain", BARE_SOURCE, *_TINY, "-s", "-Wl,--build-id"),
        _compile(
            folder,
            "both-hashes",
            _SYMBOLS,
            *_TINY,
            "-s",
            "-Wl,--hash-style=both",
            *versions,
            library.name,
        ),
        _compile(
            folder,
            "sysv",
            _SYMBOLS,
            *_TINY,
            "-s",
            "-Wl,--hash-style=sysv",
            *versions,
            "-Wl,--enable-new-dtags",
            library.name,
        ),
        _compile(folder, "relr", _SYMBOLS, *_TINY, "-s", "-Wl,-z,pack-relative-relocs", *versions),
        _compile(
            folder,
            "libc",
            '#include <stdio.h>\nint f(void) { return printf("%d", 1); }',
            "-s",
            *_TINY[1:],
            "-nostartfiles",
            "-Wl,--build-id",
        ),
        _compile(
            folder,
            "ops",
            _CXX,
            *_TINY,
            "-s",
            "-fno-exceptions",
            "-fno-threadsafe-statics",
            compiler="g++",
        ),
        _compile(folder, "c-ops", _C_OPS, *_TINY, "-s"),
        _compile(
            folder,
            "ops-aarch64",
            _CXX,
            *_TINY,
            "-s",
            "-fno-exceptions",
            "-fno-threadsafe-statics",
            compiler="aarch64-linux-gnu-g++",
        ),
        _compile(
            folder,
            "debug5",
            _CXX,
            *_TINY,
            "-g",
            "-fno-exceptions",
            "-gdwarf-5",
            "-fno-threadsafe-statics",
            "-frecord-gcc-switches",
            compiler="g++",
        ),
        _compile(
            folder,
            "debug4z",
            _CXX,
            *_TINY,
            "-g",
            "-fno-exceptions",
            "-gdwarf-4",
            "-gz",
            "-fno-threadsafe-statics",
            compiler="g++",
        ),
        _compile(folder, "i386", BARE_SOURCE, *_TINY, "-s", "-m32"),
    ]
    for machine in (
        "aarch64-linux-gnu",
        "mips-linux-gnu",
        "s390x-linux-gnu",
        "arm-linux-gnueabihf",
    ):
        compiler = f"{machine}-gcc"
        if shutil.which(compiler) is None:
            raise SystemExit(f"`{compiler}` is not installed")
        found.append(
            _compile(
                folder,
                machine,
                BARE_SOURCE,
                "-nostdlib",
                "-s",
                "-Wl,-z,noseparate-code",
                "-Wl,-z,norelro",
                "-Wl,-z,max-page-size=4096",
                compiler=compiler,
            )
        )
    linked = folder / "note.S"
    linked.write_text(linked_note_source(encode_manifest(manifest("linked")), "S"))
    stamped = _compile(folder, "stamped", BARE_SOURCE, *_TINY, "-s", linked.name)
    with mapped(stamped.read_bytes()) as elf:
        plan = plan_append(elf, encode_manifest(manifest("appended")))
        stamped.write_bytes(carried_out(plan, stamped.read_bytes()))
    return [*found, stamped]


def _write(target: str, name: str, content: bytes) -> None:
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _part(release: str, moved: int) -> dict[str, object]:
    base = {
        "size": 16 + moved,
        "virtual_bases": False,
        "bases": [],
        "slots": [[0, "3onei"]],
        "members": [["a", 8 + moved, "", "long:8"]],
    }
    derived = {**base, "bases": [["a::Base", 0]], "slots": [[1 + moved // 8, "3twov"]]}
    return {
        "version": release,
        "distribution": "tensorflow-cpu",
        "format": 1,
        "global_scope": False,
        "headers": {},
        "libraries": [
            {
                "name": "libtensorflow_framework.so.2",
                "soname": "libtensorflow_framework.so.2",
                "needed": ["libc.so.6"],
                "build_id": "00",
                "size": 100,
                "exports": [(0 << 24) + 5, (2 << 24) + 6],
            }
        ],
        "abi": {
            "compiler": "g++ 12",
            "standard": 17,
            "missing_headers": [],
            "classes": {"a::Base": base, "a::Derived": derived},
            "functions": {
                "_ZN1a4BaseC1Ev": [["s", "a::Base", ""], ["m", "a::Base", "a"]],
                "_ZNK1a7Derived3oneEv": [["v", "a::Derived", "3twov"]],
                "_ZN1a1bIiEEvT_": [["m", "a::Base", "a"]],
            },
            "paths": {"_ZN1a4BaseC1Ev": [[[["p", "a::Base", ""]], [["m", "a::Base", "a"]]]]},
        },
    }


def atlas_seed() -> bytes:
    """Two releases that differ, without the index of exports, which is 256 KB of nothing."""
    from envlock.atlas.write import Writer

    writer = Writer()
    writer.add(_part("2.15.1", 0))
    writer.add(_part("2.16.2", 8))
    data = writer.data()
    count = struct.unpack_from("<I", data, 12)[0]
    pieces, at = [], 16 + 12 * count
    for number in range(count):
        tag, offset, size = struct.unpack_from("<4sII", data, 16 + 12 * number)
        # All buckets behind the first are empty.
        kept = {b"EXPI": 0, b"EXPE": 8}.get(tag, size)
        content = data[offset : offset + kept]
        pieces.append((tag, at, size if tag == b"EXPI" else kept, content))
        at += len(content)
    head = data[:16]
    for tag, offset, size, _ in pieces:
        head += tag + struct.pack("<II", at if tag == b"EXPI" else offset, size)
    return head + b"".join(content for _, _, _, content in pieces)


def cache_seeds() -> dict[str, bytes]:
    """The new format with hwcaps, the old one, and the old one around the new one."""
    from tests.unit.linker.test_cache import new_format, old_format

    entries = [
        ("libz.so.1", "/lib/libz.so.1", 0x303, 0),
        ("libm.so.6", "/lib/libm.so.6", 0x303, 0),
        ("libfoo.so.1", "/lib/v3/libfoo.so.1", 0x303, (1 << 62) + 1),
        ("libfoo.so.1", "/lib/libfoo.so.1", 0x303, 0),
        ("libc.so.6", "/lib/libc.so.6", 0x303, 0),
    ]
    return {
        "new": new_format(entries, hwcaps=("x86-64-v2", "x86-64-v3")),
        "old": old_format(entries),
        "both": old_format(entries, new_format(entries)),
    }


def store_seed(folder: Path, document: bytes) -> bytes:
    """A history with two entries, in the smallest pages that SQLite has."""
    import zlib

    from envlock.inventory.store import _CREATE, _INDEX, LAYOUT

    path = folder / "history.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute(_CREATE)
        connection.execute(_INDEX)
        for name in ("before", "after"):
            connection.execute(
                "INSERT INTO snapshots (name, saved, environment, fingerprint, packages, tensorflow,"
                " plugins, document) VALUES (?, '2026-01-01T00:00:00Z', 'env', 'fp', 1, '2.15.1', 0,"
                " ?)",
                (name, zlib.compress(document)),
            )
        connection.execute(f"PRAGMA user_version = {LAYOUT}")
    connection.close()
    return path.read_bytes()


def wheel_seeds(plugin: bytes, needed: bytes) -> dict[str, bytes]:
    """A wheel with a plugin and a library beside it; one without compression."""
    found = {}
    for name, method in (
        ("deflated", zipfile.ZIP_DEFLATED),
        ("stored", zipfile.ZIP_STORED),
        ("lzma", zipfile.ZIP_LZMA),
        ("bzip2", zipfile.ZIP_BZIP2),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr(zipfile.ZipInfo("demo/_op.so"), plugin, method)
            archive.writestr(zipfile.ZipInfo("demo.libs/libf.so"), needed, method)
            archive.writestr(zipfile.ZipInfo("demo-1.0.dist-info/RECORD"), "demo/_op.so,,\n")
        found[name] = buffer.getvalue()
    return found


def trust_seeds(plugin: bytes) -> dict[str, bytes]:
    """Public keys in both forms, and a signature note; the signature itself signs nothing."""
    key = bytes(range(32))
    der = base64.encodebytes(bytes.fromhex("302a300506032b6570032100") + key)
    ssh = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + key
    with mapped(plugin) as elf:
        stated = encode_statement(build_statement(elf, b"{}"))
    return {
        "pem": b"-----BEGIN PUBLIC KEY-----\n" + der + b"-----END PUBLIC KEY-----\n",
        "openssh": b"# who\nssh-ed25519 " + base64.b64encode(ssh) + b" someone@example\n",
        "note": b"ed25519\0" + key + bytes(64) + stated,
    }


def main() -> None:
    """Write what is not written by hand."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugins = {path.stem: path.read_bytes() for path in elf_seeds(folder)}
        for plugin, content in plugins.items():
            _write("elf-debug" if plugin.startswith("debug") else "elf", plugin, content)
        snapshot = (CORPUS / "snapshot" / "small.json").read_bytes()
        _write("store", "two", store_seed(folder, snapshot))
        wants = _compile(
            folder, "wants", "int f(void); int g(void) { return f(); }", *_TINY, "-s", "libf.so"
        ).read_bytes()
        for kind, content in wheel_seeds(wants, (folder / "libf.so").read_bytes()).items():
            _write("wheel", kind, content)
    for name, content in trust_seeds(plugins["both-hashes"]).items():
        _write("signature" if name == "note" else "trust-keys", name, content)
    for plain in (encode_manifest(manifest()), b"{}", b'{"format":"envlock.manifest/2"}'):
        _write("note", f"{len(plain)}", build_note(plain, "<"))
        _write("manifest", f"{len(plain)}", plain)
    plugin = PluginSummary(path="a.so", stamped=True)
    found = Report(plugin=plugin, environment=EnvironmentSummary(), verdict="compatible")
    document = ReportDocument(format=REPORT_FORMAT, reports=(found,))
    _write("report", "one", json.dumps(encode(document)).encode())
    _write("atlas", "two", atlas_seed())
    for kind, content in cache_seeds().items():
        _write("ld.so.cache", kind, content)
    total = sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file())
    sys.stdout.write(f"{sum(1 for p in CORPUS.rglob('*') if p.is_file())} seeds, {total} bytes\n")


if __name__ == "__main__":
    main()
