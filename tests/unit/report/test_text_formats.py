"""Markdown for pull requests and text for terminals."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

import envlock.report
from envlock.models.drift import Change, DriftDocument, Effect
from envlock.models.report import REPORT_FORMAT, ReportDocument
from envlock.report.formats import FORMATS, SUFFIXES, render
from envlock.report.markdown import SIZE_LIMIT, code, escape
from envlock.report.text import KINDS
from tests.unit.report.documents import (
    ALL,
    HOSTILE,
    check_document,
    drift_document,
    hostile_check,
    hostile_drift,
    hostile_report,
    report,
)

# --- Markdown ------------------------------------------------------------------------------------


def test_the_verdict_is_the_first_line() -> None:
    first = render(drift_document(), "markdown").splitlines()[0]
    assert first == "### ❌ 2 of 11 changes break 2 plugins"
    first = render(check_document(), "markdown").splitlines()[0]
    assert first.startswith("### ❌ Of 5 plugins, 1 is incompatible")


def test_harmless_changes_are_folded() -> None:
    text = render(drift_document(), "markdown")
    assert "<details><summary>9 changes without a known effect</summary>" in text
    assert text.index("#### ❌ incompatible") < text.index("<details>")
    assert text.count("<details>") == text.count("</details>")


@pytest.mark.parametrize("name", ALL)
def test_markdown_fits_into_a_comment(name: str) -> None:
    assert len(render(ALL[name], "markdown")) <= 65_536


def test_what_does_not_fit_is_counted() -> None:
    many = tuple(
        report(f"plugin_{n}.so", "incompatible", *check_document().reports[0].findings)
        for n in range(2000)
    )
    text = render(ReportDocument(format=REPORT_FORMAT, reports=many), "markdown")
    assert len(text) < SIZE_LIMIT + 1000
    assert "left out here: a comment holds no more" in text


def rendered(text: str) -> str:
    """The page that GitHub's kind of renderer makes of it."""
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(text)


@pytest.mark.parametrize("document", [hostile_check(), hostile_drift()], ids=["check", "drift"])
def test_hostile_names_stay_text_in_markdown(document: ReportDocument) -> None:
    page = rendered(render(document, "markdown"))
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z][a-zA-Z0-9]*)", page))
    allowed = {"h3", "h4", "p", "code", "ul", "li", "strong", "em", "br", "pre", "details"}
    allowed |= {"summary", "table", "thead", "tbody", "tr", "th", "td", "hr"}
    assert tags <= allowed
    assert "\x1b" not in page
    assert "\u202e" not in page
    # Nobody is called, nothing points anywhere.
    outside = re.sub(r"<code[^>]*>.*?</code>", "", page, flags=re.S)
    assert "@someone" not in outside
    assert "http://" not in outside


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "json"])
@pytest.mark.parametrize("brk", ["\n", "\r\n", "\u2028"])
def test_a_name_makes_no_line_of_its_own(format: str, brk: str) -> None:
    """Nor an item, a heading, or a second command in what is to be pasted."""
    forged = f"ops.so{brk}### All is well{brk}- item"

    def lines(name: str) -> list[str]:
        documents = [ReportDocument(format=REPORT_FORMAT, reports=(hostile_report(name),))]
        documents.append(drift_with(name))
        return [line for one in documents for line in render(one, format).splitlines()]

    assert len(lines(forged)) == len(lines(forged.replace(brk, " ")))
    assert not [line for line in lines(forged) if line.lstrip().startswith(("### All", "- item"))]


def drift_with(name: str) -> DriftDocument:
    effect = Effect(plugin=name, rule="numpy-abi", verdict="unsafe", message=name, remedy=name)
    change = Change(
        part="plugins",
        kind="changed",
        subject=name,
        before=name,
        after=name,
        message=name,
        details=(name,),
        verdict="unsafe",
        effects=(effect,),
    )
    return drift_document().replace(changes=(change,), reports=(hostile_report(name),))


def test_code_spans_hold_anything() -> None:
    for text in (*HOSTILE, "`", "``a``", "`x", "a|b"):
        page = rendered(f"x {code(text)} y")
        assert page.startswith("<p>x <code>")
        assert page.rstrip().endswith("</code> y</p>")


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("a_b_c", r"a\_b\_c"),
        ("@user", "@<!-- -->user"),
        ("#12", "#<!-- -->12"),
        ("https://x", "https:<!-- -->//x"),
        ("1.2-3", "1.2-3"),
    ],
)
def test_escaping(raw: str, kept: str) -> None:
    assert escape(raw) == kept


