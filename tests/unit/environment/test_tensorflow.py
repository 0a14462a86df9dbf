"""TensorFlow's facts, read from files: what TensorFlow itself answers, for every release here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock.actions.live import library_version
from envlock.binary.code.returned import returned_number
from envlock.binary.elf import ElfFile
from envlock.environment import binary
from envlock.environment.live import Environment
from envlock.environment.tensorflow import FRAMEWORK, TensorFlowInstall
from envlock.linker.prediction import Dependency
from envlock.models.record import encode
from tests.support import environments
from tests.support.environments import TfEnvironment

from . import making
from .answers import ask

CHECKOUT = Path(__file__).resolve().parents[3]

# Those of the test suite, and whatever else the cache already holds.
RELEASES = sorted(
    {*environments.FOR_TESTS, *(env.version for env in environments.existing())},
    key=environments.version_key,
)

HEADERS = {
    # minor release: Eigen, absl, protobuf, read off the wheels' headers by hand
    "2.5": ("3.4.99", "lts_2020_09_23", "3.9.2"),
    "2.6": ("3.3.90", "lts_20210324", "3.9.2"),
    "2.7": ("3.4.90", "lts_20210324", "3.9.2"),
    "2.8": ("3.4.90", "lts_20210324", "3.9.2"),
    "2.9": ("3.4.90", "lts_20211102", "3.9.2"),
    "2.10": ("3.4.90", "lts_20220623", "3.9.2"),
    "2.11": ("3.4.90", "lts_20220623", "3.9.2"),
    "2.12": ("3.4.90", "lts_20220623", "3.21.9"),
    "2.13": ("3.4.90", "lts_20230125", "3.21.9"),
    "2.14": ("3.4.90", "lts_20230125", "3.21.9"),
    "2.15": ("3.4.90", "lts_20230125", "3.21.9"),
    "2.16": ("3.4.90", "lts_20230802", "3.21.9"),
    "2.17": ("3.4.90", "lts_20230802", "3.21.9"),
    "2.18": ("3.4.90", "lts_20230802", "3.21.9"),
    "2.19": ("3.4.90", "lts_20230802", "3.21.9"),
    "2.20": ("3.4.90", "lts_20250127", "5.28.3"),
    "2.21": ("5.0.1", "lts_20250814", "6.31.1"),
}


def install(env: TfEnvironment | Path) -> TensorFlowInstall:
    found = Environment.open(env.prefix if isinstance(env, TfEnvironment) else env).tensorflow
    assert found is not None
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_facts_are_what_tensorflow_answers(
    release: str, tf_env: Callable[[str], TfEnvironment]
) -> None:
    env = tf_env(release)
    answers = ask(env)
    environment = Environment.open(env.prefix)
    found = environment.tensorflow
    assert found is not None
    facts = found.facts()
    assert facts.version == answers["version"] == release
    assert facts.distribution == "tensorflow-cpu"
    assert facts.manager == "pip"
    assert facts.git_version == answers["git_version"]
    assert facts.compiler == answers["compiler"]
    assert facts.cxx11_abi is answers["cxx11_abi"]
    assert [f"-I{found.include_dir}", *facts.compile_flags] == answers["compile_flags"]
    assert [f"-L{found.package_dir}", *facts.link_flags] == answers["link_flags"]
    assert {one.name: one.value for one in facts.build_info} == answers["build_info"]
    assert found.include_dir == answers["include"]
    assert os.path.isfile(os.path.join(found.include_dir, "tensorflow/core/framework/op.h"))
    standards = re.findall(r"--std=c\+\+(\d+)", " ".join(answers["compile_flags"]))
    assert facts.cxx_standard == (int(standards[0]) if standards else None)
    numpy = environment.numpy
    assert numpy is not None
    assert (numpy.version, numpy.c_api, numpy.abi) == (
        answers["numpy"],
        answers["numpy_c_api"],
        answers["numpy_abi"],
    )
    # The libraries are those that importing it really maps.
    assert {os.path.realpath(path) for path in found.library_paths} <= set(answers["mapped"])
    headers = facts.headers
    minor = release.rpartition(".")[0]
    assert (headers.eigen, headers.absl, headers.protobuf) == HEADERS[minor]


@pytest.mark.parametrize("release", ["2.8.4", "2.15.1", "2.21.0"])
def test_libraries_as_readelf_sees_them(
    release: str, tf_env: Callable[[str], TfEnvironment], tool: Callable[[str], str]
) -> None:
    found = install(tf_env(release))
    assert found.libraries[0].name == "libtensorflow_framework.so.2"
    for path, identity in zip(found.library_paths, found.libraries):
        said = subprocess.run(
            [tool("readelf"), "-Wdn", path], capture_output=True, text=True, check=True
        ).stdout
        soname = re.search(r"Library soname: \[(.*)\]", said)
        build_id = re.search(r"Build ID: ([0-9a-f]+)", said)
        assert identity.soname == (soname and soname[1])
        assert identity.build_id == (build_id and build_id[1])
        assert identity.size == os.stat(path).st_size


def test_running_environment_reads_the_same_and_imports_nothing(
    tf_env: Callable[[str], TfEnvironment],
) -> None:
    env = tf_env("2.15.1")
    script = (
        "import json, sys\n"
        "from envlock.environment.live import Environment\n"
        "from envlock.models.record import encode\n"
        "e = Environment.open(None)\n"
        "facts = e.tensorflow.facts()\n"
        "e.numpy, e.python, e.platform, e.summary(), e.packages()\n"
        "print(json.dumps([encode(facts), encode(e.numpy), encode(e.python), sorted(sys.modules),"
        " e.paths.running, e.tensorflow.imported_version]))\n"
    )
    answer = env.run("-c", script, PYTHONPATH=str(CHECKOUT))
    assert answer.returncode == 0, answer.stderr
    facts, numpy, python, modules, running, imported = json.loads(answer.stdout)
    assert running is True
    assert imported is None
    heavy = {"tensorflow", "numpy", "dataclasses", "pathlib", "subprocess", "inspect", "email"}
    assert heavy.isdisjoint(modules)
    outside = Environment.open(env.prefix)
    assert outside.tensorflow is not None
    assert outside.numpy is not None
    assert facts == encode(outside.tensorflow.facts())
    assert numpy == encode(outside.numpy)
    assert python == encode(outside.python)


def test_what_is_imported_is_told_and_counts(
    tf_env: Callable[[str], TfEnvironment], tmp_path: Path
) -> None:
    env = tf_env("2.15.1")
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").touch()
    script = (
        "import sys, tensorflow\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from envlock.environment.live import Environment\n"
        "e = Environment.open(None)\n"
        "print(e.tensorflow.package_dir, e.tensorflow.imported_version, e.tensorflow.version)"
    )
    answer = env.run("-c", script, PYTHONPATH=str(CHECKOUT))
    assert answer.stdout.split() == [str(env.tensorflow), "2.15.1", "2.15.1"], answer.stderr


@pytest.fixture
def borrowed(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> Callable[[str], tuple[Path, Path]]:
    """A venv whose `tensorflow` folder is made of links to a real one's files: (prefix, site)."""

    def make(release: str) -> tuple[Path, Path]:
        source = tf_env(release).tensorflow
        prefix = making.venv(tmp_path / "v")
        site = making.site_packages(prefix)
        for name in (
            "__init__.py",
            "libtensorflow_framework.so.2",
            "libtensorflow_cc.so.2",
            "python/_pywrap_tensorflow_internal.so",
            "python/lib_pywrap_tensorflow_common.so",
            "python/client/_pywrap_tf_session.so",
            "python/platform/sysconfig.py",
            "python/platform/build_info.py",
            "include",
        ):
            if (source / name).exists():
                target = site / "tensorflow" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source / name)
        return prefix, site

    return make


