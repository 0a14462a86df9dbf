"""What the atlas costs: bytes, opening it, `compat` over all releases, growth with releases.

    python -m benchmarks.atlas [--runs N] [PLUGIN...]

Without plugins, the example op is built with one of the test suite's TensorFlow environments (made
at first use; needs g++) and measured stamped and unstamped. `--parts FOLDER`, with what
`python -m tools.atlas --parts FOLDER` kept, also shows how the file grows release by
release.
"""

from __future__ import annotations

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import HEADER, alternate, machine, median, row
from envlock.atlas import extract, write
from envlock.atlas.format import SHIPPED, Atlas
from tests.support.building import build
from tests.support.environments import ensure

RELEASE = "2.15.1"
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
OPEN = "from envlock.atlas.format import Atlas; Atlas.open().releases"


def example() -> list[str]:
    """The example op, unstamped and stamped."""
    environment = ensure(RELEASE)
    folder = Path("build/benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    plain, stamped = folder / "unstamped.so", folder / "stamped.so"
    shutil.copy(build(Path("examples/zero_out/zero_out.cc").resolve(), environment), plain)
    shutil.copy(plain, stamped)
    command = ["envlock", "stamp", str(stamped), "--env", str(environment.python)]
    subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    return [str(plain), str(stamped)]


def interfaces(atlas: Atlas) -> int:
    return len({release.abi for release in atlas.releases})


def sizes() -> None:
    """The file and its sections, and the part of it that a wheel, which is compressed, takes."""
    atlas = Atlas.open()
    print(f"{os.path.getsize(SHIPPED):,} bytes, {len(atlas.releases)} builds")
    print(f"  {len({r.version for r in atlas.releases})} releases, {interfaces(atlas)} interfaces")
    places = sorted(atlas._places.items(), key=lambda item: -item[1][1])
    print("  " + ", ".join(f"{tag.decode()} {size:,}" for tag, (_, size) in places))


def times(plugins: Sequence[str], runs: int) -> None:
    """Whole processes beside a bare interpreter, in turn."""
    python = sys.executable
    commands: dict[str, Sequence[str]] = {
        "python -c pass": [python, "-c", "pass"],
        "open the atlas, list the releases": [python, "-c", OPEN],
    }
    for plugin in plugins:
        name = f"envlock compat {os.path.basename(plugin)}"
        commands[name] = [python, "-m", "envlock", "compat", plugin]
    measured = alternate(commands, runs, ENVIRON)
    bare = median(measured["python -c pass"])
    print(HEADER)
    for name, values in measured.items():
        print(row(name, values, f"{1000 * (median(values) - bare):+.1f} over bare Python"))


def growth(folder: str) -> None:
    """The size with the oldest 1, 2, 4, ... releases."""
    files = glob.glob(os.path.join(glob.escape(folder), "tensorflow*-*.json.gz"))
    names = {path: os.path.basename(path)[: -len(".json.gz")].rsplit("-", 1) for path in files}
    files.sort(key=lambda path: (write.release_order(names[path][1]), names[path][0]))
    writer = write.Writer()
    shown = {2**power for power in range(16)} | {len(files)}
    print(f"{'builds':>8}{'bytes':>12}{'interfaces':>12}{'open and list, ms':>20}")
    for number, path in enumerate(files, 1):
        writer.add(extract.load_part(path))
        if number not in shown:
            continue
        with tempfile.NamedTemporaryFile(suffix=".atlas") as file:
            file.write(writer.data())
            file.flush()
            code = OPEN.replace("open()", "open(sys.argv[1])")
            command = [sys.executable, "-c", "import sys; " + code, file.name]
            spent = median(alternate({"open": command}, 9, ENVIRON)["open"])
            atlas = Atlas.open(file.name)
            size = os.path.getsize(file.name)
            print(f"{number:>8}{size:>12,}{interfaces(atlas):>12}{1000 * spent:>20.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plugins", nargs="*", metavar="PLUGIN")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--parts", metavar="FOLDER")
    chosen = parser.parse_args()
    print(machine())
    sizes()
    times(chosen.plugins or example(), chosen.runs)
    if chosen.parts:
        growth(chosen.parts)


if __name__ == "__main__":
    main()