# --- terminal ------------------------------------------------------------------------------------


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("name", ["drift", "unchanged"])
def test_text_keeps_to_80_columns(name: str, everything: bool) -> None:
    text = render(ALL[name], "text", everything=everything)
    for line in text.splitlines():
        # Commands stay on one line, so that they can be copied.
        assert len(line) <= 80 or line.lstrip().startswith("fix: ")


def test_text_order_and_folding() -> None:
    text = render(drift_document(), "text")
    lines = text.splitlines()
    assert lines[0] == "2 of 11 changes break 2 plugins"
    assert any(line.startswith("incompatible: TensorFlow replaced") for line in lines[:8])
    assert text.index("incompatible:") < text.index("unsafe:") < text.index("9 changes without")
    assert "`--all` lists " in text
    assert "absl-py 1.1" in text
    full = render(drift_document(), "text", everything=True)
    assert "`absl-py` 1.0 -> 1.1" in full
    assert "- `keras/models.py`" in full


def test_a_finding_of_two_plugins_is_told_once() -> None:
    document = drift_document()
    change = document.changes[0]
    twice = change.replace(
        effects=(change.effects[0], change.effects[0].replace(plugin="/other/_x.so"))
    )
    text = render(document.replace(changes=(twice,)), "text")
    assert text.count("14 symbols") == 1
    assert "/other/_x.so" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_only_on_a_terminal_and_never_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = render(drift_document(), "text", stream=io.StringIO())
    coloured = render(drift_document(), "text", stream=Terminal())
    assert "\x1b" not in plain
    assert "\x1b[31;1m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert render(drift_document(), "text", stream=Terminal()) == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert render(drift_document(), "text", stream=Terminal()) == plain


def test_hostile_names_cannot_move_the_cursor() -> None:
    text = render(hostile_drift(), "text", everything=True)
    assert all(c.isprintable() or c == "\n" for c in text)


def test_every_format_is_in_the_table() -> None:
    folder = Path(envlock.report.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\ndef render(" in path.read_text()}
    assert modules - {"formats", *KINDS.values()} == set(FORMATS.values())
    assert set(SUFFIXES.values()) == {*FORMATS} - {"codequality"}, "which is JSON to a suffix"


def matrix() -> ReportDocument:
    """Three plugins against seven releases, one of which breaks the first."""
    reports = []
    for one in check_document().reports[:3]:
        for number in range(7):
            environment = one.environment.replace(tensorflow=f"2.{10 + number}.1")
            fits = number != 3 or one.verdict != "incompatible"
            reports.append(
                one.replace(
                    environment=environment,
                    verdict="compatible" if fits else one.verdict,
                    findings=() if fits else one.findings,
                )
            )
    return check_document().replace(reports=tuple(reports))


@pytest.mark.parametrize("everything", [False, True])
def test_a_matrix_in_text(everything: bool) -> None:
    text = render(matrix(), "text", everything=everything)
    lines = text.splitlines()
    first = "Of 21 combinations of plugin and release, 1 is incompatible and 20 are compatible"
    assert lines[0] == first
    end = lines.index("/srv/train/env/lib/acme/_matcher_ops.so", lines.index("", 10))
    assert all(len(line) <= 80 for line in lines[1:end])
    assert lines[2].split() == ["2.10.1", "2.11.1", "2.12.1"]
    assert [line.split()[-3:] for line in lines[4:7]] == [["compatible"] * 3] * 3
    assert text.count("incompatible[undefined-symbol]: 14 symbols") == 1
    assert ("why: dlopen" in text) is everything
    assert ("unchecked: CUDA run time" in text) is everything
    assert ("`--all` lists " in text) is not everything


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["check", "drift"])
def test_verdicts_are_called_what_the_contract_calls_them(name: str, format: str) -> None:
    """No other words for them, in any format."""
    text = render(ALL[name], format)
    for word in ("Compatible", "Drifted", "Unsafe", "Incompatible", "Not readable", "UNSAFE"):
        assert word not in text
    for word in ("works", "fails", "error[", "note[", "not checked", "INCOMPATIBLE"):
        assert word not in text
    assert "incompatible" in text
