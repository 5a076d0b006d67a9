"""The version with most bad events is named, and a trace only where it is surely of a bad request."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.control.request_totals import DurationKind, Durations
from gateway.control.slo_blame import EXAMPLE_IS_FRESH_S, Blame, blame
from gateway.control.slo_counts import SloCounts
from gateway.control.slo_kept import Series
from policies.snapshot.slos import Objective
from telemetry.slo.events import EventCount
from tests.gateway.control.objectives import AVAILABILITY, EDGES_S, LATENCY, LOADS, START_S, requests

NOW_S = START_S + 60


def counted(**bad_by_version: int) -> SloCounts:
    counts = SloCounts()
    for version, bad in bad_by_version.items():
        series = Series(AVAILABILITY.name, "digits", version, "")
        counts.add(series, int(START_S), EventCount(good=10, bad=bad), NOW_S)
    return counts


def shown(status: int, trace: str = "t", at_s: float = START_S, model: str = "digits") -> dict[DurationKind, Durations]:
    """Durations with one request of 0.25 s whose trace is kept."""
    durations = Durations(EDGES_S)
    durations.add(requests(1, status=status, trace=trace), EDGES_S, at_s)
    return {DurationKind(model, "1", f"{status // 100}xx"): durations}


def found(objective: Objective, durations: dict[DurationKind, Durations]) -> str:
    return blame(SloCounts(), durations, (objective, "digits"), 300.0, NOW_S).trace_id


def test_the_version_with_most_bad_events_is_named_with_its_share() -> None:
    assert blame(counted(v1=2, v2=7, v3=0), {}, (AVAILABILITY, "digits"), 300.0, NOW_S) == Blame(300.0, "v2", 7, 9)


def test_nobody_is_blamed_for_nothing_or_for_what_was_long_ago() -> None:
    assert blame(counted(v1=0), {}, (AVAILABILITY, "digits"), 300.0, NOW_S) == Blame(300.0)
    assert blame(counted(v1=5), {}, (AVAILABILITY, "digits"), 300.0, NOW_S + 1200) == Blame(300.0)
    assert blame(SloCounts(), {}, (AVAILABILITY, "digits"), 300.0, NOW_S) == Blame(300.0)


@pytest.mark.parametrize(
    ("objective", "status", "is_shown"),
    [
        (AVAILABILITY, 503, True),
        (AVAILABILITY, 200, False),
        (AVAILABILITY, 404, False),
        (LATENCY, 200, True),
        (replace(LATENCY, within_s=0.3), 200, False),
        (replace(AVAILABILITY, ignore_status=(503,)), 503, False),
        (replace(AVAILABILITY, status_below=503), 503, False),
        (replace(LATENCY, within_s=None, first_byte_within_s=0.1), 200, False),
        (replace(LATENCY, within_s=None, first_byte_within_s=0.1), 503, True),
        (replace(AVAILABILITY, pod="ready"), 503, False),
        (LOADS, 503, False),
    ],
    ids=str,
)
def test_a_trace_is_shown_only_of_a_request_that_was_surely_bad(
    objective: Objective, status: int, is_shown: bool
) -> None:
    assert found(objective, shown(status)) == ("t" if is_shown else "")


@pytest.mark.parametrize(("status", "has_failed"), [(503, True), (200, False)], ids=["failed", "slow"])
def test_a_bad_request_is_told_to_have_failed_or_to_have_been_slow(status: int, has_failed: bool) -> None:
    found = blame(SloCounts(), shown(status), (LATENCY, "digits"), 300.0, NOW_S)
    assert (found.trace_id, found.has_failed) == ("t", has_failed)


def test_the_latest_trace_of_the_model_is_shown_while_it_is_news() -> None:
    both = shown(503, "old", START_S) | shown(502, "new", START_S + 5) | shown(500, "other", NOW_S, model="other")
    assert found(AVAILABILITY, both) == "new"
    assert found(AVAILABILITY, shown(503, "a", NOW_S - EXAMPLE_IS_FRESH_S)) == "a"
    assert found(AVAILABILITY, shown(503, "a", NOW_S - EXAMPLE_IS_FRESH_S - 1)) == ""
