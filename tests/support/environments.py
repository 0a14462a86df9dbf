"""Real TensorFlow environments for tests: made once with uv, kept in a cache folder, reused.

    env = ensure("2.15.1")              # tensorflow-cpu, newest fitting interpreter
    env.python                          # .../tensorflow-cpu-2.15.1-py3.9/bin/python
    ensure("2.15.1", "tensorflow")      # the full package
    can_ensure("2.5.3")                 # None, or why this machine cannot run that release

The cache folder is `$ENVLOCK_TEST_CACHE`, or `envlock-tests` in the user's cache folder. uv fills
an environment with hard links from its own cache, so the files of a wheel are stored once.

As a command (`python -m tests.support.environments 2.15.1 2.16.2`) it makes the named ones, or with
`--newest` the newest patch of every minor release that the interpreters found here can run.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# The newest patch of every minor release; the ones that tests name.
NEWEST = (
    "2.5.3",
    "2.6.5",
    "2.7.4",
    "2.8.4",
    "2.9.3",
    "2.10.1",
    "2.11.1",
    "2.12.1",
    "2.13.1",
    "2.14.1",
    "2.15.1",
    "2.16.2",
    "2.17.1",
    "2.18.1",
    "2.19.1",
    "2.20.0",
    "2.21.0",
)

# What `make test` uses: one or more of every generation of TensorFlow's binary interface.
FOR_TESTS = (
    "2.6.5",
    "2.8.4",
    "2.11.1",
    "2.13.1",
    "2.15.1",
    "2.16.2",
    "2.18.1",
    "2.20.0",
    "2.21.0",
)

Minor = tuple[int, int]

# First TensorFlow minor that the row holds for -> CPython minors with x86-64 Linux wheels. The list
# starts at 3.9 because envlock does.
_WHEELS: tuple[tuple[Minor, tuple[Minor, ...]], ...] = (
    ((2, 21), ((3, 10), (3, 11), (3, 12), (3, 13))),
    ((2, 20), ((3, 9), (3, 10), (3, 11), (3, 12), (3, 13))),
    ((2, 16), ((3, 9), (3, 10), (3, 11), (3, 12))),
    ((2, 12), ((3, 9), (3, 10), (3, 11))),
    ((2, 8), ((3, 9), (3, 10))),
    ((2, 5), ((3, 9),)),
)

# What must be held back so that `import tensorflow` works with packages published since.
_PINS: tuple[tuple[Minor, tuple[str, ...]], ...] = (
    ((2, 18), ()),
    ((2, 12), ("numpy<2",)),
    ((2, 11), ("protobuf<3.21", "numpy<2")),
    ((2, 5), ("protobuf<3.21", "numpy<1.24")),
)

# 3.9 runs most releases and is what the recorded outcomes were measured with.
_PREFERENCE: tuple[Minor, ...] = ((3, 9), (3, 11), (3, 10), (3, 12), (3, 13), (3, 14))

MIN_FREE_BYTES = 5_000_000_000

# The quiet, CPU-only surroundings in which tests run TensorFlow.
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}


class CannotEnsure(RuntimeError):
    """This machine cannot have that environment; the text says why and what would help."""


@dataclass(frozen=True)
class TfEnvironment:
    """A virtual environment with one TensorFlow in it."""

    python: Path
    prefix: Path
    site_packages: Path
    version: str
    package: str

    @property
    def minor(self) -> Minor:
        return _minor(self.version)

    @property
    def python_minor(self) -> Minor:
        major, minor = self.site_packages.parent.name[len("python") :].split(".")
        return int(major), int(minor)

    @property
    def tensorflow(self) -> Path:
        """The package's folder, which holds the framework libraries and the headers."""
        return self.site_packages / "tensorflow"

    def run(
        self, *args: str, timeout: float = 300, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python, quietly and CPU only; the exit status is not checked."""
        return subprocess.run(
            [str(self.python), *args],
            env={**clean_environ(), **QUIET, **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
        )


def cache_root() -> Path:
    """The folder that outlives a checkout: environments, built plugins, outcomes, wheels."""
    named = os.environ.get("ENVLOCK_TEST_CACHE")
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "envlock-tests"


def clean_environ() -> dict[str, str]:
    """This process's variables without those that would leak its own Python into another one."""
    drop = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "LD_LIBRARY_PATH"}
    return {k: v for k, v in os.environ.items() if k not in drop}


def ensure(version: str, package: str = "tensorflow-cpu") -> TfEnvironment:
    """The environment with exactly that release, made now if the cache lacks it.

    Safe with several processes at once: one makes it, the others wait. Raises CannotEnsure where no
    fitting interpreter, too little room or no package is to be had.
    """
    reason = can_ensure(version, package)
    if reason is not None:
        raise CannotEnsure(reason)
    existing = _existing(version, package)
    if existing is not None:
        mend(existing)
        return existing
    python_minor = _choose(version)
    prefix = _folder(version, package, python_minor)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with _locked(prefix.parent / f".{prefix.name}.lock"):
        if not _is_complete(prefix):
            _make(prefix, version, package, available_interpreters()[python_minor])
    return _describe(prefix, version, package, python_minor)


