"""Each rule alone: values in, findings out. Whether they hold in reality is for tests/reality."""

from __future__ import annotations

from typing import Any

import pytest

from envlock.binary.code.processors import needed
from envlock.models.manifest import (
    MANIFEST_FORMAT,
    BuildSetting,
    CodeDigest,
    Compilation,
    HeaderVersions,
    Library,
    LibraryIdentity,
    LibstdcxxFacts,
    Manifest,
    NumpyFacts,
    PlatformFacts,
    PluginIdentity,
    PythonFacts,
    TensorFlowFacts,
)
from envlock.models.report import Finding, Unchecked
from envlock.models.verdict import VERDICTS
from envlock.rules import RULES, Comparison
from envlock.rules.evidence import UnknownSide

TENSORFLOW = TensorFlowFacts(
    version="2.15.1",
    distribution="tensorflow-cpu",
    manager="pip",
    git_version="v2.15.0-11-g63f5a65c7cd",
    compiler="Ubuntu Clang 16",
    cxx11_abi=True,
    cxx_standard=17,
    build_info=(BuildSetting(name="is_cuda_build", value="False"),),
    headers=HeaderVersions(eigen="3.4.90", absl="lts_20230802", protobuf="4.23.4"),
    libraries=(LibraryIdentity(name="libtensorflow_framework.so.2", build_id="aa"),),
    compile_flags=("-D_GLIBCXX_USE_CXX11_ABI=1", "-DEIGEN_MAX_ALIGN_BYTES=64"),
)
PLUGIN = PluginIdentity(
    name="zero_out.so",
    machine="x86_64",
    bits=64,
    byte_order="little",
    build_id="c0ffee",
    compilation=Compilation(cxx11_abi=True, cxx_standard=17, uses_c_api_only=False),
)
PYTHON = PythonFacts(
    version="3.9.18", implementation="cpython", soabi="cpython-39-x86_64-linux-gnu"
)
NUMPY = NumpyFacts(version="1.26.4", c_api=17, abi=0x1000009)
MANIFEST = Manifest(
    format=MANIFEST_FORMAT,
    generator="tf-envlock 0",
    plugin=PLUGIN,
    tensorflow=TENSORFLOW,
    numpy=NUMPY,
    python=PYTHON,
    platform=PlatformFacts(
        machine="x86_64",
        libc="glibc",
        libc_version="2.36",
        libstdcxx=LibstdcxxFacts(glibcxx="3.4.30", cxxabi="1.3.13"),
    ),
    libraries=(Library(soname="libz.so.1", version="1.2.13"),),
)


HASWELL = frozenset(needed(["-march=haswell"])[0])


class Live(UnknownSide):
    """A live environment that equals the build's but for what is passed in."""

    def __init__(self, **changes: Any) -> None:
        self.tensorflow = TENSORFLOW.replace(**changes.pop("tensorflow", {}))
        self.distribution = self.tensorflow.distribution
        self.manager = self.tensorflow.manager
        self.numpy = changes.pop("numpy", NUMPY)
        self.python = changes.pop("python", PYTHON)
        self.libc_version = changes.pop("libc_version", "2.36")
        self.libstdcxx = changes.pop("libstdcxx", MANIFEST.platform.libstdcxx)
        self.processor = changes.pop("processor", HASWELL)
        self.libraries = changes.pop(
            "libraries", {"libz.so.1": Library(soname="libz.so.1", version="1.2.13")}
        )
        assert not changes

    closure_known = True

    def library(self, soname: str) -> Any:
        return self.libraries.get(soname)


def answers(
    live: Live | None = None, manifest: Manifest | None = MANIFEST, **more: Any
) -> list[Finding | Unchecked]:
    plugin = more.pop("plugin", PLUGIN)
    comparison = Comparison(plugin, manifest, live or Live(), **more)
    return [answer for rule in RULES for answer in rule(comparison)]


