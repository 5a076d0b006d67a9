"""The parts of the shadow's benchmark that can be wrong without anybody noticing."""

from __future__ import annotations

from tests.benchmarks.shadow import quantile_s, ratio
from tests.fakes.records import Outcome, Record


def test_a_quantile_is_the_latency_that_so_many_do_not_exceed() -> None:
    records = [Record(i, 0.0, 0.0, float(i + 1), Outcome.WHOLE) for i in range(200)]
    assert quantile_s(records, 0.5) == 100.0
    assert quantile_s(records, 0.99) == 198.0
    assert quantile_s(records[:1], 0.99) == 1.0


def test_a_ratio_is_of_the_tails_of_all_passes_and_its_bound_holds_it() -> None:
    alone = [[1.0] * 98 + [5.0, 9.0], [1.0] * 100]
    copied = [[2.0] * 98 + [10.0, 18.0], [2.0] * 100]
    whole, low, high = ratio(copied, alone, 0.99)
    assert (whole, low, high) == (2.0, 2.0, 2.0)
    slow_once = [[2.0] * 100, [2.0] * 90 + [30.0] * 10]
    whole, low, high = ratio(slow_once, alone, 0.99)
    assert low < whole <= high
