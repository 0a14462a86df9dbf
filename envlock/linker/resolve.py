"""`predict`: what `dlopen(path, RTLD_NOW | RTLD_LOCAL)` would answer in a live scope.

Mirrors `dl_open_worker_begin` (elf/dl-open.c): map the file, map its dependencies
(`_dl_map_object_deps`), check versions (`_dl_check_map_versions`), check the instruction set
(`_dl_open_check`), relocate in order (`_dl_relocate_object`), and the words of each error.
Nothing is loaded and no line of the plugin runs.
"""

from __future__ import annotations

import os

from ..binary.elf.dynamic import DT_RELR
from ..binary.elf.file import ElfFile
from ..binary.elf.relocations import ANY
from ..binary.elf.symbols import SHN_UNDEF, STB_LOCAL, STB_WEAK, begin_plugin
from ..models.errors import ElfError
from .header import Rejection, cut_off, inspect, isa_needed
from .header import verify as verify_file
from .library import Library, Version, open_plugin
from .lookup import LookupScope
from .mapping import Mapper, relocation_order
from .namespace import LoadedObject, Namespace
from .prediction import MissingSymbol, MissingVersion, Prediction
from .search import NotFound
from .soundness import names_itself, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .scope import LiveScope
    from .tls import StaticTls

#: Bytes of the names that are looked up for one library, beside four times its string table: names
#: hardly overlap in what linkers write.
SPARE = 1 << 20
_LOCAL_VISIBILITY = (1, 2)
_OPENERS = (b"dlopen", b"dlmopen")
#: How files of TensorFlow's own libraries begin; wheel repair puts a hash behind.
FRAMEWORK_STEMS = (
    "libtensorflow_framework",
    "libtensorflow_cc",
    "_pywrap_tensorflow_internal",
)


def predict(plugin: str | ElfFile, scope: LiveScope) -> Prediction:
    """Predict dlopen of a file: a path (one without a slash is searched, as dlopen does) or an
    open `ElfFile`.

    Raises `FileAccessError` when the file cannot be opened and `ElfError` when it is not ELF
    or its own tables contradict each other; everything else is an answer.
    """
    if isinstance(plugin, str):
        return _predict_path(plugin, scope)
    prediction = _begin(plugin.path, scope, named="/" in plugin.path)
    if prediction.already_loaded:
        return prediction
    library = _checked(plugin, scope, prediction)
    if library is not None:
        _continue(library, scope, prediction)
    return prediction


def _begin(path: str, scope: LiveScope, *, named: bool = True) -> Prediction:
    """`named`: the path is a name to dlopen too, not just how a file in this folder was opened."""
    begin_plugin()
    prediction = Prediction(path)
    prediction.scope = scope
    prediction.unchecked = tuple(scope.unchecked)
    prediction.already_loaded = named and scope.namespace.find(path) is not None
    return prediction


def _predict_path(path: str, scope: LiveScope) -> Prediction:
    """`predict` for a path: the file is closed again, so that many cost the memory of one."""
    prediction = _begin(path, scope)
    if prediction.already_loaded:
        return prediction
    place = path
    if "/" not in path:
        found = scope.searcher.find(path, None, scope.main)
        if isinstance(found, NotFound):
            prediction.fail(found.outcome, found.reason, found.error)
            return prediction
        place = found.path
    answer = inspect(place, scope.host)
    if isinstance(answer, ElfFile):
        with answer as elf:
            _continue(Library(elf, place), scope, prediction)
    elif isinstance(answer, int):
        text = f"{path}: cannot open shared object file: {os.strerror(answer)}"
        prediction.fail("refused", "file", text)
        open_plugin(place).close()  # says which of the errors it is
    elif answer.reason == "damaged":
        raise ElfError(answer.text)
    else:
        _reject(answer, path, prediction)
    return prediction


