"""A manifest and a binary's identity as text."""

from __future__ import annotations

from ..models.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..models.dependencies import Dependencies
    from ..models.manifest import (
        Compilation,
        Library,
        Manifest,
        Owner,
        PluginIdentity,
        TensorFlowFacts,
    )
    from ..models.registration import Registrations
    from ..models.shown import ShownDocument
    from .text import Style

WIDTH = 18
MOST_CLASSES = 12


def _row(label: str, value: object) -> list[str]:
    if value is None or value == "" or value == ():
        return []
    if isinstance(value, bool):
        value = "yes" if value else "no"
    return [f"  {label:<{WIDTH}}{value}"]


def _owner(owner: Owner | None) -> str:
    return f" ({owner.manager}: {owner.name} {owner.version})" if owner else ""


def _identity(plugin: PluginIdentity) -> list[str]:
    endian = "" if plugin.byte_order == "little" else ", big-endian"
    lines = ["plugin"]
    lines += _row("name", plugin.name)
    lines += _row("soname", plugin.soname if plugin.soname != plugin.name else None)
    lines += _row("machine", f"{plugin.machine}, {plugin.bits}-bit{endian}")
    lines += _row("build-id", plugin.build_id)
    if plugin.code:
        lines += _row("code", f"{plugin.code.algorithm} {plugin.code.value}")
    lines += _row("needs", ", ".join(plugin.needed))
    for need in plugin.symbol_versions:
        lines += _row(f"  {need.library}", ", ".join(need.versions))
    return lines + _compilation(plugin.compilation)


_COMPILED = {
    "cxx_standard": "C++ standard",
    "eigen_max_align_bytes": "Eigen max align",
    "march": "-march",
    "ndebug": "NDEBUG",
}


def _compilation(made: Compilation) -> list[str]:
    abi = {True: "1 (std::__cxx11)", False: "0 (old)", None: None}[made.cxx11_abi]
    lines = _row("compiler", "; ".join(made.compilers))
    lines += _row("flags", " ".join(made.flags))
    lines += _row("  of parts only", " ".join(made.some_flags))
    lines += _row("C++ standard", made.cxx_standard and f"C++{made.cxx_standard}")
    lines += _row("CXX11 ABI", abi)
    lines += _row("absl namespace", made.absl_namespace)
    lines += _row("NDEBUG", made.ndebug)
    lines += _row("-march", made.march)
    lines += _row("Eigen max align", made.eigen_max_align_bytes)
    told = (_COMPILED.get(name, name) for name in made.from_command)
    lines += _row("by its command", ", ".join(told))
    return lines + _row("C API only", made.uses_c_api_only)


def _tensorflow(found: TensorFlowFacts) -> list[str]:
    lines = ["built with"]
    source = f" ({found.distribution}, {found.manager})" if found.distribution else ""
    lines += _row("TensorFlow", found.version + source)
    lines += _row("git version", found.git_version)
    lines += _row("compiler", found.compiler)
    lines += _row("CXX11 ABI", None if found.cxx11_abi is None else int(found.cxx11_abi))
    lines += _row("compile flags", " ".join(found.compile_flags))
    lines += _row("link flags", " ".join(found.link_flags))
    headers = found.headers
    known = [f"Eigen {headers.eigen}"] if headers.eigen else []
    known += [f"absl {headers.absl}"] if headers.absl else []
    known += [f"protobuf {headers.protobuf}"] if headers.protobuf else []
    lines += _row("headers", ", ".join(known))
    return lines + _row("build info", ", ".join(f"{s.name}={s.value}" for s in found.build_info))


FOUND_BY = {
    "loaded": "loaded before",
    "path": "by its path",
    "rpath": "by RPATH",
    "runpath": "by RUNPATH",
    "default": "in a default folder",
}


def _found(how: str | None) -> list[str]:
    """How a library was found, in words; nothing where it is not known."""
    return [FOUND_BY.get(how, f"by {how}")] if how else []


