"""The bound by which rules guard against chance, beside the sum that the gateway's own engine makes."""

from __future__ import annotations

from math import log

import pytest

from deploy.prometheus.guards import ln_chance, ln_limit
from telemetry.slo.chance import is_beyond_chance

BELOW = 0.01
SHARES = [0.001, 0.006, 0.0144, 0.03, 0.072, 0.144]


def fires(bad: int, events: int, share: float) -> bool:
    """Reckon the expression as Prometheus does, where no logarithm exists: no number is below the limit."""
    reckoned = compile(f"({ln_chance('bad', 'events', share)})", "rule", "eval")
    try:
        ln = eval(reckoned, {"ln": log, "clamp_min": max, "bad": bad, "events": events})  # noqa: S307 - our own text
    except ValueError:
        return False
    return bool(ln < float(ln_limit(BELOW)))


def fewest(events: int, share: float, *, in_rules: bool) -> int:
    """Return the fewest bad events that are beyond chance; one more than all if none are."""
    start = int(events * share) + 1
    found = (
        bad
        for bad in range(start, events + 1)
        if (fires(bad, events, share) if in_rules else is_beyond_chance(bad, events, share, BELOW))
    )
    return next(found, events + 1)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("events", [2, 3, 5, 10, 20, 60, 100, 300, 1000, 5000])
def test_rules_ask_for_as_many_bad_events_as_the_engine_or_one_more(share: float, events: int) -> None:
    exact = fewest(events, share, in_rules=False)
    assert exact <= fewest(events, share, in_rules=True) <= exact + 1


def test_among_very_many_events_rules_ask_for_a_thousandth_more_at_most() -> None:
    exact = fewest(1_000_000, 0.0144, in_rules=False)
    assert exact <= fewest(1_000_000, 0.0144, in_rules=True) <= exact * 1.001


def test_one_failure_among_sixty_requests_may_be_chance() -> None:
    assert not fires(1, 60, 0.0144)
    assert fires(6, 60, 0.0144)


def test_no_bad_event_is_no_reason() -> None:
    assert not fires(0, 1000, 0.0144)
