"""One self-contained HTML page: the verdict first, filterable, readable on a phone and in print.

The page makes no request: its policy (a `Content-Security-Policy` element) allows only the one
style and the one script that stand in it, named by their digests, so that not even text which
escaped its escaping could run.
"""

from __future__ import annotations

import os

from ..models.drift import DriftDocument
from ..models.version import __version__
from . import words
from .markup import Markup, coded, group, tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..models.drift import Change, Effect, Side
    from ..models.policy import PolicyFile
    from ..models.report import Finding, Report, Unchecked
    from .formats import Document

#: Shapes differ, so that a verdict is recognised without colour too: tick, dot, triangle, cross, query.
_SHAPES = {
    "compatible": ("M8 12.5l2.7 2.7L16 9.5", True),
    "drifted": ("M8 10h8M8 14h8", True),
    "unsafe": ("M12 7.5v6M12 16.6v.1", False),
    "incompatible": ("M8.8 8.8l6.4 6.4M15.2 8.8l-6.4 6.4", True),
    words.UNREAD: ("M9.6 9.6a2.4 2.4 0 1 1 3.4 2.3c-.7.4-1 .8-1 1.7M12 16.5v.1", True),
}
_OUTLINE = "M12 3.2L22 20.5H2z"


def render(document: Document, policy: PolicyFile) -> str:
    """The page as text, to be written as UTF-8."""
    verdict = words.word(words.document_verdict(document))
    drift = isinstance(document, DriftDocument)
    main: list[Markup | None] = []
    if isinstance(document, DriftDocument):
        facts: Markup | None = _drift_facts(document)
        main.append(_changes(document.changes))
    else:
        facts = _check_facts(document.reports)
    main.append(_plugins(document.reports, policy, drift))
    if isinstance(document, DriftDocument):
        main.append(_unchecked(document.unchecked))
    title = "Environment drift" if drift else "Plugin check"
    banner = tag(
        "header",
        tag(
            "div",
            tag(
                "div",
                _icon(verdict),
                tag(
                    "div",
                    tag("p", verdict, class_="overline"),
                    tag("h1", coded(words.sentence(document))),
                ),
                class_="headline",
            ),
            facts,
        ),
        class_="banner",
        data_verdict=verdict,
    )
    body = tag(
        "body",
        banner,
        tag("main", _tools(document), *main),
        tag("footer", f"{title} by envlock {__version__}"),
        tag("script", Markup(_asset("page.js"))),
    )
    return f"<!doctype html>\n{tag('html', _head(title, document), body, lang='en')}\n"


def _asset(name: str) -> str:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return file.read()


def _digest(content: str) -> str:
    from base64 import b64encode
    from hashlib import sha256

    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _head(title: str, document: Document) -> Markup:
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title}: {words.sentence(document)}"),
        tag("style", Markup(style)),
    )


def _icon(verdict: str) -> Markup:
    line, circled = _SHAPES[verdict]
    stroke = {"fill": "none", "stroke": "currentColor", "stroke_linecap": "round"}
    outline = (
        tag("circle", cx="12", cy="12", r="10", stroke_width="1.8", **stroke)
        if circled
        else tag("path", d=_OUTLINE, stroke_width="1.8", stroke_linejoin="round", **stroke)
    )
    return tag(
        "svg",
        outline,
        tag("path", d=line, stroke_width="2", **stroke),
        viewBox="0 0 24 24",
        aria_hidden="true",
    )


def _word(verdict: str) -> Markup:
    return tag("span", _icon(verdict), verdict, class_="word")


def _facts(entries: Iterable[tuple[str, str | Markup | None]]) -> Markup:
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in entries if value),
        class_="facts",
    )


def _check_facts(reports: Sequence[Report]) -> Markup | None:
    environments = {r.environment for r in reports}
    if not environments:
        return None
    entries: list[tuple[str, str | Markup | None]] = []
    if len(environments) == 1:
        environment = next(iter(environments))
        entries += [
            ("Environment", environment.prefix),
            ("TensorFlow", _tensorflow(environment.tensorflow, environment.distribution)),
            ("Python", environment.python),
        ]
    else:
        entries.append(("Environments", str(len(environments))))
    stamped = sum(r.plugin.stamped for r in reports)
    entries.append(("Plugins", f"{len(reports)}, {stamped or 'none'} of them stamped"))
    return _facts(entries)


