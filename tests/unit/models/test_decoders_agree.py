"""The lean decoder and pydantic read the same definition: they must agree on every input."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envlock.models.manifest import Owner
from envlock.models.record import FieldType, Record, ValidationError, decode, encode, field_types
from envlock.models.schema import MAX_TABLE, validate
from envlock.models.snapshot import DirectUrl, Packages, Snapshot
from tests.support.elves import PEAK, run
from tools.schemas import DOCUMENTS

pytestmark = pytest.mark.slow

RECORDS = [record for _, record, _ in DOCUMENTS]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec=None), max_size=8),
    st.sampled_from(["\ud800", "a\udfff"]),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def valid(kind: FieldType, allowed: tuple[str, ...] | None = None) -> st.SearchStrategy[Any]:
    """Values that a field of this type accepts."""
    if kind.kind == "optional":
        assert kind.inner is not None
        return st.none() | valid(kind.inner, allowed)
    if kind.kind in ("str", "Verdict"):
        return st.sampled_from([str(word) for word in allowed]) if allowed else st.text(max_size=6)
    if kind.kind == "int":
        return st.integers(-(2**63), 2**63 - 1)
    if kind.kind == "bool":
        return st.booleans()
    if kind.kind == "array":
        assert kind.inner is not None
        return st.lists(valid(kind.inner), max_size=2)
    if kind.kind == "table":
        assert kind.inner is not None
        return st.dictionaries(st.text(max_size=4), valid(kind.inner), max_size=2)
    if kind.kind == "record":
        assert kind.record is not None
        return document(kind.record)
    return anything


def document(record: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents that are valid; optional keys come and go."""
    required, optional = {}, {}
    for name, kind in field_types(record).items():
        target = optional if hasattr(record, name) else required
        target[name] = valid(kind, record.choices.get(name))
    return st.fixed_dictionaries(required, optional=optional)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a document."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def damage(data: st.DataObject, value: dict[str, Any]) -> None:
    """Replace, delete or add something at a random place."""
    spots = places(value)
    if not spots:
        return
    *parents, last = data.draw(st.sampled_from(spots))
    holder: Any = value
    for step in parents:
        holder = holder[step]
    action = data.draw(st.sampled_from(["replace", "delete", "add"]))
    if action == "replace":
        holder[last] = data.draw(anything)
    elif action == "delete":
        del holder[last]
    elif isinstance(holder, dict):
        holder["an unknown key"] = data.draw(anything)


def reading(reader: Callable[[type[Record], Any], Record], record: type[Record], value: Any) -> Any:
    try:
        return reader(record, value)
    except ValidationError:
        return None


def both(record: type[Record], value: Any) -> tuple[Any, Any]:
    """What each reader makes of a value, None where it refuses."""
    return reading(decode, record, value), reading(validate, record, value)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_valid_documents_are_accepted_and_round_trip(
    record: type[Record], data: st.DataObject
) -> None:
    value = data.draw(document(record))
    decoded, full = both(record, value)
    assert decoded is not None
    assert decoded == full
    again = decode(record, json.loads(json.dumps(encode(decoded))))
    assert again == decoded
    assert decode(record, encode(decoded, sparse=True)) == decoded


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_documents_get_the_same_verdict(record: type[Record], data: st.DataObject) -> None:
    value = data.draw(document(record))
    damage(data, value)
    lean, full = both(record, value)
    assert lean == full, value


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
@settings(max_examples=60, deadline=None)
@given(value=anything)
def test_arbitrary_json_gets_the_same_verdict(record: type[Record], value: Any) -> None:
    lean, full = both(record, value)
    assert lean == full


@pytest.mark.parametrize(
    ("record", "value", "told"),
    [
        (Snapshot, [], "$: Input should be an object"),
        (Owner, {"manager": "pip", "name": "a"}, "$.version: Field required"),
        (Owner, {"manager": "apt", "name": 1, "version": "1"}, "$.manager: Input should be 'pip' or "
         "'conda' (and 1 more)"),
        (Packages, {"pip": [{"name": "a", "version": "1"}, {"name": "b", "version": 2}] * 9},
         "$.pip[1].version: Input should be a valid string"),
        (Owner, {"manager": "pip", "name": "\ud800", "version": "1"},
         "$.name: a lone surrogate is not text"),
        (DirectUrl, {"kind": "vcs", "hashes": {"sha256": 5}}, "$.hashes.sha256: Input should be a "
         "valid string"),
        (DirectUrl, {"kind": "vcs", "hashes": dict.fromkeys(map(str, range(MAX_TABLE + 1)), 0)},
         f"$.hashes: more than {MAX_TABLE} entries"),
    ],
)  # fmt: skip
def test_pydantic_names_the_faulty_place(record: type[Record], value: Any, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate(record, value)
    assert str(caught.value) == told


def test_a_list_of_millions_of_faults_costs_what_one_costs() -> None:
    """Each fault that pydantic reports has 400 bytes, and each element here has one."""
    code = (
        "from envlock.models.record import ValidationError\n"
        "from envlock.models.schema import validate\n"
        "from envlock.models.snapshot import Snapshot\n"
        "value = {'format': 'envlock.snapshot/1', 'generator': 'x', 'plugins': [0] * 5_000_000}\n"
        "try: validate(Snapshot, value)\n"
        "except ValidationError as problem: print(problem)\n" + PEAK
    )
    told, _, peak = run(sys.executable, "-c", code).strip().rpartition("\n")
    assert told.startswith("$.plugins[0]: ")
    assert int(peak) < 250 << 10
