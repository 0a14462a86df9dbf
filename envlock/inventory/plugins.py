"""Finding TensorFlow plugins: shared libraries that ask for TensorFlow."""

from __future__ import annotations

import os
import re

from ..binary.elf import ElfFile
from ..binary.elf.notes import find_stamp
from ..models.errors import InputError
from ..models.manifest import Owner
from ..models.snapshot import PluginEntry
from ..plugin.manifest import read_embedded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..environment.live import Environment
    from ..environment.locate import EnvironmentPaths
    from .packages import Installed

_FRAMEWORK = (
    b"libtensorflow_framework",
    b"libtensorflow_cc",
    b"_pywrap_tensorflow",
    b"lib_pywrap_tensorflow",
)
#: How C++ names in TensorFlow's namespaces, and its C APIs, look in a string table.
_NAMES = (b"10tensorflow", b"\0TF_", b"\0TFE_", b"\0TSL_")
# Const member functions are `_ZNK10tensorflow...`.
_IMPORT = re.compile(rb"NK?10tensorflow|^(?:TF|TFE|TSL)_[A-Z]", re.M)
_OWN = re.compile(rb"libtensorflow(?:_framework|_cc)?\.so|(?:lib)?_pywrap_tensorflow\w*\.so")
#: What the `tensorflow` package folder holds; plugins are never in it.
_PACKAGE = frozenset({"libtensorflow_framework.so.2", "__init__.py", "python"})
_OTHER_FILES = (".py", ".pyi", ".h", ".txt", ".json")
#: Bytes of a plugin that its digest covers: more than any library has.
_LARGEST = 1 << 34
#: Folders that hold no plugins and many files.
_SKIPPED = frozenset({"__pycache__", "include", "node_modules", ".git", "conda-meta", "pkgs"})


def is_library_name(name: str) -> bool:
    """`x.so`, `x.so.1.2`."""
    if ".so" not in name:
        return False
    return name.endswith(".so") or name.rpartition(".so.")[2][:1].isdigit()


def is_plugin(elf: ElfFile) -> bool:
    """Whether a shared library is meant to be loaded into TensorFlow.

    It needs one of TensorFlow's libraries, or imports TensorFlow's names without saying from where
    (that works from 2.20 on). TensorFlow's own libraries are not plugins.
    """
    dynamic = elf.dynamic
    soname = dynamic.soname or os.fsencode(os.path.basename(elf.path))
    if _OWN.match(soname):
        return False
    if any(name.startswith(_FRAMEWORK) for name in dynamic.needed):
        return True
    start, size = dynamic.string_table
    if all(elf.data.find(name, start, start + size) < 0 for name in _NAMES):
        return False
    from ..plugin.compilation import undefined_names

    return _IMPORT.search(undefined_names(elf)) is not None


def is_wanted(path: str) -> bool:
    """Whether a library that was found is to be checked: a plugin, whatever is stamped, and ELF
    that cannot be read, since that may have been one; a linker script and a text are none."""
    try:
        with ElfFile.open(path) as elf:
            return is_plugin(elf) or find_stamp(elf) is not None
    except InputError:
        from ..files import reading as files

        try:
            return files.read(path, 4, head=True) == b"\x7fELF"
        except files.Unreadable:
            return False


def libraries_below(
    folder: str, *, wheels: bool = False, failed: Callable[[OSError], object] | None = None
) -> Iterator[str]:
    """Paths of the shared libraries, and with `wheels` of the wheels, below a folder.

    The `tensorflow` package is left out. Symbolic links to folders are not followed, so that a loop
    ends. `failed` is called for folders that cannot be read.
    """
    stack = [folder]
    while stack:
        here = stack.pop()
        found, below = [], []
        known = 0
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    name = entry.name
                    if name in _PACKAGE:
                        known += 1
                    if is_library_name(name) or (wheels and name.endswith(".whl")):
                        if _is_file(entry):
                            found.append(entry.path)
                            continue
                    # A file with a usual suffix need not be asked what it is.
                    elif name in _SKIPPED or name.endswith(_OTHER_FILES):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
        except OSError as error:
            if failed is not None:
                failed(error)
            continue
        if known < len(_PACKAGE):
            yield from found
            stack += sorted(below, reverse=True)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link that leads round in a circle or where nobody may look: such
    a one is looked at, and reported, by itself."""
    try:
        return entry.is_file()
    except OSError:
        return True


def plugin_folders(paths: EnvironmentPaths) -> list[str]:
    """The folders in which an environment's plugins can lie."""
    folders = [folder for folder in paths.search_path if os.path.isdir(folder)]
    if paths.kind == "conda":
        folders.append(os.path.join(paths.prefix, "lib"))
    return folders


def environment_plugins(environment: Environment) -> list[str]:
    """Absolute paths of the plugins in an environment, sorted; TensorFlow's own files left out."""
    plugins: dict[str, str] = {}
    seen: set[str] = set()
    for folder in plugin_folders(environment.paths):
        for path in libraries_below(folder):
            if path in seen:
                continue
            seen.add(path)
            try:
                with ElfFile.open(path) as elf:
                    if is_plugin(elf):
                        plugins.setdefault(os.path.realpath(path), path)
            except InputError:
                continue
    return sorted(plugins.values())


def plugin_entries(
    environment: Environment, installed: Installed, paths: Iterable[str], edited: frozenset[str]
) -> tuple[PluginEntry, ...]:
    """The plugins (`environment_plugins`) as a snapshot records them."""
    entries = [_entry(environment, installed, path, edited) for path in paths]
    return tuple(sorted(entries, key=lambda entry: entry.path))


def relative(environment: Environment, path: str) -> str:
    """A file's place in its environment: "{site}/pkg/_op.so"."""
    from ..files.reading import plain
    from .variables import place

    folders = sorted(environment.paths.search_path, key=len, reverse=True)
    for folder in folders:
        if path.startswith(folder.rstrip("/") + "/"):
            return plain("{site}" + path[len(folder.rstrip("/")) :])
    return place(path, environment.paths)


def _entry(
    environment: Environment, installed: Installed, path: str, edited: frozenset[str]
) -> PluginEntry:
    from .native import owner_of

    manifest = stamp = problem = None
    try:
        with ElfFile.open(path) as elf:
            embedded = read_embedded(elf)
        if embedded is not None:
            manifest, stamp = embedded.manifest, embedded.stamp
    except InputError as error:
        from ..files.reading import plain

        problem = plain(error.message.replace(path, os.path.basename(path)))
    owner = owner_of(environment, installed, path)
    return PluginEntry(
        path=relative(environment, path),
        digest=_digest(environment, owner, path, edited),
        owner=owner,
        stamp=stamp,
        manifest=manifest,
        problem=problem,
    )


def _digest(
    environment: Environment, owner: Owner | None, path: str, edited: frozenset[str]
) -> str | None:
    """The file's digest; of an untouched file of a pip package the one that RECORD states."""
    if owner is not None and owner.manager == "pip" and path not in edited:
        one = environment.distributions.find(owner.name)
        if one is not None:
            entry = one.entry_of(os.path.relpath(path, one.site))
            if entry is not None and (entry.digest or "").startswith("sha256="):
                from base64 import urlsafe_b64decode

                text = (entry.digest or "")[len("sha256=") :]
                try:
                    return f"sha256:{urlsafe_b64decode(text + '=' * (-len(text) % 4)).hex()}"
                except ValueError:
                    pass
    from .integrity import file_digest

    found = file_digest(path, "sha256", _LARGEST)
    return None if found is None else f"sha256:{found.hex()}"