@functools.cache
def mend(env: TfEnvironment) -> None:
    """Install certifi anew where something on this machine has edited its list of certificates.

    Some networks do that to every list that they find; uv's cache is edited with it, being the same
    file. The tests of drift want environments that are as they were installed.
    """
    records = list(env.site_packages.glob("certifi-*.dist-info/RECORD"))
    listed = next((r for r in records if "certifi/cacert.pem,sha256=" in r.read_text()), None)
    if listed is None:
        return
    with _locked(env.prefix.parent / f".{env.prefix.name}.lock"):
        digest = hashlib.sha256((env.site_packages / "certifi/cacert.pem").read_bytes()).digest()
        wanted = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if f"certifi/cacert.pem,sha256={wanted}," in listed.read_text():
            return
        version = listed.parent.name.removesuffix(".dist-info").partition("-")[2]
        command = [*uv(), "pip", "install", "--quiet", "--no-cache", "--no-deps", "--reinstall"]
        subprocess.run([*uv(), "cache", "clean", "--quiet", "certifi"], env=clean_environ())
        command += ["--link-mode=copy", "--python", str(env.python), f"certifi=={version}"]
        subprocess.run(command, check=True, env=clean_environ())


def can_ensure(version: str, package: str = "tensorflow-cpu") -> str | None:
    """None where `ensure` may be called, otherwise one line saying what this machine lacks."""
    if _existing(version, package) is not None:
        return None
    wheels = wheel_pythons(version)
    if not any(minor in available_interpreters() for minor in wheels):
        needs = ", ".join(f"{a}.{b}" for a, b in wheels)
        found = ", ".join(f"{a}.{b}" for a, b in sorted(available_interpreters()))
        return f"TensorFlow {version} has wheels for CPython {needs}; found here: {found or 'none'}"
    free = _free_bytes(cache_root())
    if free < MIN_FREE_BYTES:
        return (
            f"{free / 1e9:.1f} GB free under {cache_root()}, {MIN_FREE_BYTES / 1e9:.0f} GB needed "
            "to make an environment; set ENVLOCK_TEST_CACHE to a folder on a larger disk"
        )
    return None


def existing(package: str = "tensorflow-cpu") -> list[TfEnvironment]:
    """Every finished environment in the cache, oldest release first; makes nothing."""
    pattern = re.compile(rf"{re.escape(package)}-(\d[^-]*)-py(\d+)\.(\d+)$")
    found = {}
    if cache_root().is_dir():
        for folder in cache_root().iterdir():
            match = pattern.match(folder.name)
            if match and _is_complete(folder):
                found[match[1]] = _describe(
                    folder, match[1], package, (int(match[2]), int(match[3]))
                )
    return [found[version] for version in sorted(found, key=version_key)]


def for_tests() -> tuple[list[str], dict[str, str]]:
    """The releases that the test suite uses here, and those it leaves out with the reason."""
    reasons = {version: can_ensure(version) for version in FOR_TESTS}
    wanted = [version for version, reason in reasons.items() if reason is None]
    return wanted, {version: reason for version, reason in reasons.items() if reason is not None}


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def wheel_pythons(version: str) -> tuple[Minor, ...]:
    """The CPython minors (3.9 and up) that the release has x86-64 Linux wheels for."""
    for since, pythons in _WHEELS:
        if _minor(version) >= since:
            return pythons
    raise CannotEnsure(f"TensorFlow {version} is older than 2.5")


def pins(version: str) -> tuple[str, ...]:
    """The requirements beside TensorFlow itself without which the release does not import."""
    for since, requirements in _PINS:
        if _minor(version) >= since:
            return requirements
    raise CannotEnsure(f"TensorFlow {version} is older than 2.5")


@functools.cache
def _interpreters() -> dict[Minor, Path]:
    found: dict[Minor, Path] = {}
    for minor in _PREFERENCE:
        for candidate in _candidates(minor):
            resolved = _probe(candidate, minor)
            if resolved is not None:
                found[minor] = resolved
                break
    return found


def available_interpreters() -> dict[Minor, Path]:
    """CPython minor -> a real executable of it: from PATH, pyenv's folder, or known to uv."""
    return dict(_interpreters())


def forget_interpreters() -> None:
    """Look again at the next question: one has just been installed."""
    _interpreters.cache_clear()


def uv() -> list[str]:
    """The command that runs uv: on PATH, beside this Python, or as its module."""
    beside = Path(sys.executable).with_name("uv")
    if beside.is_file():
        return [str(beside)]
    on_path = shutil.which("uv")
    if on_path is not None and "shims" not in Path(on_path).parts:
        return [on_path]
    probe = [sys.executable, "-m", "uv"]
    if subprocess.run([*probe, "--version"], capture_output=True).returncode == 0:
        return probe
    if on_path is not None:
        return [on_path]
    raise CannotEnsure("uv not found: `python3 -m pip install uv` in the environment of the tests")