Borrowed = Callable[[str], tuple[Path, Path]]


@pytest.mark.parametrize("release", ["2.8.4", "2.15.1", "2.21.0"])
def test_without_any_distribution_the_files_tell_the_release(
    release: str, borrowed: Borrowed
) -> None:
    prefix, _ = borrowed(release)
    found = install(prefix)
    assert found.distributions == ()
    assert found.version == release
    facts = found.facts()
    assert (facts.distribution, facts.manager) == (None, None)
    # Its libraries belong to no package, but to this release.
    environment = Environment.open(prefix)
    framework = Dependency(FRAMEWORK, found.library_paths[0], "runpath", None, None, True)
    assert library_version(environment, framework, None) == release


def test_two_distributions_of_one_folder(borrowed: Borrowed) -> None:
    prefix, site = borrowed("2.15.1")
    library = "tensorflow/libtensorflow_framework.so.2"
    size = (site / library).stat().st_size
    other = making.distribution(site, "tensorflow", "2.14.0")
    (other / "RECORD").write_text(f"{library},sha256=x,{size - 1}\n")
    real = making.distribution(site, "tensorflow-cpu", "2.15.1")
    (real / "RECORD").write_text(f"{library},sha256=x,{size}\n")
    making.distribution(site, "tensorflow-estimator", "2.15.0")
    found = install(prefix)
    # The one whose RECORD has the file's length overwrote the other's.
    assert [one.name for one in found.distributions] == ["tensorflow-cpu", "tensorflow"]
    assert found.version == "2.15.1"


