"""The manifest that `envlock stamp` embeds: what the plugin is and what it was built against.

Every field that could not be found out is None (or empty): the check then lists it under
`unchecked`. Nothing here may hold a time, an absolute path or a user's name.
"""

from __future__ import annotations

from .dependencies import Dependencies
from .record import Record
from .registration import Registrations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

MANIFEST_FORMAT = "envlock.manifest/1"


class Owner(Record):
    """The package that installed a file."""

    manager: str  # "pip" or "conda"
    name: str
    version: str
    build: str | None = None  # conda's build string
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"manager": ("pip", "conda")}


class Library(Record):
    """One library of the plugin's closure, as the build environment resolves it."""

    soname: str  # the DT_NEEDED name under which it was asked for
    found_by: str | None = None  # "runpath", "ld.so.cache", ...: see envlock.linker.prediction
    version: str | None = None  # the real version, where the file or its package tells one
    build_id: str | None = None
    owner: Owner | None = None


class SymbolVersions(Record):
    """Versions that the plugin needs from one library (DT_VERNEED)."""

    library: str
    versions: tuple[str, ...]


class CodeDigest(Record):
    """Digest of the loaded bytes that strip and patchelf leave alone; see docs/reference/manifest.md."""

    algorithm: str  # "sha256"
    value: str
    covers: str  # the name of the covering rule, "code/1"


class Compilation(Record):
    """How the plugin was compiled, as far as the binary itself, or its compile command, tells."""

    compilers: tuple[str, ...] = ()  # .comment entries and DWARF producers, without flags
    flags: tuple[str, ...] = ()  # ABI-relevant flags from DW_AT_producer or .GCC.command.line
    some_flags: tuple[str, ...] = ()  # -m... of `flags` that only part of it was compiled with
    cxx_standard: int | None = None  # 11, 14, 17, 20, ...
    cxx11_abi: bool | None = None  # None: no name in it depends on it
    absl_namespace: str | None = None  # "lts_20230802"; None: uses no absl
    ndebug: bool | None = None
    march: str | None = None
    eigen_max_align_bytes: int | None = None
    uses_c_api_only: bool | None = None
    from_command: tuple[str, ...] = ()  # the fields that the named compile command told


class PluginIdentity(Record):
    """The plugin file itself."""

    name: str  # file name without folders
    soname: str | None = None
    machine: str
    bits: int
    byte_order: str  # "little" or "big"
    build_id: str | None = None
    code: CodeDigest | None = None
    needed: tuple[str, ...] = ()
    symbol_versions: tuple[SymbolVersions, ...] = ()
    compilation: Compilation
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"byte_order": ("little", "big")}


class HeaderVersions(Record):
    """Versions of the libraries whose headers TensorFlow bundles."""

    eigen: str | None = None  # "3.4.90"
    absl: str | None = None  # "lts_20230802"
    protobuf: str | None = None  # "3.21.9" or "5.28.3"


class BuildSetting(Record):
    """One entry of TensorFlow's own build_info (CUDA, cuDNN, ROCm versions and the like)."""

    name: str
    value: str


class LibraryIdentity(Record):
    """What tells one build of a TensorFlow library from another."""

    name: str  # file name, libtensorflow_framework.so.2
    soname: str | None = None
    build_id: str | None = None
    size: int | None = None  # bytes


class TensorFlowFacts(Record):
    """A TensorFlow installation, read without importing it."""

    version: str
    distribution: str | None = None  # "tensorflow", "tensorflow-cpu", "tf-nightly", ...
    manager: str | None = None  # "pip" or "conda"
    conda_build: str | None = None
    git_version: str | None = None
    compiler: str | None = None
    cxx11_abi: bool | None = None
    cxx_standard: int | None = None
    compile_flags: tuple[str, ...] = ()  # without -I
    link_flags: tuple[str, ...] = ()  # without -L
    build_info: tuple[BuildSetting, ...] = ()
    headers: HeaderVersions = HeaderVersions()
    libraries: tuple[LibraryIdentity, ...] = ()

    @property
    def eigen_max_align_bytes(self) -> int | None:
        """EIGEN_MAX_ALIGN_BYTES, as `compile_flags` tells it."""
        for flag in self.compile_flags:
            name, _, value = flag.partition("=")
            if name == "-DEIGEN_MAX_ALIGN_BYTES" and value.isdigit():
                return int(value)
        return None


class NumpyFacts(Record):
    """An installed numpy: version and the numbers that its C-API check compares."""

    version: str
    c_api: int | None = None  # NPY_API_VERSION
    abi: int | None = None  # NPY_ABI_VERSION


class PythonFacts(Record):
    """The interpreter."""

    version: str  # "3.11.7"
    implementation: str  # "cpython"
    soabi: str | None = None  # "cpython-311-x86_64-linux-gnu"
    debug: bool | None = None
    free_threaded: bool | None = None


class LibstdcxxFacts(Record):
    """The libstdc++ that the dynamic linker will find in this environment."""

    found_by: str | None = None
    glibcxx: str | None = None  # highest GLIBCXX_ version it defines, "3.4.30"
    cxxabi: str | None = None  # highest CXXABI_ version, "1.3.13"
    owner: Owner | None = None


class PlatformFacts(Record):
    """Machine and C/C++ run time."""

    machine: str  # "x86_64"
    system: str = "linux"
    libc: str | None = None  # "glibc" or "musl"
    libc_version: str | None = None
    libstdcxx: LibstdcxxFacts | None = None


class PackagePin(Record):
    """One package of the build environment, enough to ask for it again."""

    manager: str
    name: str
    version: str
    build: str | None = None
    channel: str | None = None  # conda channel name, no host
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"manager": ("pip", "conda")}


class Manifest(Record):
    """All of it."""

    format: str
    generator: str  # "tf-envlock 0.1.0"
    forced: bool = False  # stamped with --force although the environment could not load it
    plugin: PluginIdentity | None = None  # None in a linked-in note: it is not linked yet
    tensorflow: TensorFlowFacts | None = None
    numpy: NumpyFacts | None = None
    python: PythonFacts
    platform: PlatformFacts
    libraries: tuple[Library, ...] = ()
    packages: tuple[PackagePin, ...] = ()
    abi: Dependencies | None = None  # the classes that its code depends on
    registrations: Registrations | None = None  # the ops and kernels that it registers
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"format": (MANIFEST_FORMAT,)}