def only(found: list[Finding | Unchecked]) -> Finding:
    assert len(found) == 1, found
    assert isinstance(found[0], Finding)
    return found[0]


def test_nothing_differs() -> None:
    assert answers() == []


def test_every_rule_has_an_id_of_its_own_and_a_known_severity() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {rule.severity for rule in RULES} <= set(VERDICTS)


@pytest.mark.parametrize(
    ("live", "rule", "verdict", "built", "now"),
    [
        (
            {"tensorflow": {"version": "2.15.0"}},
            "tensorflow-version",
            "drifted",
            "2.15.1",
            "2.15.0",
        ),
        (
            {"tensorflow": {"distribution": "tensorflow"}},
            "tensorflow-distribution",
            "drifted",
            "tensorflow-cpu (pip)",
            "tensorflow (pip)",
        ),
        (
            {
                "tensorflow": {
                    "libraries": (
                        LibraryIdentity(name="libtensorflow_framework.so.2", build_id="bb"),
                    )
                }
            },
            "tensorflow-build",
            "drifted",
            "aa",
            "bb",
        ),
        (
            {"tensorflow": {"headers": TENSORFLOW.headers.replace(absl="lts_20240116")}},
            "tensorflow-headers",
            "unsafe",
            "lts_20230802",
            "lts_20240116",
        ),
        ({"tensorflow": {"cxx11_abi": False}}, "cxx11-abi-inline", "unsafe", "1", "0"),
        (
            {"tensorflow": {"build_info": (BuildSetting(name="is_cuda_build", value="True"),)}},
            "tensorflow-accelerator",
            "drifted",
            "False",
            "True",
        ),
        ({"libc_version": "2.31"}, "glibc-older", "drifted", "2.36", "2.31"),
        (
            {"libstdcxx": LibstdcxxFacts(glibcxx="3.4.9")},
            "libstdcxx-older",
            "drifted",
            "GLIBCXX_3.4.30",
            "GLIBCXX_3.4.9",
        ),
        (
            {"libraries": {"libz.so.1": Library(soname="libz.so.1", version="1.3")}},
            "library-version",
            "drifted",
            "1.2.13",
            "1.3",
        ),
        (
            {"numpy": NumpyFacts(version="2.0.2", c_api=18, abi=0x2000000)},
            "numpy-abi",
            "drifted",
            "1.26.4",
            "2.0.2",
        ),
    ],
)
def test_one_difference_gives_one_finding(
    live: dict[str, Any], rule: str, verdict: str, built: str, now: str
) -> None:
    finding = only(answers(Live(**live)))
    assert (finding.rule, finding.verdict, finding.built, finding.live) == (
        rule,
        verdict,
        built,
        now,
    )
    severity = next(r.severity for r in RULES if r.id == rule)
    assert VERDICTS.index(finding.verdict) <= VERDICTS.index(severity)
    assert finding.why
    # Both values stand in the sentence itself, not only in the fields.
    assert built.split(" ")[0] in finding.message
    assert now.split(" ")[0] in finding.message


def test_an_older_language_standard_than_tensorflows() -> None:
    newer = TENSORFLOW.replace(cxx_standard=20)
    finding = only(
        answers(Live(tensorflow={"cxx_standard": 20}), MANIFEST.replace(tensorflow=newer))
    )
    assert (finding.rule, finding.built, finding.live) == ("cxx-standard", "C++17", "C++20")
    assert finding.remedy == "rebuild with `-std=c++20`"


def test_another_minor_release_is_unsafe_with_the_install_command() -> None:
    finding = only(answers(Live(tensorflow={"version": "2.17.1"})))
    assert finding.verdict == "unsafe"
    assert finding.remedy == "pip install 'tensorflow-cpu==2.15.*'"


def test_the_install_command_follows_the_package_manager() -> None:
    live = Live(tensorflow={"version": "2.17.1", "manager": "conda", "distribution": "tensorflow"})
    found = {a.rule: a for a in answers(live) if isinstance(a, Finding)}
    assert found["tensorflow-version"].remedy == "conda install 'tensorflow=2.15.*'"


