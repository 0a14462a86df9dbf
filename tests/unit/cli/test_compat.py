"""What `compat` says, from small plugins and the atlas of every public release."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from envlock.actions.compatibility import compat
from envlock.report.formats import render

#: Exported by the framework library of every release, and by none.
EXPORTED = ("TF_NewStatus", "TF_DeleteStatus")
NOWHERE = "_ZN10tensorflow8OpKernel8NeverWasEv"
#: A function of C++ that many releases have.
CPP = "_ZN10tensorflow8OpKernelD2Ev"
#: What CUDA's compiler puts into a plugin; `tensorflow` exports it up to 2.16.
CUDA = "__cudaRegisterFatBinary"


def using(path: Path, *names: str, linked: bool = True) -> Path:
    """A shared library that refers to these names, linked to something called like the framework."""
    needs = []
    if linked:
        name = "libtensorflow_framework.so.2"
        command = ["gcc", "-shared", f"-Wl,-soname,{name}", "-o", str(path.parent / name)]
        subprocess.run([*command, "-x", "c", "/dev/null"], check=True)
        needs = ["-x", "none", "-Wl,--no-as-needed", str(path.parent / name)]
    lines = [f'extern char v{i} __asm__("{name}");' for i, name in enumerate(names)]
    lines.append(f"void *used[] = {{{', '.join(f'&v{i}' for i in range(len(names)))}}};")
    command = ["gcc", "-shared", "-fPIC", "-o", str(path), "-x", "c", "-"]
    subprocess.run([*command, *needs], input="\n".join(lines), text=True, check=True)
    return path


def test_a_plugin_that_is_not_linked_is_told_so_where_all_it_needs_is_exported(
    tmp_path: Path,
) -> None:
    plugin = using(tmp_path / "p.so", *EXPORTED, linked=False)
    releases = {r.tensorflow: r for r in compat(plugin).releases}
    (finding,) = releases["2.17.1"].findings
    assert (finding.rule, finding.verdict) == ("not-linked-to-framework", "incompatible")
    assert finding.subject == "libtensorflow_framework.so.2"
    assert "exports 2 symbols" in finding.message
    assert "does not export" not in finding.message
    # Later releases are in the global scope.
    assert releases["2.20.0"].verdict == "compatible"


def test_what_no_library_exports_is_still_missing(tmp_path: Path) -> None:
    plugin = using(tmp_path / "p.so", EXPORTED[0], NOWHERE, linked=False)
    releases = {r.tensorflow: r for r in compat(plugin).releases}
    missing, hidden = releases["2.17.1"].findings
    assert (missing.rule, missing.examples) == (
        "link-symbol",
        ("tensorflow::OpKernel::NeverWas()",),
    )
    assert "does not export 1 symbol that" in missing.message
    assert (hidden.rule, hidden.examples) == ("not-linked-to-framework", (EXPORTED[0],))


def test_of_an_unstamped_plugin_it_says_how_it_was_judged(tmp_path: Path) -> None:
    plugin = using(tmp_path / "p.so", CPP)
    (why,) = [u.why for u in compat(plugin).unchecked if u.what == "binary interface"]
    assert "it can have been built with any of 2." in why
    assert why.endswith(
        "; these count as working, every other release as unsafe if a build from even one of "
        "these breaks on it"
    )


def test_it_hints_at_the_distribution_that_takes_what_this_one_does_not(tmp_path: Path) -> None:
    plugin = using(tmp_path / "p.so", CPP, CUDA)
    answer = compat(plugin)
    assert all(r.verdict == "incompatible" for r in answer.releases)
    theirs = compat(plugin, distribution="tensorflow")
    assert theirs.other is None
    assert answer.other is not None
    assert answer.other.name == "tensorflow"
    takes = tuple(r.tensorflow for r in theirs.releases if r.verdict == "compatible")
    assert answer.other.releases == takes != ()
    (hint,) = [line for line in render(answer, "text").splitlines() if "hint:" in line]
    assert hint.startswith("  hint: the package `tensorflow` takes it in 2.")
    command = hint[hint.index("envlock compat") :].split()
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=True
    )
    assert " compatible" in done.stdout


def test_there_is_no_hint_where_the_distributions_agree(tmp_path: Path) -> None:
    plugin = using(tmp_path / "p.so", *EXPORTED)
    assert compat(plugin).other is None
