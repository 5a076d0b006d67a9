"""Shares of traces are consistent and of the right size, and slow is told from usual."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sampling import in_share, is_slow, share

TRACES = st.integers(1, 16**32 - 1).map(lambda number: f"{number:032x}")
SHARES = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("kept_per_s", "rate_per_s", "kept"),
    [(20.0, 0.0, 1.0), (20.0, 20.0, 1.0), (20.0, 40.0, 0.5), (20.0, 2000.0, 0.01), (0.0, 0.0, 0.0), (0.0, 5.0, 0.0)],
)
def test_all_are_kept_up_to_the_limit_and_as_many_beyond(kept_per_s: float, rate_per_s: float, kept: float) -> None:
    assert share(kept_per_s, rate_per_s) == kept


@given(TRACES, SHARES, SHARES)
def test_what_is_in_a_share_is_in_every_larger_one(trace_id: str, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert in_share(trace_id, larger) or not in_share(trace_id, smaller)


@given(TRACES)
def test_the_whole_share_has_every_trace_and_none_has_none(trace_id: str) -> None:
    assert in_share(trace_id, 1.0)
    assert not in_share(trace_id, 0.0)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9])
def test_a_share_has_its_proportion_of_random_traces(kept: float) -> None:
    draw, count = random.Random(7), 20_000
    found = sum(in_share(f"{draw.getrandbits(128):032x}", kept) for _ in range(count))
    assert abs(found - kept * count) < 4.0 * math.sqrt(count * kept * (1.0 - kept))


def test_the_share_is_the_one_that_opentelemetry_s_rule_keeps() -> None:
    # A probability of 1/4 has the rejection threshold c0000000000000.
    assert in_share("a" * 18 + "c0000000000000", 0.25)
    assert not in_share("a" * 18 + "bfffffffffffff", 0.25)


@pytest.mark.parametrize(
    ("p99_s", "within_s", "slow"),
    [
        (None, None, False),
        (0.5, None, False),
        (0.4, None, True),
        (None, 0.4, True),
        (0.9, 0.5, False),
        (0.9, 0.4, True),
    ],
)
def test_a_request_is_slow_beside_the_others_or_beside_its_objective(
    p99_s: float | None, within_s: float | None, slow: bool
) -> None:
    assert is_slow(0.5, p99_s, within_s) is slow
