"""Cells add up whatever the order, and their quantiles lie where the events were."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.measured.cells import (
    MOST_EXEMPLARS,
    MOST_REASONS,
    NOTHING,
    OTHER,
    Cell,
    Part,
    Shown,
    added,
    quantile,
)
from telemetry.hub.measured.growth import Bucket

EDGES = (0.01, 0.1, 1.0, math.inf)


def buckets_of(taken: list[float], edges: tuple[float, ...] = EDGES) -> tuple[Bucket, ...]:
    """Return events by buckets, the empty ones left out."""
    lower, found = 0.0, []
    for edge in edges:
        if count := sum(lower < one <= edge for one in taken):
            found.append((lower, edge, count))
        lower = edge
    return tuple(found)


taken = st.lists(st.floats(0.001, 5.0), max_size=20)
cells = st.builds(
    lambda classes, each, waited: Cell(
        by_class=classes, took=buckets_of(each), took_s=math.fsum(each), parts={"pod queue": Part(waited, 2)}
    ),
    st.dictionaries(st.sampled_from(["2xx", "4xx", "5xx"]), st.integers(1, 9)),
    taken,
    st.floats(0.0, 3.0),
)


@given(st.lists(cells, max_size=5))
def test_cells_add_up_in_any_order_and_grouping(several: list[Cell]) -> None:
    whole = added(several)
    again = added([added(several[::-1][:2]), added(several[::-1][2:])])
    assert (whole.by_class, whole.took) == (again.by_class, again.took)
    assert math.isclose(whole.took_s, again.took_s)
    assert whole.requests == sum(one.requests for one in several)
    assert sum(count for *_, count in whole.took) == sum(count for one in several for *_, count in one.took)


@given(taken.filter(bool), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_its_event(each: list[float], share: float) -> None:
    found = quantile(share, buckets_of(each))
    ranked = sorted(each)
    event = ranked[max(0, math.ceil(share * len(each) - 1e-9) - 1)]
    lower, upper = next((lower, upper) for lower, upper, _ in buckets_of(each) if lower < event <= upper)
    assert found is not None
    assert lower <= found <= (upper if math.isfinite(upper) else lower)


def test_nothing_has_no_quantile_and_adds_nothing() -> None:
    assert quantile(0.99, ()) is None
    assert added([]) == added([NOTHING, NOTHING]) == NOTHING


def test_buckets_of_other_edges_count_up_to_their_own() -> None:
    mixed = (*buckets_of([0.5] * 9), *buckets_of([0.5], (0.2, 0.6, math.inf)))
    assert quantile(0.1, mixed) == 0.6
    assert quantile(1.0, mixed) == pytest.approx(1.0)


def test_the_rarest_reasons_are_one_and_none_is_lost() -> None:
    several = [Cell(reasons={f"reason-{at}": at + 1}) for at in range(MOST_REASONS + 5)]
    found = added(several).reasons
    assert len(found) == MOST_REASONS + 1
    assert found[OTHER] == 1 + 2 + 3 + 4 + 5
    assert sum(added([added(several), Cell(reasons={OTHER: 1})]).reasons.values()) == sum(found.values()) + 1


def test_of_exemplars_those_that_failed_and_the_slowest_stay() -> None:
    shown = [Shown(at, at / 10, f"t{at}", "2xx") for at in range(20)] + [Shown(99.0, 0.001, "bad", "5xx")]
    found = added([Cell(exemplars=tuple(shown[:7])), Cell(exemplars=tuple(shown[7:]))]).exemplars
    assert [one.trace_id for one in found] == ["bad", "t19", "t18", "t17", "t16", "t15"]
    assert len(found) == MOST_EXEMPLARS