@pytest.mark.parametrize("reason", ["c_api", "abi_known"])
def test_another_minor_release_is_no_danger_where_nothing_depends_on_it(reason: str) -> None:
    live = Live(tensorflow={"version": "2.17.1"})
    if reason == "c_api":
        plugin = PLUGIN.replace(compilation=PLUGIN.compilation.replace(uses_c_api_only=True))
        finding = only(answers(live, plugin=plugin))
    else:
        finding = only(answers(live, abi_known=True))
    assert finding.verdict == "drifted"


def test_a_refused_load_is_not_explained_a_second_time_by_its_version() -> None:
    refusal = Finding(rule="x", verdict="incompatible", subject="s", message="m")
    live = Live(tensorflow={"version": "2.17.1"}, libc_version="2.17")
    assert answers(live, linker_findings=(refusal,)) == []


def unchecked(found: list[Finding | Unchecked]) -> dict[str, str]:
    """What could not be checked; nothing else may have been answered."""
    assert all(isinstance(answer, Unchecked) for answer in found), found
    return {answer.what: answer.why for answer in found if isinstance(answer, Unchecked)}


def test_missing_information_is_unchecked_not_a_match() -> None:
    bare = MANIFEST.replace(
        tensorflow=TensorFlowFacts(version="2.15.1"),
        platform=MANIFEST.platform.replace(
            libc_version=None, libstdcxx=LibstdcxxFacts(glibcxx=None)
        ),
    )
    what = {a.what for a in answers(manifest=bare) if isinstance(a, Unchecked)}
    assert {"TensorFlow distribution", "Abseil headers", "C library", "libstdc++"} <= what


Z, FRAMEWORK = "libz.so.1", "libtensorflow_framework.so.2"


@pytest.mark.parametrize(
    ("built", "live"),
    [
        ({"version": "1.2.13"}, None),
        ({"version": "1.2.13"}, {"build_id": "cc"}),
        ({"build_id": "aa"}, {"version": "1.2.13"}),
        ({"version": "1.2.13", "build_id": "aa"}, {}),
        ({}, {}),
    ],
)
def test_a_library_that_cannot_be_compared(
    built: dict[str, str], live: dict[str, str] | None
) -> None:
    manifest = MANIFEST.replace(libraries=(Library(soname=Z, **built),))
    found = {} if live is None else {Z: Library(soname=Z, **live)}
    assert list(unchecked(answers(Live(libraries=found), manifest))) == [f"`{Z}`"]
    # In a process that has loaded the plugin its libraries are what they are.
    loaded = Live(libraries=found)
    loaded.closure_known = False
    assert answers(loaded, manifest) == []


@pytest.mark.parametrize(
    ("built", "live"),
    [
        ({"version": "1.2.13"}, {"version": "1.2.13", "build_id": "cc"}),
        ({"version": "1.2.13", "build_id": "aa"}, {"version": "1.2.13"}),
        ({"version": "1.2.13", "build_id": "aa"}, {"version": "1.2.13", "build_id": "aa"}),
        ({"build_id": "aa"}, {"version": "1.2.13", "build_id": "aa"}),
    ],
)
def test_a_library_that_is_the_same(built: dict[str, str], live: dict[str, str]) -> None:
    manifest = MANIFEST.replace(libraries=(Library(soname=Z, **built),))
    assert answers(Live(libraries={Z: Library(soname=Z, **live)}), manifest) == []


@pytest.mark.parametrize("version", [{"version": "1.2.13"}, {}])
def test_another_build_of_the_same_version_is_told(version: dict[str, str]) -> None:
    manifest = MANIFEST.replace(libraries=(Library(soname=Z, build_id="aa", **version),))
    live = Live(libraries={Z: Library(soname=Z, build_id="cc", **version)})
    finding = only(answers(live, manifest))
    assert (finding.rule, finding.verdict) == ("library-version", "drifted")
    assert (finding.built, finding.live) == ("build-id aa", "build-id cc")
    assert "another build" in finding.message


