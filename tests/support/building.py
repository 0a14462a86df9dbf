"""Real plugins, compiled once and kept: `build("resource", env)` -> the path of a `.so`.

The sources are `tests/campaigns/conformance/ops/`. A build is named by the digest of everything that goes
into it (sources, flags, compiler, TensorFlow release), so it is reused as long as nothing changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support import environments
from tests.support.environments import TfEnvironment

OPS = Path(__file__).resolve().parents[1] / "campaigns" / "conformance" / "ops"


class BuildError(RuntimeError):
    """The compiler or linker refused; the text is what it said."""


@dataclass(frozen=True)
class Recipe:
    """How a plugin differs from `source`, compiled with TensorFlow's own flags."""

    source: str
    answer: str
    """The function of `tests.campaigns.conformance.answers` that knows what it must compute."""
    flags: tuple[str, ...] = ()
    other_abi: bool = False
    tensorflow: bool = True
    extra_library: str | None = None
    """The source of a library that the plugin needs; it is looked for beside the plugin."""
    extra_present: bool = True

    @property
    def shares_header(self) -> bool:
        """Whether it starts with `common.h`, compiled just as for the others."""
        plain = not self.flags and not self.other_abi and self.tensorflow
        return plain and self.source not in ("c_api.cc",)


# Every plugin that the conformance tests build and try.
RECIPES = {
    "minimal": Recipe("minimal.cc", "minimal"),
    "attributes": Recipe("attributes.cc", "attributes"),
    "eigen_pool": Recipe("eigen_pool.cc", "eigen_pool"),
    "resource": Recipe("resource.cc", "resource"),
    "protobuf": Recipe("protobuf.cc", "protobuf"),
    "c_api": Recipe("c_api.cc", "c_api"),
    "dependency_present": Recipe("dependency.cc", "dependency", extra_library="extra.c"),
    "dependency_absent": Recipe(
        "dependency.cc", "dependency", extra_library="extra.c", extra_present=False
    ),
    "other_abi": Recipe("minimal.cc", "minimal", other_abi=True),
    "plain": Recipe("plain.c", "plain", tensorflow=False),
    "inline_readers": Recipe("inline_readers.cc", "inline_readers"),
    "lookup": Recipe("lookup.cc", "lookup"),
    "dataset": Recipe("dataset.cc", "dataset", flags=("-DNDEBUG",)),
    # The framework is built with NDEBUG, which changes how it counts the last reference.
    "dataset_debug": Recipe("dataset.cc", "dataset"),
}


@dataclass(frozen=True)
class TfFlags:
    """What `tf.sysconfig` of an environment says."""

    compile: tuple[str, ...]
    link: tuple[str, ...]

    @property
    def cxx11_abi(self) -> int:
        for flag in self.compile:
            name, _, value = flag.partition("=")
            if name == "-D_GLIBCXX_USE_CXX11_ABI":
                return int(value)
        raise ValueError(f"no CXX11 ABI among {self.compile}")


def flags_of(env: TfEnvironment) -> TfFlags:
    """The release's own compile and link flags; asked once (it takes an import), then kept."""
    kept = environments.cache_root() / "flags" / f"{env.prefix.name}.json"
    try:
        raw = json.loads(kept.read_text())
    except (OSError, ValueError):
        script = (
            "import json, tensorflow as tf; print(json.dumps("
            "[tf.sysconfig.get_compile_flags(), tf.sysconfig.get_link_flags()]))"
        )
        answer = env.run("-c", script)
        if answer.returncode != 0:
            raise BuildError(answer.stderr) from None
        raw = json.loads(answer.stdout.strip().splitlines()[-1])
        _write(kept, json.dumps(raw))
    return TfFlags(tuple(raw[0]), tuple(raw[1]))


def build_all(env: TfEnvironment, ops: Sequence[str] = tuple(RECIPES)) -> dict[str, Path]:
    """Many plugins of RECIPES at once: on all cores, with TensorFlow's headers parsed only once."""
    missing = [op for op in ops if not _plan(op, env, ()).plugin.exists()]
    sharing = [op for op in missing if RECIPES[op].shares_header]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(os.cpu_count()) as compilers:
        alone = {op: compilers.submit(build, op, env) for op in missing if op not in sharing}
        header = stack.enter_context(_precompiled(env)) if len(sharing) > 2 else None
        together = {op: compilers.submit(_built, _plan(op, env, ()), header) for op in sharing}
        for future in (*alone.values(), *together.values()):
            future.result()
    return {op: build(op, env) for op in ops}


def build(op: str | Path, env: TfEnvironment, *, flags: Sequence[str] = ()) -> Path:
    """The plugin `op` (a name in RECIPES, or a C or C++ source) built against `env`.

    `flags` come last on the compiler's command line, so they win over TensorFlow's own. The file
    is shared by all tests: copy it before changing it. Raises BuildError.
    """
    return _built(_plan(op, env, flags))


def command(op: str | Path, env: TfEnvironment) -> list[str]:
    """The command line that `build` runs, without its `-o`."""
    return _plan(op, env, ()).command


