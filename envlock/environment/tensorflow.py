"""A TensorFlow installation, read from its files; TensorFlow itself is never imported.

Every property is read at first use and kept. What cannot be found out is None.
"""

from __future__ import annotations

import functools
import os
import sys

from ..files import reading as files
from ..models.errors import InputError
from ..models.manifest import BuildSetting, HeaderVersions, LibraryIdentity, TensorFlowFacts
from .numpy import find_package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..binary.elf import ElfFile
    from .conda import CondaPrefix, PrefixRecord
    from .distributions import Distribution, Distributions
    from .locate import EnvironmentPaths

FRAMEWORK = "libtensorflow_framework.so.2"
CC = "libtensorflow_cc.so.2"
INTERNAL = "python/_pywrap_tensorflow_internal.so"
COMMON = "python/lib_pywrap_tensorflow_common.so"
SESSION = "python/client/_pywrap_tf_session.so"

# __cplusplus by standard, as far as TensorFlow makes a flag of it; the likeliest first.
_STANDARDS = {17: 201703, 20: 202002, 14: 201402, 11: 201103}
#: What EIGEN_MAX_ALIGN_BYTES can be.
_ALIGNMENTS = (16, 32, 64, 128)


def find_tensorflow(
    paths: EnvironmentPaths, distributions: Distributions, conda: CondaPrefix | None
) -> tuple[TensorFlowInstall | None, str | None]:
    """The TensorFlow that `import tensorflow` takes there; or None and the reason."""
    package = _imported() if paths.running else None
    if package is None:
        package = find_package(paths.search_path, "tensorflow")
    if package is None:
        for folder in paths.search_path:
            rest = os.path.join(folder, "tensorflow")
            if os.path.isdir(rest):
                return None, f"`{rest}` has no `__init__.py`, so it is not a usable TensorFlow"
        return None, f"TensorFlow is not installed in `{paths.prefix}`"
    found = TensorFlowInstall(package, paths, distributions, conda)
    if found.framework is None:
        return None, f"`{package}` has no `{FRAMEWORK}`, so it is not an installed TensorFlow 2"
    return found, None


def _imported() -> str | None:
    """The package folder of a TensorFlow that this process has already imported."""
    origin = getattr(sys.modules.get("tensorflow"), "__file__", None)
    return os.path.dirname(os.path.abspath(origin)) if isinstance(origin, str) else None


