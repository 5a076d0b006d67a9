"""A process's share of kept traces follows the rate of requests, its own and the others'."""

from __future__ import annotations

import pytest

from telemetry.head_sampling import HeadSampler

EVERY_S = 0.1


def trace_ids(count: int) -> list[str]:
    """Return ids whose random parts are spread evenly."""
    return [f"{0:016x}00{number * 2**56 // count:014x}" for number in range(count)]


def kept_after(sampler: HeadSampler, rate_per_s: float, seconds: float) -> float:
    """Return which share of traces is kept after so long at that rate."""
    ids = trace_ids(1000)
    for _ in range(round(seconds / EVERY_S)):
        for number in range(round(rate_per_s * EVERY_S)):
            sampler.keeps(ids[number])
        sampler.measure(EVERY_S)
    return sum(sampler.keeps(trace_id) for trace_id in ids) / len(ids)


@pytest.mark.parametrize(("rate_per_s", "share"), [(10, 1.0), (20, 1.0), (200, 0.1), (2000, 0.01)])
def test_up_to_the_rate_all_are_kept_and_above_a_share(rate_per_s: float, share: float) -> None:
    assert kept_after(HeadSampler(20.0), rate_per_s, 10.0) == pytest.approx(share, rel=0.05)


def test_what_other_processes_begin_counts_as_well() -> None:
    sampler = HeadSampler(20.0)
    sampler.others_rate_per_s = 180.0
    assert kept_after(sampler, 20, 10.0) == pytest.approx(0.1, rel=0.05)


def test_a_burst_is_forgotten_within_seconds() -> None:
    sampler = HeadSampler(20.0)
    assert kept_after(sampler, 1000, 3.0) < 0.05
    sampler.measure(EVERY_S)
    assert kept_after(sampler, 1, 6.0) == 1.0
