"""Causes in the file itself: architecture, kind, damage, stack, processor, thread-local storage."""

from __future__ import annotations

from ...models.report import Finding
from ...models.verdict import Verdict
from ..base import Rules
from .case import Case, plural

RULES = Rules("loading")
#: Looked at behind all others.
LAST = Rules("loading")


@RULES.rule(
    "wrong-architecture",
    "The plugin is for another processor, word size or byte order",
    "The dynamic linker passes over such a file, so that its own message reads as if the file "
    "did not exist (`No such file or directory`) or names an ELF class.",
    changes=(
        "machine",
        "plugin",
    ),
)
def wrong_architecture(case: Case) -> Finding | None:
    prediction, plugin = case.prediction, case.plugin
    scope = prediction.scope
    if scope is None or prediction.reason not in ("class", "machine", "header"):
        return None
    host = scope.host
    built = f"{plugin.machine}, {plugin.bits}-bit, {plugin.byte_order}-endian"
    live = f"{scope.machine}, {host.bits}-bit, {host.byte_order}-endian"
    if built == live or prediction.missing_libraries:
        return None
    return wrong_architecture.finding(
        subject=case.name,
        built=built,
        live=live,
        message=f"the plugin is built for {built}, but this environment's Python is {live}",
        why=f"dlopen passes over files of other machines: `{prediction.error}`",
        remedy=f"build it on {scope.machine}, or install the package's wheel for {scope.machine}",
    )


@RULES.rule(
    "file-truncated",
    "The file is cut off",
    "The dynamic linker maps segments without asking for the file's size; the first access "
    "behind the end kills the process with SIGBUS. No exception is raised.",
    changes=("plugin",),
)
def file_truncated(case: Case) -> Finding | None:
    prediction = case.prediction
    if prediction.reason != "truncated":
        if not prediction.cut_off:
            return None
        return file_truncated.finding(
            verdict=Verdict.UNSAFE,
            subject=case.name,
            message=f"the last {plural(prediction.cut_off, 'byte')} of the file are missing",
            why="the dynamic linker takes it, but what is missing reads as zeros",
            remedy="get the file again: pip install --force-reinstall --no-cache-dir PACKAGE",
        )
    return file_truncated.finding(
        subject=case.name,
        message=prediction.error or "the file is cut off",
        why="the process would die of SIGBUS; no exception is raised",
        remedy="get the file again: pip install --force-reinstall --no-cache-dir PACKAGE",
    )


@RULES.rule(
    "not-a-plugin-library",
    "The file is an executable or has no dynamic section",
    "dlopen takes shared libraries only: no executables (also position-independent ones), no "
    "separate debug files, no file whose header or segments break the format's rules.",
    changes=("plugin",),
)
def not_a_plugin_library(case: Case) -> Finding | None:
    prediction = case.prediction
    if prediction.reason not in ("flags", "header") or case.findings:
        return None
    if prediction.missing_libraries:
        return None  # it is a library that the plugin needs
    return not_a_plugin_library.finding(
        subject=case.name,
        message=f"dlopen does not accept the file: {prediction.error}",
        why="only shared libraries (ET_DYN, not PIE, with a dynamic section) can be loaded",
        remedy="link it with `-shared -fPIC`",
    )


@RULES.rule(
    "executable-stack",
    "A library asks for an executable stack",
    "The flag usually comes from one assembly file without a `.note.GNU-stack` section. From "
    "glibc 2.41 on dlopen refuses such a library.",
    changes=(
        "plugin",
        "glibc",
    ),
)
def executable_stack(case: Case) -> Finding | None:
    if case.prediction.reason != "stack":
        return None
    return executable_stack.finding(
        subject=case.name,
        message="the plugin or a library it needs asks for an executable stack, which this glibc refuses",
        why="since glibc 2.41 dlopen does not make the stack executable any more",
        remedy=f"patchelf --clear-execstack {case.name}",
    )


@RULES.rule(
    "relr-unknown",
    "The dynamic linker does not know packed relocations",
    "DT_RELR holds relative relocations in little room. glibc knows it since 2.36; an older one "
    "leaves the pointers as they stand in the file.",
    changes=(
        "plugin",
        "glibc",
    ),
)
def relr_unknown(case: Case) -> Finding | None:
    prediction = case.prediction
    remedy = "link it without `-z pack-relative-relocs`"
    if prediction.reason == "relr":
        refused = prediction.outcome == "refused"
        return relr_unknown.finding(
            subject=case.name,
            message=prediction.error or "the dynamic linker does not take its DT_RELR",
            why="glibc asks for the version GLIBC_ABI_DT_RELR, so that no older one takes the file"
            if refused
            else "the process would die; no exception is raised",
            remedy=remedy,
        )
    if not prediction.unrelocated:
        return None
    return relr_unknown.finding(
        verdict=Verdict.UNSAFE,
        subject=case.name,
        message=f"`{prediction.unrelocated[0]}` has its relative relocations in DT_RELR, which "
        "this environment's dynamic linker (glibc before 2.36) does not apply",
        why="every pointer in its data stays as it is in the file, and using one ends the process",
        remedy=remedy,
    )


@RULES.rule(
    "cpu-level",
    "A library is marked for a newer processor",
    "A GNU property names the x86-64 level (v2, v3, v4) that the code needs; the dynamic "
    "linker refuses the library on a processor below it.",
    changes=(
        "machine",
        "plugin",
    ),
)
def cpu_level(case: Case) -> Finding | None:
    if case.prediction.reason != "isa":
        return None
    return cpu_level.finding(
        subject=case.name,
        message="the file is marked for a higher x86-64 level than this processor has",
        why=f"dlopen answers `{case.prediction.error}`",
        remedy="link it without `-z x86-64-v2`, `-v3` or `-v4`, and compile without their `-march`",
    )


@RULES.rule(
    "static-tls",
    "Thread-local variables do not fit in static TLS",
    "Code compiled for the initial-exec TLS model needs room in an area of fixed size (1,664 "
    "bytes by default) that all libraries loaded later share. What is left is estimated from "
    "the files of the libraries that are loaded.",
)
def static_tls(case: Case) -> Finding | None:
    prediction = case.prediction
    if prediction.reason != "tls" or prediction.scope is None:
        return None
    free = prediction.scope.static_tls.free
    return static_tls.finding(
        subject=case.name,
        live=f"about {plural(free, 'byte')} left",
        message="thread-local variables of the closure do not fit in what is left of static TLS",
        why=f"dlopen answers `{prediction.error}`; libraries loaded at process start are exempt",
        remedy="GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384 python PROGRAM",
    )


@RULES.rule(
    "linker-aborts",
    "The dynamic linker would end the process",
    "Tables that contradict each other make the dynamic linker stop the whole process instead "
    "of returning an error.",
)
def linker_aborts(case: Case) -> Finding | None:
    if case.prediction.reason not in ("assertion", "damaged"):
        return None
    return linker_aborts.finding(
        subject=case.name,
        message=case.prediction.error or "the dynamic linker would end the process",
        why="the process would die; no exception is raised",
        remedy="relink it against the libraries that it is meant to use",
    )


@LAST.rule(
    "dlopen-refuses",
    "dlopen would refuse the plugin for another reason",
    "None of the known causes fits; the message is the one that dlopen would give.",
)
def dlopen_refuses(case: Case) -> Finding | None:
    if case.prediction.ok or any(f.verdict == Verdict.INCOMPATIBLE for f in case.findings):
        return None
    return dlopen_refuses.finding(
        subject=case.name,
        message=f"dlopen would answer: {case.prediction.error}",
        why="the load would fail with exactly this text",
    )