def test_glibc_is_told_once() -> None:
    names = ("libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2")

    def libraries(version: str, build_id: str) -> dict[str, Library]:
        made = (Library(soname=name, version=version, build_id=build_id + name) for name in names)
        return {library.soname: library for library in made}

    manifest = MANIFEST.replace(libraries=tuple(libraries("2.36", "a").values()))
    older = answers(Live(libc_version="2.31", libraries=libraries("2.31", "b")), manifest)
    assert only(older).rule == "glibc-older"
    newer = answers(Live(libc_version="2.39", libraries=libraries("2.39", "b")), manifest)
    assert (only(newer).subject, only(newer).live) == ("libc.so.6", "2.39")
    patched = only(answers(Live(libraries=libraries("2.36", "b")), manifest))
    assert (patched.subject, patched.built) == ("libc.so.6", "build-id alibc.so.6")


@pytest.mark.parametrize(
    ("built", "live", "names"),
    [
        ({"build_id": "aa"}, None, FRAMEWORK),
        ({"build_id": "aa"}, {"size": 7}, FRAMEWORK),
        ({"size": 7}, {"build_id": "aa"}, FRAMEWORK),
        ({}, {}, FRAMEWORK),
        (None, {"build_id": "aa"}, "its libraries"),
    ],
)
def test_a_build_of_tensorflow_that_cannot_be_compared(
    built: dict[str, Any] | None, live: dict[str, Any] | None, names: str
) -> None:
    def libraries(one: dict[str, Any] | None) -> tuple[LibraryIdentity, ...]:
        return () if one is None else (LibraryIdentity(name=FRAMEWORK, **one),)

    manifest = MANIFEST.replace(tensorflow=TENSORFLOW.replace(libraries=libraries(built)))
    found = unchecked(answers(Live(tensorflow={"libraries": libraries(live)}), manifest))
    assert list(found) == ["TensorFlow build"]
    assert names in found["TensorFlow build"]


def test_a_standard_that_tensorflow_does_not_tell() -> None:
    other = {"cxx_standard": None, "version": "2.15.0"}
    found = [a for a in answers(Live(tensorflow=other)) if isinstance(a, Unchecked)]
    assert [a.what for a in found] == ["C++ standard"]
    # Where the build's TensorFlow did not tell it either, there is nothing that was recorded.
    silent = MANIFEST.replace(tensorflow=TENSORFLOW.replace(cxx_standard=None))
    assert answers(Live(tensorflow={"cxx_standard": None}), silent) == []


def settings(**values: str) -> tuple[BuildSetting, ...]:
    return tuple(BuildSetting(name=name, value=value) for name, value in values.items())


@pytest.mark.parametrize(
    ("built", "live", "names"),
    [
        (settings(is_cuda_build="True"), (), ["is_cuda_build"]),
        ((), settings(is_cuda_build="True", is_rocm_build="False"), ["is_cuda_", "is_rocm_"]),
        (
            settings(is_cuda_build="True", cuda_version="12.2"),
            settings(is_cuda_build="True"),
            ["cuda_version"],
        ),
        ((), (), []),
        (settings(is_cuda_build="False"), settings(is_cuda_build="False"), []),
    ],
)
def test_accelerators_that_cannot_be_compared(
    built: tuple[BuildSetting, ...], live: tuple[BuildSetting, ...], names: list[str]
) -> None:
    manifest = MANIFEST.replace(tensorflow=TENSORFLOW.replace(build_info=built))
    found = unchecked(answers(Live(tensorflow={"build_info": live}), manifest))
    assert list(found) == (["TensorFlow's accelerators"] if names else [])
    assert all(name in why for why in found.values() for name in names)


