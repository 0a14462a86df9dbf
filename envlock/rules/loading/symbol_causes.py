"""Causes behind missing symbols: link line, string ABI, string_view, other TensorFlow, GPU build.

A symbol goes to the first cause that can show evidence for itself, so one name is never explained
twice; what is left goes to `missing-symbol`.
"""

from __future__ import annotations

import os
import re

from ...binary.names.symbols import (
    ABSL_RELEASES,
    absl_namespace,
    belongs_to_framework,
    mentions_string,
    mentions_string_view,
    tagged_or_bare,
    with_absl_namespace,
    without_string_abi,
    without_string_view,
)
from ...models.report import Finding
from ...models.verdict import Verdict
from ...models.versions import order
from ..base import ALWAYS, WITH_SKEW, Rules
from .case import Case, plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linker.prediction import MissingSymbol
    from ...models.manifest import TensorFlowFacts

RULES = Rules("loading")

#: Names per cause that are compared with what the library exports under the same function name.
MOST_COMPARED = 12
#: The same where they are found, as a whole plugin of the other kind has many.
MOST_ALIKE = 256
_C_API = re.compile(r"(?:TF|TFE|TSL|SE|SP|TP)_[A-Z]\w+$")
_PYTHON_API = re.compile(r"_?Py[A-Z_]\w*$")
_GPU = re.compile(
    r"^_*(?:cu|cuda|cudnn|cublas|hip|nccl)[A-Z]\w+$|GpuDevice|CudaSolver|GpuSolver|GpuLaunch"
)


def _blocked(case: Case) -> bool:
    """Whether missing libraries leave it open who would have exported the symbols."""
    return any(
        finding.rule in ("framework-soname", "framework-library", "grafted-framework")
        and finding.verdict == Verdict.INCOMPATIBLE
        for finding in case.findings
    )


@RULES.rule(
    "not-linked-to-framework",
    "The plugin is not linked to the TensorFlow library whose symbols it uses",
    "Up to 2.18 (and in the full 2.19) TensorFlow's libraries are in a local scope, so a plugin "
    "must name them in its own link line; later ones are global and take such plugins.",
)
def not_linked_to_framework(case: Case) -> Finding | None:
    if _blocked(case):
        return None
    providers: dict[str, str] = {}
    for symbol in case.symbols:
        library = case.exported_by_framework(symbol.name)
        if library is not None:
            providers[symbol.name] = library
    taken = case.take_symbols(lambda symbol: symbol.name in providers)
    if not taken:
        return None
    library = providers[taken[0].name]
    linked = any("libtensorflow_framework" in d.name for d in case.prediction.closure)
    extra = " beside libtensorflow_framework" if linked else ""
    command = f"patchelf --add-needed {library} {case.name}"
    return not_linked_to_framework.finding(
        subject=library,
        live=library,
        count=len(taken),
        examples=case.examples(taken),
        message=f"`{library}` exports {plural(len(taken), 'symbol')} that the plugin needs, but "
        f"the plugin is not linked to it{extra}",
        why=f"{case.tensorflow} keeps its libraries out of the global scope: a plugin sees only "
        "what it is linked to",
        remedy=f"link it with `{case.flags('link')}`" if not linked else command,
    )


