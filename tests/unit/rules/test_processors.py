"""What flags need of a processor: as the compiler says, and as the processor behaves."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from envlock import check, stamp
from envlock.actions.compatibility import judge_release
from envlock.binary.code.processors import _PROCESSORS, needed
from envlock.binary.elf import ElfFile
from envlock.linker.rtld import cpu_flags
from envlock.plugin.facts import PluginFacts
from tests.support.environments import TfEnvironment

#: What g++ defines where it puts in such instructions by itself.
MACROS = {
    "__SSE3__": "pni", "__SSSE3__": "ssse3", "__SSE4_1__": "sse4_1", "__SSE4_2__": "sse4_2",
    "__POPCNT__": "popcnt", "__AVX__": "avx", "__AVX2__": "avx2", "__FMA__": "fma",
    "__FMA4__": "fma4", "__XOP__": "xop", "__F16C__": "f16c", "__BMI__": "bmi1",
    "__BMI2__": "bmi2", "__LZCNT__": "abm", "__MOVBE__": "movbe", "__TBM__": "tbm",
    "__GFNI__": "gfni", "__AVXVNNI__": "avx_vnni", "__AVX512F__": "avx512f",
    "__AVX512CD__": "avx512cd", "__AVX512BW__": "avx512bw", "__AVX512DQ__": "avx512dq",
    "__AVX512VL__": "avx512vl", "__AVX512IFMA__": "avx512ifma", "__AVX512VBMI__": "avx512vbmi",
    "__AVX512VBMI2__": "avx512_vbmi2", "__AVX512VNNI__": "avx512_vnni",
    "__AVX512BITALG__": "avx512_bitalg", "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
    "__AVX512BF16__": "avx512_bf16", "__AVX512FP16__": "avx512_fp16", "__AVX512ER__": "avx512er",
    "__AVX512PF__": "avx512pf",
}  # fmt: skip
NAMES = [name for row in _PROCESSORS.strip().split("\n") for name in row.split(":")[0].split()]
SINGLE = (
    "-mavx512vbmi2", "-mavx512vnni", "-mavx512bitalg", "-mavx512bf16", "-mavx512fp16", "-mavxvnni",
    "-mavx512vpopcntdq", "-mavx512er", "-mavx512pf", "-mavx512ifma", "-mavx512vbmi", "-mavx512vl",
    "-mavx512bw", "-mavx512dq", "-mavx512cd", "-mavx512f", "-mavx2", "-mavx", "-mfma", "-mfma4",
    "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt", "-msse4.2", "-msse4.1", "-msse4", "-mssse3",
    "-msse3",
)  # fmt: skip


@functools.cache
def defined(*flags: str) -> frozenset[str] | None:
    """The features that g++ takes for granted with these flags; None if it does not know them."""
    command = ["g++", *flags, "-dM", "-E", "-x", "c++", "/dev/null"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        return None
    names = {line.split()[1] for line in answer.stdout.splitlines()}
    return frozenset(feature for macro, feature in MACROS.items() if macro in names)


def test_each_processor_has_what_the_compiler_takes_for_granted() -> None:
    """Of the names that this g++ knows; newer ones have newer processors."""
    known = {name: defined(f"-march={name}") for name in NAMES}
    known = {name: features for name, features in known.items() if features is not None}
    assert len(known) > 30
    assert {name: set(needed([f"-march={name}"])[0]) for name in known} == known


def test_each_flag_names_its_feature() -> None:
    for flag in SINGLE:
        found, unknown = needed([flag])
        compiler = defined(flag)
        assert (len(found), unknown) == (1, []), flag
        # The compiler adds what it builds on, which every processor with the feature has.
        assert compiler is None or set(found) <= compiler, flag


@pytest.mark.parametrize(
    "flags",
    [
        ("-march=haswell", "-mno-avx"),
        ("-march=icelake-server", "-mno-avx512f"),
        ("-march=skylake-avx512", "-mno-avx2"),
        ("-march=bdver4", "-mno-fma4"),
        ("-march=haswell", "-mno-sse4.1"),
        ("-march=haswell", "-mno-bmi", "-mno-lzcnt"),
    ],
)
def test_what_is_turned_off_is_not_needed(flags: tuple[str, ...]) -> None:
    assert set(needed(flags)[0]) == defined(*flags)


def test_unknown_names_are_told() -> None:
    flags = ["-march=native", "-march=z80", "-mavx9", "-mno-avx9", "-m64", "-std=c++17"]
    assert needed(flags) == ({}, ["-march=native", "-march=z80", "-mavx9"])


SOURCE = """
extern "C" long answer(long n) { return n; }
#ifdef FOREIGN
__attribute__((constructor)) static void at_load() { asm volatile("vprotb $1, %xmm0, %xmm0"); }
#endif
"""


def library(folder: Path, *flags: str) -> Path:
    source, made = folder / "plugin.cc", folder / "plugin.so"
    source.write_text(SOURCE)
    command = ["g++", "-g", "-O2", "-shared", "-fPIC", *flags, str(source), "-o", str(made)]
    subprocess.run(command, check=True)
    return made


def test_a_plugin_for_another_processor_dies_and_is_refused(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    features = cpu_flags()[1]
    if not features or "xop" in features:
        pytest.skip("this processor runs XOP instructions, or tells nothing")
    env = tf_env("2.15.1")
    plugin = library(tmp_path, "-DFOREIGN", "-march=bdver2")
    stamp(plugin, env=env.prefix)
    subprocess.run(["strip", plugin], check=True)
    report = check(plugin, env=env.prefix)
    (finding,) = report.findings
    assert (report.verdict, finding.rule) == ("unsafe", "instruction-set")
    assert "xop" in finding.message
    script = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", script, plugin], capture_output=True)
    assert done.returncode == -signal.SIGILL


def test_a_plugin_for_this_processor_is_fine(
    tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    if not cpu_flags()[1]:
        pytest.skip("this processor tells nothing")
    env = tf_env("2.15.1")
    plugin = library(tmp_path, "-march=native")
    stamp(plugin, env=env.prefix)
    report = check(plugin, env=env.prefix)
    assert (report.verdict, report.findings, report.unchecked) == ("compatible", (), ())


@pytest.mark.parametrize(("march", "told"), [("haswell", True), ("x86-64", False)])
def test_a_release_alone_has_no_processor(
    march: str, told: bool, tmp_path: Path, tf_env: Callable[[str], TfEnvironment]
) -> None:
    plugin = library(tmp_path, f"-march={march}")
    stamp(plugin, env=tf_env("2.15.1").prefix)
    with ElfFile.open(plugin) as elf:
        report = judge_release(PluginFacts.of(elf), "2.15.1")
    unchecked = {one.what: one.why for one in report.unchecked}
    assert ("instruction set" in unchecked) == told
    assert not told or f"`-march={march}`" in unchecked["instruction set"]