def test_a_build_without_cuda_lacks_its_version_too() -> None:
    cuda = settings(is_cuda_build="True", cuda_version="12.2", cudnn_version="8")
    manifest = MANIFEST.replace(tensorflow=TENSORFLOW.replace(build_info=cuda))
    assert only(answers(manifest=manifest)).subject == "is_cuda_build"


def test_a_numpy_that_cannot_be_compared() -> None:
    assert list(unchecked(answers(Live(numpy=None)))) == ["numpy"]
    unrecorded = MANIFEST.replace(numpy=None)
    assert answers(manifest=unrecorded) == []
    assert list(unchecked(answers(manifest=unrecorded, uses_numpy_api=True))) == ["numpy"]
    unlevelled = NumpyFacts(version="1.25.0")
    finding, rest = answers(Live(numpy=unlevelled), uses_numpy_api=True)
    assert isinstance(finding, Finding)
    assert finding.why == "the plugin uses numpy's C API"
    assert isinstance(rest, Unchecked)
    assert rest.what == "numpy's C API"


def test_a_libstdcxx_that_was_not_recorded() -> None:
    bare = MANIFEST.replace(platform=MANIFEST.platform.replace(libstdcxx=None))
    assert answers(manifest=bare) == []
    needing = PLUGIN.replace(needed=("libstdc++.so.6",))
    assert list(unchecked(answers(manifest=bare, plugin=needing))) == ["libstdc++"]


def test_a_python_whose_abi_is_not_known_is_no_other_python() -> None:
    assert answers(Live(python=PYTHON.replace(soabi=None))) == []
    other = PYTHON.replace(version="3.10.1", soabi=None)
    assert only(answers(Live(python=other))).rule == "python-version"


def test_an_unstamped_plugin_is_unchecked_for_its_release() -> None:
    found = answers(manifest=None)
    assert [a.what for a in found if isinstance(a, Unchecked)] == ["TensorFlow release"]


@pytest.mark.parametrize(
    ("live", "verdict"),
    [
        (NumpyFacts(version="2.0.2", c_api=18, abi=0x2000000), "unsafe"),
        (NumpyFacts(version="1.20.3", c_api=14, abi=0x1000009), "unsafe"),
        (NumpyFacts(version="1.26.5", c_api=17, abi=0x1000009), "drifted"),
        (None, "unsafe"),
    ],
)
def test_numpy_matters_to_users_of_its_c_api(live: NumpyFacts | None, verdict: str) -> None:
    assert only(answers(Live(numpy=live), uses_numpy_api=True)).verdict == verdict


@pytest.mark.parametrize(
    "change",
    [{"build_id": "dead"}, {"machine": "aarch64"}],
)
def test_a_manifest_of_another_file(change: dict[str, Any]) -> None:
    finding = only(answers(plugin=PLUGIN.replace(**change)))
    assert (finding.rule, finding.verdict) == ("stamp-mismatch", "unsafe")
    assert finding.remedy == "envlock stamp zero_out.so --env BUILD_ENVIRONMENT"


def test_without_build_id_the_code_digest_decides() -> None:
    def digest(value: str) -> CodeDigest:
        return CodeDigest(algorithm="sha256", value=value, covers="code/1")

    stamped = PLUGIN.replace(build_id=None, code=digest("11"))
    manifest = MANIFEST.replace(plugin=stamped)
    assert answers(manifest=manifest, plugin=stamped) == []
    other = stamped.replace(code=digest("22"))
    assert only(answers(manifest=manifest, plugin=other)).rule == "stamp-mismatch"
    unread = stamped.replace(code=None)
    (answer,) = answers(manifest=manifest, plugin=unread)
    assert isinstance(answer, Unchecked)


def test_forced_stamps_are_told() -> None:
    assert only(answers(manifest=MANIFEST.replace(forced=True))).rule == "stamp-forced"


def compiled(*flags: str, some: tuple[str, ...] = (), **more: Any) -> PluginIdentity:
    made = PLUGIN.compilation.replace(flags=flags, some_flags=some, **more)
    return PLUGIN.replace(compilation=made)


