"""Records in a few figures."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.records import Outcome, Record, quantile, summarize


def whole(index: int, latency_s: float, status: int = 200, *, is_right: bool = True) -> Record:
    return Record(index, 10.0, 10.5, 10.0 + latency_s, Outcome.WHOLE, status, is_right)


def test_a_refusal_is_neither_right_nor_wrong() -> None:
    summary = summarize([whole(0, 1.0), whole(1, 1.0, 503, is_right=False), whole(2, 1.0, is_right=False)])
    assert (summary.right, summary.wrong, summary.by_status) == (1, 1, {200: 2, 503: 1})


def test_latency_counts_from_the_intended_start() -> None:
    assert summarize([whole(0, 2.0)]).p50_s == 2.0


def test_only_right_answers_count_towards_the_rate_and_every_request_towards_its_time() -> None:
    lost = Record(2, 10.0, 10.0, 14.0, Outcome.LOST)
    assert summarize([whole(0, 1.0), whole(1, 1.0, is_right=False), lost]).right_per_s == 0.25


def test_no_records_have_no_latency_and_no_rate() -> None:
    summary = summarize([])
    assert math.isnan(summary.p99_s)
    assert (summary.count, summary.right_per_s) == (0, 0.0)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_values_do_not_exceed(values: list[float], fraction: float) -> None:
    values.sort()
    found = quantile(values, fraction)
    assert found in values
    assert sum(value <= found for value in values) >= fraction * len(values) - 1e-9 * len(values)
    assert sum(value < found for value in values) < fraction * len(values) + 1e-9 * len(values)