def _continue(library: Library, scope: LiveScope, prediction: Prediction) -> None:
    """The file is one that dlopen maps: its dependencies, versions and symbols."""
    namespace = Namespace(scope.namespace)
    if namespace.by_identity(library.identity) is not None:
        prediction.already_loaded = True
        return
    prediction.cut_off = cut_off(library.elf)
    root = LoadedObject(library.path, library, how="path", new=True)
    namespace.add(root, prediction.path)
    mapper = Mapper(namespace, scope.searcher, scope.main)
    try:
        _Opening(scope, prediction, mapper, root).run()
    except ElfError as error:
        if error.message.startswith(f"`{library.elf.path}` "):
            raise
        # Another library is damaged: the linker trusts its tables and may do anything.
        prediction.fail("crash", "damaged", error.message)


def _checked(elf: ElfFile, scope: LiveScope, prediction: Prediction) -> Library | None:
    """`inspect` for a file that is open already; None when dlopen refuses it (recorded)."""
    answer = verify_file(elf, scope.host)
    if answer is not None:
        _reject(answer, elf.path, prediction)
        return None
    return Library(elf, elf.path)


def _reject(answer: Rejection, path: str, prediction: Prediction) -> None:
    if answer.outcome != "skipped":
        prediction.fail(answer.outcome, answer.reason, answer.message(path, path))
    elif answer.reason == "class":
        prediction.fail("refused", "class", f"{path}: {answer.text}")
    else:
        text = f"{path}: cannot open shared object file: {os.strerror(answer.errno)}"
        prediction.fail("refused", answer.reason, text)


