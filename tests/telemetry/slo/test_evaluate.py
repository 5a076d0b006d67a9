"""Objectives are evaluated as worked examples say, minute by minute, in rational arithmetic.

Each example is a stream of requests per minute after a long clean past, evaluated at the end of each minute. The
minutes in which each alert fires were computed apart from this code and checked with promtool; a brute-force sum over
the raw stream, in fractions, computes them here once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from policies.snapshot.slos import BurnAlert, Guards, Objective
from telemetry.slo.evaluate import Burn, Evaluation, evaluate
from telemetry.slo.events import NO_EVENTS, EventCount
from telemetry.slo.windows import LEVELS, Level, Slots
from tests.telemetry.slo.objectives import DAY_S, HOUR_S, MINUTE_S, WORKBOOK, objective

MINUTE = 60
START_S = 1_800_000_000
A_DAY, A_PERIOD = 24 * 60, 30 * 24 * 60
AS_FAR_AS_ALERTS_LOOK = 3 * A_DAY
MINUTES_ALONE = (Level(MINUTE, 30 * 86_400),)

Stream = Sequence[tuple[int, int]]
"""Requests and bad ones of each minute."""


class Example(Struct, frozen=True):
    """One stream after a clean past, and the minutes ``[first, end)`` in which each alert fires."""

    name: str
    stream: Stream
    fires: dict[str, tuple[int, int]]
    past_per_minute: int = 1000
    target: float = 0.999


def minutes(count: int, requests: int, bad: int = 0) -> list[tuple[int, int]]:
    return [(requests, bad)] * count


EXAMPLES = (
    Example("S1", [*minutes(60, 1000, 20), *minutes(360, 1000)], {"page fast": (44, 62)}),
    Example("S2", [*minutes(400, 1000, 7), *minutes(60, 1000)], {"page slow": (309, 405)}),
    Example(
        "S3",
        [*minutes(A_DAY, 1000, 4), *minutes(400, 1000)],
        {"ticket fast": (1081, 1470), "ticket slow": (1081, 1710)},
    ),
    Example("S4", [*minutes(2 * A_DAY, 1000, 2), *minutes(400, 1000)], {"ticket slow": (2161, 3060)}),
    Example(
        "S5",
        [*minutes(10, 1000, 1000), *minutes(400, 1000)],
        {"page fast": (1, 15), "page slow": (3, 40), "ticket fast": (5, 130), "ticket slow": (5, 370)},
    ),
    Example("S6", [*minutes(120, 10_000, 144), *minutes(60, 10_000)], {}, past_per_minute=10_000),
    Example("S7", [(1, 1), *minutes(400, 1)], {"page fast": (1, 6)}, past_per_minute=1),
    Example("S8", minutes(120, 0), {}),
    Example("S9", [*minutes(60, 1000, 1000), *minutes(400, 1000)], {}, target=0.9),
)


def counted(past: Stream, levels: tuple[Level, ...]) -> Slots:
    """Count the minutes before the start."""
    slots = Slots(levels)
    for minute, (requests, bad) in enumerate(past, start=-len(past)):
        add(slots, minute, requests, bad)
    return slots


def add(slots: Slots, minute: int, requests: int, bad: int) -> None:
    at_s = START_S + minute * MINUTE
    assert slots.add(at_s, EventCount(requests - bad, bad), at_s)


def evaluations(slots: Slots, stream: Stream, wanted: Objective) -> Iterator[Evaluation]:
    """Evaluate at the end of each minute."""
    for minute, (requests, bad) in enumerate(stream):
        add(slots, minute, requests, bad)
        yield evaluate(wanted, slots, START_S + (minute + 1) * MINUTE)


@pytest.mark.parametrize("levels", [MINUTES_ALONE, LEVELS], ids=["slots of a minute", "the levels in use"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_alerts_fire_in_the_minutes_of_the_worked_example(example: Example, levels: tuple[Level, ...]) -> None:
    wanted = objective(example.target)
    slots = counted(minutes(AS_FAR_AS_ALERTS_LOOK, example.past_per_minute), levels)
    fired: dict[str, list[int]] = {}
    for minute, evaluation in enumerate(evaluations(slots, example.stream, wanted), start=1):
        for alert, verdict in zip(wanted.alerts, evaluation.verdicts, strict=True):
            if verdict.fires:
                fired.setdefault(alert.name, []).append(minute)
    assert fired == {name: list(range(*interval)) for name, interval in example.fires.items()}


def brute_burn(stream: Stream, window: int, target: str) -> Fraction:
    requests = sum(requests for requests, _ in stream[-window:])
    bad = sum(bad for _, bad in stream[-window:])
    return Fraction(bad, requests) / (1 - Fraction(target)) if requests else Fraction(0)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_worked_examples_hold_by_brute_force(example: Example) -> None:
    past = minutes(AS_FAR_AS_ALERTS_LOOK, example.past_per_minute)
    # Around every minute in which an alert begins or ends, and at the first and the last.
    edges = {1, len(example.stream), *(minute for interval in example.fires.values() for minute in interval)}
    for minute in {near for edge in edges for near in (edge - 1, edge) if near > 0}:
        stream = [*past, *example.stream[:minute]]
        for alert in WORKBOOK:
            burns = (brute_burn(stream, int(w // MINUTE), str(example.target)) for w in (alert.long_s, alert.short_s))
            first, end = example.fires.get(alert.name, (0, 0))
            assert (min(burns) > Fraction(str(alert.factor))) is (first <= minute < end)


def points(example: Example) -> dict[int, Evaluation]:
    slots = counted(minutes(A_PERIOD, 1000), MINUTES_ALONE)
    return dict(enumerate(evaluations(slots, example.stream[:62], objective(0.999)), start=1))


def burns(evaluation: Evaluation) -> dict[float, float]:
    return {burn.window_s: round(burn.burn_rate, 4) for burn in evaluation.burn}


def test_two_bad_of_a_hundred_burn_as_in_the_worked_example() -> None:
    at = points(EXAMPLES[0])
    five_minutes, an_hour = 5 * MINUTE_S, HOUR_S
    assert (burns(at[4])[five_minutes], burns(at[4])[an_hour]) == (16.0, 1.3333)
    assert burns(at[43])[an_hour] == 14.3333
    assert burns(at[44]) == {
        five_minutes: 20.0,
        30 * MINUTE_S: 20.0,
        an_hour: 14.6667,
        2 * HOUR_S: 7.3333,
        6 * HOUR_S: 2.4444,
        DAY_S: 0.6111,
        3 * DAY_S: 0.2037,
    }
    assert burns(at[60])[an_hour] == 20.0
    assert (burns(at[62])[five_minutes], burns(at[62])[an_hour]) == (12.0, 19.3333)


def test_two_bad_of_a_hundred_leave_the_budget_of_the_worked_example() -> None:
    at = points(EXAMPLES[0])
    assert at[44].remaining_ratio == pytest.approx(0.979630, abs=5e-7)
    assert at[44].exhaustion_s == pytest.approx(48.091 * HOUR_S, abs=0.0005 * HOUR_S)
    assert at[60].remaining_ratio == pytest.approx(0.972222, abs=5e-7)
    assert at[60].exhaustion_s == 35 * HOUR_S


def test_an_outage_burns_and_clears_as_in_the_worked_example() -> None:
    at = points(EXAMPLES[4])
    found = [(burns(at[minute])[5 * MINUTE_S], burns(at[minute])[HOUR_S]) for minute in (1, 10, 15)]
    assert found == [(200.0, 16.6667), (1000.0, 166.6667), (0.0, 166.6667)]
    assert at[10].remaining_ratio == pytest.approx(0.768519, abs=5e-7)
    assert at[10].exhaustion_s == pytest.approx(3.32 * HOUR_S, abs=0.005 * HOUR_S)


def test_silence_after_a_clean_past_burns_nothing() -> None:
    slots = counted(minutes(A_PERIOD, 1000), MINUTES_ALONE)
    *_, last = evaluations(slots, EXAMPLES[7].stream, objective(0.999))
    assert set(burns(last).values()) == {0.0}
    assert (last.remaining_ratio, last.exhaustion_s) == (1.0, None)


def test_a_bad_night_of_little_traffic_leaves_half_the_budget() -> None:
    night = [(10, 1)] * (8 * 60)
    slots = counted([*minutes(16 * 60, 1000), *night], MINUTES_ALONE)
    found = evaluate(objective(0.999), slots, START_S)
    assert found.period.bad / found.period.total == pytest.approx(0.0004975, abs=5e-8)
    assert found.remaining_ratio == pytest.approx(0.5025, abs=5e-5)


def test_no_events_at_all_are_no_budget_and_no_alert() -> None:
    found = evaluate(objective(0.999), Slots(), START_S)
    assert (found.period, found.remaining_ratio, found.is_enough, found.exhaustion_s) == (NO_EVENTS, None, False, None)
    assert not any(verdict.fires for verdict in found.verdicts)


def test_each_window_is_reported_once_the_shortest_first() -> None:
    found = evaluate(objective(0.999), counted([(1000, 10)], LEVELS), START_S)
    assert [burn.window_s for burn in found.burn] == [300, 1800, 3600, 7200, 21600, 86400, 259200]
    assert found.burn[0] == Burn(300, 10.0, EventCount(990, 10))


def test_without_alerts_the_budget_ends_at_the_pace_of_the_period() -> None:
    found = evaluate(objective(0.999, alerts=()), counted([(100_000, 25)], LEVELS), START_S)
    assert found.exhaustion_s == 3 * 30 * DAY_S
    assert not found.burn
    assert not found.verdicts


def test_a_fault_that_is_over_ends_no_budget() -> None:
    slots = counted([*minutes(100, 1000), *minutes(10, 1000, 1), *minutes(5, 1000)], LEVELS)
    found = evaluate(objective(0.99), slots, START_S)
    assert found.burn[0].burn_rate == 0.0 < found.burn[2].burn_rate
    assert found.exhaustion_s is None


def test_a_spent_budget_stays_spent_when_the_fault_is_over() -> None:
    slots = counted([*minutes(10, 1000, 100), *minutes(5, 1000)], LEVELS)
    assert evaluate(objective(0.99), slots, START_S).exhaustion_s == 0.0


def test_guards_hold_back_the_false_page_of_one_failure_at_night() -> None:
    guarded = objective(0.999, guards=Guards())
    slots = counted(minutes(AS_FAR_AS_ALERTS_LOOK, 1), MINUTES_ALONE)
    verdicts = [found.verdicts[0] for found in evaluations(slots, EXAMPLES[6].stream[:10], guarded)]
    assert not any(verdict.fires for verdict in verdicts)
    assert [bool(verdict.held_back) for verdict in verdicts] == [True] * 5 + [False] * 5


SHORT = (BurnAlert("page", "page fast", 14.4, 720.0, 60.0), BurnAlert("ticket", "ticket slow", 1.5, 1440.0, 120.0))


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (max(pair), min(pair))), max_size=40),
    st.sampled_from(("0.999", "0.99", "0.95")),
)
def test_any_stream_burns_as_by_brute_force(stream: Stream, target: str) -> None:
    wanted = objective(float(target), alerts=SHORT)
    for minute, found in enumerate(evaluations(Slots(), stream, wanted), start=1):
        for alert, verdict in zip(SHORT, found.verdicts, strict=True):
            windows = (int(alert.long_s // MINUTE), int(alert.short_s // MINUTE))
            long, short = (brute_burn(stream[:minute], window, target) for window in windows)
            assert (verdict.long_burn, verdict.short_burn) == (float(long), float(short))
            assert verdict.fires is (min(long, short) > Fraction(str(alert.factor)))