def _tensorflow(version: str | None, distribution: str | None) -> str:
    if version is None:
        return "none"
    return f"{version} ({distribution})" if distribution else version


def _drift_facts(document: DriftDocument) -> Markup:
    return _facts([("Before", _side(document.before)), ("After", _side(document.after))])


def _side(side: Side) -> Markup:
    print_ = side.fingerprint
    return group(
        words.side_name(side),
        tag("small", side.detail) if side.detail else None,
        tag("small", "fingerprint ", tag("code", print_[:19])) if print_ else None,
    )


def _tools(document: Document) -> Markup | None:
    counts = words.tally(document.reports)
    if isinstance(document, DriftDocument):
        for change in document.changes:
            counts[change.verdict] = counts.get(change.verdict, 0) + 1
    total = sum(counts.values())
    if total < 2:
        return None
    chips = [_chip("", "all", total, pressed=True)]
    chips += [_chip(v, v, counts[v]) for v in words.RANKS if v in counts]
    return group(
        tag(
            "div",
            tag(
                "label",
                tag("span", "Filter by name or text", class_="hidden"),
                tag("input", id="search", type="search", placeholder="Filter by name or text"),
            ),
            tag("div", *chips, class_="chips", role="group", aria_label="Show only"),
            class_="tools",
        ),
        tag("p", id="status", class_="status", role="status"),
    )


def _chip(verdict: str, label: str, number: int, *, pressed: bool = False) -> Markup:
    return tag(
        "button",
        _icon(verdict) if verdict else None,
        f"{label} ",
        tag("b", str(number)),
        type="button",
        data_only=verdict,
        data_verdict=verdict or None,
        aria_pressed="true" if pressed else "false",
    )


def _changes(changes: Sequence[Change]) -> Markup | None:
    if not changes:
        return None
    bad = words.harmful(changes)
    harmless = [change for change in changes if change not in bad]
    folded = None
    if harmless:
        rows = [_row(change) for change in harmless]
        head = tag("thead", tag("tr", *(tag("th", t) for t in ("What", "Change", "Values"))))
        folded = tag(
            "details",
            tag("summary", f"{words.count(len(harmless), 'change')} without a known effect"),
            tag("table", head, tag("tbody", *rows), class_="changes"),
            class_="fold",
            data_fold="yes",
            open=not bad,
        )
    return tag(
        "section",
        tag("h2", "What changed", id="changes"),
        *(_change(change) for change in bad),
        folded,
        aria_labelledby="changes",
    )


def _search_text(*pieces: str | None) -> str:
    return words.printable(" ".join(p for p in pieces if p)).lower()


def _arrows(text: str) -> str:
    return text.replace(" -> ", " → ")


def _row(change: Change) -> Markup:
    return tag(
        "tr",
        tag("td", tag("strong", change.subject)),
        tag("td", change.kind),
        tag(
            "td",
            tag("span", words.values(change.before, change.after, "→")),
            *(tag("div", coded(_arrows(detail))) for detail in change.details),
        ),
        data_verdict=change.verdict,
        data_text=_search_text(change.subject, change.kind, change.message, change.manager),
    )


def _change(change: Change) -> Markup:
    texts = [e.plugin for e in change.effects] + [e.message for e in change.effects]
    values = words.values(change.before, change.after, "→")
    details = [tag("li", coded(_arrows(detail))) for detail in change.details]
    # The two values stand beside the name already.
    plain = change.kind in ("upgraded", "downgraded") and change.part != "files"
    said = change.kind if plain else _arrows(change.message)
    return tag(
        "article",
        tag(
            "details",
            tag(
                "summary",
                _word(change.verdict),
                tag("div", tag("h3", change.subject), tag("span", values, class_="values")),
                tag("span", coded(said), class_="sub"),
            ),
            tag(
                "div",
                tag("ul", *details, class_="examples") if details else None,
                *(_effect(effect) for effect in change.effects),
                class_="body",
            ),
            open=True,
        ),
        class_="item",
        data_verdict=change.verdict,
        data_text=_search_text(change.subject, change.kind, change.message, *texts),
    )