@RULES.rule(
    "cxx11-abi",
    "The plugin was compiled with the other std::string ABI",
    "The same function is exported with the other form of std::string in its name. Official "
    "packages use the old form up to 2.8 and the new one from 2.9 on.",
    release=WITH_SKEW,
)
def cxx11_abi(case: Case) -> Finding | None:
    if _blocked(case):
        return None
    tensorflow = case.environment.tensorflow
    built = case.plugin.compilation.cxx11_abi
    live = tensorflow.cxx11_abi if tensorflow is not None else None
    compared = 0
    proven: list[MissingSymbol] = []
    before = case.symbols

    def fits(symbol: MissingSymbol) -> bool:
        nonlocal compared
        if not belongs_to_framework(symbol.name):
            return False
        # A function that returns a string is tagged in the new ABI and bare in the old one.
        for other in tagged_or_bare(symbol.name):
            if case.exported_by_framework(other) is not None:
                proven.append(symbol)
                return True
        style = mentions_string(symbol.name)
        if style is None:
            return False
        # Searched for only where the two may differ: it takes a pass over all names.
        if compared < MOST_COMPARED and (built is None or built != live):
            compared += 1
            form = without_string_abi(symbol.name)
            for other in case.similar(symbol.name):
                if other != symbol.name and without_string_abi(other) == form:
                    if mentions_string(other) == style:
                        continue
                    proven.append(symbol)
                    return True
        return style is not None and built is not None and live is not None and built != live

    taken = case.take_symbols(fits)
    if not taken:
        return None
    if proven:
        # A name without a string in it is the bare form of a tagged one: the old ABI.
        plugin_is_new = mentions_string(proven[0].name) == "new"
    else:
        plugin_is_new = bool(built)
    recorded = case.other_release
    if recorded is not None and recorded.cxx11_abi == plugin_is_new:
        # As its own TensorFlow has it: the release differs, and no flag makes up for that.
        case.symbols = before
        return None
    values = ("_GLIBCXX_USE_CXX11_ABI=1", "_GLIBCXX_USE_CXX11_ABI=0")
    mine, theirs = values if plugin_is_new else values[::-1]
    return cxx11_abi.finding(
        subject="std::string",
        built=mine,
        live=theirs,
        count=len(taken),
        examples=case.examples(proven + [s for s in taken if s not in proven]),
        message=f"the plugin is compiled with {mine}, {case.tensorflow} with {theirs}, so "
        f"{plural(len(taken), 'name')} with std::string in them cannot match",
        why="the two forms of std::string have different layouts and are part of every symbol name "
        "that mentions one",
        remedy=f"rebuild it with `-D{theirs}`; TensorFlow's flags are `{case.flags('compile')}`",
    )


@RULES.rule(
    "string-view-std",
    "The plugin was compiled with another C++ standard, so string_view differs",
    "absl::string_view is a class of its own in C++14 and the standard library's in C++17; "
    "both sides of a call must agree.",
    release=WITH_SKEW,
)
def string_view_std(case: Case) -> Finding | None:
    if _blocked(case):
        return None
    before = case.symbols
    compared = different = 0
    tensorflow = case.environment.tensorflow
    said = tensorflow.cxx_standard if tensorflow is not None else None

    def fits(symbol: MissingSymbol) -> bool:
        nonlocal compared, different
        style = mentions_string_view(symbol.name)
        if style is None or not belongs_to_framework(symbol.name):
            return False
        if different >= MOST_COMPARED or compared >= MOST_ALIKE:
            return False
        if said is not None and (said >= 17) == (style == "std"):
            return False  # TensorFlow has the same one, so no search for another is needed
        compared += 1
        form = without_string_view(symbol.name)
        alike = any(
            without_string_view(other) == form and mentions_string_view(other) not in (None, style)
            for other in case.similar(symbol.name)
        )
        different += not alike
        return alike

    taken = case.take_symbols(fits)
    if not taken:
        return None
    mine = mentions_string_view(taken[0].name)
    recorded = case.other_release
    if recorded is not None and (_standard(recorded) >= 17) == (mine == "std"):
        case.symbols = before  # as its own TensorFlow has it
        return None
    built = "std::string_view (C++17)" if mine == "std" else "absl::string_view (C++14)"
    live = "absl::string_view (C++14)" if mine == "std" else "std::string_view (C++17)"
    standard = "c++14" if mine == "std" else "c++17"
    return string_view_std.finding(
        subject="absl::string_view",
        built=built,
        live=live,
        count=len(taken),
        examples=case.examples(taken),
        message=f"absl::string_view is {built} in the plugin and {live} in {case.tensorflow}",
        why="absl takes the standard library's string_view when compiled as C++17, so both sides "
        "must use the same language standard",
        remedy=f"rebuild it with -std={standard}",
    )