@pytest.mark.parametrize(
    "flags",
    [
        ("-march=x86-64",),
        ("-march=haswell", "-mavx2", "-std=c++17"),
        ("-march=x86-64-v3", "-m64", "-mfpmath=sse"),
        # What `-march=native` of a virtual machine that hides AVX-512 is recorded as.
        ("-march=skylake-avx512", "-mavx2", "-mno-avx512f"),
        ("-DNDEBUG", "-O2"),
    ],
)
def test_a_processor_that_has_it_all_is_not_worth_a_word(flags: tuple[str, ...]) -> None:
    assert answers(plugin=compiled(*flags)) == []


def test_a_processor_that_lacks_what_the_code_needs() -> None:
    finding = only(answers(plugin=compiled("-march=skylake-avx512", "-mavx512vnni", "-mavx2")))
    assert (finding.rule, finding.verdict) == ("instruction-set", "unsafe")
    assert finding.built == "-march=skylake-avx512 -mavx512vnni"
    assert finding.live is not None
    assert "avx512f" in finding.live
    assert "avx2" not in finding.live
    assert finding.remedy == "rebuild without `-march=skylake-avx512`, `-mavx512vnni`"
    # Whoever builds for other machines stamps it all the same.
    assert answers(plugin=compiled("-march=skylake-avx512"), built_here=True) == []


@pytest.mark.parametrize(
    ("plugin", "live", "said"),
    [
        # Code behind a question to the processor, such as libraries bring along.
        (compiled("-march=haswell", "-mavx512f", some=("-mavx512f",)), {}, "parts of it"),
        (compiled("-march=native"), {}, "`-march=native`"),
        (compiled("-march=haswell"), {"processor": None}, "`-march=haswell`"),
        (compiled("-march=armv8.2-a+sve").replace(machine="aarch64"), {}, "aarch64"),
    ],
)
def test_what_is_not_known_of_processors_is_unchecked(
    plugin: PluginIdentity, live: dict[str, Any], said: str
) -> None:
    manifest = MANIFEST.replace(plugin=plugin)
    (answer,) = answers(Live(**live), manifest, plugin=plugin)
    assert isinstance(answer, Unchecked)
    assert answer.what == "instruction set"
    assert said in answer.why


def test_baseline_code_asks_nothing_of_an_unknown_processor() -> None:
    assert answers(Live(processor=None), plugin=compiled("-march=x86-64", "-msse2")) == []
    plain = compiled("-march=armv8-a", "-mabi=lp64").replace(machine="aarch64")
    assert answers(Live(processor=None), MANIFEST.replace(plugin=plain), plugin=plain) == []


def test_another_eigen_alignment_is_drift_with_both_values() -> None:
    finding = only(answers(plugin=compiled(eigen_max_align_bytes=32)))
    assert (finding.rule, finding.verdict) == ("eigen-alignment", "drifted")
    assert (finding.built, finding.live) == ("32", "64")
    assert answers(plugin=compiled(eigen_max_align_bytes=64)) == []
    c_api = compiled(eigen_max_align_bytes=32, uses_c_api_only=True)
    assert answers(plugin=c_api) == []


def test_an_alignment_that_tensorflow_does_not_tell_is_unchecked() -> None:
    silent = {"compile_flags": (), "version": "2.15.1"}
    bare = MANIFEST.replace(tensorflow=TENSORFLOW.replace(**silent))
    plugin = compiled(eigen_max_align_bytes=64)
    (answer,) = answers(Live(tensorflow=silent), bare, plugin=plugin)
    assert isinstance(answer, Unchecked)
    assert answer.what == "Eigen's alignment"


@pytest.mark.parametrize("ndebug", [True, False, None])
def test_ndebug_alone_is_not_worth_a_word(ndebug: bool | None) -> None:
    assert answers(plugin=compiled(ndebug=ndebug)) == []
