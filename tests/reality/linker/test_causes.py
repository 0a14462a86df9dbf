"""Each cause from real files: a small TensorFlow, a plugin with that fault, one finding that says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from envlock.binary.elf.file import ElfFile
from envlock.binary.elf.symbols import sysv_hash
from envlock.linker.resolve import predict
from envlock.linker.simulate import build_scope
from envlock.linker.traits import Traits
from envlock.models.manifest import HeaderVersions, PluginIdentity
from envlock.models.report import Finding
from envlock.models.verdict import VERDICTS
from envlock.plugin.identity import read_identity
from envlock.rules.loading.causes import all_causes, explain
from tests.unit.linker.test_musl import MuslWorkshop
from tests.unit.linker.workshop import Workshop, have

ABSL = "lts_20230802"
EXPORTS = (
    "_ZN10tensorflow8OpKernel6ThingsEi",
    "_ZNK10tensorflow8OpKernel11TraceStringB5cxx11ERKNS_15OpKernelContextEb",
    "_ZN10tensorflow12OpDefBuilder4AttrENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
    "_ZN10tensorflow11GetNodeAttrERKNS_9AttrSliceESt17basic_string_viewIcSt11char_traitsIcEEPi",
    f"_ZN10tensorflow15OpKernelContext10CtxFailureEPKciRKN4absl12{ABSL}6StatusE",
    "TF_NewStatus",
)


class Kit:
    """A small TensorFlow whose libraries export a few of the real names."""

    def __init__(self, folder: Path) -> None:
        self.shop = Workshop(folder)
        self.package = folder / "tensorflow"
        self.kind = "venv"
        self.identity: PluginIdentity | None = None
        self.host_changes: dict[str, object] = {}
        self.framework = self.shop.lib(
            "tensorflow/libtensorflow_framework.so.2",
            defining(*EXPORTS),
            soname="libtensorflow_framework.so.2",
        )
        self.cc = self.shop.lib(
            "tensorflow/libtensorflow_cc.so.2",
            defining("_ZN10tensorflow4opsv26InCodeEv"),
            soname="libtensorflow_cc.so.2",
        )
        self.shop.lib(
            "tensorflow/python/_pywrap_tensorflow_internal.so",
            "",
            [self.framework, self.cc],
            runpath="$ORIGIN/..",
        )
        self.shop.host()

    def plugin(self, *symbols: str, linked: bool = True, **options: object) -> Path:
        """A plugin that uses these names."""
        needs = [self.framework] if linked else []
        needs += options.pop("needs", [])  # type: ignore[arg-type]
        return self.shop.lib("plugin.so", using(*symbols), needs, **options)  # type: ignore[arg-type]

    def explain(self, plugin: Path) -> tuple[Finding, ...]:
        """Predict and explain, as a check does."""
        scope = build_scope(str(self.shop.host_path), str(self.package), environ={})
        for name, value in self.host_changes.items():
            setattr(scope.host, name, value)
        environment = SimpleNamespace(
            paths=SimpleNamespace(
                prefix=str(self.shop.folder),
                executable=str(self.shop.folder / "bin" / "python"),
                kind=self.kind,
                version=(3, 11),
                running=False,
                search_path=(),
            ),
            tensorflow=SimpleNamespace(
                version="2.16.2",
                cxx11_abi=True,
                cxx_standard=17,
                headers=HeaderVersions(absl=ABSL, protobuf="3.20.3"),
            ),
        )
        with ElfFile.open(plugin) as elf:
            return explain(predict(elf, scope), self.identity or read_identity(elf), environment)


def defining(*names: str) -> str:
    """Assembly, as C, that exports functions of these names."""
    lines = [f'".globl {n}\\n.type {n}, @function\\n{n}: ret\\n"' for n in names]
    return f'__asm__(".text\\n" {" ".join(lines)});'


def using(*names: str) -> str:
    """C that refers to these names."""
    lines = [f'extern char v{i} __asm__("{name}");' for i, name in enumerate(names)]
    uses = ", ".join(f"&v{i}" for i in range(len(names)))
    return "\n".join(lines) + (f"\nvoid *used[] = {{{uses}}};" if names else "\nint nothing;")


def patch(path: Path, *changes: tuple[bytes, bytes]) -> Path:
    """The same file with other bytes."""
    data = path.read_bytes()
    for old, new in changes:
        assert old in data
        data = data.replace(old, new)
    path.write_bytes(data)
    return path


def other_machine(kit: Kit) -> Path:
    plugin = kit.plugin()
    data = bytearray(plugin.read_bytes())
    data[18:20] = (183).to_bytes(2, "little")
    plugin.write_bytes(data)
    return plugin


def truncated(kit: Kit) -> Path:
    plugin = kit.plugin("TF_NewStatus")
    with ElfFile.open(plugin) as elf:
        kit.identity = read_identity(elf)
    plugin.write_bytes(plugin.read_bytes()[:0x2000])
    return plugin


def program(kit: Kit) -> Path:
    target = kit.shop.path("plugin.so")
    kit.shop.gcc("-x", "c", "-", "-o", target, source="int main(void) { return 0; }")
    return target


def executable_stack(kit: Kit) -> Path:
    kit.host_changes["traits"] = Traits.of_release((2, 41))
    return kit.plugin(flags=["-Wl,-z,execstack"])


def processor_level(kit: Kit) -> Path:
    kit.host_changes["isa_level"] = 1
    return kit.plugin(flags=["-Wl,-z,x86-64-v4"])


def static_tls(kit: Kit) -> Path:
    source = "static __thread char t[5000] = {1}; char *g(void) { return t; }"
    return kit.shop.lib("plugin.so", source, flags=["-ftls-model=initial-exec"], libc=True)


def assertion(kit: Kit) -> Path:
    """Versions needed from a library that the file does not need."""
    f = kit.shop.lib(
        "libf.so", "int f(void) { return 1; }", soname="libf.so", versions="V1 { global: f; };"
    )
    other = kit.shop.lib("libgg.so", "", soname="libgg.so")
    plugin = kit.shop.lib(
        "plugin.so", "int f(void); int g(void) { return f(); }", [f, other], runpath="$ORIGIN"
    )
    from envlock.binary.elf.dynamic import DT_NEEDED

    with ElfFile.open(plugin) as elf:
        first, second = elf.dynamic.values(DT_NEEDED)
        at = elf.data.find(first.to_bytes(8, "little"))
    data = bytearray(plugin.read_bytes())
    data[at : at + 8] = second.to_bytes(8, "little")
    plugin.write_bytes(data)
    return plugin


def packed(kit: Kit) -> Path:
    kit.host_changes["traits"] = Traits.of_release((2, 31))
    return kit.shop.lib(
        "plugin.so",
        "static int x, y; int *p[64] = {&x, &y, &x};",
        flags=["-Wl,-z,pack-relative-relocs"],
    )


def from_alpine(kit: Kit) -> Path:
    stub = kit.shop.lib("stub/x.so", "", soname="libc.musl-x86_64.so.1")
    return kit.plugin(needs=[stub])


def grafted(kit: Kit) -> Path:
    name = "libtensorflow_framework-1a2b3c4d.so.2.16.2"
    copy = kit.shop.lib(f"plugin.libs/{name}", defining(*EXPORTS), soname=name)
    return kit.plugin("TF_NewStatus", linked=False, needs=[copy], runpath="$ORIGIN/plugin.libs")


def old_soname(kit: Kit) -> Path:
    stub = kit.shop.lib("stub/x.so", defining("TF_Old"), soname="libtensorflow_framework.so.1")
    return kit.plugin("TF_Old", linked=False, needs=[stub])


def lost_soname(kit: Kit) -> Path:
    name = "_pywrap_tensorflow_internal.so"
    stub = kit.shop.lib("stub/x.so", "", soname=name)
    return kit.plugin(linked=False, needs=[stub])


def cuda(kit: Kit) -> Path:
    stubs = [
        kit.shop.lib(f"stub/{n}", "", soname=n) for n in ("libcudart.so.11.0", "libcudnn.so.8")
    ]
    return kit.plugin(needs=stubs)


def third_party(kit: Kit) -> Path:
    stub = kit.shop.lib("stub/x.so", "", soname="libgeos_c.so.1")
    return kit.plugin(needs=[stub], runpath="$ORIGIN/../plugin.libs")


def newer_glibc(kit: Kit) -> Path:
    plugin = kit.shop.lib(
        "plugin.so", 'int puts(const char *); int g(void) { return puts(""); }', libc=True
    )
    return patch(
        plugin,
        (b"GLIBC_2.2.5\0", b"GLIBC_2.992\0"),
        (
            sysv_hash(b"GLIBC_2.2.5").to_bytes(4, "little"),
            sysv_hash(b"GLIBC_2.992").to_bytes(4, "little"),
        ),
    )


def newer_libstdcxx(kit: Kit) -> Path:
    here = "GLIBCXX_3.4.28 { global: f; };"
    there = "GLIBCXX_3.4.28 { };\nGLIBCXX_3.4.32 { global: f; } GLIBCXX_3.4.28;"
    source = "int f(void) { return 1; }"
    library = kit.shop.lib("lib/libstdc++.so.6", source, soname="libstdc++.so.6", versions=there)
    plugin = kit.shop.lib(
        "plugin.so", "int f(void); int g(void) { return f(); }", [library], runpath="$ORIGIN/lib"
    )
    kit.shop.lib("lib/libstdc++.so.6", source, soname="libstdc++.so.6", versions=here)
    kit.kind = "conda"
    return plugin


def other_version(kit: Kit) -> Path:
    source = "int f(void) { return 1; }"
    new = kit.shop.lib(
        "lib/libz.so.1", source, soname="libz.so.1", versions="ZLIB_2.0 { global: f; };"
    )
    plugin = kit.shop.lib(
        "plugin.so", "int f(void); int g(void) { return f(); }", [new], runpath="$ORIGIN/lib"
    )
    kit.shop.lib("lib/libz.so.1", source, soname="libz.so.1", versions="ZLIB_1.2 { global: f; };")
    return plugin


def not_linked(kit: Kit) -> Path:
    return kit.plugin("TF_NewStatus", EXPORTS[0], linked=False)


def old_strings(kit: Kit) -> Path:
    return kit.plugin(
        "_ZNK10tensorflow8OpKernel11TraceStringERKNS_15OpKernelContextEb",
        "_ZN10tensorflow12OpDefBuilder4AttrESs",
    )


def absl_string_view(kit: Kit) -> Path:
    return kit.plugin(
        "_ZN10tensorflow11GetNodeAttrERKNS_9AttrSliceEN4absl12lts_2023080211string_viewEPi"
    )


def gpu(kit: Kit) -> Path:
    return kit.plugin("_ZN10tensorflow15GetGpuDeviceSetEv_GpuDevice", "cudaLaunchKernel")


def c_function(kit: Kit) -> Path:
    return kit.plugin("TF_NewShapeHandle")


def protobuf(kit: Kit) -> Path:
    return kit.plugin("_ZN6google8protobuf11MessageLite19ParsePartialFromBoundaryEPv")


def skew(kit: Kit) -> Path:
    return kit.plugin(
        "_ZN10tensorflow15OpKernelContext10CtxFailureEPKciRKN4absl12lts_202205286StatusE".replace(
            "20220528", "20230125"
        ),
        "_ZN10tensorflow8OpKernel7RemovedEv",
    )


def python_function(kit: Kit) -> Path:
    return kit.plugin("PyUnicode_GetMax")


def nothing_defines_it(kit: Kit) -> Path:
    return kit.plugin("my_own_function")


CASES: dict[str, Callable[[Kit], Path]] = {
    "wrong-architecture": other_machine,
    "file-truncated": truncated,
    "not-a-plugin-library": program,
    "executable-stack": executable_stack,
    "cpu-level": processor_level,
    "static-tls": static_tls,
    "linker-aborts": assertion,
    "relr-unknown": packed,
    "other-c-library": from_alpine,
    "grafted-framework": grafted,
    "framework-soname": old_soname,
    "framework-library": lost_soname,
    "cuda-runtime": cuda,
    "missing-library": third_party,
    "glibc-too-old": newer_glibc,
    "glibcxx-too-old": newer_libstdcxx,
    "missing-version": other_version,
    "not-linked-to-framework": not_linked,
    "cxx11-abi": old_strings,
    "string-view-std": absl_string_view,
    "gpu-build": gpu,
    "c-api-missing": c_function,
    "protobuf-bundled": protobuf,
    "tensorflow-skew": skew,
    "python-api": python_function,
    "missing-symbol": nothing_defines_it,
}
#: What a finding must tell, beside its rule.
TOLD: dict[str, tuple[str, ...]] = {
    "wrong-architecture": ("aarch64", "x86_64"),
    "file-truncated": ("cut off",),
    "grafted-framework": ("libtensorflow_framework-1a2b3c4d.so.2.16.2", "op registry of its own"),
    "framework-soname": ("libtensorflow_framework.so.1", "TensorFlow 1.x"),
    "framework-library": ("_pywrap_tensorflow_internal.so", "DT_SONAME"),
    "cuda-runtime": ("libcudart.so.11.0", "nvidia-cuda-runtime-cu11", "nvidia-cudnn-cu11"),
    "missing-library": ("libgeos_c.so.1", "plugin.libs", "ld.so.cache", "default folders"),
    "glibc-too-old": ("GLIBC_2.992", "libc.so.6", "goes up to GLIBC_2."),
    "glibcxx-too-old": ("GLIBCXX_3.4.32", "GLIBCXX_3.4.28", "GCC 13.2.0", "conda install"),
    "missing-version": ("ZLIB_2.0", "libz.so.1"),
    "not-linked-to-framework": ("libtensorflow_framework.so.2", "2 symbols", "get_link_flags"),
    "cxx11-abi": ("_GLIBCXX_USE_CXX11_ABI=0", "_GLIBCXX_USE_CXX11_ABI=1", "2 names"),
    "string-view-std": ("absl::string_view (C++14)", "std::string_view (C++17)"),
    "gpu-build": ("package `tensorflow`", "2.16.2"),
    "c-api-missing": ("TF_NewShapeHandle",),
    "protobuf-bundled": ("3.20.3",),
    "tensorflow-skew": ("lts_20230125", "lts_20230802", "2.13 to 2.15", "rebuild"),
    "python-api": ("PyUnicode_GetMax",),
    "missing-symbol": ("my_own_function",),
    "cpu-level": ("x86-64",),
    "static-tls": ("bytes left", "GLIBC_TUNABLES"),
    "executable-stack": ("patchelf --clear-execstack plugin.so",),
    "linker-aborts": ("libf.so", "assert"),
    "relr-unknown": ("DT_RELR", "before 2.36", "pack-relative-relocs"),
    "other-c-library": ("musl", "glibc", "libc.musl-x86_64.so.1", "manylinux"),
    "not-a-plugin-library": ("executable",),
}


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


@pytest.mark.parametrize("rule", CASES)
def test_one_finding_for_each_cause(kit: Kit, rule: str) -> None:
    findings = kit.explain(CASES[rule](kit))
    assert [finding.rule for finding in findings] == [rule], findings
    finding = findings[0]
    text = " ".join(
        str(part)
        for part in (finding.message, finding.why, finding.remedy, finding.live, finding.built)
    )
    for words in TOLD[rule]:
        assert words.lower() in text.lower(), text
    assert "\n" not in finding.message
    assert not finding.message.endswith(".")
    assert len(finding.examples) <= 5
    assert finding.remedy


def test_every_cause_is_tested_and_described() -> None:
    ids = [cause.id for cause in all_causes()]
    assert len(ids) == len(set(ids))
    assert set(ids) == {*CASES, "dlopen-refuses"}
    for cause in all_causes():
        assert cause.title
        assert cause.why.endswith(".")
        assert cause.severity in VERDICTS
        assert cause.id.replace("-", "").isalnum()
        assert cause.id.islower()


@pytest.mark.parametrize(("calls", "verdict"), [("puts", "unsafe"), ("__puts_chk", "incompatible")])
def test_a_glibc_plugin_in_an_environment_on_musl(kit: Kit, calls: str, verdict: str) -> None:
    if not have("musl-gcc"):
        pytest.skip("needs musl-tools")
    plugin = kit.shop.lib(
        "plugin.so",
        f"int puts(const char *), {calls}(const char *);"
        f'int g(void) {{ return puts("") + {calls}(""); }}',
        libc=True,
    )
    MuslWorkshop(kit.shop.folder).host()
    finding = kit.explain(plugin)[0]
    assert (finding.rule, finding.verdict) == ("other-c-library", verdict)
    assert (finding.built, finding.live) == ("glibc", "musl")
    assert "alpine" in (finding.remedy or "")
    if verdict == "incompatible":
        assert f"{calls}: symbol not found" in (finding.why or "")


def test_packed_relocations_and_constructors(kit: Kit) -> None:
    kit.host_changes["traits"] = Traits.of_release((2, 31))
    source = "static int x; __attribute__((constructor)) static void begin(void) { x = 1; }"
    plugin = kit.shop.lib("plugin.so", source, flags=["-Wl,-z,pack-relative-relocs"])
    (finding,) = kit.explain(plugin)
    assert (finding.rule, finding.verdict) == ("relr-unknown", "incompatible")


def test_the_highest_glibc_is_not_a_name_with_numbers_in_it(kit: Kit) -> None:
    """GLIBC_ABI_DT_X86_64_PLT is no release, and 2.31 has no version of its own."""
    kit.host_changes["traits"] = Traits.of_release((2, 31))
    (finding,) = kit.explain(newer_glibc(kit))
    assert finding.rule == "glibc-too-old"
    assert "GLIBC_ABI" not in (finding.live or "")


def test_a_plugin_that_loads_has_no_findings(kit: Kit) -> None:
    assert kit.explain(kit.plugin(*EXPORTS)) == ()


def test_hundreds_of_symbols_are_one_finding(kit: Kit) -> None:
    names = [f"_ZN10tensorflow5Thing{len(str(i))}f{i}Ev" for i in range(300)]
    (finding,) = kit.explain(kit.plugin(*names))
    assert (finding.rule, finding.count, len(finding.examples)) == ("tensorflow-skew", 300, 5)


def test_several_causes_at_once(kit: Kit) -> None:
    stub = kit.shop.lib("stub/x.so", "", soname="libgeos_c.so.1")
    plugin = kit.plugin(
        "_ZNK10tensorflow8OpKernel11TraceStringERKNS_15OpKernelContextEb",
        "_ZN10tensorflow8OpKernel7RemovedEv",
        needs=[stub],
    )
    assert {f.rule for f in kit.explain(plugin)} == {
        "missing-library",
        "cxx11-abi",
        "tensorflow-skew",
    }


def test_symbols_of_a_missing_library_are_not_a_second_problem(kit: Kit) -> None:
    stub = kit.shop.lib("stub/x.so", defining("geos_init"), soname="libgeos_c.so.1")
    plugin = kit.plugin("geos_init", needs=[stub])
    stub.unlink()
    assert [f.rule for f in kit.explain(plugin)] == ["missing-library"]


def test_symbols_of_a_wrong_framework_are_not_a_second_problem(kit: Kit) -> None:
    name = "libtensorflow_framework.so.1"
    stub = kit.shop.lib("stub/x.so", defining("TF_Old", "_ZN10tensorflow3OldEv"), soname=name)
    plugin = kit.plugin("TF_Old", "_ZN10tensorflow3OldEv", linked=False, needs=[stub])
    assert [f.rule for f in kit.explain(plugin)] == ["framework-soname"]


def test_a_dependency_that_is_not_linked_is_named(kit: Kit) -> None:
    middle = kit.shop.lib("libmiddle.so", using("gone"), soname="libmiddle.so")
    plugin = kit.plugin(needs=[middle], runpath="$ORIGIN")
    (finding,) = kit.explain(plugin)
    assert finding.rule == "missing-symbol"
    assert "libmiddle.so" in finding.message


def test_the_part_of_the_framework_that_is_not_linked_is_named(kit: Kit) -> None:
    (finding,) = kit.explain(kit.plugin("_ZN10tensorflow4opsv26InCodeEv"))
    assert finding.rule == "not-linked-to-framework"
    assert finding.live == "libtensorflow_cc.so.2"
    assert finding.remedy == "patchelf --add-needed libtensorflow_cc.so.2 plugin.so"


def test_a_second_copy_of_the_framework_loads_but_is_unsafe(kit: Kit) -> None:
    (finding,) = kit.explain(grafted(kit))
    assert finding.verdict == "unsafe"
    os.unlink(kit.shop.folder / "plugin.libs/libtensorflow_framework-1a2b3c4d.so.2.16.2")
    (finding,) = kit.explain(kit.shop.folder / "plugin.so")
    assert (finding.rule, finding.verdict) == ("grafted-framework", "incompatible")


@pytest.mark.parametrize("cause", [cuda, not_linked, old_strings, protobuf])
def test_a_command_names_the_environment(kit: Kit, cause: Callable[[Kit], Path]) -> None:
    (finding,) = kit.explain(cause(kit))
    assert str(kit.shop.folder / "bin" / "python") in (finding.remedy or "")


def test_a_file_of_the_right_name_but_the_wrong_kind(kit: Kit) -> None:
    library = kit.shop.lib("lib/libgeos_c.so.1", "", soname="libgeos_c.so.1")
    plugin = kit.plugin(needs=[library], runpath="$ORIGIN/lib")
    library.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n" + "x" * 64)
    findings = kit.explain(plugin)
    assert findings[0].rule == "missing-library"
    assert "invalid ELF header" in findings[0].message


@pytest.mark.parametrize("place", ["plugin.libs", "lib", "nvidia/some/lib", "other.libs"])
def test_a_library_in_an_unexpected_place_is_found_for_the_remedy(kit: Kit, place: str) -> None:
    library = kit.shop.lib(f"{place}/libgeos_c.so.1", "", soname="libgeos_c.so.1")
    cuda_library = kit.shop.lib(f"{place}/libcudart.so.12", "", soname="libcudart.so.12")
    plugin = kit.plugin(needs=[library, cuda_library])
    findings = {finding.rule: finding for finding in kit.explain(plugin)}
    command = f"export LD_LIBRARY_PATH={library.parent}"
    assert findings["missing-library"].remedy == command
    assert str(library.parent) in findings["missing-library"].message
    assert findings["cuda-runtime"].remedy == command


def test_examples_are_demangled(kit: Kit) -> None:
    (finding,) = kit.explain(kit.plugin("_ZN10tensorflow8OpKernel7RemovedEv"))
    assert finding.examples == ("tensorflow::OpKernel::Removed()",)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        (EXPORTS[0], "_ZN10tensorflow8OpKernel6Things"),
        (
            "_ZNK10tensorflow8OpKernel11TraceStringB5cxx11Ev",
            "_ZNK10tensorflow8OpKernel11TraceString",
        ),
        ("_ZN10tensorflow8OpKernelC2EPi", "_ZN10tensorflow8OpKernelC2"),
        ("_Z3fooi", "_Z3foo"),
        ("_ZTVN10tensorflow8OpKernelE", None),
        ("TF_NewStatus", None),
        ("_ZN99999999x", None),
        ("_ZN", None),
    ],
)
def test_qualified_prefixes(name: str, prefix: str | None) -> None:
    from envlock.binary.names.symbols import qualified_prefix

    assert qualified_prefix(name) == prefix
