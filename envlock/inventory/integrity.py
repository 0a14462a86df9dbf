"""What is not as the package managers left it.

Files are compared with RECORD (pip) and `paths_data` (conda). "quick" looks at size and time and
reads only what is suspicious; headers under `include/` are left to "full", which reads everything.
"""

from __future__ import annotations

import os
import stat
from shlex import quote

from ..environment.distributions import UNKNOWN
from ..models.snapshot import Problem
from .versions import direction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..environment.distributions import Distribution
    from ..environment.live import Environment
    from ..models.snapshot import CondaPackage
    from .packages import Installed

SHOWN = 20
_ALGORITHMS = ("sha256", "sha384", "sha512")
_CHUNK = 1 << 20
#: Bytes of an edited file that its digest covers; and of a file that is compared at all.
_ENOUGH = 1 << 26
_LARGEST = 1 << 34


class Edits:
    """Files of one package that differ from what was installed, and those that are gone."""

    __slots__ = ("gone", "manager", "modified", "package", "remedy")

    def __init__(self, manager: str, package: str, remedy: str) -> None:
        self.manager = manager
        self.package = package
        self.remedy = remedy
        self.modified: list[tuple[str, str]] = []  # path, digest as it is now
        self.gone: list[str] = []


def find_problems(
    environment: Environment, installed: Installed, mode: str
) -> tuple[tuple[Problem, ...], frozenset[str]]:
    """All problems, sorted, and the absolute paths of the files that were edited.

    `mode` is "none" (files are not looked at), "quick" or "full".
    """
    problems: list[Problem] = []
    edited: set[str] = set()
    if mode != "none":
        for base, edits in _all_edits(environment, installed, full=mode == "full"):
            if edits.modified or edits.gone:
                problems += _edit_problems(edits)
                edited |= {os.path.join(base, path) for path, _ in edits.modified}
    problems += _metadata(environment, installed)
    problems += _two_managers(environment, installed)
    problems += _tensorflows(environment)
    problems += _versions(environment, installed)
    problems.sort(key=lambda p: (p.kind, p.subject, p.message))
    return tuple(problems), frozenset(edited)


# --- what to do ----------------------------------------------------------------------------------


def _pip_command(name: str, version: str) -> str:
    """Installs the same version again: without one pip takes the newest."""
    wanted = name if version == UNKNOWN else f"{name}=={version}"
    return f"pip install --force-reinstall --no-deps {quote(wanted)}"


def _conda_command(name: str, packages: Iterable[CondaPackage]) -> str:
    """Installs the same version and build again, as far as they are known."""
    for one in packages:
        if one.name == name and one.version is not None:
            wanted = f"{name}={one.version}" + (f"={one.build}" if one.build else "")
            return f"conda install --force-reinstall {quote(wanted)}"
    return f"conda install --force-reinstall {quote(name)}"


def _remove_command(environment: Environment, one: Distribution) -> str | None:
    """Removes a dist-info folder; a snapshot holds no absolute path, so Python is asked for it."""
    paths = environment.paths
    version = ".".join(map(str, paths.version))
    own = os.path.join(paths.prefix, "lib", f"python{version}", "site-packages")
    if os.path.realpath(one.site) != os.path.realpath(own):
        return None
    asked = """$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"""
    return f'rm -r "{asked}"/{quote(one.folder_name)}'


def _then(*commands: str | None) -> str | None:
    return " && ".join(command for command in commands if command) or None


# --- files ---------------------------------------------------------------------------------------


def _all_edits(
    environment: Environment, installed: Installed, *, full: bool
) -> Iterator[tuple[str, Edits]]:
    for one in installed.distributions:
        if installed.brought(one) is None and one.path not in installed.editable:
            yield one.site, pip_edits(one, full=full)
    prefix = environment.paths.prefix
    for record, name, paths in installed.paths:
        command = _conda_command(name, installed.packages)
        yield prefix, conda_edits(prefix, record.path, name, command, paths, full=full)