def _effect(effect: Effect) -> Markup:
    return tag(
        "div",
        tag("p", tag("code", effect.plugin), class_="lead"),
        tag("p", coded(effect.message), " ", tag("span", f"({effect.rule})", class_="rule")),
        _fix(effect.remedy),
        class_="finding",
        data_verdict=effect.verdict,
    )


def _plugins(reports: Sequence[Report], policy: PolicyFile, drift: bool) -> Markup | None:
    if not reports:
        if drift:
            return None
        return tag("p", "There is nothing to check in the places that were named.", class_="empty")
    matrix = words.is_matrix(reports)
    return tag(
        "section",
        tag("h2", "Plugins", id="plugins"),
        *(_plugin(report, policy, not drift, matrix) for report in words.by_severity(reports)),
        aria_labelledby="plugins",
    )


def _plugin(report: Report, policy: PolicyFile, opened: bool, matrix: bool) -> Markup:
    verdict = words.word(report.verdict)
    folder, _, name = report.plugin.path.rpartition("/")
    built = report.plugin.tensorflow
    stamp = "stamped" if report.plugin.stamped else "not stamped"
    notes = [f"built for TensorFlow {built}" if built else None]
    notes.append(stamp if report.verdict is not None else None)
    said = ", ".join(n for n in notes if n)
    findings = words.findings_by_severity(report.findings)
    body = [_finding(finding) for finding in findings]
    if report.plugin.error:
        body.append(tag("div", tag("p", coded(report.plugin.error)), class_="finding"))
    unchecked = _unchecked(report.unchecked)
    summary = group(
        _word(verdict),
        tag("div", tag("h3", name + words.against(report, matrix))),
        tag(
            "span",
            tag("span", f"{folder}/", class_="path") if folder else None,
            " · " if folder and said else None,
            said,
            class_="sub",
        ),
    )
    if body or unchecked:
        inside = tag(
            "details",
            tag("summary", summary),
            tag("div", *body, unchecked, class_="body"),
            open=opened and policy.refuses(report),
        )
    else:
        inside = tag("div", summary, class_="only")
    words_in_it = [f"{f.subject} {f.message} {f.rule}" for f in findings]
    return tag(
        "article",
        inside,
        class_="item",
        data_verdict=verdict,
        data_text=_search_text(report.plugin.path, built, verdict, *words_in_it),
    )


def _finding(finding: Finding) -> Markup:
    pair = [
        tag("div", tag("dt", label), tag("dd", value))
        for label, value in (("At build time", finding.built), ("Here", finding.live))
        if value is not None
    ]
    rest = finding.count - len(finding.examples)
    examples = [tag("li", tag("code", example)) for example in finding.examples]
    if examples and rest > 0:
        examples.append(tag("li", f"and {rest} more"))
    return tag(
        "div",
        tag("p", coded(finding.message), class_="lead"),
        tag("dl", *pair, class_="pair") if pair else None,
        tag("p", tag("strong", "Why it matters: "), coded(finding.why)) if finding.why else None,
        tag("ul", *examples, class_="examples") if examples else None,
        _fix(finding.remedy),
        tag("p", f"{finding.verdict}, rule {finding.rule}", class_="rule"),
        class_="finding",
        data_verdict=finding.verdict,
    )


def _fix(remedy: str | None) -> Markup | None:
    if remedy is None:
        return None
    return tag(
        "div",
        tag("pre", remedy),
        tag("button", "Copy", type="button", aria_label="Copy what to do"),
        class_="fix",
    )


def _unchecked(unchecked: Sequence[Unchecked]) -> Markup | None:
    if not unchecked:
        return None
    return tag(
        "details",
        tag("summary", f"{len(unchecked)} {words.UNCHECKED}"),
        tag(
            "ul",
            *(tag("li", tag("strong", coded(u.what)), ": ", coded(u.why)) for u in unchecked),
        ),
        class_="fold",
    )
