"""A sample of the recorded loads, on every run of the tests; `make truth` compares them all."""

from __future__ import annotations

import pytest

from tests.campaigns.truth import records
from tests.campaigns.truth.compare import compare
from tests.conftest import ABSENT_DATA
from tests.support.environments import FOR_TESTS, TfEnvironment, ensure, for_tests

# One or more wheels of every generation; all plugins in them count.
SAMPLE = {
    "tensorflow_text-2.6.0",
    "tensorflow_text-2.8.2",
    "tensorflow_text-2.11.0",
    "tensorflow_text-2.15.0",
    "tensorflow_text-2.18.1",
    "tensorflow_text-2.20.1",
    "tensorflow_text-2.21.1",
    "tensorflow_addons-0.14.0",
    "tensorflow_addons-0.23.0",
    "tensorflow_io_gcs_filesystem-0.31.0",
}


@pytest.fixture(scope="module")
def recorded() -> list[records.Record]:
    if records.path() is None:
        pytest.skip(
            f"{ABSENT_DATA}no published_plugins.jsonl.gz in ../shared/truth; name its folder in "
            "ENVLOCK_TRUTH"
        )
    return records.load()


@pytest.fixture(params=FOR_TESTS)
def env(request: pytest.FixtureRequest) -> TfEnvironment:
    _, left_out = for_tests()
    if request.param in left_out:
        pytest.skip(left_out[request.param])
    return ensure(request.param)


def test_prediction_agrees_with_what_happened(
    recorded: list[records.Record], env: TfEnvironment
) -> None:
    wanted = [
        record
        for record in recorded
        if record.environment == (env.package, env.version) and record.dist in SAMPLE
    ]
    assert len(wanted) > 50
    score = compare(wanted, env)
    assert not score.wrong_verdict, "\n".join(map(str, score.wrong_verdict))
    assert not score.wrong_symbol, "\n".join(map(str, score.wrong_symbol))
    assert 0 < score.refused < score.compared == len(wanted)


def test_records_are_whole(recorded: list[records.Record]) -> None:
    assert len(recorded) == 10_545
    assert {record.outcome for record in recorded} == {"loads", "load_error", "crash"}
    refused = [record for record in recorded if record.refused]
    assert all(record.missing_symbol for record in refused)
