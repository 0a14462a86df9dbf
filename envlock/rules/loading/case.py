"""What a cause sees: the prediction, the plugin, the environment, and the problems left to explain."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from ...linker.library import Library
    from ...linker.prediction import MissingLibrary, MissingSymbol, MissingVersion, Prediction
    from ...models.manifest import HeaderVersions, PluginIdentity, TensorFlowFacts
    from ...models.report import Finding
    from ..installing import Paths, Place

    class InstalledTensorFlow(Protocol):
        """The installed TensorFlow, as far as causes name it."""

        @property
        def version(self) -> str: ...
        @property
        def cxx11_abi(self) -> bool | None: ...
        @property
        def cxx_standard(self) -> int | None: ...
        @property
        def headers(self) -> HeaderVersions: ...

    class EnvironmentPlaces(Paths, Protocol):
        """Where the environment is, and of which kind."""

        @property
        def kind(self) -> str: ...

    class EnvironmentFacts(Protocol):
        """The environment, as far as causes name it (`envlock.environment.live.Environment`)."""

        @property
        def paths(self) -> EnvironmentPlaces: ...
        @property
        def tensorflow(self) -> InstalledTensorFlow | None: ...


#: Function names whose exports are remembered for the next plugin.
MOST_KNOWN = 4096
#: Examples in one finding.
MOST_EXAMPLES = 5


class Case:
    """One prediction to explain. `symbols`, `libraries` and `versions` shrink as causes take."""

    def __init__(
        self,
        prediction: Prediction,
        plugin: PluginIdentity,
        environment: EnvironmentFacts | None,
        recorded: TensorFlowFacts | None = None,
    ) -> None:
        self.recorded = recorded  # the TensorFlow that the manifest names
        self.prediction = prediction
        self.plugin = plugin
        self._environment = environment
        self.libraries = list(prediction.missing_libraries)
        self.versions = [v for v in prediction.missing_versions if not v.weak]
        absent = {(v.needed_by, v.version) for v in self.versions}
        # A symbol in a version that is absent is not a second problem, and a process that ends
        # before symbols are looked up has none.
        self.symbols = [
            symbol
            for symbol in prediction.missing_symbols
            if prediction.outcome != "crash" and (symbol.needed_by, symbol.version) not in absent
        ]
        self.findings: list[Finding] = []

    @property
    def environment(self) -> EnvironmentFacts:
        """The environment; causes in the plugin's own file and in glibc's versions need none."""
        assert self._environment is not None
        return self._environment

    @property
    def name(self) -> str:
        """The plugin's file name."""
        return os.path.basename(self.prediction.path)

    @property
    def tensorflow(self) -> str:
        """The installed TensorFlow in words."""
        found = self.environment.tensorflow
        return "no TensorFlow" if found is None else f"TensorFlow {found.version}"

    @property
    def place(self) -> Place:
        """The environment, for commands that change it."""
        from ..installing import Place

        return Place(None, self.environment.paths)

    def flags(self, kind: str) -> str:
        """What a shell replaces by the environment's "compile" or "link" flags."""
        return flags(kind, self.place.python_command)

    @property
    def other_release(self) -> TensorFlowFacts | None:
        """The TensorFlow that the manifest names, where it is another release than the installed."""
        live = self.environment.tensorflow
        if self.recorded is None or live is None or self.recorded.version == live.version:
            return None
        return self.recorded

    @property
    def framework(self) -> tuple[Library, ...]:
        """The installed framework libraries, libtensorflow_framework first."""
        scope = self.prediction.scope
        return () if scope is None else scope.framework_libraries

    def exported_by_framework(self, name: str) -> str | None:
        """The framework library that exports a name, whether or not the plugin may see it."""
        scope = self.prediction.scope
        if scope is None:
            return None
        raw = name.encode("utf-8", "backslashreplace")
        lookup = scope.framework_lookup
        if not lookup.defines(raw, None, 0):
            return None
        found = lookup.find(raw)
        return None if found is None else os.path.basename(found[0].path)

    def similar(self, name: str) -> list[str]:
        """What libtensorflow_framework exports under the same function name."""
        from ...binary.names.symbols import qualified_prefix

        prefix = qualified_prefix(name)
        scope = self.prediction.scope
        if prefix is None or scope is None:
            return []
        known = scope.similar_names.get(prefix)
        if known is None:
            if len(scope.similar_names) >= MOST_KNOWN:
                scope.similar_names.clear()
            known = [text for library in self.framework[:1] for text in siblings(library, name)]
            scope.similar_names[prefix] = known
        return known

    def take_symbols(self, fits: Callable[[MissingSymbol], bool]) -> list[MissingSymbol]:
        """Remove and return the missing symbols that a cause explains."""
        taken = [symbol for symbol in self.symbols if fits(symbol)]
        if taken:
            kept = {id(symbol) for symbol in taken}
            self.symbols = [symbol for symbol in self.symbols if id(symbol) not in kept]
        return taken

    def take_libraries(self, fits: Callable[[MissingLibrary], bool]) -> list[MissingLibrary]:
        """Remove and return the missing libraries that a cause explains."""
        taken = [library for library in self.libraries if fits(library)]
        self.libraries = [library for library in self.libraries if library not in taken]
        return taken

    def take_versions(self, fits: Callable[[MissingVersion], bool]) -> list[MissingVersion]:
        """Remove and return the missing versions that a cause explains."""
        taken = [version for version in self.versions if fits(version)]
        self.versions = [version for version in self.versions if version not in taken]
        return taken

    def examples(self, symbols: Iterable[MissingSymbol]) -> tuple[str, ...]:
        """At most five symbols, demangled, the first one that dlopen names first."""
        from ...binary.names.symbols import demangle

        chosen = list(symbols)[:MOST_EXAMPLES]
        shown = demangle(symbol.name for symbol in chosen)
        return tuple(
            text if symbol.version is None else f"{text}@{symbol.version}"
            for text, symbol in zip(shown, chosen)
        )


def flags(kind: str, python: str = "python") -> str:
    """What a shell replaces by TensorFlow's "compile" or "link" flags."""
    call = f"import tensorflow as tf; print(*tf.sysconfig.get_{kind}_flags())"
    return f"$({python} -c '{call}')"


def plural(count: int, noun: str) -> str:
    """`1 symbol`, `2 symbols`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def siblings(library: Library, name: str, limit: int = 8) -> list[str]:
    """What a library exports under the same function name, with other parameters or tags.

    Searches the string table for the prefix; costs a pass over it, so only a finding pays for it.
    """
    from ...binary.names.symbols import qualified_prefix

    prefix = qualified_prefix(name)
    if prefix is None:
        return []
    start, size = library.elf.dynamic.string_table
    data = library.elf.data
    wanted = prefix.encode()
    found: list[str] = []
    at = start
    while len(found) < limit:
        at = data.find(wanted, at, start + size)
        if at < 0:
            break
        end = data.find(b"\0", at, start + size)
        if end < 0:
            break
        if data[at - 1] == 0:
            candidate = data[at:end]
            symbols = library.symbols.candidates(candidate)
            if any(symbol.defined for symbol in symbols):
                found.append(candidate.decode("ascii", "backslashreplace"))
        at = end
    return found
