"""What each rule of the binary interface rests on, on small files compiled on the spot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from envlock.atlas.collection import open_atlas
from envlock.atlas.format import Atlas, Release
from envlock.binary.code.accesses import Code
from envlock.binary.code.functions import Functions
from envlock.binary.debug.dwarf import Dwarf
from envlock.binary.elf import ElfFile
from envlock.models.dependencies import ClassUse, Dependencies
from envlock.plugin.dependencies import code
from envlock.plugin.dependencies.debuginfo import DebugFacts
from envlock.plugin.dependencies.origin import find_origin
from envlock.plugin.dependencies.usage import BASE_OF, Usage
from envlock.plugin.facts import PluginFacts
from envlock.rules.layout.assertions import assertion_findings
from envlock.rules.layout.findings import compare


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return open_atlas()


def release(atlas: Atlas, version: str) -> Release:
    found = atlas.find(version, "tensorflow-cpu")
    assert found is not None
    return found


def compiled(folder: Path, source: str, *flags: str) -> Path:
    path = folder / "plugin.so"
    (folder / "plugin.cc").write_text(source)
    command = ["g++", "-shared", "-fPIC", "-O2", *flags, str(folder / "plugin.cc"), "-o", str(path)]
    subprocess.run(command, check=True)
    return path


def swept(folder: Path, source: str) -> Code:
    path = compiled(folder, source)
    subprocess.run(["strip", str(path)], check=True)
    with ElfFile.open(path) as elf:
        functions = Functions(elf)
        functions.follow_all()
        return functions.code


class TestMachineCode:
    def test_half_of_a_loaded_value_makes_it_a_number(self, tmp_path: Path) -> None:
        found = swept(
            tmp_path,
            """
            struct Params { long pad[4]; unsigned long count; int *pointer; };
            struct Context { long pad; Params *params; };
            int count(Context *c) { return (int)c->params->count; }
            int read(Context *c) { return *c->params->pointer; }
            void count_into(Context *c, int *to) {
                unsigned long n = c->params->count;
                if (n > 7) *to = (int)n;
            }
            """,
        )
        assert (8, 32) in found.numbers
        assert (8, 40) in found.windows
        assert (8, 40) not in found.numbers

    def test_direct_accesses_are_kept_with_who_saw_the_pointer(self, tmp_path: Path) -> None:
        found = swept(
            tmp_path,
            """
            namespace tensorflow {
            struct Handle { char text[40]; long owner; void Use() const; };
            const Handle &Find(int);
            }
            bool owned(int n) {
                const tensorflow::Handle &handle = tensorflow::Find(n);
                if (handle.owner == 0) return false;
                handle.Use();
                return true;
            }
            """,
        )
        (witnesses,) = found.direct[40, 8]
        assert any(code.supports(frozenset([w]), "tensorflow::Handle") for w in witnesses)

    def test_room_is_known_by_the_virtual_table_and_by_the_constructor(
        self, tmp_path: Path
    ) -> None:
        found = swept(
            tmp_path,
            """
            #include <memory>
            namespace tensorflow {
            void Tell(void *);
            struct Dataset {
                Dataset() { Tell(this); }
                virtual ~Dataset();
                virtual void Out();
                long more[6];
            };
            struct Options { Options(int); long more[9]; };
            }
            std::shared_ptr<tensorflow::Options> share(int n) {
                return std::make_shared<tensorflow::Options>(n);
            }
            struct Own : tensorflow::Dataset { long own = 3; void Out() override; };
            void Own::Out() {}
            tensorflow::Dataset *make() { return new Own; }
            void *other(int n) { return new tensorflow::Options(n); }
            """,
        )
        assert ("_ZTVN10tensorflow7DatasetE", 64) in found.allocated
        of_options = {size for name, size in found.allocated if "7OptionsC1E" in name}
        assert of_options == {72}

    def test_windows_of_an_exported_copy_are_its_own(self, tmp_path: Path) -> None:
        found = swept(
            tmp_path,
            """
            struct Params { long pad[4]; long count; };
            struct Context {
                long pad; Params *params;
                __attribute__((noinline, noclone, noipa)) long count() const { return params->count; }
            };
            long use(Context *c) { return c->count() + 1; }
            """,
        )
        assert found.own_windows["_ZNK7Context5countEv"] == {(8, 32)}


class TestNames:
    def test_a_class_of_the_standard_library_is_another(self) -> None:
        assert code.mentions("_ZN3tsl5mutex4lockEv", "tensorflow::mutex")
        assert code.mentions("_Z3useRKNS_5mutexE", "tensorflow::mutex")
        assert not code.mentions("_ZNSt12__shared_ptrISt5mutexLb1EE3getEv", "tensorflow::mutex")
        assert not code.mentions("_ZN3tsl15mutexes", "tensorflow::mutex")


class TestExchange:
    def test_what_functions_hand_over(self, tmp_path: Path) -> None:
        path = compiled(
            tmp_path,
            """
            struct Given { long a[4]; };
            struct Taken { long a[4]; };
            struct Own { long a[4]; };
            struct Answer { long a[4]; };
            Given outside();
            struct Base { virtual Answer Ask(Taken *) { return {}; } virtual ~Base() {} };
            Base *make() { return new Base; }
            long use(Base *base, Taken *taken) {
                Own own{{1, 2, 3, 4}};
                Given given = outside();
                Answer answer = base->Ask(taken);
                return own.a[taken->a[0] & 3] + given.a[1] + answer.a[2];
            }
            """,
            "-g",
        )
        with ElfFile.open(path) as elf:
            facts = DebugFacts(Dwarf(elf))
        names, returned = facts.exchanged(["_Z7outsidev"])
        assert {"Given", "Answer"} <= returned
        assert "Own" not in returned
        assert code.mentions(names, "Taken")
        assert not code.mentions(names, "Own")

    def test_sizes_of_bases_stay(self) -> None:
        usage = Usage()
        usage.add(("s", "tensorflow::Private", ""), "held by value")
        usage.add(("s", "tensorflow::Base", ""), BASE_OF + "Own")
        usage.add(("m", "tensorflow::Private", "place"), "an accessor")
        usage.forget_sizes(lambda name: False)
        assert set(usage.facts["tensorflow::Private"]) == {("m", "place")}
        assert ("s", "") in usage.facts["tensorflow::Base"]


class TestWeakReferences:
    def judged(self, atlas: Atlas, cls: str, built: str, live: str) -> list[str]:
        shape = atlas.shape(cls, release(atlas, built).abi)
        assert shape is not None
        use = ClassUse(name=cls, size=shape.size)
        needed = Dependencies(evidence="code", classes=(use,), releases=(built,))
        findings, _ = compare(needed, atlas, release(atlas, live), built)
        return [finding.verdict for finding in findings]

    def test_growth_by_them_alone_is_drift(self, atlas: Atlas) -> None:
        assert self.judged(atlas, "tensorflow::ResourceBase", "2.7.4", "2.8.4") == ["drifted"]
        assert self.judged(atlas, "tensorflow::ResourceBase", "2.8.4", "2.7.4") == ["drifted"]

    def test_other_growth_is_unsafe(self, atlas: Atlas) -> None:
        assert self.judged(atlas, "tensorflow::ResourceHandle", "2.13.1", "2.14.1") == ["unsafe"]
        assert self.judged(atlas, "tensorflow::data::DatasetBase", "2.7.4", "2.8.4") == ["unsafe"]


class TestAssertions:
    SOURCE = """
    extern "C" void *_ZTIN10tensorflow4data11DatasetBaseE;
    extern "C" void **base(void) {{ return &_ZTIN10tensorflow4data11DatasetBaseE; }}
    extern "C" const char *place(void) {{ return "{place}"; }}
    """

    @pytest.mark.parametrize(
        ("place", "version", "rules"),
        [
            ("/in/include/tensorflow/core/platform/refcount.h", "2.7.4", ["abi-assertion"]),
            ("/in/include/tensorflow/core/platform/refcount.h", "2.8.0", []),
            ("/in/include/tensorflow/core/platform/mutex.h", "2.7.4", []),
        ],
    )
    def test_only_where_the_check_is_compiled_in_and_fails(
        self, tmp_path: Path, place: str, version: str, rules: list[str]
    ) -> None:
        path = compiled(tmp_path, self.SOURCE.format(place=place))
        with ElfFile.open(path) as elf:
            found = assertion_findings(PluginFacts.of(elf), version)
        assert [finding.rule for finding in found] == rules
        assert [finding.verdict for finding in found] == ["unsafe"] * len(rules)


class TestRequirement:
    @pytest.mark.parametrize(
        ("lines", "requirement"),
        [
            ("Requires-Dist: tensorflow (<2.8.0,>=2.5.0)", "<2.8.0,>=2.5.0"),
            ("Requires-Dist: tensorflow<2.18,>=2.17\nProvides-Extra: x", "<2.18,>=2.17"),
            ("Requires-Dist: tensorflow-cpu~=2.14.0; extra == 'cpu'", "~=2.14.0"),
            ("Requires-Dist: tensorflow[and-cuda]==2.19.0", "==2.19.0"),
            ("Requires-Dist: tensorflow-metadata (>=1.0)", None),
            ("Requires-Dist: tensorflow\nRequires-Dist: numpy>=1", None),
        ],
    )
    def test_it_is_that_of_tensorflow(
        self, tmp_path: Path, lines: str, requirement: str | None
    ) -> None:
        meta = tmp_path / "ops-1.0.dist-info"
        meta.mkdir()
        (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ops\nVersion: 1.0\n{lines}\n")
        (meta / "RECORD").write_text("ops/plugin.so,,\nops-1.0.dist-info/METADATA,,\n")
        (tmp_path / "ops").mkdir()
        (tmp_path / "ops" / "plugin.so").write_bytes(b"")
        assert find_origin(str(tmp_path / "ops" / "plugin.so")).requirement == requirement
