"""Tiny libraries built on the spot, and dlopen itself as the judge of what is predicted for them.

Needs gcc; every test is a three-line program.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envlock.linker.prediction import Prediction
from envlock.linker.resolve import predict
from envlock.linker.scope import LiveScope
from envlock.linker.simulate import load, start_process

# Loads what its arguments say, then tries the last one and tells what the linker answered.
HOST = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void maps(const char *word) {
    for (struct link_map *l = _r_debug.r_map; l; l = l->l_next)
        if (*l->l_name && strncmp(l->l_name, "linux-", 6)) printf("%s %s\n", word, l->l_name);
}
int main(int argc, char **argv) {
    for (int i = 1; i < argc - 1; i++) {
        int global = argv[i][0] == 'G';
        if (!dlopen(argv[i] + 1, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL))) {
            printf("setup %s\n", dlerror());
            return 3;
        }
    }
    maps("before");
    fflush(stdout);
    void *handle = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
    if (!handle) printf("error %s\n", dlerror());
    else { printf("ok\n"); maps("after"); }
    fflush(stdout);
    _exit(0);
}
"""


@dataclass(frozen=True)
class Judgement:
    """What really happened: "ok", "refused" or "crash", dlerror's text, what was mapped for it."""

    outcome: str
    error: str | None
    mapped: tuple[str, ...]
    debug: str = field(default="", repr=False)

    @property
    def tried(self) -> list[str]:
        """The files that LD_DEBUG=libs says were tried, in order."""
        return re.findall(r"trying file=(\S+)", self.debug)


class Workshop:
    """A folder of small libraries, and a program that opens them."""

    #: The compiler, what runs its programs, and the flags that its programs need.
    compiler = "gcc"
    runner: tuple[str, ...] = ()
    host_flags: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host_path = folder / "host"
        self._built_host = False
        self.prepare: list[tuple[str, bool]] = []
        self.env: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """A path in the folder, its parent made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def gcc(self, *arguments: str | Path, source: str | None = None) -> None:
        """Run gcc on a source text."""
        answer = subprocess.run(
            [self.compiler, "-w", *map(str, arguments)],
            input=source,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C"},
        )
        assert answer.returncode == 0, answer.stderr

    def lib(
        self,
        name: str,
        source: str = "",
        needs: Sequence[Path | str] = (),
        *,
        soname: str | None = None,
        rpath: str | None = None,
        runpath: str | None = None,
        versions: str | None = None,
        flags: Sequence[str] = (),
        libc: bool = False,
    ) -> Path:
        """Build a shared library; `needs` are linked in as they are named by their DT_SONAME."""
        target = self.path(name)
        arguments: list[str | Path] = ["-shared", "-fPIC", "-O0", "-x", "c", "-", "-x", "none"]
        if not libc:
            arguments += ["-nostdlib"]
        # Allow references that nothing defines: they are what the tests are about.
        arguments += ["-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", *map(str, needs)]
        arguments += [f"-Wl,-soname,{soname}"] if soname else []
        if rpath is not None:
            arguments += [f"-Wl,--disable-new-dtags,-rpath,{rpath}"]
        if runpath is not None:
            arguments += [f"-Wl,--enable-new-dtags,-rpath,{runpath}"]
        if versions is not None:
            script = self.path(f"{name}.map")
            script.write_text(versions)
            arguments += [f"-Wl,--version-script={script}"]
        self.gcc(*arguments, *flags, "-o", target, source=source or "int unused_;\n")
        return target

    def host(self, *flags: str) -> Path:
        """Build the program, with other link flags than none."""
        options: list[str | Path] = [*self.host_flags, *flags, "-o", self.host_path]
        self.gcc("-O0", "-x", "c", "-", "-x", "none", *options, source=HOST)
        self._built_host = True
        return self.host_path

    def before(self, path: Path | str, *, make_global: bool = False) -> None:
        """Have the program open a library first."""
        self.prepare.append((str(path), make_global))

    def judge(self, plugin: Path | str, *, debug: bool = False) -> Judgement:
        """What dlopen itself does with the plugin, in a child process."""
        if not self._built_host:
            self.host()
        steps = [("G" if glob else "L") + path for path, glob in self.prepare]
        env = {"LC_ALL": "C", "PATH": os.environ["PATH"], **self.env}
        if debug:
            env["LD_DEBUG"] = "libs"
        answer = subprocess.run(
            [*self.runner, str(self.host_path), *steps, str(plugin)],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env=env,
            cwd=self.folder,
            timeout=60,
        )
        lines = answer.stdout.splitlines()
        assert not [line for line in lines if line.startswith("setup")], answer.stdout
        error = next((line[6:] for line in lines if line.startswith("error ")), None)
        before = [line[7:] for line in lines if line.startswith("before ")]
        after = [line[6:] for line in lines if line.startswith("after ")]
        mapped = tuple(path for path in after if path not in before)
        if error is not None:
            return Judgement("refused", error, mapped, answer.stderr)
        if answer.returncode < 0 or "Inconsistency detected by ld.so" in answer.stderr:
            name = signal.Signals(-answer.returncode).name if answer.returncode < 0 else "abort"
            return Judgement("crash", name, mapped, answer.stderr)
        assert "ok" in lines, (answer.returncode, answer.stdout, answer.stderr)
        return Judgement("ok", None, mapped, answer.stderr)

    def scope(self) -> LiveScope:
        """The program's scope after its preparation, from files."""
        scope = start_process(str(self.host_path), {**self.env})
        for path, make_global in self.prepare:
            assert load(scope, path, make_global=make_global) is not None
        return scope

    def predict(self, plugin: Path | str) -> Prediction:
        """The prediction for the plugin."""
        if not self._built_host:
            self.host()
        old = os.getcwd()
        # Relative paths and an empty search folder mean the current one.
        os.chdir(self.folder)
        try:
            return predict(str(plugin), self.scope())
        finally:
            os.chdir(old)

    def agree(self, plugin: Path | str) -> Prediction:
        """Judge and predict; both must say the same, in the same words. Returns the prediction."""
        real = self.judge(plugin)
        predicted = self.predict(plugin)
        assert predicted.outcome == real.outcome, (predicted, real)
        if real.outcome == "refused":
            assert predicted.error == real.error, (predicted.error, real.error)
        if real.outcome == "ok" and not predicted.already_loaded:
            new = [str(plugin), *(d.path for d in predicted.closure if d.new)]
            assert sorted(new) == sorted(real.mapped), (predicted.closure, real)
        return predicted

    def refused(self, plugin: Path | str, reason: str) -> Prediction:
        """`agree`, and the plugin is refused for that reason."""
        prediction = self.agree(plugin)
        assert (prediction.outcome, prediction.reason) == ("refused", reason), prediction
        return prediction

    def accepted(self, plugin: Path | str) -> dict[str, tuple[str, str]]:
        """`agree`, and the plugin is accepted; name to (file below the folder, how)."""
        prediction = self.agree(plugin)
        assert prediction.ok, prediction
        return {d.name: (os.path.relpath(d.path, self.folder), d.how) for d in prediction.closure}


def have(*tools: str) -> bool:
    """Whether these commands are installed."""
    return all(shutil.which(tool) for tool in tools)


def without_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Variables that steer the dynamic linker, taken out."""
    return {name: value for name, value in env.items() if not name.startswith("LD_")}
