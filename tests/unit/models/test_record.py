"""Records: immutable values, and errors that name the faulty place."""

from __future__ import annotations

import pytest

from envlock.models.manifest import CodeDigest, Owner, PlatformFacts
from envlock.models.record import ValidationError, decode, encode
from envlock.models.report import Finding
from envlock.models.verdict import VERDICTS, worst


def test_equal_by_value_and_hashable() -> None:
    first = Owner(manager="pip", name="numpy", version="1.26.4")
    assert first == Owner(manager="pip", name="numpy", version="1.26.4")
    assert len({first, first.replace()}) == 1
    assert first != first.replace(version="2.0.0")


def test_immutable() -> None:
    owner = Owner(manager="pip", name="numpy", version="1")
    with pytest.raises(AttributeError, match="read-only"):
        owner.version = "2"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="read-only"):
        del owner.version


def test_missing_and_unknown_arguments() -> None:
    with pytest.raises(TypeError, match="misses the argument 'covers'"):
        CodeDigest(algorithm="sha256", value="00")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field 'colour'"):
        CodeDigest(algorithm="a", value="b", covers="c", colour="d")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ([], "$", "expected an object, got an array"),
        ({}, "$", "the key 'machine' is missing"),
        ({"machine": 1}, "$.machine", "expected a string, got an integer"),
        ({"machine": "x", "libstdcxx": {"glibcxx": 3.4}}, "$.libstdcxx.glibcxx", "got a number"),
        ({"machine": "\ud800"}, "$.machine", "a lone surrogate is not text"),
        (
            {
                "machine": "x",
                "libstdcxx": {"owner": {"manager": "apt", "name": "a", "version": "1"}},
            },
            "$.libstdcxx.owner.manager",
            "expected pip or conda, got 'apt'",
        ),
    ],
)
def test_errors_name_the_faulty_place(value: object, path: str, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        decode(PlatformFacts, value)
    assert caught.value.path == path
    assert problem in str(caught.value)


def test_sparse_encoding_leaves_out_defaults_only() -> None:
    facts = PlatformFacts(machine="x86_64", libc="glibc")
    assert encode(facts, sparse=True) == {"machine": "x86_64", "libc": "glibc"}
    assert encode(facts)["libc_version"] is None
    assert decode(PlatformFacts, encode(facts, sparse=True)) == facts


def test_verdicts_rise() -> None:
    assert worst(["drifted", "unsafe"]) == "unsafe"
    assert worst(["incompatible", "compatible"]) == "incompatible"
    assert worst([]) == "compatible"
    assert list(VERDICTS) == ["compatible", "drifted", "unsafe", "incompatible"]


def test_a_verdict_must_be_one_of_the_four() -> None:
    with pytest.raises(ValidationError, match=r"\$\.verdict"):
        decode(Finding, {"rule": "r", "verdict": "fine", "subject": "s", "message": "m"})