def pip_edits(one: Distribution, *, full: bool) -> Edits:
    """Compare a distribution's files with its RECORD."""
    edits = Edits("pip", one.canonical_name, _pip_command(one.canonical_name, one.version))
    installed = _time(os.path.join(one.path, "RECORD"))
    if installed is None:
        return edits
    if full:
        for entry in one.entries():
            if entry.digest and not entry.path.endswith(".pyc"):
                _compare(edits, one.site, entry.path, entry.digest, entry.size, None)
        return edits
    # What costs the time of a snapshot: 15,000 files in TensorFlow's environment. Compiled files
    # and RECORD itself stand there without digest.
    lines = [
        line
        for line in one.record().splitlines()
        if not (line.endswith(b",,") or b"/include/" in line or b".pyc," in line)
    ]
    site = os.fsencode(one.site) + b"/"
    paths = [line.partition(b",")[0] for line in lines]
    lookup = os.stat
    try:
        found = [lookup(site + path) for path in paths]
    except (OSError, ValueError):
        # A file is gone, or its name is quoted: look at each alone.
        found = None
    if found is None:
        for line in lines:
            _slow(edits, one, line, installed)
        return edits
    for line, status in zip(lines, found):
        if status.st_mtime_ns > installed or not line.endswith(b",%d" % status.st_size):
            _slow(edits, one, line, installed)
    return edits


def _slow(edits: Edits, one: Distribution, line: bytes, installed: int) -> None:
    from ..environment.distributions import record_entry

    entry = record_entry(os.fsdecode(line))
    if entry is not None and entry.digest:
        _compare(edits, one.site, entry.path, entry.digest, entry.size, installed)


def conda_edits(
    prefix: str, record: str, name: str, remedy: str, paths: Iterable[object], *, full: bool
) -> Edits:
    """Compare a conda package's files with its prefix record's `paths_data`."""
    edits = Edits("conda", name, remedy)
    installed = _time(record)
    if installed is None:
        return edits
    for entry in paths:
        if not isinstance(entry, dict) or entry.get("path_type") in ("softlink", "directory"):
            continue
        path = entry.get("_path")
        # Where a prefix was written into the file, only the digest afterwards counts.
        replaced = entry.get("sha256_in_prefix")
        digest = replaced or (None if entry.get("prefix_placeholder") else entry.get("sha256"))
        if not isinstance(path, str) or not isinstance(digest, str) or path.endswith(".pyc"):
            continue
        if not full and "/include/" in f"/{path}":
            continue
        size = entry.get("size_in_bytes")
        known = isinstance(size, int) and (not replaced or replaced == entry.get("sha256"))
        _compare(
            edits,
            prefix,
            path,
            f"sha256:{digest}",
            size if known else None,
            None if full else installed,
        )
    return edits


def _compare(
    edits: Edits, base: str, path: str, digest: str, size: int | None, installed: int | None
) -> None:
    """`installed` is the time until which an untouched file of the right size is believed."""
    full = os.path.join(base, path)
    try:
        status = os.stat(full)
    except OSError:
        edits.gone.append(path)
        return
    except ValueError:
        return
    same_size = size is None or status.st_size == size
    if same_size and installed is not None and status.st_mtime_ns <= installed:
        return
    if not stat.S_ISREG(status.st_mode):
        edits.modified.append((path, "not a regular file"))
        return
    if not same_size:
        # Edited for certain; the digest only distinguishes edits.
        found = file_digest(full, "sha256", _ENOUGH)
        shown = "unreadable" if found is None else found.hex()
        edits.modified.append((path, f"{status.st_size} bytes, {shown}"))
        return
    separator = "=" if "=" in digest[:8] else ":"
    algorithm, _, wanted = digest.partition(separator)
    if algorithm not in _ALGORITHMS or status.st_size > _LARGEST:
        return
    found = file_digest(full, algorithm)
    if found is not None and not _equal(found, wanted, separator):
        edits.modified.append((path, found.hex()))