def _library(library: Library) -> str:
    parts = [library.version] if library.version else []
    parts += _found(library.found_by)
    parts += [f"build-id {library.build_id[:16]}"] if library.build_id else []
    return f"  {library.soname:<34}{', '.join(parts)}{_owner(library.owner)}"


def _environment(manifest: Manifest) -> list[str]:
    lines = _tensorflow(manifest.tensorflow) if manifest.tensorflow else ["built with"]
    if manifest.numpy:
        numpy = manifest.numpy
        levels = f" (C API {numpy.c_api}, ABI {numpy.abi:#x})" if numpy.abi else ""
        lines += _row("numpy", numpy.version + levels)
    python = manifest.python
    lines += _row("Python", f"{python.implementation} {python.version} ({python.soabi})")
    platform = manifest.platform
    lines += _row("platform", f"{platform.system} {platform.machine}")
    lines += _row(platform.libc or "libc", platform.libc_version)
    if platform.libstdcxx:
        cxx = platform.libstdcxx
        lines += _row(
            "libstdc++",
            ", ".join([f"GLIBCXX_{cxx.glibcxx}", f"CXXABI_{cxx.cxxabi}", *_found(cxx.found_by)])
            + _owner(cxx.owner),
        )
    lines += _row("packages", manifest.packages and f"{len(manifest.packages)} recorded")
    if manifest.libraries:
        lines += ["libraries", *map(_library, manifest.libraries)]
    return lines + _depends(manifest.abi) + _registers(manifest.registrations)


EVIDENCE = {
    "dwarf": "from its debug information",
    "code": "from its machine code and symbols",
    "symbols": "from its symbols, and what plugins of its kind use",
}


def _depends(abi: Dependencies | None) -> list[str]:
    if abi is None:
        return []
    kinds = f"{', '.join(abi.kinds)}; " if abi.kinds else ""
    lines = [f"depends on {len(abi.classes)} classes ({kinds}{EVIDENCE[abi.evidence]})"]
    ours = [use.name for use in abi.classes if use.name.startswith("tensorflow::")]
    lines += [f"  {name}" for name in ours[:MOST_CLASSES]]
    rest = len(abi.classes) - len(ours[:MOST_CLASSES])
    return lines + ([f"  and {rest} more (`--format json` lists all)"] if rest else [])


def _registers(found: Registrations | None) -> list[str]:
    if found is None or not (found.ops or found.kernels):
        return []
    how = "seen in a load" if found.source == "loaded" else "as far as the file shows"
    lines = [f"registers ({how})"]
    lines += _row("ops", ", ".join(op.name for op in found.ops))
    # One line a device: its kernels differ in their types only.
    kernels = dict.fromkeys(f"{kernel.op} on {kernel.device or '?'}" for kernel in found.kernels)
    return lines + _row("kernels", ", ".join(kernels))


def render(shown: ShownDocument, *, everything: bool, style: Style) -> str:
    """What `envlock show` prints."""
    manifest = shown.manifest
    if manifest is not None:
        where = {"appended": "stamped", "linked-in": "linked-in note"}[shown.stamp or "appended"]
        forced = ", by force" if manifest.forced else ""
        also = "; the linked-in note under it is not used" if shown.linked_in_too else ""
        lines = [f"{shown.path}: {where} by {manifest.generator}{forced}{also}"]
        if shown.signed_by is not None:
            lines.append(
                f"signed by {shown.signed_by} (not verified: `envlock check --trust KEYS`)"
            )
        # The manifest may hold what was stripped from the file since (DWARF, .comment).
        identity = manifest.plugin or shown.binary
        lines += (_identity(identity) if identity else []) + _environment(manifest)
    else:
        lines = [f"{shown.path}: no manifest; this is what the binary itself reveals"]
        if shown.binary is not None:
            lines += _identity(shown.binary)
        lines.append("hint: stamp it where it is built: `envlock stamp PLUGIN`")
    return "".join(printable(line) + "\n" for line in lines)