def _standard(recorded: TensorFlowFacts) -> int:
    """The C++ standard of a TensorFlow; before 2.11 none says it, 2.10 was the first in C++17."""
    return recorded.cxx_standard or (17 if order(recorded.version) >= (2, 10) else 14)


@RULES.rule(
    "gpu-build",
    "The plugin needs a TensorFlow with GPU support",
    "GPU symbols are exported by the `tensorflow` package of a release and not by "
    "`tensorflow-cpu`.",
    release=ALWAYS,
)
def gpu_build(case: Case) -> Finding | None:
    if _blocked(case):
        return None
    taken = case.take_symbols(lambda symbol: _GPU.search(symbol.name) is not None)
    if not taken:
        return None
    return gpu_build.finding(
        subject="GPU support",
        built="TensorFlow with GPU support",
        live=case.tensorflow,
        count=len(taken),
        examples=case.examples(taken),
        message=f"the plugin uses {plural(len(taken), 'symbol')} of a TensorFlow with GPU support, "
        f"which {case.tensorflow} here does not export",
        why="the packages `tensorflow` and `tensorflow-cpu` of one release export different symbols",
        remedy=f"rebuild it against {case.tensorflow} without GPU support, or install the package "
        "`tensorflow` of the release that it was built for",
    )


@RULES.rule(
    "c-api-missing",
    "A function of TensorFlow's C API does not exist in this release",
    "The C API is stable from 2.6 to 2.21 save for single functions.",
    release=ALWAYS,
)
def c_api_missing(case: Case) -> Finding | None:
    if _blocked(case):
        return None
    taken = case.take_symbols(lambda symbol: _C_API.match(symbol.name) is not None)
    if not taken:
        return None
    return c_api_missing.finding(
        subject=taken[0].name,
        count=len(taken),
        examples=case.examples(taken),
        message=f"{case.tensorflow} does not have the C function `{taken[0].name}`",
        why="TensorFlow's C API is kept stable, but functions were added and a few removed: "
        "TF_NewShapeHandle came with 2.6, TF_VLog went with 2.21",
        remedy="install the TensorFlow release that the plugin was built for",
    )


@RULES.rule(
    "protobuf-bundled",
    "The plugin uses another protobuf than TensorFlow carries",
    "TensorFlow exports its own protobuf; a plugin must be compiled with exactly that one's "
    "headers, not with those of an installed protobuf.",
)
def protobuf_bundled(case: Case) -> Finding | None:
    if _blocked(case):
        return None
    others = [s for s in case.symbols if belongs_to_framework(s.name) and not _is_protobuf(s.name)]
    if others:
        # Part of a general skew: TensorFlow brings its own protobuf.
        return None
    taken = case.take_symbols(lambda symbol: _is_protobuf(symbol.name))
    if not taken:
        return None
    tensorflow = case.environment.tensorflow
    live = tensorflow.headers.protobuf if tensorflow is not None else None
    return protobuf_bundled.finding(
        subject="protobuf",
        live=live,
        count=len(taken),
        examples=case.examples(taken),
        message=f"the plugin was compiled against another protobuf than the {live or 'one'} that "
        f"{case.tensorflow} carries: {plural(len(taken), 'symbol')} of it are not exported",
        why="protobuf's symbols come from TensorFlow's own libraries, whatever is installed beside",
        remedy=f"rebuild it with TensorFlow's own protobuf headers: `{case.flags('compile')}`",
    )


def _is_protobuf(name: str) -> bool:
    return "6google8protobuf" in name[:40]


