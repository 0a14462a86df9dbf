"""Which processor features x86-64 code needs, by the flags that it was compiled with.

Features are named as in /proc/cpuinfo. Only those count whose instructions compilers put in by
themselves: `-march=skylake` also allows SGX, and virtual machines often hide that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: GCC's names, what they build on, and what they add.
_PROCESSORS = """
x86-64 k8 opteron athlon64 athlon-fx:
k8-sse3 opteron-sse3 athlon64-sse3 nocona: pni
core2: nocona ssse3
nehalem corei7 westmere x86-64-v2: core2 sse4_1 sse4_2 popcnt
sandybridge corei7-avx: nehalem avx
ivybridge core-avx-i: sandybridge f16c
haswell core-avx2 broadwell skylake x86-64-v3: ivybridge avx2 bmi1 bmi2 abm fma movbe
skylake-avx512 x86-64-v4: haswell avx512f avx512cd avx512bw avx512dq avx512vl
cascadelake: skylake-avx512 avx512_vnni
cooperlake: cascadelake avx512_bf16
cannonlake: skylake-avx512 avx512ifma avx512vbmi
icelake-client icelake-server rocketlake tigerlake: cannonlake avx512_vnni avx512_vbmi2 \
avx512_bitalg avx512_vpopcntdq gfni
sapphirerapids emeraldrapids graniterapids graniterapids-d: icelake-server avx512_bf16 \
avx512_fp16 avx_vnni
knl: haswell avx512f avx512cd avx512er avx512pf
knm: knl avx512_vpopcntdq
bonnell atom: core2 movbe
silvermont slm goldmont goldmont-plus: nehalem movbe
tremont: silvermont gfni
alderlake raptorlake meteorlake gracemont: haswell gfni avx_vnni
amdfam10 barcelona: k8-sse3 popcnt abm
btver1: amdfam10 ssse3
btver2: btver1 sse4_1 sse4_2 avx f16c bmi1 movbe
bdver1: btver1 sse4_1 sse4_2 avx fma4 xop
bdver2 bdver3: bdver1 f16c bmi1 fma tbm
bdver4: bdver2 avx2 bmi2 movbe
znver1 znver2 znver3: haswell
znver4: znver3 avx512f avx512cd avx512bw avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 \
avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_bf16 gfni
znver5: znver4 avx_vnni
"""
#: -m flags whose feature has another name; the rest is called as it is.
_FEATURES = {
    "sse3": "pni", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "sse4": "sse4_2",
    "bmi": "bmi1", "lzcnt": "abm", "avxvnni": "avx_vnni", "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni", "avx512bitalg": "avx512_bitalg", "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16", "avx512vpopcntdq": "avx512_vpopcntdq",
    "avx512vp2intersect": "avx512_vp2intersect", "avx5124fmaps": "avx512_4fmaps",
    "avx5124vnniw": "avx512_4vnniw", "amx-tile": "amx_tile", "amx-int8": "amx_int8",
    "amx-bf16": "amx_bf16",
}  # fmt: skip
_PLAIN = frozenset((
    "ssse3", "sse4a", "popcnt", "avx", "avx2", "fma", "fma4", "f16c", "bmi2", "vaes", "avx512f",
    "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512ifma", "avx512vbmi", "avx512er",
    "avx512pf",
))  # fmt: skip
#: Every x86-64 has it, or it chooses between instructions of other flags.
_NOTHING = frozenset(("-msse", "-msse2", "-m64", "-mx32"))
_NOTHING_EITHER = ("-mabi=", "-mcpu=", "-mfpmath=", "-mlong-double-", "-m128bit-", "-m96bit-")
#: What a feature builds on: with `-mno-avx` goes AVX2.
_BUILDS_ON = {
    "ssse3": "pni", "sse4a": "pni", "sse4_1": "ssse3", "sse4_2": "sse4_1", "avx": "sse4_2",
    "avx2": "avx", "fma": "avx", "f16c": "avx", "vaes": "avx", "fma4": "avx", "xop": "fma4",
    "avx_vnni": "avx2", "avx512f": "avx2",
}  # fmt: skip


def needed(flags: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Each feature that code with these flags needs, with the flag that says so; and the flags of
    which that is not known, such as `-march=native`."""
    processors: dict[str, str] = {}
    named: dict[str, str] = {}
    without: set[str] = set()
    unknown = []
    for flag in flags:
        if flag.startswith("-march="):
            found = _of_processor(flag[len("-march=") :])
            if found is None:
                unknown.append(flag)
            else:
                processors.update((feature, flag) for feature in found)
        elif flag in _NOTHING or flag.startswith(_NOTHING_EITHER):
            continue
        elif flag.startswith("-m"):
            off = flag.startswith("-mno-")
            name = flag[5 if off else 2 :]
            feature = _FEATURES.get(name) or (name if name in _PLAIN else None)
            if off:
                without.add(feature or name)
            elif feature is None:
                unknown.append(flag)
            else:
                named[feature] = flag
    features = {**processors, **named}
    return {name: features[name] for name in sorted(features) if not _off(name, without)}, unknown


def _off(feature: str | None, without: set[str]) -> bool:
    """Whether a feature, or one that it builds on, was turned off."""
    while feature is not None:
        if feature in without:
            return True
        below = "avx512f" if feature.startswith("avx512") and feature != "avx512f" else None
        feature = below or _BUILDS_ON.get(feature)
    return False


_table: dict[str, frozenset[str]] = {}


def _of_processor(name: str) -> frozenset[str] | None:
    """The features of a processor by GCC's name; None of one that is not known."""
    if not _table:
        for line in _PROCESSORS.strip().split("\n"):
            names, _, content = line.partition(":")
            features: set[str] = set()
            for word in content.split():
                features |= _table.get(word, {word})
            _table.update(dict.fromkeys(names.split(), frozenset(features)))
    return _table.get(name)
