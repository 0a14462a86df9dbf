"""Real conda prefixes without a network: tiny packages in a `file://` channel, solved and installed
by py-rattler; `.conda` and `.tar.bz2` are packed by conda-package-handling."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SUBDIR = "linux-64"


def make_package(
    channel: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes | str],
    *,
    build: str = "0",
    depends: Sequence[str] = (),
    form: str = ".conda",
    noarch: str | None = None,
    links: Mapping[str, str] | None = None,
    prefix_in: Sequence[str] = (),
    subdir: str = SUBDIR,
) -> Path:
    """One package. `links` are symbolic links, `prefix_in` the files that name their prefix."""
    subdir = "noarch" if noarch else subdir
    stem = f"{name}-{version}-{build}"
    work = channel.parent / "work" / subdir / stem
    entries = []
    for path, content in sorted(files.items()):
        raw = content.encode() if isinstance(content, str) else content
        place = work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(raw)
        if path.startswith("bin/"):
            place.chmod(0o755)
        entry = {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(raw).hexdigest(),
            "size_in_bytes": len(raw),
        }
        if path in prefix_in:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
        entries.append(entry)
    for path, goal in sorted((links or {}).items()):
        place = work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(goal)
        entries.append({"_path": path, "path_type": "softlink", "size_in_bytes": 0})
    info = work / "info"
    info.mkdir(exist_ok=True)
    index: dict[str, object] = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": list(depends),
        "subdir": subdir,
        "timestamp": 1_700_000_000_000,
    }
    if noarch:
        index["noarch"] = noarch
        (info / "link.json").write_text(
            json.dumps({"noarch": {"type": noarch}, "package_metadata_version": 1})
        )
    else:
        index |= {"arch": "x86_64", "platform": "linux"}
    (info / "index.json").write_text(json.dumps(index))
    (info / "paths.json").write_text(json.dumps({"paths": entries, "paths_version": 1}))
    (info / "files").write_text("".join(f"{entry['_path']}\n" for entry in entries))
    target = channel / subdir
    target.mkdir(parents=True, exist_ok=True)
    place = target / f"{stem}{form}"
    if form == ".tar.bz2":
        with tarfile.open(place, "w:bz2") as archive:
            for path in sorted(p for p in work.rglob("*") if not p.is_dir() or p.is_symlink()):
                archive.add(path, path.relative_to(work), recursive=False)
    else:
        from conda_package_handling import api

        names = [
            str(p.relative_to(work)) for p in work.rglob("*") if not p.is_dir() or p.is_symlink()
        ]
        api.create(str(work), sorted(names), str(place))
    return place


PLACEHOLDER = "/placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold"


def make_python(channel: Path) -> None:
    """A `python` package whose interpreter is this machine's; pip can install into its prefix."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    major, minor, micro = sys.version_info[:3]
    short = f"{major}.{minor}"
    config = f"home = {base.parent}\ninclude-system-site-packages = false\n"
    config += f"version = {short}.{micro}\n"
    make_package(
        channel,
        "python",
        f"{short}.{micro}",
        {"pyvenv.cfg": config, f"lib/python{short}/site-packages/README.txt": "packages\n"},
        build="h1_cpython",
        links={"bin/python": str(base), f"bin/python{short}": "python"},
    )


def python_files(name: str, version: str, folder: str = "site-packages") -> dict[str, str]:
    """What a conda package of a Python distribution holds, its dist-info included."""
    info = f"{folder}/{name}-{version}.dist-info"
    files = {
        f"{folder}/{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/INSTALLER": "conda\n",
    }
    lines = [f"{path[len(folder) + 1 :]},," for path in files]
    record = [*lines, f"{info[len(folder) + 1 :]}/RECORD,,", ""]
    return {**files, f"{info}/RECORD": "\n".join(record)}


def index_channel(channel: Path) -> None:
    from rattler.index import index_fs

    (channel / "noarch").mkdir(exist_ok=True)
    asyncio.run(index_fs(channel, force=True))


def install(channel: Path, prefix: Path, specs: Sequence[str]) -> list[tuple[str, str]]:
    """Solve and install; returns (url, sha256) of what was installed."""
    return asyncio.run(_install(channel, prefix, specs))


async def _install(channel: Path, prefix: Path, specs: Sequence[str]) -> list[tuple[str, str]]:
    import rattler

    records = await rattler.solve(
        [rattler.Channel(channel.as_uri())],
        # The lenient reading knows `name=version=build`, as conda writes environment.yml.
        [rattler.MatchSpec(spec, strict=False) for spec in specs],
        platforms=[SUBDIR, "noarch"],
    )
    await rattler.install(
        records,
        prefix,
        cache_dir=channel.parent / "cache",
        show_progress=False,
    )
    return [(record.url, (record.sha256 or b"").hex()) for record in records]


def libstdcxx(folder: Path, ceiling: int) -> bytes:
    """A real library with libstdc++'s soname, defining GLIBCXX_3.4 up to GLIBCXX_3.4.<ceiling>."""
    folder.mkdir(parents=True, exist_ok=True)
    source, script = folder / "std.c", folder / "std.map"
    levels = ["GLIBCXX_3.4", *(f"GLIBCXX_3.4.{n}" for n in range(1, ceiling + 1))]
    source.write_text("int std_marker(void) { return 1; }\n")
    text = f"{levels[0]} {{ global: std_marker; local: *; }};\n"
    for before, level in zip(levels, levels[1:]):
        text += f"{level} {{ }} {before};\n"
    text += "CXXABI_1.3 { };\nCXXABI_1.3.11 { } CXXABI_1.3;\n"
    script.write_text(text)
    target = folder / "libstdc++.so.6"
    subprocess.run(
        [
            *("gcc", "-shared", "-fPIC", "-o", str(target), str(source)),
            *("-Wl,-soname,libstdc++.so.6", f"-Wl,--version-script={script}"),
        ],
        check=True,
    )
    return target.read_bytes()


def new_channel(folder: Path) -> Path:
    channel = folder / "channel"
    channel.mkdir(parents=True)
    return channel


def machine_is_supported() -> bool:
    return os.uname().machine == "x86_64"
