"""What is told of steps: sums over all of them, rates of the time that was observed, and gaps that stay gaps."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.measured.answers import Kept, PodStep, Row, Slot, measured, pod_sum, series, summed
from telemetry.hub.measured.cells import NOTHING, Cell, Part
from telemetry.hub.measured.steps import LEVELS, SPANS_S, level_for, placed
from tests.fakes.counted import as_one

STEP_S = LEVELS[0].step_s
FROM_S = 3000


def kept(counts: list[int | None], versions: tuple[str, ...] = ("1",)) -> Kept:
    """Return steps with so many requests of each version; None is a step that nobody looked at."""
    starts = range(FROM_S, FROM_S + STEP_S * len(counts), STEP_S)
    held = [(start, count) for start, count in zip(starts, counts, strict=True) if count is not None]
    return Kept(
        LEVELS[0],
        FROM_S,
        FROM_S + STEP_S * len(counts) - 1.0,
        {start: Slot(start, float(STEP_S), {"retries": 1}) for start, _ in held},
        tuple(
            Row(start, "m", version, Cell(by_class={"2xx": count}, took=((0.0, 1.0, count),)))
            for start, count in held
            for version in versions
            if count
        ),
    )


def test_a_gap_is_no_data_and_a_quiet_step_is_nothing() -> None:
    found = series(kept([3, None, 0]), "m", "", "1h", "")
    assert [point.summed and point.summed.requests_per_s for point in found.points] == [0.1, None, 0.0]
    assert (found.summed.requests, found.observed_s) == (3, 60.0)
    assert found.summed.requests_per_s == 0.05


def test_all_models_are_told_by_model_and_by_version() -> None:
    each = kept([6, 12, None], ("1", "2"))
    found = measured(as_one(each), each, "1h", (), "old")
    assert found.whole is not None
    assert (found.whole.summed.requests, found.error, found.mesh) == (36, "old", {"retries": 2})
    assert [(one.model, one.summed.requests, one.rates) for one in found.models] == [("m", 36, (0.4, 0.8, None))]
    assert [(one.version, one.summed.requests) for one in found.versions] == [("1", 18), ("2", 18)]
    assert [point.summed and point.summed.requests for point in found.points] == [12, 24, None]


@given(st.lists(st.none() | st.integers(0, 50), min_size=1, max_size=12))
def test_steps_add_up_to_the_whole(counts: list[int | None]) -> None:
    found = series(kept(counts, ("1", "2")), "m", "", "1h", "")
    assert len(found.points) == len(counts)
    assert found.summed.requests == sum(point.summed.requests for point in found.points if point.summed)
    assert found.summed.requests == 2 * sum(filter(None, counts))
    rates = [point.summed.requests_per_s for point in found.points if point.summed]
    assert all(rate is not None and rate >= 0 for rate in rates)


def test_a_version_is_told_alone() -> None:
    found = series(kept([4], ("1", "2")), "m", "2", "1h", "")
    assert (found.summed.requests, found.versions) == (4, ("1", "2"))


def test_nothing_was_measured_is_none_and_never_nought() -> None:
    found = summed(NOTHING, 0.0)
    assert (found.requests, found.requests_per_s, found.error_ratio, found.p99_s) == (0, None, None, None)


def test_no_edge_is_told_as_none() -> None:
    assert summed(Cell(batches=((8.0, math.inf, 2),)), 1.0).batches == ((8.0, None, 2),)


def test_a_pod_is_told_of_its_last_minutes() -> None:
    cell = Cell(parts={"inference": Part(0.4, 4)}, busy_s=5.0, pod_s=20.0)
    found = pod_sum("m/1/0", [PodStep(10.0, 10.0, {("m", "1"): cell}, {"2xx": 9, "5xx": 1}, ((0.0, 0.2, 4),))] * 2)
    assert found is not None
    assert (found.model, found.requests_per_s, found.error_ratio, found.busy_ratio) == ("m", 1.0, 0.1, 0.25)
    assert found.inference_p95_s is not None
    assert math.isclose(found.inference_p95_s, 0.19)
    assert pod_sum("m/1/0", []) is None


def test_each_span_has_steps_that_are_kept_for_so_long() -> None:
    for of_each in (False, True):
        for span_s in SPANS_S.values():
            level = level_for(span_s, of_each=of_each)
            assert level.kept_s >= span_s
            assert 5 <= span_s / level.step_s <= (75 if of_each else 300)


def test_growth_is_placed_where_its_readings_are_near_enough() -> None:
    assert placed(10.0) == placed(25.0) == LEVELS
    assert placed(26.0) == LEVELS  # not longer than the shortest step
    assert [level.step_s for level in placed(299.0)] == [300, 3600, 86400]
    assert placed(90000.0) == ()