def test_an_unusual_name_is_found_by_what_it_installed(borrowed: Borrowed) -> None:
    prefix, site = borrowed("2.15.1")
    info = making.distribution(site, "acme-ml-stack", "7.0")
    (info / "RECORD").write_text("tensorflow/libtensorflow_framework.so.2,,\n")
    making.distribution(site, "tensorflow-datasets", "4.0")
    found = install(prefix)
    assert found.distribution is not None
    assert found.distribution.name == "acme-ml-stack"


def test_conda_keeps_libraries_in_the_prefix(borrowed: Borrowed) -> None:
    prefix, site = borrowed("2.15.1")
    # Make the venv a conda prefix of the layout that conda-forge's recipe produces.
    (prefix / "pyvenv.cfg").unlink()
    stdlib = site.parent
    (stdlib / "os.py").touch()
    (prefix / "bin" / "python").unlink()
    shutil.copy(making.real_interpreter(), prefix / "bin" / "python")
    shutil.move(str(site / "tensorflow/libtensorflow_framework.so.2"), str(prefix / "lib"))
    making.distribution(site, "tensorflow", "2.15.1", installer="conda")
    (site / "tensorflow-2.15.1.dist-info" / "top_level.txt").write_text("tensorflow\n")
    meta = prefix / "conda-meta"
    meta.mkdir()
    relative = site.relative_to(prefix)
    (meta / "tensorflow-base-2.15.1-cpu_py3_0.json").write_text(
        json.dumps(
            {
                "name": "tensorflow-base",
                "version": "2.15.1",
                "build": "cpu_py3_0",
                "channel": "https://conda.anaconda.org/conda-forge",
                "files": [
                    f"{relative}/tensorflow/__init__.py",
                    f"{relative}/tensorflow-2.15.1.dist-info/METADATA",
                    "lib/libtensorflow_framework.so.2",
                ],
            }
        )
    )
    environment = Environment.open(prefix)
    assert environment.paths.kind == "conda"
    found = environment.tensorflow
    assert found is not None
    assert found.framework == str(prefix / "lib/libtensorflow_framework.so.2")
    facts = found.facts()
    assert (facts.distribution, facts.manager) == ("tensorflow", "conda")
    assert facts.conda_build == "cpu_py3_0"
    assert facts.cxx11_abi is True
    assert facts.git_version == "v2.15.0-11-g63f5a65c7cd"


