"""The verdict: one plugin, its manifest, and an environment, brought together.

A `Checker` holds what plugins share (the environment, the lookup scope of its process, the parsed
libraries), so that checking many costs little more than reading each.
"""

from __future__ import annotations

import functools
import os

from ..binary.elf import ElfFile
from ..environment.live import Environment
from ..linker.resolve import predict
from ..models.errors import EnvironmentUnreadable, EnvlockError, InputError
from ..models.policy import DEFAULT, PolicyFile
from ..models.report import EnvironmentSummary, PluginSummary, Report, Unchecked
from ..plugin.facts import PluginFacts
from ..rules.evidence import Evidence
from ..rules.judge import judge
from ..rules.policy import resolve_policy, trusted_keys
from .live import LiveSide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from ..linker.prediction import Prediction
    from ..linker.scope import LiveScope
    from ..rules.evidence import Registered
    from .registering import Registered as KnownToTensorFlow

NO_TENSORFLOW = "install it there, or name the environment that has it with `--env ENV`"


def file_identity(status: os.stat_result) -> tuple[int, ...]:
    """What shows that a file is the same and unchanged: device, inode, size, times."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Checker:
    """Checks plugins against one environment, under one policy."""

    def __init__(self, environment: Environment, scope: LiveScope, policy: PolicyFile) -> None:
        self.environment = environment
        self.scope = scope
        self.policy = policy
        self.atlases: tuple[str, ...] = ()  # asked before all others, see `read_headers`
        self._summary: EnvironmentSummary | None = None
        try:
            self._trusted = trusted_keys(policy)
        except BaseException:
            self.close()  # nobody else will
            raise

    @classmethod
    def for_environment(
        cls,
        env: str | os.PathLike[str] | Environment | None = None,
        policy: PolicyFile = DEFAULT,
    ) -> Checker:
        """A checker for what a new process of an environment would say.

        Raises `EnvironmentUnreadable` when it is not one or has no TensorFlow, and what `trusted_keys`
        raises.
        """
        from ..linker.simulate import for_environment

        environment = env if isinstance(env, Environment) else Environment.open(env)
        _require_tensorflow(environment)
        return cls(environment, for_environment(environment), policy)

    @classmethod
    def for_process(cls, policy: PolicyFile = DEFAULT) -> Checker:
        """A checker for this very process: what is really mapped, and where TensorFlow is not yet,
        what its import will add.

        Raises `EnvironmentUnreadable`.
        """
        from ..linker.process import from_process

        scope = from_process()
        if scope.framework:
            return cls(_running_environment(), scope, policy)
        try:
            environment = Environment.open(None)
            _require_tensorflow(environment)
            assert environment.tensorflow is not None
            from ..linker.simulate import expect_stdlib, import_tensorflow

            import_tensorflow(scope, environment.tensorflow.package_dir)
            expect_stdlib(scope, environment.paths.stdlib)
            return cls(environment, scope, policy)
        except BaseException:
            scope.close()
            raise

    def close(self) -> None:
        """Unmap the libraries that were read; each of them holds a file descriptor."""
        self.scope.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def summary(self) -> EnvironmentSummary:
        """The environment as reports name it."""
        if self._summary is None:
            self._summary = self.environment.summary()
        return self._summary

    def read_headers(self, compiler: str) -> None:
        """Judge by the environment's own TensorFlow headers if no atlas knows this build.

        They are compiled with `compiler`, a g++, and what was read is kept in the user's cache
        folder. Raises `InputError` when they do not compile, `WriteError`.
        """
        from ..atlas.collection import find_installed

        assert self.environment.tensorflow is not None  # the checker refuses one without
        known = find_installed(self.environment.tensorflow, self.summary.distribution)
        if known is None or not known.exact:
            from ..atlas.adding import from_headers

            self.atlases = (from_headers(self.environment, compiler),)

    def check(self, path: str) -> Report:
        """The report on one plugin; an unreadable one gets a report without a verdict."""
        return self.check_for_load(path)[0]

    def check_for_load(self, path: str) -> tuple[Report, tuple[int, ...] | None]:
        """The report, and the identity of the very file that was checked."""
        try:
            elf = ElfFile.open(path)
        except InputError as error:
            return self._unreadable(path, error), None
        with elf:
            identity = file_identity(elf.status)
            try:
                return self.check_open(elf), identity
            except InputError as error:
                return self._unreadable(path, error), identity

    def loaded_as(self, identity: tuple[int, ...]) -> str | None:
        """The path under which this process has mapped a file, None where it has not."""
        if self.scope.process is None:
            return None
        loaded = self.scope.namespace.by_identity((identity[0], identity[1]))
        return None if loaded is None else loaded.path

    def leads_elsewhere(self, path: str) -> bool:
        """Whether dlopen would take a path for the name of another file, which it has loaded:
        one that has been replaced since, or a relative path in a folder that has been left."""
        process = self.scope.process
        loaded = self.scope.namespace.named(path)
        if process is None or loaded is None:
            return False
        file = process.file_of(loaded.path)
        try:
            return file is None or not os.path.samefile(file, path)
        except OSError:
            return False

    def predict(self, elf: ElfFile) -> Prediction:
        """What the dynamic linker would say."""
        return predict(elf, self.scope)

    def check_open(self, elf: ElfFile) -> Report:
        """The report on a plugin that is open. Raises `InputError`."""
        return self.judge(PluginFacts.of(elf))

    def judge(
        self, plugin: PluginFacts, prediction: Prediction | None = None, *, built_here: bool = False
    ) -> Report:
        """The report on a plugin whose file is open. Raises `InputError`.

        `built_here` says that it is about to be stamped for this environment.
        """
        evidence = self.collect(plugin, prediction, built_here=built_here)
        report = judge(evidence, self.policy, self._trusted)
        plugin.remember()
        return report

    def collect(
        self, plugin: PluginFacts, prediction: Prediction | None = None, *, built_here: bool = False
    ) -> Evidence:
        """What the verdict goes by: the plugin, this environment, what dlopen would answer."""
        _ = plugin.identity  # a damaged stamp is reported before what the linker says of the file
        if prediction is None:
            prediction = self.predict(plugin.elf)

        def registering() -> Registered:
            from .registering import find_registering

            return find_registering(plugin, self._registered)

        return Evidence(
            plugin,
            LiveSide(self.environment, self.scope, prediction, self.atlases),
            prediction,
            registering=registering,
            unchecked=[Unchecked(what="dynamic linker", why=why) for why in prediction.unchecked],
            built_here=built_here,
        )

    @functools.cached_property
    def _registered(self) -> KnownToTensorFlow | None:
        """What TensorFlow has registered, None where there is none."""
        from .registering import Registered

        install = self.environment.tensorflow
        return None if install is None else Registered(install, self.scope)

    def _unreadable(self, path: str, error: InputError) -> Report:
        return unreadable_report(path, error, self.summary)


def unreadable_report(
    path: str, error: EnvlockError, environment: EnvironmentSummary | None = None
) -> Report:
    """A report without a verdict: the input, or the environment, could not be read."""
    text = error.message if error.hint is None else f"{error.message}; {error.hint}"
    return Report(
        plugin=PluginSummary(path=path, stamped=False, error=text),
        environment=environment or EnvironmentSummary(),
        verdict=None,
    )


_running: Environment | None = None


def _running_environment() -> Environment:
    """The running environment; read once, since an imported TensorFlow stays what it is."""
    global _running
    if _running is None:
        environment = Environment.open(None)
        _require_tensorflow(environment)
        _running = environment
    return _running


def _require_tensorflow(environment: Environment) -> None:
    if environment.tensorflow is None:
        raise EnvironmentUnreadable(
            f"there is no TensorFlow in `{environment.paths.prefix}`", hint=NO_TENSORFLOW
        )


def _checker(
    env: str | os.PathLike[str] | None, policy: PolicyFile, live_headers: str | None
) -> Checker:
    from ..files.folders import added_files

    if added_files():
        from ..atlas.collection import open_added

        open_added()  # one that cannot be read is an error, not a missing answer
    checker = Checker.for_environment(env, policy)
    try:
        if live_headers is not None:
            checker.read_headers(live_headers)
    except BaseException:
        checker.close()
        raise
    return checker


def check(
    plugin: str | os.PathLike[str],
    *,
    env: str | os.PathLike[str] | None = None,
    policy: PolicyFile | str | os.PathLike[str] | None = None,
    live_headers: str | None = None,
) -> Report:
    """Check one plugin against an environment (default: the running one), loading nothing.

    `live_headers` is a g++ that compiles the environment's TensorFlow headers, should no atlas
    know that TensorFlow.

    Raises `ElfError`, `FileAccessError`, `ManifestError` when the plugin cannot be read,
    `EnvironmentUnreadable` when `env` is not an environment or has no TensorFlow, `PolicyError`;
    `KeyFileError`, `FileAccessError` and, without the package `cryptography`, `DependencyMissing`
    for the keys that a policy trusts; `InputError` for an atlas, and for headers that do not
    compile, `WriteError` where what was read of them cannot be kept.
    """
    chosen = resolve_policy(policy)
    # The file first: headers take a minute to compile, and it may not be there.
    with ElfFile.open(plugin) as elf, _checker(env, chosen, live_headers) as checker:
        return checker.check_open(elf)
