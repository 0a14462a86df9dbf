"""What differs between two sides, before anything is known about effects. Pure: facts in, out."""

from __future__ import annotations

from ..models.drift import Change
from ..models.report import Unchecked
from .package_changes import package_changes
from .versions import direction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..models.manifest import LibstdcxxFacts, TensorFlowFacts
    from ..models.snapshot import Variable
    from .sides import Facts


def find_changes(before: Facts, after: Facts) -> tuple[list[Change], list[Unchecked]]:
    """All differences, and what could not be compared."""
    unchecked: list[Unchecked] = []
    interpreter = list(_interpreter(before, after, unchecked))
    native = list(_native(before, after, unchecked))
    changes = [
        *interpreter,
        *native,
        *package_changes(before, after, unchecked, native),
        *_files(before, after),
        *_plugins(before, after, unchecked),
        *_variables(before, after, unchecked),
    ]
    for facts in (before, after):
        unchecked += [Unchecked(what=f"`{facts.side.label}`", why=note) for note in facts.notes]
    return changes, unchecked


# --- interpreter ---------------------------------------------------------------------------------


def _interpreter(before: Facts, after: Facts, unchecked: list[Unchecked]) -> Iterator[Change]:
    first, second = before.python, after.python
    if first is None or second is None:
        _unknown("Python interpreter", before, after, first, unchecked)
        return
    details = []
    for label, old, new in (
        ("implementation", first.implementation, second.implementation),
        ("ABI", first.soabi, second.soabi),
        ("debug build", first.debug, second.debug),
        ("free-threaded", first.free_threaded, second.free_threaded),
    ):
        if old is not None and new is not None and old != new:
            details.append(f"{label}: {old} -> {new}")
    if first.version != second.version or details:
        kind = direction(first.version, second.version)
        yield Change(
            part="interpreter",
            kind=kind,
            subject="Python",
            before=first.version,
            after=second.version,
            message=f"Python {first.version} -> {second.version}"
            if kind != "changed"
            else f"Python {first.version} is another build",
            details=tuple(details),
        )


def _unknown(
    what: str, before: Facts, after: Facts, first: object, unchecked: list[Unchecked]
) -> None:
    facts = before if first is None else after
    unchecked.append(
        Unchecked(what=what, why=f"`{facts.side.label}` ({facts.side.kind}) does not say")
    )


# --- native --------------------------------------------------------------------------------------


def _native(before: Facts, after: Facts, unchecked: list[Unchecked]) -> Iterator[Change]:
    yield from _tensorflow(before, after)
    yield from _machine(before, after)
    yield from _libc(before, after, unchecked)
    yield from _libstdcxx(before, after, unchecked)
    yield from _cuda(before, after, unchecked)


def _tensorflow_name(facts: TensorFlowFacts) -> str:
    name = facts.distribution or "tensorflow"
    if facts.manager == "conda":
        build = f" {facts.conda_build}" if facts.conda_build else ""
        return f"conda's {name} {facts.version}{build}"
    return f"{name} {facts.version}"


def _tensorflow(before: Facts, after: Facts) -> Iterator[Change]:
    first, second = before.tensorflow, after.tensorflow
    if first is None and second is None:
        return
    if first is None or second is None:
        one, facts = (second, before) if first is None else (first, after)
        assert one is not None
        if facts.side.kind == "lock-file" and not facts.complete:
            return
        verb, kind = ("is new", "added") if first is None else ("is gone", "removed")
        yield Change(
            part="native",
            kind=kind,
            subject="TensorFlow",
            manager=one.manager,
            before=None if first is None else _tensorflow_name(first),
            after=None if second is None else _tensorflow_name(second),
            message=f"TensorFlow ({_tensorflow_name(one)}) {verb}",
        )
        return
    details = list(_tensorflow_details(first, second))
    same_name = (first.distribution, first.manager) == (second.distribution, second.manager)
    names_known = None not in (first.distribution, second.distribution)
    old, new = _tensorflow_name(first), _tensorflow_name(second)
    if not same_name and names_known:
        kind, message = "replaced", f"`{old}` was replaced by `{new}`"
    elif first.version != second.version:
        kind = direction(first.version, second.version)
        message = f"TensorFlow {first.version} -> {second.version}"
    elif details:
        kind = "changed"
        message = f"TensorFlow {first.version} is another build of the same release"
    else:
        return
    yield Change(
        part="native",
        kind=kind,
        subject="TensorFlow",
        manager=second.manager,
        before=old,
        after=new,
        message=message,
        details=tuple(details),
    )