def test_no_tensorflow_is_none_and_the_reason(tmp_path: Path) -> None:
    prefix = making.venv(tmp_path / "v")
    environment = Environment.open(prefix)
    assert environment.tensorflow is None
    assert environment.tensorflow_missing == f"TensorFlow is not installed in `{prefix}`"
    assert environment.numpy is None
    assert environment.summary().tensorflow is None
    site = making.site_packages(prefix)
    (site / "tensorflow" / "include").mkdir(parents=True)
    reason = Environment.open(prefix).tensorflow_missing
    assert reason is not None
    assert "has no `__init__.py`" in reason
    (site / "tensorflow" / "__init__.py").touch()
    reason = Environment.open(prefix).tensorflow_missing
    assert reason is not None
    assert "has no `libtensorflow_framework.so.2`" in reason


@pytest.mark.parametrize("content", [b"", b"text\n", b"\x7fELF", b"\x7fELF\2\1\1" + b"\xff" * 4096])
def test_damaged_libraries_leave_facts_unknown(content: bytes, borrowed: Borrowed) -> None:
    prefix, site = borrowed("2.15.1")
    for library in list((site / "tensorflow").rglob("*.so*")):
        library.unlink()
        library.write_bytes(content)
    found = install(prefix)
    facts = found.facts()
    assert (facts.git_version, facts.compiler, facts.cxx11_abi) == (None, None, None)
    assert facts.cxx_standard is None
    assert facts.compile_flags == ()
    assert facts.version == "2.15.1"
    assert [one.build_id for one in facts.libraries] == [None, None, None]


def test_damaged_headers_leave_versions_unknown(borrowed: Borrowed) -> None:
    prefix, site = borrowed("2.15.1")
    include = site / "tensorflow" / "include"
    include.unlink()
    for name in (
        "Eigen/src/Core/util/Macros.h",
        "absl/base/options.h",
        "google/protobuf/stubs/common.h",
    ):
        (include / name).parent.mkdir(parents=True)
        (include / name).write_bytes(
            b"#define EIGEN_WORLD_VERSION\n#define EIGEN_MAJOR_VERSION x\n"
            b"#define ABSL_OPTION_USE_INLINE_NAMESPACE 0\n#define ABSL_OPTION_INLINE_NAMESPACE_NAME"
            b" lts_1\n#define GOOGLE_PROTOBUF_VERSION 99999999999999999999\n"
        )
    found = install(prefix)
    headers = found.headers
    assert (headers.eigen, headers.absl, headers.protobuf) == (None, None, None)


def test_build_info_of_a_cuda_build_is_read_without_running_it() -> None:
    # As in the tensorflow 2.15.1 wheel, and then a line that must not run.
    source = (
        b"import collections\n\nbuild_info = collections.OrderedDict([('cpu_compiler', "
        b"'/usr/lib/llvm-17/bin/clang'), ('cuda_compute_capabilities', ['sm_50', 'compute_80']), "
        b"('cuda_version', '12.2'), ('cudnn_version', '8'), ('is_cuda_build', True), "
        b"('computed', open('/etc/passwd').read())])\n"
        b"raise SystemExit\n"
    )
    assert binary.literal_pairs(source) == {
        "cpu_compiler": "clang",
        "cuda_compute_capabilities": "sm_50,compute_80",
        "cuda_version": "12.2",
        "cudnn_version": "8",
        "is_cuda_build": "True",
    }


@pytest.mark.parametrize(
    "source",
    [b"", b"\0", b"\xff\xfe", b"build_info = (", b"(" * 90_000, b"-" * 300_000, b"[1" * 5000],
)
def test_hostile_build_info_is_empty(source: bytes) -> None:
    assert binary.literal_pairs(source) == {}