def file_digest(path: str, algorithm: str, most: int = 1 << 36) -> bytes | None:
    """Digest of a file's first `most` bytes; None where it cannot be read."""
    import hashlib

    state = hashlib.new(algorithm)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            while most > 0:
                chunk = file.read(min(_CHUNK, most))
                if not chunk:
                    break
                state.update(chunk)
                most -= len(chunk)
            return state.digest()
    except OSError:
        return None


def _equal(found: bytes, wanted: str, separator: str) -> bool:
    if separator == ":":
        return found.hex() == wanted.lower()
    from base64 import urlsafe_b64encode

    # RECORD has urlsafe base64 without padding; some old tools wrote hexadecimal digits.
    return wanted.rstrip("=") in (urlsafe_b64encode(found).decode().rstrip("="), found.hex())


def _time(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return None


def _edit_problems(edits: Edits) -> Iterator[Problem]:
    from ..files.reading import plain
    from .fingerprint import digest

    modified = sorted((plain(path), now) for path, now in edits.modified)
    gone = sorted(map(plain, edits.gone))
    if modified:
        files = "1 file was" if len(modified) == 1 else f"{len(modified)} files were"
        yield Problem(
            kind="modified-files",
            subject=edits.package,
            message=f"{files} changed since {edits.manager} installed `{edits.package}`",
            remedy=edits.remedy,
            paths=tuple(path for path, _ in modified[:SHOWN]),
            count=len(modified),
            digest=digest([list(pair) for pair in modified]),
        )
    if gone:
        files = "1 file is" if len(gone) == 1 else f"{len(gone)} files are"
        yield Problem(
            kind="missing-files",
            subject=edits.package,
            message=f"{files} missing that {edits.manager} installed for `{edits.package}`",
            remedy=edits.remedy,
            paths=tuple(gone[:SHOWN]),
            count=len(gone),
            digest=digest(gone),
        )


# --- metadata ------------------------------------------------------------------------------------


def _metadata(environment: Environment, installed: Installed) -> Iterator[Problem]:
    seen: dict[tuple[str, str], Distribution] = {}
    for one in environment.distributions.all():
        damage = one.check()
        if damage is not None:
            yield Problem(
                kind="damaged-metadata",
                subject=one.folder_name,
                message=f"`{one.folder_name}`: {damage}",
                remedy=_repair(environment, one),
            )
        elif one.path in installed.editable:
            yield Problem(
                kind="editable",
                subject=one.canonical_name,
                message=f"`{one.canonical_name}` {one.version} is an editable install: its code is "
                "outside of the environment and can change at any time",
            )
        first = seen.setdefault((one.site, one.key), one)
        if first is not one and damage is None:
            older = direction(first.version, one.version) == "downgraded"
            old, new = (one, first) if older else (first, one)
            yield Problem(
                kind="duplicate-metadata",
                subject=one.canonical_name,
                message=f"`{one.canonical_name}` is recorded twice in one folder: "
                f"{first.version} and {one.version}",
                remedy=_then(
                    _remove_command(environment, old),
                    _pip_command(new.canonical_name, new.version),
                ),
            )
    for package in installed.packages:
        if package.problem is not None:
            yield Problem(
                kind="damaged-metadata",
                subject=package.name,
                message=f"conda's record of `{package.name}`: {package.problem}",
                remedy=_conda_command(package.name, installed.packages),
            )


def _repair(environment: Environment, one: Distribution) -> str | None:
    """What to do about damaged metadata; pip cannot always install over it."""
    remove = _remove_command(environment, one)
    if not one.folder_name.startswith("~"):
        return _then(remove, _pip_command(one.key.replace("_", "-"), one.version))
    # What is left of an interrupted installation has lost a part of its name in the folder's.
    name = one.canonical_name
    if "~" in name or environment.distributions.find(name) is not None:
        return remove
    return _then(remove, _pip_command(name, one.version))


def _two_managers(environment: Environment, installed: Installed) -> Iterator[Problem]:
    """Distributions of pip whose files are conda's as well, or once were."""
    if not installed.owners:
        return
    versions = {package.name: package.version for package in installed.packages}
    for one in environment.distributions.all():
        owner = installed.brought(one)
        if owner is None:
            shared = _shared(one, installed)
            if not shared:
                continue
            owner = next(iter(shared))
            message = (
                f"pip installed `{one.canonical_name}` {one.version} over conda's "
                f"`{owner}` {versions.get(owner)}: both claim its files"
            )
        elif (one.installer or "conda") not in ("conda", "pip") or (
            one.installer == "pip" and _rewritten(one, installed)
        ):
            message = (
                f"{one.installer} installed `{one.canonical_name}` {one.version} again over "
                f"conda's `{owner}`: both claim its files"
            )
        else:
            continue
        yield Problem(
            kind="two-managers",
            subject=one.canonical_name,
            message=message,
            remedy=_then(
                f"pip uninstall {quote(one.canonical_name)}",
                _conda_command(owner, installed.packages),
            ),
        )


def _shared(one: Distribution, installed: Installed) -> dict[str, None]:
    owners: dict[str, None] = {}
    for entry in one.entries():
        if not entry.path.endswith(".pyc"):
            path = os.path.normpath(os.path.join(one.site, entry.path))
            owner = installed.owner_of(path)
            if owner is not None:
                owners[owner] = None
    return owners


def _rewritten(one: Distribution, installed: Installed) -> bool:
    """Whether INSTALLER is not the file that conda put there (some recipes ship "pip")."""
    return installed.owner_of(f"{one.path}/INSTALLER") is None


def _tensorflows(environment: Environment) -> Iterator[Problem]:
    found = environment.tensorflow
    if found is None or len(found.distributions) < 2:
        return
    names = [f"`{one.canonical_name}` {one.version}" for one in found.distributions]
    keys = " ".join(quote(one.canonical_name) for one in found.distributions)
    right = found.distributions[0]
    yield Problem(
        kind="two-tensorflows",
        subject="tensorflow",
        message=f"{' and '.join(names)} are installed in one place, so the files are a mixture",
        remedy=f"pip uninstall {keys} && {_pip_command(right.canonical_name, right.version)}",
    )


def _versions(environment: Environment, installed: Installed) -> Iterator[Problem]:
    """Packages whose code says another version than their metadata; or than what is imported."""
    found = environment.tensorflow
    if found is not None:
        from ..environment.headers import read_tensorflow_version

        one, record = found.distribution, found.conda_record
        name = one.canonical_name if one is not None else record.name if record else "tensorflow"
        stated = read_tensorflow_version(found.include_dir)
        if stated is not None and not _agree(stated, found.version):
            command = _pip_command(name, stated)
            if record is not None:
                command = _conda_command(record.name, installed.packages)
            message = f"the headers of `{name}` are those of {stated}"
            yield _mismatch("tensorflow", message, found.version, command)
        imported = found.imported_version
        if imported is not None and not _agree(imported, found.version):
            message = f"this process imported `{name}` {imported} and has to be restarted"
            yield _mismatch("tensorflow", message, found.version, None)
    numpy = environment.numpy
    if numpy is not None:
        one = environment.distributions.find("numpy")
        if one is not None and not _agree(numpy.version, one.version):
            command = _pip_command("numpy", numpy.version)
            owner = installed.brought(one)
            if owner is not None:
                command = _conda_command(owner, installed.packages)
            message = f"the code of `numpy` is that of {numpy.version}"
            yield _mismatch("numpy", message, one.version, command)


def _agree(one: str, other: str) -> bool:
    unknown = "unknown" in (one, other)
    return unknown or one == other or _plain(one) == _plain(other)


def _plain(version: str) -> str:
    # 2.16.0-rc1 and 2.16.0rc1, 2.15.0 and 2.15.0+nv23.11 are the same release.
    return version.partition("+")[0].replace("-", "").replace(".dev", "dev")


def _mismatch(subject: str, message: str, recorded: str, command: str | None) -> Problem:
    # The code is what is installed: it says which version the metadata has to be of.
    return Problem(
        kind="version-mismatch",
        subject=subject,
        message=f"{message}, but its metadata says {recorded}",
        remedy=command,
    )
