"""Event lines of objectives, as people read them."""

from __future__ import annotations

import pytest

from gateway.control.slo_words import fires, is_gone, is_over, length, still_fires
from telemetry.slo.alerts import Alert, Tier, Verdict

FAST = Alert("page", "page fast", Tier.FAST, 14.4, 3600.0, 300.0)
LIKELY = Alert("ticket", "breach likely", Tier.LIKELY, 1.0, 21600.0, 1800.0, 86400.0)
EXHAUSTED = Alert("ticket", "budget exhausted", Tier.EXHAUSTED, 1.0, 2592000.0, 2592000.0)


def test_an_alert_says_how_fast_the_budget_burns_and_when_it_ends() -> None:
    assert fires("slo digits-availability of digits", FAST, Verdict(True, 21.34, 40.0), 0.962, 122_400.0) == (
        "slo digits-availability of digits: page fast fires (1h burns 21.3x, 5m burns 40x, limit 14.4x; "
        "96.2 % of the budget left; at this rate it ends in 34 h)"
    )


def test_a_spent_budget_is_said_to_be_spent() -> None:
    assert fires("slo a of m", FAST, Verdict(True, 20.0, 20.0), -1.5, None).endswith(
        "limit 14.4x; the budget is spent 2.5 times over)"
    )


def test_the_end_of_a_budget_is_foretold_and_told_in_words() -> None:
    assert fires("slo a of m", LIKELY, Verdict(True, 12.0, 15.0), 0.4, 32_400.0) == (
        "slo a of m: breach likely fires (6h burns 12x, 30m burns 15x, limit the end within 24 h; "
        "40.0 % of the budget left; at this rate it ends in 9 h)"
    )
    assert fires("slo a of m", EXHAUSTED, Verdict(True, 1.25, 1.25), -0.25, 0.0) == (
        "slo a of m: budget exhausted fires (30d burns 1.25x; the budget is spent 1.25 times over)"
    )


def test_what_still_fires_says_since_when_and_on_which_day_if_not_today() -> None:
    at_s = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
    assert still_fires("slo a of m", "page slow", at_s, at_s + 60) == (
        "slo a of m: page slow still fires, since 08:00:00 UTC"
    )
    assert still_fires("slo a of m", "page slow", at_s, at_s + 86_400).endswith("since 2027-01-15 08:00:00 UTC")


def test_an_end_says_how_long_it_lasted() -> None:
    assert is_over("slo a of m", "page fast", 720.0) == "slo a of m: page fast is over after 12 min"
    assert is_gone("slo a of m", "page fast", 50.0) == (
        "slo a of m: page fast is no longer in the policy; it fired for 50 s"
    )


@pytest.mark.parametrize(
    ("length_s", "text"),
    [(0.5, "0.5 s"), (90.0, "90 s"), (5400.0, "90 min"), (90_000.0, "25 h"), (864_000.0, "10 d")],
)
def test_a_length_is_told_in_the_unit_that_people_would_use(length_s: float, text: str) -> None:
    assert length(length_s) == text
