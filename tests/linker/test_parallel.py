"""Forked children: the same answers in the same order, whatever happens to one of them."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from envlock.linker.resolve import predict
from envlock.parallel import Died, map_forked, workers_for
from tests.linker.workshop import Workshop


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 100])
def test_results_in_order(workers: int) -> None:
    assert map_forked(lambda item: item * item, list(range(50)), workers) == [
        item * item for item in range(50)
    ]


def test_nothing_to_do() -> None:
    assert map_forked(lambda item: item, [], 4) == []


def test_large_results() -> None:
    assert map_forked(lambda item: b"x" * item, [1 << 20] * 9, 3) == [b"x" * (1 << 20)] * 9


def test_a_child_that_dies_costs_one_item() -> None:
    def work(item: int) -> int:
        if item in (3, 4, 11):
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    results = map_forked(work, list(range(20)), 3)
    died = [index for index, result in enumerate(results) if isinstance(result, Died)]
    assert died == [3, 4, 11]
    assert results[5] == 5
    assert results[19] == 19
    assert isinstance(results[3], Died)
    assert results[3].args == (signal.SIGKILL,)


def test_threads_forbid_forks() -> None:
    assert workers_for(1) == 1
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        assert workers_for(1000) == 1
    finally:
        release.set()
        thread.join()


def test_predictions_share_one_scope(shop: Workshop) -> None:
    f = shop.lib("libf.so", "int f(void) { return 1; }", soname="libf.so")
    source = "int {0}(void); int g(void) {{ return {0}(); }}"
    good = shop.lib("good.so", source.format("f"), [f], runpath="$ORIGIN")
    bad = shop.lib("bad.so", source.format("missing"), [f], runpath="$ORIGIN")
    shop.host()
    scope = shop.scope()

    def answer(path: str) -> tuple[str, str | None]:
        prediction = predict(path, scope)
        return prediction.outcome, prediction.error

    results = map_forked(answer, [str(good), str(bad)] * 20, 2)
    assert results[::2] == [("ok", None)] * 20
    assert results[1::2] == [("refused", f"{bad}: undefined symbol: missing")] * 20
