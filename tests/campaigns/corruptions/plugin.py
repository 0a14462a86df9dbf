"""The plugin that is damaged: `python -m tests.campaigns.corruptions.plugin` compiles and stamps it anew.

It is committed, because messages hold offsets, and another compiler puts things elsewhere. It uses
TensorFlow's C functions only, so it loads in every release from 2.6 on; it has both hash tables,
needed and defined versions, notes, a RUNPATH and a manifest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import environments
from tests.support.building import OPS, flags_of

HERE = Path(__file__).resolve().parent
#: Not called .so, so that no rule about compiled files takes it for one that was made here.
PLUGIN = HERE / "zero_out.elf"
RELEASE = "2.15.1"
#: What its kernel must compute: a function of tests.campaigns.conformance.answers.
ANSWER = "c_api"
_FLAGS = (
    "-shared",
    "-fPIC",
    "-O2",
    "-s",
    "-Wl,--hash-style=both",
    "-Wl,-rpath,$ORIGIN/libs",
    "-Wl,-soname,zero_out.so",
    "-Wl,--build-id",
    "-Wl,-z,relro",
    "-DNDEBUG",
)


def main() -> None:
    """Compile it against the release's headers, and stamp it."""
    env = environments.ensure(RELEASE)
    flags = flags_of(env)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = (OPS / "c_api.cc").read_text()
        # One function is exported, so that there is a version to define.
        exported = '\nextern "C" int RegisterAllVersion(void) { return 1; }\n'
        (folder / "zero_out.cc").write_text(source + exported)
        (folder / "versions").write_text("OP_1 { global: RegisterAllVersion; local: *; };\n")
        plugin = folder / "zero_out.so"
        subprocess.run(
            [
                "g++",
                *_FLAGS,
                "-Wl,--version-script=versions",
                *flags.compile,
                "zero_out.cc",
                *flags.link,
                "-o",
                plugin,
            ],
            check=True,
            cwd=folder,
        )
        subprocess.run(
            [sys.executable, "-m", "envlock", "stamp", "--env", str(env.prefix), plugin], check=True
        )
        PLUGIN.write_bytes(plugin.read_bytes())


if __name__ == "__main__":
    main()
