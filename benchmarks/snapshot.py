"""What a snapshot and a diff cost, beside the tools that list packages.

    python -m benchmarks.snapshot [--runs N]

Three environments: the test suite's TensorFlow one (some 40 distributions, 20,000 files), one with
500 small distributions, and a conda prefix with 200 packages. Both are made at first use.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import HEADER, alternate, machine, median, ratio, row
from tests.support.environments import cache_root, ensure
from tests.unit.inventory.packaging_world import make_wheel, new_venv, site_packages, uv_install

RELEASE = "2.15.1"
MANY, FILES = 500, 20
CONDA = 200
READ_RECORDS = """
import sys
from pathlib import Path
from rattler import PrefixRecord
for path in Path(sys.argv[1], "conda-meta").glob("*.json"):
    record = PrefixRecord.from_path(path)
    print(record.name.normalized, record.version, record.build)
"""


def cpu(command: list[str], runs: int, environ: dict[str, str]) -> float:
    """The least user and system seconds of some runs."""
    found = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, env=environ, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def many_distributions() -> Path:
    """A virtual environment with 500 distributions of 20 modules each."""
    env = cache_root() / f"bench-{MANY}-{FILES}"
    if not (env / ".complete").is_file():
        wheels = cache_root() / f"bench-{MANY}-wheels"
        wheels.mkdir(parents=True, exist_ok=True)
        names = [f"bench-{number:03}" for number in range(MANY)]
        for name in names:
            module = name.replace("-", "_")
            files = {f"{module}/m{n}.py": f"VALUE = {n}\n" * 40 for n in range(FILES)}
            make_wheel(wheels, name, "1.0", files, requires=names[:3])
        new_venv(env)
        uv_install(env, "--no-deps", "--find-links", wheels, *names)
        (env / ".complete").touch()
    return env


def conda_prefix() -> Path:
    """A prefix with 200 packages of 100 files each: records as rattler writes them."""
    prefix = cache_root() / f"bench-conda-{CONDA}"
    if not (prefix / ".complete").is_file():
        base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        (prefix / "bin").mkdir(parents=True, exist_ok=True)
        (prefix / "conda-meta").mkdir(exist_ok=True)
        if not (prefix / "bin/python").exists():
            (prefix / "bin/python").symlink_to(base)
        (prefix / "pyvenv.cfg").write_text(
            f"home = {base.parent}\ninclude-system-site-packages = false\n"
        )
        for number in range(CONDA):
            name = f"package-{number}"
            paths = []
            for file in range(100):
                place = prefix / "share" / name / f"{file}.txt"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(f"{file}\n")
                size = place.stat().st_size
                digest = "0" * 64
                paths.append(
                    {
                        "_path": str(place.relative_to(prefix)),
                        "path_type": "hardlink",
                        "sha256": digest,
                        "size_in_bytes": size,
                    }
                )
            record = {
                "name": name,
                "version": "1.0",
                "build": "h0_0",
                "build_number": 0,
                "subdir": "linux-64",
                "depends": [],
                "channel": "https://conda.anaconda.org/conda-forge/",
                "fn": f"{name}-1.0-h0_0.conda",
                "url": f"https://conda.anaconda.org/conda-forge/linux-64/{name}-1.0-h0_0.conda",
                "sha256": f"{number:064x}",
                "files": [path["_path"] for path in paths],
                "paths_data": {"paths_version": 1, "paths": paths},
            }
            target = prefix / "conda-meta" / f"{name}-1.0-h0_0.json"
            target.write_text(json.dumps(record))
        (prefix / ".complete").touch()
    return prefix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have their byte code cached
    scripts = Path(sys.executable).parent
    envlock, pip = [str(scripts / "envlock")], [str(scripts / "pip")]
    places = {
        f"TensorFlow {RELEASE}": ensure(RELEASE).prefix,
        f"{MANY} small": many_distributions(),
    }
    print(f"# {machine()}; {runs} runs")
    folder = Path("build/benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    for label, env in places.items():
        site = site_packages(env)
        count = len(list(site.glob("*.dist-info")))
        times = alternate(
            {
                "envlock snapshot": [*envlock, "snapshot", "--env", str(env)],
                "  without looking at files": [
                    *(*envlock, "snapshot", "--env", str(env), "--integrity", "none"),
                ],
                "pip inspect": [*pip, "inspect", "--path", str(site)],
                "pip list --format json": [*pip, "list", "--format", "json", "--path", str(site)],
                "python -c pass": [sys.executable, "-c", "pass"],
            },
            runs,
            environ,
        )
        print(f"\n## {label}: {count} distributions\n{HEADER}")
        for name, values in times.items():
            print(row(name, values))
        factor = ratio(times["pip inspect"], times["envlock snapshot"])
        print(f"envlock snapshot is {factor:.1f} times faster than pip inspect (at least 5)")
        # Wall time on a busy machine says little; the processor time of the two says more.
        ours = cpu([*envlock, "snapshot", "--env", str(env)], runs, environ)
        theirs = cpu([*pip, "inspect", "--path", str(site)], runs, environ)
        print(
            f"processor time: {ours * 1000:.0f} ms and {theirs * 1000:.0f} ms, "
            f"{theirs / ours:.1f} times less"
        )
        output = str(folder / f"{count}.json")
        subprocess.run([*envlock, "snapshot", "--env", str(env), "-o", output], check=True)
    prefix = conda_prefix()
    times = alternate(
        {
            "envlock snapshot": [*envlock, "snapshot", "--env", str(prefix)],
            "  without looking at files": [
                *(*envlock, "snapshot", "--env", str(prefix), "--integrity", "none"),
            ],
            "rattler reads the records": [sys.executable, "-c", READ_RECORDS, str(prefix)],
        },
        runs,
        environ,
    )
    print(f"\n## conda prefix: {CONDA} packages\n{HEADER}")
    for name, values in times.items():
        print(row(name, values))

    first = folder / f"{MANY}.json"
    second = folder / f"{MANY}-other.json"
    changed = json.loads(first.read_text())
    for number, package in enumerate(changed["packages"]["pip"]):
        if number % 5 == 0:
            package["version"] = "1.1"
    second.write_text(json.dumps(changed))
    times = alternate(
        {
            f"envlock diff, 2 x {MANY} packages": [*envlock, "diff", str(first), str(second)],
            "python -c pass": [sys.executable, "-c", "pass"],
        },
        runs,
        environ,
    )
    print(f"\n## diff\n{HEADER}")
    for name, values in times.items():
        print(row(name, values))
    whole = median(next(iter(times.values())))
    print(f"the whole process takes {whole * 1000:.0f} ms (at most 100)")


if __name__ == "__main__":
    main()