class TensorFlowInstall:
    """One `tensorflow` package folder and what surrounds it."""

    def __init__(
        self,
        package_dir: str,
        paths: EnvironmentPaths,
        distributions: Distributions,
        conda: CondaPrefix | None,
    ) -> None:
        self.package_dir = package_dir
        self.include_dir = os.path.join(package_dir, "include")
        self._paths = paths
        self._distributions = distributions
        self._conda = conda

    # --- files -----------------------------------------------------------------------------------

    def path_of(self, name: str) -> str | None:
        """A file of the package by its relative name; conda keeps libraries in the prefix's lib."""
        places = [os.path.join(self.package_dir, name)]
        if self._paths.kind == "conda" and "/" not in name:
            places.append(os.path.join(self._paths.prefix, "lib", name))
        for place in places:
            if os.path.isfile(place):
                return place
        return None

    @functools.cached_property
    def framework(self) -> str | None:
        """Path of libtensorflow_framework.so.2."""
        return self.path_of(FRAMEWORK)

    @functools.cached_property
    def library_paths(self) -> tuple[str, ...]:
        """The libraries that hold the C++ API, as far as this release has them.

        libtensorflow_framework.so.2 (all), libtensorflow_cc.so.2 (2.12 and later),
        _pywrap_tensorflow_internal.so (all; the API itself up to 2.11),
        lib_pywrap_tensorflow_common.so (2.19 and later).
        """
        found = (self.path_of(name) for name in (FRAMEWORK, CC, INTERNAL, COMMON))
        return tuple(path for path in found if path is not None)

    # --- who installed it, which version ---------------------------------------------------------

    @functools.cached_property
    def distributions(self) -> tuple[Distribution, ...]:
        """All distributions that claim the framework library, the rightful one first.

        More than one when, for example, tensorflow and tensorflow-cpu were both installed.
        """
        site = os.path.dirname(self.package_dir)
        relative = f"{os.path.basename(self.package_dir)}/{FRAMEWORK}"
        found = self._distributions.all()
        sites = {folder for folder in {one.site for one in found} if _same(folder, site)}
        here = [one for one in found if one.site in sites]
        likely = [one for one in here if one.key.startswith("tf_") or "tensorflow" in one.key]
        likely.sort(key=lambda one: len(one.key))
        rest = [one for one in here if one not in likely]
        owners = _claiming(likely, relative) or _claiming(rest, relative)
        if owners:
            # Two claim it: the file is as long as the one installed last says.
            size = os.stat(self.framework or self.package_dir).st_size
            owners.sort(key=lambda pair: pair[1] not in (None, size))
            return tuple(one for one, _ in owners)
        # No RECORD lists it: conda keeps the library elsewhere, Debian keeps no RECORD.
        named = [one for one in likely if _lists_top_level(one)]
        return tuple(named)

    @property
    def distribution(self) -> Distribution | None:
        """The distribution that installed it; None for a copied folder or a bare build."""
        return self.distributions[0] if self.distributions else None

    @functools.cached_property
    def conda_record(self) -> PrefixRecord | None:
        """The conda package that installed it; None where pip did."""
        if self._conda is None:
            return None
        one = self.distribution
        if one is not None and not self._conda.installed(one.path):
            return None
        for name in ("__init__.py", FRAMEWORK):
            owner = self._conda.owner_of(os.path.join(self.package_dir, name))
            if owner is not None:
                return owner
        return None

    @functools.cached_property
    def version(self) -> str:
        """The release: its distribution's, else its headers', else the binary's own string."""
        one = self.distribution
        if one is not None and one.version != "unknown":
            return one.version
        if self.conda_record is not None:
            return self.conda_record.version
        from . import headers

        stated = headers.read_tensorflow_version(self.include_dir)
        return stated or self._strings[2] or "unknown"

    @property
    def imported_version(self) -> str | None:
        """What this process imported, None where it did not: another one after an upgrade."""
        if not self._paths.running:
            return None
        value = getattr(sys.modules.get("tensorflow"), "__version__", None)
        return files.plain(value) if isinstance(value, str) else None

    # --- how it was built ------------------------------------------------------------------------

    @functools.cached_property
    def _strings(self) -> tuple[str | None, str | None, str | None]:
        """(git version, compiler, release) as string constants of the binaries.

        In python/client/_pywrap_tf_session.so from 2.9, in the framework library before.
        """
        from . import binary

        for name in (SESSION, FRAMEWORK, COMMON, INTERNAL):
            path = self.path_of(name)
            if path is None:
                continue
            try:
                with _open(path) as elf:
                    found = binary.version_strings(elf)
            except InputError:
                continue
            if found[0] is not None:
                return found
        return None, None, None

    @property
    def git_version(self) -> str | None:
        """`tf.version.GIT_VERSION`; None for builds outside a git checkout ("unknown")."""
        return self._strings[0]

    @property
    def compiler(self) -> str | None:
        """`tf.version.COMPILER_VERSION`."""
        return self._strings[1]

    @functools.cached_property
    def cxx11_abi(self) -> bool | None:
        """`tf.sysconfig.CXX11_ABI_FLAG`: how OpDefBuilder::Attr(std::string) is exported."""
        from . import binary

        for name in (FRAMEWORK, CC, INTERNAL):
            path = self.path_of(name)
            if path is not None:
                try:
                    with _open(path) as elf:
                        found = binary.cxx11_abi(elf)
                except InputError:
                    continue
                if found is not None:
                    return found
        return None

    @functools.cached_property
    def cxx_standard(self) -> int | None:
        """The C++ standard that it was compiled with: 17; None before 2.11, which does not say."""
        if "_CXX_VERSION" not in self._sysconfig:
            return None
        path = self.path_of(SESSION)
        if path is None:
            return None
        from . import binary

        try:
            with _open(path) as elf:
                return binary.loaded_constant(elf, _STANDARDS)
        except InputError:
            return None

    @functools.cached_property
    def eigen_max_align_bytes(self) -> int | None:
        """EIGEN_MAX_ALIGN_BYTES as `tf.sysconfig` states it; None where it does not."""
        path = self.path_of(SESSION)
        if path is None or "get_eigen_max_align_bytes" not in self._sysconfig:
            return None
        from ..binary.code.returned import returned_number

        try:
            with _open(path) as elf:
                return returned_number(elf, _ALIGNMENTS)
        except InputError:
            return None

    @functools.cached_property
    def _sysconfig(self) -> str:
        path = os.path.join(self.package_dir, "python", "platform", "sysconfig.py")
        return files.text(path, files.HEADER_LIMIT) or ""

    @functools.cached_property
    def compile_flags(self) -> tuple[str, ...]:
        """`tf.sysconfig.get_compile_flags()` without the -I."""
        flags = []
        if self.cxx11_abi is not None:
            flags.append(f"-D_GLIBCXX_USE_CXX11_ABI={int(self.cxx11_abi)}")
        if self.cxx_standard is not None:
            flags.append(f"--std=c++{self.cxx_standard}")
        if self.eigen_max_align_bytes is not None:
            flags.append(f"-DEIGEN_MAX_ALIGN_BYTES={self.eigen_max_align_bytes}")
        return tuple(flags)

    @property
    def link_flags(self) -> tuple[str, ...]:
        """`tf.sysconfig.get_link_flags()` without the -L."""
        return (f"-l:{FRAMEWORK}",)

    @functools.cached_property
    def build_info(self) -> tuple[BuildSetting, ...]:
        """`tf.sysconfig.get_build_info()`, sorted; lists joined by commas, paths by name only."""
        from . import binary

        path = os.path.join(self.package_dir, "python", "platform", "build_info.py")
        try:
            source = files.read(path, files.HEADER_LIMIT)
        except files.Unreadable:
            return ()
        return tuple(
            BuildSetting(name=name, value=value)
            for name, value in sorted(binary.literal_pairs(source).items())
        )

    @functools.cached_property
    def headers(self) -> HeaderVersions:
        """Eigen, absl and protobuf as the installed headers state them."""
        from . import headers

        folders = [self.include_dir]
        if self._paths.kind == "conda":
            folders.append(os.path.join(self._paths.prefix, "include"))
        return headers.read_headers(folders)

    @functools.cached_property
    def libraries(self) -> tuple[LibraryIdentity, ...]:
        """Soname, build-id and size of each of `library_paths`."""
        return tuple(_identity(path) for path in self.library_paths)

    def facts(self) -> TensorFlowFacts:
        """All of it, as the manifest records it."""
        one, record = self.distribution, self.conda_record
        manager = "conda" if record is not None else "pip" if one is not None else None
        name = (
            one.canonical_name if one is not None else record.name if record is not None else None
        )
        return TensorFlowFacts(
            version=self.version,
            distribution=name,
            manager=manager,
            conda_build=None if record is None else record.build,
            git_version=self.git_version,
            compiler=self.compiler,
            cxx11_abi=self.cxx11_abi,
            cxx_standard=self.cxx_standard,
            compile_flags=self.compile_flags,
            link_flags=self.link_flags,
            build_info=self.build_info,
            headers=self.headers,
            libraries=self.libraries,
        )


def _open(path: str) -> ElfFile:
    from ..binary.elf import ElfFile

    return ElfFile.open(path)


def _same(one: str, other: str) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def _claiming(
    candidates: list[Distribution], relative: str
) -> list[tuple[Distribution, int | None]]:
    """The distributions whose RECORD lists the file, with the size that it states."""
    found = []
    for one in candidates:
        entry = one.entry_of(relative)
        if entry is not None:
            found.append((one, entry.size))
    return found


def _lists_top_level(one: Distribution) -> bool:
    return "tensorflow" in (one.text("top_level.txt") or "").split() or one.key == "tensorflow"


def _identity(path: str) -> LibraryIdentity:
    from ..binary.elf.dynamic import build_id

    name = os.path.basename(path)
    try:
        with _open(path) as elf:
            soname = elf.dynamic.soname
            return LibraryIdentity(
                name=name,
                soname=None if soname is None else files.plain(os.fsdecode(soname)),
                build_id=build_id(elf),
                size=elf.size,
            )
    except InputError:
        return LibraryIdentity(name=name)
