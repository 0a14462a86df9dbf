"""Small real environments for these tests: venvs, conda prefixes, and distributions put into them."""

from __future__ import annotations

import asyncio
import base64
import bz2
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.support import environments

# What site.py made of an environment: everything on sys.path but the standard library.
_TELL = """
import json, os, sys, _imp
stdlib = os.path.dirname(os.__file__)
own = {stdlib, os.path.join(stdlib, "lib-dynload")}
print(json.dumps({
    "prefix": sys.prefix,
    "base_prefix": sys.base_prefix,
    "stdlib": stdlib,
    "path": [p for p in sys.path[1:] if os.path.isdir(p) and p not in own],
    "version": "%d.%d.%d" % sys.version_info[:3],
    "suffix": _imp.extension_suffixes()[0],
    "debug": hasattr(sys, "gettotalrefcount"),
    "machine": os.uname().machine,
    "libc": os.confstr("CS_GNU_LIBC_VERSION"),
    "distributions": {} if "bare" in sys.argv else {
        d.metadata["Name"]: d.version
        for d in reversed(list(__import__("importlib.metadata").metadata.distributions()))
    },
}))
"""


def tell(python: Path | str, *args: str, **environ: str) -> dict[str, object]:
    """What that interpreter itself says about its environment."""
    answer = subprocess.run(
        [str(python), "-c", _TELL, *args],
        env={**environments.clean_environ(), **environ},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, object] = json.loads(answer.stdout)
    return told


def venv(folder: Path, *options: str, python: Path | str = sys.executable) -> Path:
    """`python -m venv`, without pip."""
    subprocess.run(
        [str(python), "-m", "venv", "--without-pip", *options, str(folder)],
        env=environments.clean_environ(),
        check=True,
    )
    return folder


def uv_venv(folder: Path, *options: str, python: Path | str = sys.executable) -> Path:
    """`uv venv`."""
    subprocess.run(
        [*environments.uv(), "venv", "-q", "--no-project", *options, "-p", str(python), folder],
        env=environments.clean_environ(),
        check=True,
    )
    return folder


def site_packages(prefix: Path) -> Path:
    """The one site-packages folder of a venv."""
    (found,) = prefix.glob("lib/python3*/site-packages")
    return found


def distribution(
    site: Path,
    name: str,
    version: str,
    contents: Mapping[str, bytes] = {},
    *,
    installer: str = "pip",
) -> Path:
    """Install files and their dist-info as an installer does; returns the dist-info folder."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not this one\n"
    everything = {
        **contents,
        f"{info.name}/METADATA": metadata.encode(),
        f"{info.name}/INSTALLER": f"{installer}\n".encode(),
    }
    lines = []
    for path, content in everything.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        quoted = '"' + path.replace('"', '""') + '"' if "," in path or '"' in path else path
        lines.append(f"{quoted},sha256={digest},{len(content)}\n")
    (info / "RECORD").write_text("".join(lines) + f"{info.name}/RECORD,,\n")
    return info


def conda_package(
    channel: Path,
    name: str,
    version: str,
    build: str,
    contents: Mapping[str, bytes],
    links: Mapping[str, str] = {},
) -> None:
    """Put a `.tar.bz2` package into a channel folder and list it in its repodata."""
    subdir = channel / "linux-64"
    subdir.mkdir(parents=True, exist_ok=True)
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": [],
        "subdir": "linux-64",
        "timestamp": 1700000000000,
    }
    paths: list[dict[str, object]] = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
        }
        for path, content in contents.items()
    ]
    paths += [{"_path": path, "path_type": "softlink"} for path in links]
    members = {
        **contents,
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/files": "".join(f"{path}\n" for path in [*contents, *links]).encode(),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in members.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = 0o755 if path.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(content))
        for path, target in links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    data = bz2.compress(packed.getvalue())
    file_name = f"{name}-{version}-{build}.tar.bz2"
    (subdir / file_name).write_bytes(data)
    repodata_path = subdir / "repodata.json"
    repodata: dict[str, dict[str, object]] = {"info": {"subdir": "linux-64"}, "packages": {}}
    if repodata_path.exists():
        repodata = json.loads(repodata_path.read_text())
    repodata["packages"][file_name] = {
        **index,
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    repodata_path.write_text(json.dumps(repodata))
    noarch = channel / "noarch"
    noarch.mkdir(exist_ok=True)
    (noarch / "repodata.json").write_text('{"info": {"subdir": "noarch"}, "packages": {}}')


def conda_install(channel: Path, prefix: Path, *specs: str) -> None:
    """Solve and install from a channel folder, as conda would from the network."""
    import rattler

    async def run() -> None:
        records = await rattler.solve(
            [rattler.Channel(channel.as_uri())], list(specs), platforms=["linux-64", "noarch"]
        )
        await rattler.install(
            records, prefix, cache_dir=channel.parent / "package-cache", show_progress=False
        )

    asyncio.run(run())


def real_interpreter() -> Path:
    """The interpreter behind this one's virtual environment."""
    return Path(os.path.realpath(sys.executable))