@dataclass(frozen=True)
class _Plan:
    recipe: Recipe
    command: list[str]
    plugin: Path


def _plan(op: str | Path, env: TfEnvironment, flags: Sequence[str]) -> _Plan:
    recipe = RECIPES.get(str(op)) or Recipe(str(op), "")
    source = OPS / recipe.source  # an absolute path stays what it is
    name = str(op) if str(op) in RECIPES else source.stem
    command = _command(recipe, source, env, flags)
    folder = environments.cache_root() / "plugins" / name / _digest(recipe, source, env, command)
    return _Plan(recipe, command, folder / f"{name}.so")


def _built(plan: _Plan, header: Path | None = None) -> Path:
    with _locked(plan.plugin.parent):
        if not plan.plugin.exists():
            # Only a way to the same result, so it is no part of what names the build.
            early = ["-include", str(header)] if header is not None else []
            _compile(plan.recipe, [*plan.command, *early], plan.plugin)
    return plan.plugin


@contextlib.contextmanager
def _precompiled(env: TfEnvironment) -> Iterator[Path]:
    """`common.h` compiled for one release; 400 MB, so it goes as soon as it has served."""
    sample = RECIPES["minimal"]
    command = _command(sample, OPS / sample.source, env, ())
    kept = [
        word for word in command if word.startswith(("-f", "-O", "-w", "-s", "--s", "-D", "-I"))
    ]
    with tempfile.TemporaryDirectory(prefix="envlock-header-") as folder:
        header = Path(folder) / "common.h"
        words = [word for word in kept if word != "-shared"]
        _run(["g++", *words, "-x", "c++-header", str(OPS / "common.h"), "-o", f"{header}.gch"])
        yield header


def other_abi_flag(env: TfEnvironment) -> str:
    """The `_GLIBCXX_USE_CXX11_ABI` that this TensorFlow was not built with."""
    return f"-D_GLIBCXX_USE_CXX11_ABI={1 - flags_of(env).cxx11_abi}"


def standard(env: TfEnvironment) -> str:
    """The C++ standard of the release; up to 2.10 its own flags do not say it."""
    return "-std=c++14" if env.minor < (2, 10) else "-std=c++17"


def _command(recipe: Recipe, source: Path, env: TfEnvironment, flags: Sequence[str]) -> list[str]:
    cxx = source.suffix != ".c"
    # Assertions name their file: where the checkout lies must not show in the code.
    place = f"-fmacro-prefix-map={source.parent}=."
    command = ["g++" if cxx else "gcc", "-shared", "-fPIC", "-O2", "-w", place, str(source)]
    if not recipe.tensorflow:
        return [*command, *flags]
    ours = flags_of(env)
    if cxx:
        command += [standard(env), f"-DTF_MINOR={env.minor[1]}", f"-I{OPS}"]
    # C does not know the flag that C++ takes its standard from.
    command += [flag for flag in ours.compile if cxx or "std=" not in flag]
    command += recipe.flags
    if recipe.other_abi:
        command.append(other_abi_flag(env))
    return [*command, *flags, *ours.link]


def _compile(recipe: Recipe, command: list[str], plugin: Path) -> None:
    # In the same file system, and renamed when it is whole.
    with tempfile.TemporaryDirectory(prefix=".building-", dir=plugin.parent) as temporary:
        made = Path(temporary) / plugin.name
        libraries = []
        if recipe.extra_library is not None:
            library = Path(temporary) / "libenvlock_extra.so"
            extra = ["gcc", "-shared", "-fPIC", "-O2", str(OPS / recipe.extra_library)]
            _run([*extra, "-Wl,-soname,libenvlock_extra.so", "-o", str(library)])
            libraries = [str(library), "-Wl,-rpath,$ORIGIN"]
            if recipe.extra_present:
                shutil.copy(library, plugin.parent)
        _run([*command, *libraries, "-o", str(made)])
        os.rename(made, plugin)


def _run(command: list[str]) -> None:
    answer = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    if answer.returncode != 0:
        errors = [line for line in answer.stderr.splitlines() if "error" in line or "ld:" in line]
        said = "\n".join(errors[:12] or answer.stderr.splitlines()[:12])
        raise BuildError(f"`{' '.join(command)}`:\n{said}")


@functools.cache
def _compiler(name: str) -> str:
    return subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout


def _digest(recipe: Recipe, source: Path, env: TfEnvironment, command: list[str]) -> str:
    digest = hashlib.sha256()
    inputs = [source]
    if recipe.tensorflow:
        inputs += sorted(OPS.glob("*.h"))
    if recipe.extra_library is not None:
        inputs.append(OPS / recipe.extra_library)
    for path in inputs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    # Where the checkout and the cache lie does not matter.
    text = "\0".join(command).replace(str(OPS), "").replace(str(env.prefix), "")
    text = text.replace(str(source.parent), "")
    where = env.prefix.name if recipe.tensorflow else ""
    for part in (where, text.replace(str(source), ""), str(recipe), _compiler(command[0])):
        digest.update(part.encode() + b"\0")
    # The folder says to people what is in it.
    return f"{where or 'any'}-{digest.hexdigest()[:16]}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
