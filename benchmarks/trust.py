"""What trust costs: `envlock check` with and without `--trust`, signing and verifying by size.

    python -m benchmarks.trust [--runs N] [--library FILE...]

The first table is a small plugin, whole processes in turn. The others are inside one process,
beside `sha256sum` of the same cached file: every loaded byte has to be hashed. Python's SHA-256 is
OpenSSL's, which uses instructions that the processor may have for it; coreutils' does not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import HEADER, machine, median, row
from envlock.binary.elf import ElfFile
from envlock.plugin.signature.keys import read_private
from envlock.plugin.signature.sign import sign
from envlock.plugin.signature.statement import compare, decode_statement
from tests.support.building import build
from tests.support.environments import ensure

RELEASE = "2.15.1"
ZERO_OUT = Path(__file__).resolve().parents[1] / "examples" / "zero_out" / "zero_out.cc"
MANIFEST = b'{"format":"envlock.manifest/1"}'


def keys(folder: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    private, public = folder / "key.pem", folder / "key.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    private.chmod(0o600)
    return private, public


def processes(folder: Path, private: Path, public: Path, runs: int) -> None:
    """The gate as a whole process; wall seconds."""
    environment = ensure(RELEASE)
    plugin = folder / "zero_out.so"
    shutil.copy(build(ZERO_OUT, environment), plugin)
    envlock = [sys.executable, "-m", "envlock"]
    env = ["--env", str(environment.prefix)]
    subprocess.run(
        [*envlock, "stamp", plugin, *env, "--sign", private], check=True, stdout=subprocess.DEVNULL
    )
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "envlock check": [*envlock, "check", str(plugin), *env],
        "envlock check --trust": [*envlock, "check", str(plugin), *env, "--trust", str(public)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    worked: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                raise SystemExit(f"{command} ended with {child.returncode}")
            if number:  # the first round only warms up
                times[name].append(time.perf_counter() - started)
                worked[name].append(usage.ru_utime + usage.ru_stime)
    print(f"\na small plugin, {runs} runs in turn")
    print(HEADER)
    for name, values in times.items():
        print(row(name, values, f"{1000 * median(worked[name]):.0f} ms of processor"))


def sizes(libraries: list[Path], private: Path, runs: int) -> None:
    """Processor seconds of signing and verifying, beside sha256sum."""
    key = read_private(str(private))
    for library in libraries:
        results: dict[str, list[float]] = {"sha256sum": [], "sign": [], "verify": []}
        for number in range(runs + 1):
            before = os.times()
            subprocess.run(["sha256sum", library], check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            hashed = after.children_user + after.children_system
            hashed -= before.children_user + before.children_system
            with ElfFile.open(library) as elf:
                started = time.process_time()
                note = sign(elf, MANIFEST, key)
                signed = time.process_time() - started
                started = time.process_time()
                outcome = compare(elf, decode_statement(note[104:], elf.path), MANIFEST)
                verified = time.process_time() - started
            if outcome.kind != "intact":
                raise SystemExit(f"{library}: {outcome.kind}")
            if number:
                for name, value in zip(results, (hashed, signed, verified)):
                    results[name].append(value)
        size = library.stat().st_size
        print(f"\n{library.name}, {size / 1e6:.0f} MB, {runs} runs; seconds of processor")
        print(HEADER)
        for name, values in results.items():
            against = median(values) / max(median(results["sha256sum"]), 1e-9)
            print(row(name, values, f"{against:.2f} x sha256sum"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--library", type=Path, action="append", help="sign these instead")
    arguments = parser.parse_args()
    tensorflow = ensure(RELEASE).tensorflow
    libraries = arguments.library or [
        tensorflow / name for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
    ]
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        private, public = keys(folder)
        processes(folder, private, public, arguments.runs)
        sizes(libraries, private, max(3, arguments.runs // 5))


if __name__ == "__main__":
    main()
