"""A pod's own burn rates: of its answers, by its model's objectives, in the windows of their alerts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policies.snapshot.slos import BurnAlert, Objective
from telemetry.conventions import POD_SLO_BURN_RATE
from telemetry.sidecar.burn_rates import SERIES, BurnRates
from tests.telemetry.sidecar.recording import POD, WALL_OFFSET_NS, frame, pod_load, pod_request

NOW_S = WALL_OFFSET_NS / 1e9 + 51.0
PAGE = BurnAlert("page", "page fast", 14.4, 3600.0, 300.0)
SLOW_PAGE = BurnAlert("page", "page slow", 6.0, 21600.0, 300.0)
ANSWERED = Objective("answered", "team", 30 * 86_400.0, 0.9, 500, alerts=(PAGE, SLOW_PAGE))
QUICK = replace(ANSWERED, name="quick", within_s=0.03, alerts=(PAGE,))


def rates(burn_rates: BurnRates, now_s: float = NOW_S) -> dict[tuple[str, ...], object]:
    samples = list(burn_rates.samples(now_s))
    assert all(sample.metric is POD_SLO_BURN_RATE for sample in samples)
    return {sample.labels: sample.value for sample in samples}


def test_answers_burn_the_budgets_of_the_objectives_that_they_break() -> None:
    burn_rates = BurnRates()
    burn_rates.heed({"digits": [ANSWERED, QUICK], "other": [ANSWERED]})
    for number in range(9):
        burn_rates.count(frame(POD), pod_request(number, took_s=0.04 if number < 3 else 0.01), NOW_S)
    burn_rates.count(frame(POD), pod_request(9, status=500), NOW_S)
    assert rates(burn_rates) == {
        ("digits", "1", "answered", "5m"): 1.0,
        ("digits", "1", "answered", "1h"): 1.0,
        ("digits", "1", "answered", "6h"): 1.0,
        ("digits", "1", "quick", "5m"): 4.0,
        ("digits", "1", "quick", "1h"): 4.0,
    }
    assert rates(burn_rates, NOW_S + 400.0)["digits", "1", "quick", "5m"] == 0.0


def test_loads_and_cold_starts_burn_the_budgets_that_are_about_them() -> None:
    burn_rates = BurnRates()
    about_loads = replace(ANSWERED, name="loads", status_below=0, loads_within_s=5.0, alerts=(PAGE,))
    warmth = replace(ANSWERED, name="warm", status_below=0, pod="ready", alerts=(PAGE,))
    unseen = (replace(QUICK, name="begun", first_byte_within_s=0.01), replace(QUICK, name="right", label="right"))
    burn_rates.heed({"digits": [about_loads, warmth, *unseen]})
    for number in range(2):
        burn_rates.count_load(frame(POD), pod_load(number), NOW_S)
        burn_rates.count_load(frame(POD), pod_load(number, message="No room."), NOW_S)
        burn_rates.count(frame(POD), pod_request(number), NOW_S)
    burn_rates.count(frame(POD), replace(pod_request(9), cold=True), NOW_S)
    found = {labels[2:]: value for labels, value in rates(burn_rates).items()}
    assert found == {
        ("loads", "5m"): pytest.approx(5.0),
        ("loads", "1h"): pytest.approx(5.0),
        ("warm", "5m"): pytest.approx(10 / 3),
        ("warm", "1h"): pytest.approx(10 / 3),
    }


def test_of_an_objective_that_is_gone_nothing_is_shown_or_counted() -> None:
    burn_rates = BurnRates()
    burn_rates.heed({"digits": [ANSWERED]})
    burn_rates.count(frame(POD), pod_request(1), NOW_S)
    burn_rates.heed({})
    burn_rates.count(frame(POD), pod_request(2), NOW_S)
    assert rates(burn_rates) == {}


def test_series_are_bounded() -> None:
    burn_rates = BurnRates()
    burn_rates.heed({"digits": [ANSWERED]})
    for number in range(SERIES + 1):
        burn_rates.count(frame(replace(POD, version=str(number))), pod_request(number), NOW_S)
    assert len(rates(burn_rates)) == SERIES * 3
