"""Reports of every shape, hostile names included, that all format tests render."""

from __future__ import annotations

from envlock.models.drift import DRIFT_FORMAT, Change, DriftDocument, Effect, Side
from envlock.models.report import (
    REPORT_FORMAT,
    EnvironmentSummary,
    Finding,
    PluginSummary,
    Report,
    ReportDocument,
    Unchecked,
)

#: Names that an attacker, or a careless build, may put into a wheel or a path.
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "'-alert(4)-'",
    "`|*_[a](http://evil.example)~#1 @someone",
    "a\x1b[31mred\x07\x00bell",
    "\u202egnp.exe",
    "line\nbreak\r\n- list",
    "]]>&amp;<!--",
    "{{7*7}}${7*7}",
    "x" * 3000,
    "\ud800 lone",
)

ENVIRONMENT = EnvironmentSummary(
    prefix="/srv/train/env", python="3.11.7", tensorflow="2.16.2", distribution="tensorflow-cpu"
)

MISSING = Finding(
    rule="undefined-symbol",
    verdict="incompatible",
    subject="TensorFlow",
    built="2.15.1",
    live="2.16.2",
    message="14 symbols of TensorFlow 2.15.1 are not exported by `libtensorflow_framework.so.2`",
    why="dlopen resolves every symbol at load (RTLD_NOW) and refuses the plugin",
    remedy="pip install 'tensorflow-cpu==2.15.*'",
    count=14,
    examples=("tsl::Status::Status(absl::lts_20230125::StatusCode)", "operator<<(int&&)"),
)
LAYOUT = Finding(
    rule="numpy-abi",
    verdict="unsafe",
    subject="numpy",
    built="1.26.4",
    live="2.0.2",
    message="built beside numpy 1.26.4, this environment has 2.0.2",
    remedy="pip install 'numpy==1.26.4'",
)
HARMLESS = Finding(
    rule="python-version",
    verdict="drifted",
    subject="Python",
    built="3.11.7",
    live="3.11.9",
    message="built beside Python 3.11.7, this environment has 3.11.9",
)
NOTE = Unchecked(what="CUDA run time", why="TensorFlow was built without it")


def report(path: str, verdict: str | None, *findings: Finding, error: str | None = None) -> Report:
    return Report(
        plugin=PluginSummary(
            path=path, stamped=verdict is not None, tensorflow="2.15.1", error=error
        ),
        environment=ENVIRONMENT,
        verdict=verdict,
        findings=findings,
        unchecked=(NOTE,) if verdict is not None else (),
    )


def check_document() -> ReportDocument:
    return ReportDocument(
        format=REPORT_FORMAT,
        reports=(
            report("/srv/train/env/lib/acme/_matcher_ops.so", "incompatible", MISSING, HARMLESS),
            report("text/_sentence ops.so", "unsafe", LAYOUT),
            report("lib/_topk.so", "drifted", HARMLESS),
            report("lib/_zero_out.so", "compatible"),
            report("lib/_broken.so", None, error="`lib/_broken.so` is truncated at byte 4096"),
        ),
    )


def hostile_report(name: str) -> Report:
    finding = Finding(
        rule="undefined-symbol",
        verdict="incompatible",
        subject=name,
        built=name,
        live=name,
        message=f"symbol `{name}` and {name}",
        why=name,
        remedy=name,
        count=9,
        examples=(name,),
    )
    return Report(
        plugin=PluginSummary(path=f"dir/{name}", stamped=True, tensorflow=name),
        environment=EnvironmentSummary(
            prefix=name, python=name, tensorflow=name, distribution=name
        ),
        verdict="incompatible",
        findings=(finding,),
        unchecked=(Unchecked(what=name, why=name),),
    )


def hostile_check() -> ReportDocument:
    return ReportDocument(
        format=REPORT_FORMAT, reports=tuple(hostile_report(name) for name in HOSTILE)
    )