def _tensorflow_details(first: TensorFlowFacts, second: TensorFlowFacts) -> Iterator[str]:
    for label, old, new in (
        ("CXX11 ABI", first.cxx11_abi, second.cxx11_abi),
        ("C++ standard", first.cxx_standard, second.cxx_standard),
        ("Eigen headers", first.headers.eigen, second.headers.eigen),
        ("Abseil headers", first.headers.absl, second.headers.absl),
        ("protobuf headers", first.headers.protobuf, second.headers.protobuf),
        ("compiler", first.compiler, second.compiler),
        ("git version", first.git_version, second.git_version),
    ):
        if old is not None and new is not None and old != new:
            yield f"{label}: {old} -> {new}"
    settings = {s.name: s.value for s in second.build_info}
    for setting in first.build_info:
        now = settings.get(setting.name)
        if now is not None and now != setting.value:
            yield f"{setting.name}: {setting.value} -> {now}"
    if first.version == second.version:
        libraries = {library.name: library for library in second.libraries}
        for library in first.libraries:
            other = libraries.get(library.name)
            if other is None:
                continue
            old_id = library.build_id or f"{library.size} bytes"
            new_id = other.build_id or f"{other.size} bytes"
            if old_id != new_id:
                yield f"`{library.name}`: {old_id} -> {new_id}"


def _machine(before: Facts, after: Facts) -> Iterator[Change]:
    if before.machine and after.machine and before.machine != after.machine:
        yield Change(
            part="native",
            kind="changed",
            subject="machine",
            before=before.machine,
            after=after.machine,
            message=f"another processor: {before.machine} -> {after.machine}",
        )


def _libc(before: Facts, after: Facts, unchecked: list[Unchecked]) -> Iterator[Change]:
    if before.libc is None or after.libc is None:
        if before.side.kind != "lock-file" and after.side.kind != "lock-file":
            _unknown("C library", before, after, before.libc, unchecked)
        return
    if before.libc != after.libc:
        kind = direction(before.libc.rpartition(" ")[2], after.libc.rpartition(" ")[2])
        yield Change(
            part="native",
            kind=kind,
            subject="glibc",
            before=before.libc,
            after=after.libc,
            message=f"C library: {before.libc} -> {after.libc}",
        )


def _libstdcxx_name(facts: LibstdcxxFacts) -> str:
    text = f"GLIBCXX_{facts.glibcxx}" if facts.glibcxx else "unknown version"
    if facts.owner is not None:
        text += f" ({facts.owner.manager}'s {facts.owner.name} {facts.owner.version})"
    return text


def _libstdcxx(before: Facts, after: Facts, unchecked: list[Unchecked]) -> Iterator[Change]:
    first, second = before.libstdcxx, after.libstdcxx
    if first is None or second is None:
        if before.side.kind != "lock-file" and after.side.kind != "lock-file":
            _unknown("libstdc++", before, after, first, unchecked)
        return
    if (first.glibcxx, first.cxxabi, first.owner) == (second.glibcxx, second.cxxabi, second.owner):
        return
    kind = direction(first.glibcxx or "", second.glibcxx or "")
    details = []
    if first.cxxabi != second.cxxabi:
        details.append(f"CXXABI: {first.cxxabi} -> {second.cxxabi}")
    yield Change(
        part="native",
        kind=kind,
        subject="libstdc++",
        before=_libstdcxx_name(first),
        after=_libstdcxx_name(second),
        message=f"libstdc++ goes up to {_libstdcxx_name(second)}, before it went up to "
        f"{_libstdcxx_name(first)}",
        details=tuple(details),
    )