def test_aarch64_constant() -> None:
    # mov w0, #0x13e7; movk w0, #3, lsl #16; bl; as in the aarch64 wheel of 2.18.1.
    words = (0xAA0003E1, 0x52827CE0, 0x72A00060, 0x94034AE3)
    code = b"".join(word.to_bytes(4, "little") for word in words)
    assert binary._loads_aarch64(code, 201703)
    assert not binary._loads_aarch64(code, 202002)
    assert not binary._loads_aarch64(code[1:], 201703)


def test_reading_everything_twice_gives_the_same(tf_env: Callable[[str], TfEnvironment]) -> None:
    env = tf_env("2.15.1")
    assert install(env).facts() == install(env).facts()
    text = json.dumps(encode(install(env).facts()))
    assert str(env.prefix) not in text
    assert sys.prefix not in text


RETURNING = """
extern void *PyLong_FromSsize_t(long);
void *abi_flag(void) { return PyLong_FromSsize_t(1); }
void *alignment(void) { return PyLong_FromSsize_t(ALIGNMENT); }
void *graph_version(void) { return PyLong_FromSsize_t(1645); }
long no_python_integer(void) { return 128; }
#ifdef ANOTHER
void *another(void) { return PyLong_FromSsize_t(ANOTHER); }
#endif
#ifdef TAKEN
void *(*taken(void))(long) { return PyLong_FromSsize_t; }
#endif
"""


@pytest.mark.parametrize("compiler", ["gcc", "aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize(
    ("flags", "number"),
    [
        (("-O2", "-DALIGNMENT=64"), 64),
        (("-O0", "-DALIGNMENT=16"), 16),
        # The stubs of the PLT begin with another instruction.
        (("-O2", "-DALIGNMENT=32", "PROTECTED"), 32),
        # Its slot is filled by a relocation of another table.
        (("-O2", "-DALIGNMENT=32", "-DTAKEN"), 32),
        (("-O2", "-DALIGNMENT=7"), None),
        (("-O2", "-DALIGNMENT=32", "-DANOTHER=64"), None),
    ],
)
def test_a_constant_that_a_python_function_returns(
    compiler: str,
    flags: tuple[str, ...],
    number: int | None,
    tmp_path: Path,
    tool: Callable[[str], str],
) -> None:
    protected = {"gcc": ["-fcf-protection=full", "-Wl,-z,ibtplt"]}.get(
        compiler, ["-mbranch-protection=standard", "-Wl,-z,force-bti"]
    )
    words = [w for flag in flags for w in (protected if flag == "PROTECTED" else [flag])]
    source, library = tmp_path / "extension.c", tmp_path / "extension.so"
    source.write_text(RETURNING)
    command = [tool(compiler), "-shared", "-fPIC", "-nostdlib", *words, source, "-o", library]
    subprocess.run(command, check=True, capture_output=True)
    with ElfFile.open(library) as elf:
        assert returned_number(elf, (16, 32, 64, 128)) == number


def test_an_alignment_that_the_binary_does_not_tell_is_not_claimed(borrowed: Borrowed) -> None:
    """A build of one's own, with another Eigen, and one that says nothing that can be."""
    prefix, site = borrowed("2.15.1")
    assert install(prefix).eigen_max_align_bytes == 64
    module = site / "tensorflow/python/client/_pywrap_tf_session.so"
    whole = module.read_bytes()
    module.unlink()
    # `mov edi, 64; pop; jmp` of the one function.
    (place,) = (found.start() for found in re.finditer(rb"\xbf\x40\0\0\0\x5d\xe9", whole))
    for number, said in ((32, 32), (48, None)):
        module.write_bytes(whole[: place + 1] + bytes([number]) + whole[place + 2 :])
        found = install(prefix)
        assert found.eigen_max_align_bytes == said
        assert ("-DEIGEN_MAX_ALIGN_BYTES=32" in found.compile_flags) == (said is not None)
