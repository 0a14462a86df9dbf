"""Rules about TensorFlow itself: release, distribution, build, bundled headers."""

from __future__ import annotations

from ...models.report import Finding, Unchecked
from ...models.verdict import Verdict
from ...models.versions import minor
from ..base import Rules
from ..comparison import Comparison, install_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...models.manifest import LibraryIdentity
    from ..base import Answer

RULES = Rules("runtime")


@RULES.rule(
    "tensorflow-version",
    "Another TensorFlow release",
    "Class layouts, virtual tables and inlined accessors change between minor releases. "
    "Patch releases of one minor never differed, and plugins that use only the C API are "
    "not affected.",
    Verdict.UNSAFE,
    environment=False,
)
def tensorflow_version(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None or c.manifest.tensorflow is None:
        if not c.abi_known and not c.origin_told and c.live.whole:
            why = "the plugin carries no manifest that names it"
            yield Unchecked(what="TensorFlow release", why=why)
        return
    built, live = c.manifest.tensorflow, c.live.tensorflow
    if built.version == live.version or c.refused or c.abi_unsafe:
        return  # nothing differs, or a finding says exactly what does
    if not c.live.whole and not c.abi_known:
        return  # compat says once what is not known
    drifted = _harmless(c, built.version, live.version)
    same_minor = minor(built.version) == minor(live.version)
    if same_minor or c.abi_known or c.plugin.compilation.uses_c_api_only:
        yield drifted
    else:
        yield tensorflow_version.finding(
            subject=drifted.subject,
            built=built.version,
            live=live.version,
            message=drifted.message,
            why=(
                "the classes that its stamp names are the same in both, but whether this "
                "release exports every symbol that it needs is not known without its file"
                if c.interface_alone
                else "the dynamic linker would accept it, but class layouts and inlined accessors "
                "change between minor releases: it can crash or compute garbage"
            ),
            remedy=install_command(c.live, f"=={minor(built.version)}.*"),
        )


def _harmless(c: Comparison, built: str, live: str) -> Finding:
    """The finding that a release differs where that has no effect."""
    here = "this environment has" if c.live.whole else "checked against"
    return tensorflow_version.finding(
        verdict=Verdict.DRIFTED,
        subject="TensorFlow",
        built=built,
        live=live,
        message=f"built for TensorFlow {built}, {here} {live}",
        why=(
            "the plugin uses only TensorFlow's C API, which is kept stable"
            if c.plugin.compilation.uses_c_api_only
            else "nothing that the plugin depends on differs between the two releases"
            if c.abi_known
            else "patch releases of one minor release have the same binary interface"
        ),
    )


@RULES.rule(
    "tensorflow-distribution",
    "Another TensorFlow distribution",
    "`tensorflow`, `tensorflow-cpu`, conda's and vendors' builds of one release can be built "
    "with other flags, accelerators and bundled headers.",
    Verdict.DRIFTED,
)
def tensorflow_distribution(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None or c.manifest.tensorflow is None:
        return
    built = c.manifest.tensorflow
    if built.distribution is None or c.live.distribution is None:
        yield Unchecked(
            what="TensorFlow distribution",
            why="no installed package owns the TensorFlow "
            + ("that the plugin was built with" if built.distribution is None else "found here"),
        )
    elif (built.distribution, built.manager) != (c.live.distribution, c.live.manager):
        yield tensorflow_distribution.finding(
            subject="TensorFlow distribution",
            built=f"{built.distribution} ({built.manager})",
            live=f"{c.live.distribution} ({c.live.manager})",
            message=(
                f"built with `{built.distribution}` from {built.manager}, "
                f"this environment has `{c.live.distribution}` from {c.live.manager}"
            ),
            why="distributions of one release can be built with other flags, CUDA and headers",
        )


@RULES.rule(
    "tensorflow-build",
    "The same TensorFlow release, built anew",
    "The framework library has another build-id than the one the plugin was built against: "
    "it was rebuilt, repackaged or replaced by hand.",
    Verdict.DRIFTED,
)
def tensorflow_build(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None or c.manifest.tensorflow is None:
        return
    built, live = c.manifest.tensorflow, c.live.tensorflow
    if built.version != live.version or built.distribution != c.live.distribution:
        return
    theirs = {library.name: library for library in live.libraries}
    unknown = []
    for library in built.libraries:
        now = theirs.get(library.name)
        before, after = library.build_id, None if now is None else now.build_id
        if now is not None and before is None and after is None:
            before, after = _size(library), _size(now)
        if before is None or after is None:
            unknown.append(f"`{library.name}`")
        elif before != after:
            yield tensorflow_build.finding(
                subject=library.name,
                built=before,
                live=after,
                message=(
                    f"`{library.name}` of the same TensorFlow {live.version} is another build: "
                    f"{before} then, {after} now"
                ),
                why="it was rebuilt, repackaged or replaced since the plugin was built",
                remedy=c.live.place.install(c.live.distribution, f"=={live.version}", again=True)
                if c.live.manager == "pip" and c.live.distribution is not None
                else None,
            )
            return
    if unknown or not built.libraries:
        which = f"of {', '.join(unknown)}" if unknown else "of its libraries"
        yield Unchecked(
            what="TensorFlow build", why=f"the build-ids {which} are not known on both sides"
        )


def _size(library: LibraryIdentity) -> str | None:
    return None if library.size is None else f"{library.size} bytes"


@RULES.rule(
    "tensorflow-headers",
    "Other bundled headers",
    "Abseil and protobuf types cross the border between plugin and TensorFlow and are inlined "
    "on both sides, so another version under the same TensorFlow release can corrupt memory.",
    Verdict.UNSAFE,
)
def tensorflow_headers(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None or c.manifest.tensorflow is None or c.refused:
        return
    built, live = c.manifest.tensorflow, c.live.tensorflow
    if built.version != live.version:
        return  # other headers are part of another release, which the version rule judges
    for name, label in (("absl", "Abseil"), ("protobuf", "protobuf"), ("eigen", "Eigen")):
        before, now = getattr(built.headers, name), getattr(live.headers, name)
        if before is None or now is None:
            if before != now:
                yield Unchecked(
                    what=f"{label} headers", why="their version is not known on both sides"
                )
        elif before != now:
            safe = c.plugin.compilation.uses_c_api_only or name == "eigen"
            yield tensorflow_headers.finding(
                verdict=Verdict.DRIFTED if safe else Verdict.UNSAFE,
                subject=f"{label} headers",
                built=before,
                live=now,
                message=f"TensorFlow's bundled {label} is {now} here, {before} at build time",
                why=f"{label} types cross between plugin and TensorFlow, inlined on both sides",
                remedy=install_command(
                    c.live, f"=={built.version}", distribution=built.distribution
                ),
            )


@RULES.rule(
    "cxx11-abi-inline",
    "Another std::string, invisible to the linker",
    "A plugin compiled with the other `_GLIBCXX_USE_CXX11_ABI` that links nevertheless passes "
    "strings and lists of another layout through inlined code.",
    Verdict.UNSAFE,
)
def cxx11_abi_inline(c: Comparison) -> Iterator[Answer]:
    if c.refused or c.plugin.compilation.uses_c_api_only is not False:
        return  # no C++ object crosses
    plugin, live = c.plugin.compilation.cxx11_abi, c.live.tensorflow.cxx11_abi
    if plugin is None:
        return
    if live is None:
        yield Unchecked(
            what="CXX11 ABI", why="TensorFlow's library does not show which std::string it uses"
        )
    elif plugin != live:
        yield cxx11_abi_inline.finding(
            subject="_GLIBCXX_USE_CXX11_ABI",
            built=str(int(plugin)),
            live=str(int(live)),
            message=(
                f"compiled with `_GLIBCXX_USE_CXX11_ABI={int(plugin)}`, "
                f"TensorFlow {c.live.tensorflow.version} with {int(live)}"
            ),
            why="std::string and std::list have another layout, and no symbol shows it",
            remedy=f"rebuild with `-D_GLIBCXX_USE_CXX11_ABI={int(live)}`",
        )


@RULES.rule(
    "cxx-standard",
    "An older C++ standard than TensorFlow's",
    "Abseil's string_view, optional and variant are aliases of std's types from C++17 on.",
    Verdict.DRIFTED,
)
def cxx_standard(c: Comparison) -> Iterator[Answer]:
    plugin = c.plugin.compilation.cxx_standard
    if plugin is None:
        return
    built = c.manifest.tensorflow if c.manifest is not None else None
    same = built is not None and built.version == c.live.tensorflow.version
    # What the manifest recorded of the same release saves looking into its binaries again.
    live = built.cxx_standard if built is not None and same else c.live.tensorflow.cxx_standard
    if live is None:
        # Releases up to 2.10 do not state it; where the build's did not either, nothing was recorded.
        if built is not None and built.cxx_standard is not None and not c.refused:
            yield Unchecked(
                what="C++ standard",
                why=f"compiled as C++{plugin}, and TensorFlow {c.live.tensorflow.version} does not "
                "state its own",
            )
    elif plugin < live:
        yield cxx_standard.finding(
            subject="C++ standard",
            built=f"C++{plugin}",
            live=f"C++{live}",
            message=f"compiled as C++{plugin}, TensorFlow {c.live.tensorflow.version} as C++{live}",
            why="Abseil's types are aliases of std's from C++17 on, so names and layouts can differ",
            remedy=f"rebuild with `-std=c++{live}`",
        )


@RULES.rule(
    "tensorflow-accelerator",
    "Another accelerator build",
    "CUDA or ROCm support differs from the build environment's.",
    Verdict.DRIFTED,
    changes=("TensorFlow",),
)
def tensorflow_accelerator(c: Comparison) -> Iterator[Answer]:
    if c.manifest is None or c.manifest.tensorflow is None:
        return
    before = {s.name: s.value for s in c.manifest.tensorflow.build_info}
    now = {s.name: s.value for s in c.live.tensorflow.build_info}
    # A build without CUDA names no version of it, and that it is one is compared by itself.
    cuda = before.get("is_cuda_build") == now.get("is_cuda_build") == "True"
    unknown = []
    for name in ("is_cuda_build", "is_rocm_build", "cuda_version", "cudnn_version"):
        if name not in before or name not in now:
            if (name in before or name in now) and (cuda or name.startswith("is_")):
                unknown.append(f"`{name}`")
        elif before[name] != now[name]:
            yield tensorflow_accelerator.finding(
                subject=name,
                built=before[name],
                live=now[name],
                message=f"TensorFlow's `{name}` is `{now[name]}` here, `{before[name]}` at build time",
                why="kernels for the accelerator may be missing or bound to another run time",
            )
    if unknown:
        yield Unchecked(
            what="TensorFlow's accelerators",
            why=f"{', '.join(unknown)} is not known on both sides",
        )