def _candidates(minor: Minor) -> Iterator[Path]:
    name = f"python{minor[0]}.{minor[1]}"
    if sys.version_info[:2] == minor:
        base = getattr(sys, "_base_executable", None)
        if base:
            yield Path(base)
    roots = {Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")}
    for root in roots:
        yield from sorted(root.glob(f"versions/{minor[0]}.{minor[1]}.*/bin/{name}"), reverse=True)
    for folder in os.get_exec_path():
        yield Path(folder) / name
    with contextlib.suppress(CannotEnsure, OSError):
        answer = subprocess.run(
            [
                *uv(),
                "python",
                "find",
                "--no-python-downloads",
                "--no-project",
                "--system",
                name[6:],
            ],
            capture_output=True,
            text=True,
            env=clean_environ(),
        )
        if answer.returncode == 0 and answer.stdout.strip():
            yield Path(answer.stdout.strip())


def _probe(candidate: Path, minor: Minor) -> Path | None:
    """The interpreter itself, seen through shims, if it is that CPython and complete."""
    if not os.access(candidate, os.X_OK):
        return None
    script = (
        "import ctypes, platform, ssl, sys; print(platform.python_implementation(), "
        "*sys.version_info[:2], getattr(sys, '_base_executable', None) or sys.executable)"
    )
    try:
        answer = subprocess.run(
            [str(candidate), "-I", "-c", script],
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_environ(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    fields = answer.stdout.strip().split(" ", 3)
    if answer.returncode != 0 or fields[:3] != ["CPython", str(minor[0]), str(minor[1])]:
        return None
    return Path(fields[3])


def _minor(version: str) -> Minor:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _choose(version: str) -> Minor:
    for minor in _PREFERENCE:
        if minor in wheel_pythons(version) and minor in available_interpreters():
            return minor
    raise CannotEnsure(f"no interpreter for TensorFlow {version}")


def _folder(version: str, package: str, python_minor: Minor) -> Path:
    return cache_root() / f"{package}-{version}-py{python_minor[0]}.{python_minor[1]}"


def _existing(version: str, package: str) -> TfEnvironment | None:
    for minor in _PREFERENCE:
        folder = _folder(version, package, minor)
        if _is_complete(folder):
            return _describe(folder, version, package, minor)
    return None


def _is_complete(prefix: Path) -> bool:
    # The interpreter behind the environment's link may have been uninstalled since.
    return (prefix / ".complete").is_file() and (prefix / "bin" / "python").exists()


def _describe(prefix: Path, version: str, package: str, python_minor: Minor) -> TfEnvironment:
    site = prefix / "lib" / f"python{python_minor[0]}.{python_minor[1]}" / "site-packages"
    return TfEnvironment(prefix / "bin" / "python", prefix, site, version, package)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _make(prefix: Path, version: str, package: str, interpreter: Path) -> None:
    # Environments cannot be moved, so an unfinished one is told by its missing marker instead.
    if prefix.exists():
        shutil.rmtree(prefix)
    _uv("venv", "--quiet", "--no-project", "--python", str(interpreter), str(prefix))
    python = prefix / "bin" / "python"
    _uv(
        "pip",
        "install",
        "--quiet",
        "--link-mode=hardlink",
        "--python",
        str(python),
        f"{package}=={version}",
        *pins(version),
    )
    answer = subprocess.run(
        [str(python), "-c", "import tensorflow as tf; print(tf.__version__)"],
        capture_output=True,
        text=True,
        env={**clean_environ(), **QUIET},
    )
    if answer.returncode != 0 or answer.stdout.strip() != version:
        tail = "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-5:])
        raise CannotEnsure(f"`import tensorflow` fails in the new {prefix.name}:\n{tail}")
    (prefix / ".complete").write_text(f"{package}=={version}\n")


def _uv(*args: str) -> None:
    answer = subprocess.run([*uv(), *args], capture_output=True, text=True, env=clean_environ())
    if answer.returncode != 0:
        raise CannotEnsure(f"`uv {' '.join(args[:2])}` failed:\n{answer.stderr.strip()}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the TensorFlow environments of the tests.")
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    parser.add_argument("--package", default="tensorflow-cpu")
    parser.add_argument("--newest", action="store_true", help="the newest patch of every minor")
    parser.add_argument(
        "--for-tests", action="store_true", help="those of `make test` that can be had here"
    )
    options = parser.parse_args(argv)
    versions = [*options.versions, *(NEWEST if options.newest else ())]
    if options.for_tests:
        wanted, left_out = for_tests()
        versions += wanted
        for version, reason in left_out.items():
            print(f"tensorflow-cpu {version} is left out: {reason}", flush=True)
    failed = 0
    for version in versions:
        try:
            env = ensure(version, options.package)
        except CannotEnsure as problem:  # noqa: PERF203
            print(f"{options.package} {version}: {problem}", file=sys.stderr)
            failed += 1
        else:
            print(f"{options.package} {version}: {env.prefix}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