def drift_document() -> DriftDocument:
    effects = (
        Effect(
            plugin="/srv/train/env/lib/acme/_matcher_ops.so",
            rule=MISSING.rule,
            verdict="incompatible",
            message=MISSING.message,
            remedy=MISSING.remedy,
        ),
    )
    numpy = Effect(
        plugin="text/_sentence ops.so",
        rule=LAYOUT.rule,
        verdict="unsafe",
        message=LAYOUT.message,
        remedy=LAYOUT.remedy,
    )
    changes = [
        Change(
            part="native",
            kind="replaced",
            subject="TensorFlow",
            manager="pip",
            before="tensorflow 2.15.1",
            after="tensorflow-cpu 2.16.2",
            message="`tensorflow 2.15.1` was replaced by `tensorflow-cpu 2.16.2`",
            details=("Abseil headers: lts_20230125 -> lts_20230802",),
            verdict="incompatible",
            effects=effects,
        ),
        Change(
            part="packages",
            kind="upgraded",
            subject="numpy",
            manager="pip",
            before="1.26.4",
            after="2.0.2",
            message="`numpy` 1.26.4 -> 2.0.2",
            verdict="unsafe",
            effects=(numpy,),
        ),
        Change(
            part="files",
            kind="modified",
            subject="keras",
            after="modified files",
            message="1 file was changed since pip installed `keras`",
            details=("`keras/models.py`",),
        ),
    ]
    changes += [
        Change(
            part="packages",
            kind="upgraded",
            subject=name,
            manager="pip",
            before="1.0",
            after="1.1",
            message=f"`{name}` 1.0 -> 1.1",
        )
        for name in ("absl-py", "gast", "grpcio", "h5py", "protobuf", "rich", "six", "wheel")
    ]
    return DriftDocument(
        format=DRIFT_FORMAT,
        before=Side(
            kind="saved",
            label="known-good",
            detail="saved 2026-05-04T12:30:00Z, TensorFlow 2.15.1, Python 3.11.7, 44 packages",
            fingerprint="sha256:" + "ab" * 32,
        ),
        after=Side(
            kind="environment",
            label="/srv/train/env",
            detail="TensorFlow 2.16.2 (tensorflow-cpu), Python 3.11.7, 40 packages",
            fingerprint="sha256:" + "cd" * 32,
        ),
        verdict="incompatible",
        changes=tuple(changes),
        reports=check_document().reports[:4],
        unchecked=(Unchecked(what="environment variables", why="`known-good` does not say"),),
    )


def hostile_drift() -> DriftDocument:
    changes = []
    for name in HOSTILE:
        effect = Effect(
            plugin=name, rule="undefined-symbol", verdict="unsafe", message=name, remedy=name
        )
        bad = Change(
            part="packages",
            kind="changed",
            subject=name,
            manager="pip",
            before=name,
            after=name,
            message=name,
            details=(name,),
            verdict="unsafe",
            effects=(effect,),
        )
        changes += [bad, bad.replace(verdict="drifted", effects=())]
    return DriftDocument(
        format=DRIFT_FORMAT,
        before=Side(kind="snapshot", label=HOSTILE[0], detail=HOSTILE[1], fingerprint=HOSTILE[2]),
        after=Side(kind="lock-file", label=HOSTILE[4], detail=HOSTILE[5]),
        verdict="unsafe",
        changes=tuple(changes),
        reports=hostile_check().reports,
        unchecked=tuple(Unchecked(what=name, why=name) for name in HOSTILE),
    )


EMPTY = ReportDocument(format=REPORT_FORMAT, reports=())
UNCHANGED = drift_document().replace(changes=(), reports=(), unchecked=(), verdict="compatible")
ALL = {
    "check": check_document(),
    "hostile check": hostile_check(),
    "drift": drift_document(),
    "hostile drift": hostile_drift(),
    "empty": EMPTY,
    "unchanged": UNCHANGED,
    "one": ReportDocument(format=REPORT_FORMAT, reports=check_document().reports[:1]),
}
