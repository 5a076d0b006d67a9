"""What a rollout is judged by beside its trial: ready pods, budgets, and how fast its own slots burn them."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.rollouts.sights import burn_seen, ready_pods, smallest_budget
from gateway.control.slo_counts import SloCounts
from gateway.control.slo_kept import Series
from policies.snapshot.release import Judge
from policies.snapshot.slos import Guards
from telemetry.slo.events import EventCount
from tests.gateway.control.rollouts.bench import CANARY, OBJECTIVE, T0, pods

JUDGED = replace(CANARY, judge=Judge("1", burn_above=6.0, burn_over_s=900.0))
NOW_S = T0 + 1000.0


def counted(*told: tuple[float, str, int, int]) -> SloCounts:
    counts = SloCounts()
    for at_s, version, good, bad in told:
        series = Series(OBJECTIVE.name, "digits", version, "")
        counts.add(series, int(at_s), EventCount(good, bad), NOW_S)
    return counts


def test_a_canary_is_held_to_its_own_slots_since_it_is_watched() -> None:
    counts = counted((T0, "2", 0, 50), (NOW_S - 100, "2", 88, 12), (NOW_S - 100, "1", 0, 900))
    burn = burn_seen([OBJECTIVE], counts, ("digits", JUDGED), 200.0, NOW_S)
    assert burn is not None
    assert (round(burn.rate, 6), burn.over_s, burn.requests, burn.is_enough, burn.above) == (
        12.0,
        200.0,
        100,
        True,
        6.0,
    )
    whole = burn_seen([OBJECTIVE], counts, ("digits", JUDGED), 9000.0, NOW_S)
    assert whole is not None
    assert (whole.over_s, whole.requests) == (900.0, 100)


def test_what_was_in_the_slot_that_it_began_in_may_have_been_before() -> None:
    slot_s = NOW_S // 10 * 10 - 10
    counts = counted((slot_s, "2", 0, 50), (slot_s + 10, "2", 15, 5))
    began_s, now_s = slot_s + 9.0, slot_s + 19.0
    assert burn_seen([OBJECTIVE], counts, ("digits", JUDGED), 0.5, began_s + 0.5) is None
    burn = burn_seen([OBJECTIVE], counts, ("digits", JUDGED), now_s - began_s, now_s)
    assert burn is not None
    assert (round(burn.rate, 6), burn.over_s, burn.requests) == (25.0, 9.0, 20)


def test_a_few_bad_requests_are_not_enough_however_fast_they_burn() -> None:
    few = burn_seen([OBJECTIVE], counted((NOW_S - 10, "2", 0, 9)), ("digits", JUDGED), 100.0, NOW_S)
    assert few is not None
    assert (round(few.rate, 6), few.is_enough) == (100.0, False)
    guarded = replace(OBJECTIVE, guards=Guards(min_events=100))
    burn = burn_seen([guarded], counted((NOW_S - 10, "2", 0, 50)), ("digits", JUDGED), 100.0, NOW_S)
    assert burn is not None
    assert not burn.is_enough


def test_an_objective_that_tells_no_versions_apart_says_nothing_of_one() -> None:
    together = replace(OBJECTIVE, by=())
    assert burn_seen([together], counted(), ("digits", JUDGED), 100.0, NOW_S) is None


def test_the_strictest_objective_is_the_budget() -> None:
    assert smallest_budget([OBJECTIVE, replace(OBJECTIVE, target=0.999)]) == 0.001
    assert smallest_budget([]) is None
    assert smallest_budget([OBJECTIVE, replace(OBJECTIVE, target=0.99999, loads_within_s=1.0)]) == smallest_budget(
        [OBJECTIVE]
    )


def test_pods_count_that_are_ready_now() -> None:
    table = pods({"1": 2, "2": 1})
    assert [ready_pods(table.values(), "digits", version) for version in ("1", "2", "3")] == [2, 1, 0]