def _cuda(before: Facts, after: Facts, unchecked: list[Unchecked]) -> Iterator[Change]:
    if before.cuda is None or after.cuda is None:
        if "lock-file" not in (before.side.kind, after.side.kind):
            _unknown("CUDA libraries", before, after, before.cuda, unchecked)
        return
    for name in sorted({*before.cuda, *after.cuda}):
        first, second = before.cuda.get(name), after.cuda.get(name)
        if first is None or second is None:
            kind = "added" if first is None else "removed"
            message = f"CUDA library `{name}` " + ("is new" if first is None else "is gone")
        elif first.version != second.version:
            kind = direction(first.version or "", second.version or "")
            message = f"CUDA library `{name}`: {first.version} -> {second.version}"
        else:
            continue
        yield Change(
            part="native",
            kind=kind,
            subject=name,
            before=None if first is None else first.version or "of unknown version",
            after=None if second is None else second.version or "of unknown version",
            message=message,
        )


# --- files, plugins, variables -------------------------------------------------------------------


def _files(before: Facts, after: Facts) -> Iterator[Change]:
    """Problems that came or went; a side that cannot have any counts as clean."""
    first = {(p.kind, p.subject, p.message, p.digest): p for p in before.problems or ()}
    second = {(p.kind, p.subject, p.message, p.digest): p for p in after.problems or ()}
    for key, problem in second.items():
        if key not in first:
            edited = problem.kind in ("modified-files", "missing-files")
            details = [f"`{path}`" for path in problem.paths]
            if problem.count > len(problem.paths):
                details.append(f"and {problem.count - len(problem.paths)} more")
            if problem.remedy:
                details.append(f"to undo: `{problem.remedy}`")
            yield Change(
                part="files",
                kind="modified" if edited else "changed",
                subject=problem.subject,
                after=problem.kind.replace("-", " "),
                message=problem.message,
                details=tuple(details),
            )
    if after.problems is not None and before.problems is not None:
        still = {(p.kind, p.subject) for p in second.values()}
        for key, problem in first.items():
            if key not in second and key[:2] not in still:
                yield Change(
                    part="files",
                    kind="changed",
                    subject=problem.subject,
                    before=problem.kind.replace("-", " "),
                    message=f"no longer true: {problem.message}",
                )


def _plugins(before: Facts, after: Facts, unchecked: list[Unchecked]) -> Iterator[Change]:
    if before.plugins is None or after.plugins is None:
        return
    for path in sorted({*before.plugins, *after.plugins}):
        first, second = before.plugins.get(path), after.plugins.get(path)
        if first is None or second is None:
            kind = "added" if first is None else "removed"
            message = f"plugin `{path}` " + ("is new" if first is None else "is gone")
        elif first.digest is None or second.digest is None:
            unchecked.append(Unchecked(what=f"plugin `{path}`", why="it could not be read"))
            continue
        elif first.digest != second.digest:
            kind, message = "changed", f"plugin `{path}` is another file"
        else:
            continue
        yield Change(
            part="plugins",
            kind=kind,
            subject=path,
            before=None if first is None else (first.digest or "")[:19],
            after=None if second is None else (second.digest or "")[:19],
            message=message,
        )


def _variable(variable: Variable) -> str:
    if variable.entries:
        return ":".join(entry.where for entry in variable.entries)
    return "set, value not recorded" if variable.value is None else variable.value


def _variables(before: Facts, after: Facts, unchecked: list[Unchecked]) -> Iterator[Change]:
    if before.variables is None or after.variables is None:
        if "lock-file" not in (before.side.kind, after.side.kind):
            _unknown("environment variables", before, after, before.variables, unchecked)
        return
    for name in sorted({*before.variables, *after.variables}):
        first, second = before.variables.get(name), after.variables.get(name)
        if first == second:
            continue
        old = None if first is None else _variable(first)
        new = None if second is None else _variable(second)
        entries = () if second is None else second.entries
        details = [
            f"`{entry.where}` holds {', '.join(entry.holds)}" for entry in entries if entry.holds
        ]
        kind = "added" if first is None else "removed" if second is None else "changed"
        text = {
            "added": f"`{name}` is set now: `{new}`",
            "removed": f"`{name}` is no longer set (before: `{old}`)",
            "changed": f"`{name}`: `{old}` -> `{new}`",
        }[kind]
        yield Change(
            part="variables",
            kind=kind,
            subject=name,
            before=old,
            after=new,
            message=text,
            details=tuple(details),
        )