class _Opening:
    """One dlopen in progress."""

    def __init__(
        self, scope: LiveScope, prediction: Prediction, mapper: Mapper, root: LoadedObject
    ) -> None:
        self.scope = scope
        self.prediction = prediction
        self.mapper = mapper
        self.root = root
        #: (needed-by path, file) to a provider without any version table.
        self.bare: dict[tuple[str, bytes | None], Library] = {}
        self.traits = scope.host.traits
        self._static_tls: StaticTls | None = None

    def run(self) -> None:
        prediction = self.prediction
        mapped = self.mapper.map_dependencies(self.root, [])
        prediction.closure = tuple(mapped.dependencies)
        prediction.missing_libraries = tuple(mapped.missing)
        if self.scope.framework:
            prediction.second_framework = tuple(
                dependency
                for dependency in mapped.dependencies
                if dependency.new and os.path.basename(dependency.path).startswith(FRAMEWORK_STEMS)
            )
        if mapped.fatal is not None:
            prediction.fail(*mapped.fatal)
        new = [item for item in mapped.search_list if item.new]
        if self.traits.musl:
            self._look_at_libc()
        else:
            for item in new:
                self._check_versions(item)
        order = relocation_order(mapped.search_list, self.root, self.scope.host.sorts_depth_first)
        if self.traits.checks_processor:
            self._check_isa(order)
        self._relocate(order, mapped.search_list)

    def _look_at_libc(self) -> None:
        """A library that was linked against glibc, in a process on musl."""
        from .musl import linked_to_glibc

        root = self.root.library
        self.prediction.other_libc = root is not None and linked_to_glibc(root)

    def _check_versions(self, item: LoadedObject) -> None:
        """`_dl_check_map_versions` for one object."""
        library = item.library
        if library is None:
            return
        missing = list(self.prediction.missing_versions)
        absent = {entry.name for entry in self.prediction.missing_libraries}
        for need in library.needs:
            file = os.fsdecode(need.library)
            provider = self.mapper.namespace.named(file)
            if provider is None:
                if file not in absent:
                    self.prediction.fail(
                        "crash",
                        "assertion",
                        f"`{item.path}` needs versions from `{file}`, which it does not list as "
                        "needed and nothing has loaded: ld.so ends the process "
                        "(`dl-version.c: Assertion `needed != NULL' failed`)",
                    )
                continue
            if provider.library is None:
                continue
            if not provider.library.definitions.present:
                if not provider.library.versions and self.traits.asserts_versions:
                    self.bare[item.path, need.library] = provider.library
                continue
            names = provider.library.definitions.names
            every: frozenset[bytes] | None = None
            for version in need.versions:
                if not version.sound:
                    raise library.elf.damaged(
                        f"the needed version `{_text(version.name):.100}` has another name's hash, "
                        "so it is never found"
                    )
                if version.name in names:
                    continue
                if every is None:
                    every = frozenset(provider.library.definitions.by_index.values())
                if version.name in every:
                    continue
                text = _text(version.name)
                missing.append(MissingVersion(text, file, provider.path, item.path, version.weak))
                if not version.weak:
                    self.prediction.fail(
                        "refused",
                        "version",
                        f"{provider.path}: version `{text}' not found (required by {item.path})",
                    )
        self.prediction.missing_versions = tuple(missing)
        if library.elf.dynamic.get(DT_RELR) is not None:
            self._check_relr(library, item)

    def _check_relr(self, library: Library, item: LoadedObject) -> None:
        """DT_RELR where it wants a version, or is not known."""
        from .releases import relr_problem

        problem = relr_problem(library, item.path, self.traits)
        if problem is not None:
            self.prediction.fail(*problem)
        elif not self.traits.applies_relr:
            self.prediction.unrelocated += (item.path,)

    def _check_isa(self, order: list[LoadedObject]) -> None:
        """`dl_isa_level_check`: the processor level that a library says it needs."""
        level = self.scope.host.isa_level
        for item in order:
            library = item.library
            if library is None or not library.has_properties:
                continue
            needed = isa_needed(library.elf)
            if level is None:
                level = self.scope.searcher.processor.isa_level
            if level is not None and needed & ~level:
                self.prediction.fail(
                    "refused", "isa", f"{item.path}: CPU ISA level is lower than required"
                )

    def _relocate(self, order: list[LoadedObject], search_list: list[LoadedObject]) -> None:
        """`_dl_relocate_object` for every new object: look up what its relocations name."""
        shared = self.scope.shared_lookup(
            tuple(
                item.library
                for item in search_list
                if item is not self.root and item.library is not None
            )
        )
        root = self.root.library
        assert root is not None
        own = LookupScope([root], self.scope.main.library)
        missing: list[MissingSymbol] = []
        for item in order:
            if item.library is not None:
                verify(item.library.elf)
                self._relocate_one(item, item.library, (shared, own), missing)
        self.prediction.missing_symbols = tuple(missing)

    def _relocate_one(
        self,
        item: LoadedObject,
        library: Library,
        scopes: tuple[LookupScope, LookupScope],
        missing: list[MissingSymbol],
    ) -> None:
        """Every reference of one object.

        Whether something defines it does not depend on who comes first, so DF_SYMBOLIC and the
        place of the plugin in the scope do not matter here.
        """
        prediction = self.prediction
        relocations = library.relocations
        table = library.symbols
        shared, own = scopes
        known: set[int] = set()
        left = 4 * library.elf.dynamic.string_table[1] + SPARE
        process = self.scope.process
        # A few of its own: where they are not found, its hash table is damaged.
        own_ones = [(index, ANY) for index in relocations.own]
        for index, binding_class in (*relocations.references, *own_ones):
            symbol = table.symbol(index)
            if symbol.binding == STB_LOCAL or symbol.other & 3 in _LOCAL_VISIBILITY:
                names_itself(library.elf, symbol)
                continue
            left -= len(symbol.name)
            if left < 0:
                raise library.elf.damaged("the names of the symbols it needs overlap each other")
            if symbol.name in _OPENERS:
                prediction.unchecked += (
                    f"`{item.path}` calls {_text(symbol.name)} itself; what it opens is not seen",
                )
            version = None if self.traits.musl else _version_of(library, index)
            if version is not None and self.bare and (item.path, version.file) in self.bare:
                self._check_bare(item, symbol.name, version, shared)
            if (
                version is not None
                and version.file
                and self.traits.insists_on_file
                and self._absent(symbol.name, version, binding_class, shared)
            ):
                if index not in known:
                    known.add(index)
                    missing.append(_missing(symbol.name, version, item.path))
                    prediction.fail(
                        "refused", "symbol", self._absent_text(item, symbol.name, version)
                    )
                continue
            if (
                shared.defines(symbol.name, version, binding_class)
                or symbol.binding == STB_WEAK
                or index in known
                or own.find(symbol.name, version, binding_class) is not None
                or (
                    process is not None
                    and process.defines(symbol.name, version.name if version else None)
                )
            ):
                continue
            known.add(index)
            missing.append(_missing(symbol.name, version, item.path))
            prediction.fail("refused", "symbol", self._undefined(item, symbol.name, version))
        if relocations.static_tls:
            self._check_static_tls(item, library, shared)

    def _undefined(self, item: LoadedObject, name: bytes, version: Version | None) -> str:
        """What dlerror says of a symbol that nothing defines."""
        if self.traits.musl:
            from .musl import missing_symbol

            return missing_symbol(item.path, _text(name))
        suffix = f", version {_text(version.name)}" if version is not None else ""
        return f"{item.path}: undefined symbol: {_text(name)}{suffix}"

    def _absent(
        self, name: bytes, version: Version, binding_class: int, scope: LookupScope
    ) -> bool:
        """Whether the library that a version is needed from lacks the symbol, up to 2.29."""
        provider = self.mapper.namespace.named(os.fsdecode(version.file or b""))
        library = provider.library if provider is not None else None
        if library is None:
            return False
        from .releases import absent_from_file

        return absent_from_file(library, name, version, binding_class, scope)

    def _absent_text(self, item: LoadedObject, name: bytes, version: Version) -> str:
        from .releases import absent_text

        return absent_text(item.path, _text(name), version, self.traits)

    def _check_bare(
        self, item: LoadedObject, name: bytes, version: Version, shared: LookupScope
    ) -> None:
        """`check_match` up to 2.41 insists on versions in the very library they are needed from."""
        provider = self.bare[item.path, version.file]
        found = shared.find(name, version)
        if found is not None and found[0] is provider:
            self.prediction.fail(
                "crash",
                "assertion",
                f"`{item.path}` needs `{_text(name)}` in version `{_text(version.name)}` of "
                f"`{provider.path}`, which has no versions at all: ld.so ends the process "
                "(`dl-lookup.c: check_match: Assertion ... _dl_name_match_p' failed`)",
            )

    def _check_static_tls(self, item: LoadedObject, library: Library, scope: LookupScope) -> None:
        """`_dl_allocate_static_tls`: does the TLS that is addressed statically still fit?"""
        owners: dict[Library, None] = {}
        for index in library.relocations.static_tls:
            owner = library
            if index:
                symbol = library.symbols.symbol(index)
                if symbol.section == SHN_UNDEF:
                    found = scope.find(symbol.name, _version_of(library, index))
                    if found is None:
                        continue
                    owner = found[0]
            owners[owner] = None
        if self._static_tls is None:
            self._static_tls = self.scope.static_tls.copy()  # each dlopen is tried by itself
        for owner in owners:
            if not self._static_tls.take(owner):
                self.prediction.fail(
                    "refused",
                    "tls",
                    f"{item.path}: cannot allocate memory in static TLS block",
                )


def _version_of(library: Library, index: int) -> Version | None:
    raw = library.symbols.version_index(index)
    if raw is None:
        return None
    known = library.versions.get(raw & 0x7FFF)
    if known is None and raw & 0x7FFF > library.last_version:
        # `l_versions` has no such element: whatever stands behind it is taken for a version.
        raise library.elf.damaged(f"symbol {index} has the absent version {raw & 0x7FFF}")
    return known if known is not None and known.name else None


def _missing(name: bytes, version: Version | None, needed_by: str) -> MissingSymbol:
    wanted = _text(version.name) if version is not None else None
    file = os.fsdecode(version.file) if version and version.file else None
    return MissingSymbol(_text(name), needed_by, wanted, file)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
