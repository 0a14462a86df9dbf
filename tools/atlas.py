"""Building the atlas from public wheels: `python -m tools.atlas -o FILE`.

Each wheel is downloaded with pip, the parts that matter are unpacked, read and thrown away again.
What a wheel gives, its part, depends on the wheel, the compiler and envlock only, and the atlas on
the parts only: the same wheels give the same bytes, whatever their order.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile

from envlock.atlas import extract, probe, write
from envlock.atlas.format import Atlas
from envlock.models.errors import EnvlockError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envlock.atlas.extract import Part
    from envlock.atlas.format import Release
    from envlock.atlas.probe import Compiler

#: Every public release that the shipped atlas holds, both distributions of each.
# fmt: off
RELEASES = (
    "2.5.0", "2.5.1", "2.5.2", "2.5.3",
    "2.6.0", "2.6.1", "2.6.2", "2.6.3", "2.6.4", "2.6.5",
    "2.7.0", "2.7.1", "2.7.2", "2.7.3", "2.7.4",
    "2.8.0", "2.8.1", "2.8.2", "2.8.3", "2.8.4",
    "2.9.0", "2.9.1", "2.9.2", "2.9.3",
    "2.10.0", "2.10.1",
    "2.11.0", "2.11.1",
    "2.12.0", "2.12.1",
    "2.13.0", "2.13.1",
    "2.14.0", "2.14.1",
    "2.15.0", "2.15.0.post1", "2.15.1",
    "2.16.1", "2.16.2",
    "2.17.0", "2.17.1",
    "2.18.0", "2.18.1",
    "2.19.0", "2.19.1",
    "2.20.0",
    "2.21.0",
)
# fmt: on
DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu")
_PLATFORMS = ("2010", "_2_12", "2014", "_2_17", "_2_27", "_2_28")
_PYTHONS = ("39", "310", "311", "312", "313")
#: Of the wheel: headers, the libraries that export to plugins, and what tells the build apart.
_MEMBERS = (*extract.LIBRARIES, extract.GLOBAL_MARKER, extract.SESSION)


def download(distribution: str, version: str, folder: str) -> str:
    """Fetch one wheel for x86-64 Linux with pip; gives its path. Raises `InputError`."""
    said = ""
    for python in _PYTHONS:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", python, "-d", folder]
        for platform in _PLATFORMS:
            command += ["--platform", f"manylinux{platform}_x86_64"]
        run = subprocess.run(
            [*command, f"{distribution}=={version}"], capture_output=True, text=True
        )
        wheels = glob.glob(os.path.join(folder, "*.whl"))
        if run.returncode == 0 and wheels:
            return wheels[0]
        said = run.stderr.strip().splitlines()[-1] if run.stderr.strip() else "no message"
    raise InputError(f"pip finds no wheel of {distribution} {version}: {said}")


def unpack(wheel: str, folder: str) -> str:
    """Unpack what is read of a wheel; gives the package folder."""
    wanted = {f"tensorflow/{member}" for member in _MEMBERS}
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            name = info.filename
            if name in wanted or name.startswith("tensorflow/include/"):
                archive.extract(info, folder)
    return os.path.join(folder, "tensorflow")


def sha256(path: str) -> str:
    """The digest of a file, as package indexes give it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read_wheel(
    wheel: str, distribution: str, version: str, compiler: Compiler, cache: str | None = None
) -> Part:
    """One wheel's part. Raises `InputError` when it is damaged or its headers do not compile."""
    with tempfile.TemporaryDirectory(prefix="envlock-atlas-") as work:
        try:
            package = unpack(wheel, work)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"`{wheel}` cannot be unpacked: {error}") from None
        part = extract.read_package(package, version, distribution, compiler, cache)
    part["wheel"] = {"name": os.path.basename(wheel), "sha256": sha256(wheel)}
    return part


def read_release(
    distribution: str,
    version: str,
    compiler: Compiler,
    cache: str | None = None,
    wheels: str | None = None,
) -> Part:
    """One release's part, from its wheel in the folder `wheels` or else downloaded."""
    if wheels is not None:
        name = f"{distribution.replace('-', '_')}-{version}-cp*_x86_64.whl"
        found = sorted(glob.glob(os.path.join(glob.escape(wheels), name)))
        if found:
            return read_wheel(found[0], distribution, version, compiler, cache)
    with tempfile.TemporaryDirectory(prefix="envlock-atlas-") as work:
        wheel = download(distribution, version, work)
        return read_wheel(wheel, distribution, version, compiler, cache)


def collect(
    releases: Sequence[str],
    distributions: Sequence[str],
    compiler: Compiler,
    folder: str | None = None,
    wheels: str | None = None,
) -> Iterable[Part]:
    """All parts; those kept in `folder` are not made again."""
    with tempfile.TemporaryDirectory(prefix="envlock-atlas-") as own:
        for version in releases:
            for distribution in distributions:
                path = os.path.join(folder or own, f"{distribution}-{version}.json.gz")
                if not os.path.exists(path):
                    part = read_release(distribution, version, compiler, folder or own, wheels)
                    extract.save_part(part, path)
                    print(f"{distribution} {version}", file=sys.stderr, flush=True)
                yield extract.load_part(path)


def verify(parts: Iterable[Part], atlas: Atlas) -> int:
    """Whether parts are, byte for byte, those that an atlas was made of; gives the exit status."""
    status = 0
    for part in parts:
        name = f"{part['distribution']} {part['version']}"
        known = atlas.find(part["version"], part["distribution"])
        if known is None or known.distribution != part["distribution"]:
            answer = "not in the atlas"
        elif known.facts.get("part") == write.digest_of(part):
            print(f"{name}: the same", flush=True)
            continue
        else:
            answer = "differs: " + (", ".join(_differences(part, known)) or "exports or classes")
        print(f"{name}: {answer}", flush=True)
        status = 1
    return status


def _differences(part: Part, known: Release) -> list[str]:
    """What differs between a part and the atlas's facts about that release, both values."""
    facts = write.facts_of(part)
    return [
        f"{key} is {facts[key]}, in the atlas {known.facts.get(key)}"
        for key in sorted(facts)
        if key != "part" and facts[key] != known.facts.get(key)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.atlas", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--releases", nargs="+", metavar="VERSION", default=list(RELEASES))
    parser.add_argument(
        "--distributions", nargs="+", choices=DISTRIBUTIONS, default=list(DISTRIBUTIONS)
    )
    parser.add_argument("--compiler", default="g++", help="the g++ that compiles the probe")
    parser.add_argument("--parts", metavar="FOLDER", help="keep what was read of each wheel there")
    parser.add_argument("--wheels", metavar="FOLDER", help="wheels that need no download")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", metavar="FILE", help="the atlas to write")
    target.add_argument(
        "--verify", metavar="ATLAS", help="compare with what that atlas was made of; write nothing"
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.parts:
            os.makedirs(chosen.parts, exist_ok=True)
        compiler = probe.Compiler((chosen.compiler,))
        parts = collect(
            chosen.releases, chosen.distributions, compiler, chosen.parts, chosen.wheels
        )
        if chosen.verify:
            return verify(parts, Atlas.open(chosen.verify))
        size = write.write_atlas(parts, chosen.output)
    except EnvlockError as error:
        from envlock.cli.common import complain

        complain(error)
        return error.exit_status
    print(f"{chosen.output}: {size} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