@RULES.rule(
    "tensorflow-skew",
    "The plugin was built against another TensorFlow",
    "Symbols of TensorFlow's C++ interface are missing: their names change with the release. "
    "absl's inline namespace in the names shows for which releases the plugin was built.",
    release=ALWAYS,
)
def tensorflow_skew(case: Case) -> Finding | None:
    if _blocked(case):
        return None
    taken = case.take_symbols(lambda symbol: belongs_to_framework(symbol.name))
    if not taken:
        return None
    tensorflow = case.environment.tensorflow
    live = tensorflow.headers.absl if tensorflow is not None else None
    built = next((found for found in map(absl_namespace, (s.name for s in taken)) if found), None)
    built = built or case.plugin.compilation.absl_namespace
    evidence = ""
    source = "another TensorFlow"
    stamped = case.recorded.version if case.recorded is not None else None
    if stamped is not None:
        same = case.other_release is None
        source = f"another build of {case.tensorflow}" if same else f"TensorFlow {stamped}"
    if stamped is not None and case.other_release is not None and tensorflow is not None:
        before, now = case.other_release.cxx11_abi, tensorflow.cxx11_abi
        if before is not None and now is not None and before != now:
            evidence = f"; `_GLIBCXX_USE_CXX11_ABI` is {int(before)} there and {int(now)} here"
    if built is not None and live is not None and built != live:
        evidence += f"; its absl is {built}, this one's is {live}"
        releases = ABSL_RELEASES.get(built)
        if releases is not None and stamped is None:
            first, last = releases
            words = first if first == last else f"{first} to {last}"
            evidence += f", so it was built for TensorFlow {words}"
    instead = _instead(case, taken[0], live)
    return tensorflow_skew.finding(
        subject="TensorFlow",
        built=stamped or (f"absl {built}" if built else None),
        live=getattr(tensorflow, "version", None),
        count=len(taken),
        examples=case.examples(taken),
        message=f"the plugin was built against {source}: {case.tensorflow} lacks "
        f"{plural(len(taken), 'symbol')} that it needs{evidence}",
        why="C++ symbol names change between TensorFlow releases (absl namespace, moves between "
        "namespaces, other parameter types)" + instead,
        # Which releases take it is for the atlas to say: the same absl is not enough.
        remedy=f"rebuild it against {case.tensorflow}, or use the release that it was built for",
    )


def _instead(case: Case, symbol: MissingSymbol, live: str | None) -> str:
    """What the framework exports under the same function name."""
    from ...binary.names.symbols import demangle

    if live is not None:
        moved = with_absl_namespace(symbol.name, live)
        if moved != symbol.name and case.exported_by_framework(moved) is not None:
            return f"; exported instead: `{demangle([moved])[0]}`"
    others = [name for name in case.similar(symbol.name) if name != symbol.name]
    return f"; exported instead: `{demangle(others[:1])[0]}`" if others else ""


@RULES.rule(
    "python-api",
    "The plugin calls a Python function that this Python does not have",
    "Plugins rarely call Python's C API; one that does is tied to the Python it was built for.",
)
def python_api(case: Case) -> Finding | None:
    taken = case.take_symbols(lambda symbol: _PYTHON_API.match(symbol.name) is not None)
    if not taken:
        return None
    return python_api.finding(
        subject=taken[0].name,
        count=len(taken),
        examples=case.examples(taken),
        message=f"this Python does not export `{taken[0].name}`, which the plugin calls",
        why="parts of Python's C API differ between minor releases and builds",
        remedy="rebuild it with the Python of this environment",
    )


@RULES.rule(
    "missing-symbol",
    "Nothing exports a symbol that the plugin needs",
    "Usually a library is missing on the link line (linkers accept undefined symbols in shared "
    "libraries unless given `-Wl,-z,defs`).",
)
def missing_symbol(case: Case) -> Finding | None:
    if _blocked(case):
        case.symbols = []
        return None
    absent = case.prediction.missing_libraries
    # With a library missing, the symbols it would have exported are not a second problem.
    taken = case.take_symbols(lambda symbol: True)
    if not taken or absent:
        return None
    first = taken[0]
    owner = os.path.basename(first.needed_by)
    shown = case.examples(taken)
    versioned = f" in version {first.version} of `{first.version_file}`" if first.version else ""
    return missing_symbol.finding(
        subject=shown[0],
        count=len(taken),
        examples=shown,
        message=f"nothing that `{owner}` is linked to exports `{shown[0]}`{versioned}"
        + (f" and {len(taken) - 1} more" if len(taken) > 1 else ""),
        why=f"dlopen resolves every symbol at once and answers `{case.prediction.error}`",
        remedy="link it with the library that defines the symbol",
    )
