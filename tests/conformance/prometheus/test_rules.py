"""Generated rules in Debian's promtool: ten kinds of traffic, the texts of alerts, and what tells a wrong rule."""

from __future__ import annotations

import os
from pathlib import Path
from subprocess import run

import pytest
from msgspec.structs import replace

from deploy.prometheus.documents import Data, written
from deploy.prometheus.promtool import Case, rule_test, unit_tests
from deploy.prometheus.rule import Places
from deploy.prometheus.rule_file import rules
from deploy.prometheus.scenarios import Scenario, Stretch, spans
from gateway.control.slo_kept import AlertKey
from gateway.control.slo_notices import labels_of
from policies.burn_alerts import usual_alerts
from policies.snapshot.slos import Guards
from telemetry.slo.alerts import Tier
from telemetry.slo.budget import remaining_ratio
from telemetry.slo.events import EventCount
from tests.conformance.prometheus.rule_check import MODEL, judged, tried
from tests.deploy.prometheus.table import S6, S7, S8, S10, STEP_S, TABLE, objective, with_history

pytestmark = pytest.mark.needs_program("prometheus")

IS_FULL = os.environ.get("PENSTOCK_RULES") == "full"
# Enough for both pages. What tickets say of so short a history is the oracle's to know.
SHORT_HISTORY = 380
SHORT = {"S1", "S5", "S6", "S7", "S8", "S9"}
NAME = "digits-availability"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("scenario", "target"), [(one, target) for one, target, _ in TABLE], ids=[one.name[:2] for one, _, _ in TABLE]
)
def test_rules_fire_at_the_minute_of_the_engine(scenario: Scenario, target: float, tmp_path: Path) -> None:
    name = scenario.name[:2]
    if not IS_FULL and name not in SHORT:
        pytest.skip("takes minutes: PENSTOCK_RULES=full, as in make soak")
    short = scenario if IS_FULL or not scenario.before else with_history(scenario, SHORT_HISTORY)
    assert tried(tmp_path, objective(NAME, target), short, STEP_S) == ""


def at(minute: int, expr: str, labels: str, value: float) -> Data:
    """Return what an expression gives."""
    return {"expr": expr, "eval_time": f"{minute}m", "exp_samples": [{"labels": labels, "value": value}]}


def test_budgets_weigh_events_and_not_time_as_in_s10(tmp_path: Path) -> None:
    kept = f'{{job="penstock", model="{MODEL}", slo="{NAME}"}}'
    left = remaining_ratio(EventCount(good=964_320, bad=480), 0.999) or 0.0
    rounded = at(1440, "round(slo_model:penstock_slo_budget_remaining:ratio, 0.0001)", kept, round(left, 4))
    assert tried(tmp_path, objective(NAME), S10, STEP_S, [rounded]) == ""


def test_silence_as_in_s8_burns_nothing_and_is_a_number(tmp_path: Path) -> None:
    scenario = with_history(S8, SHORT_HISTORY)
    series = f'slo_model:penstock_slo_burn_rate:ratio{{job="penstock", model="{MODEL}", slo="{NAME}", window="5m"}}'
    silent = at(SHORT_HISTORY + 100, 'slo_model:penstock_slo_burn_rate:ratio{window="5m"}', series, 0)
    assert tried(tmp_path, objective(NAME), scenario, STEP_S, [silent]) == ""


def test_at_least_the_limit_is_not_more_than_it_as_in_s6(tmp_path: Path) -> None:
    """A rule with >= fires upon traffic that burns at exactly the factor, so the tests would find it."""
    own = objective(NAME)
    tests = written(unit_tests([rule_test([Case(own, MODEL, S6)], STEP_S)], STEP_S))
    right = rules([own], Places())
    wrong = right.replace("* 625 > ", "* 625 >= ")
    assert wrong != right
    assert "page fast" in judged(tmp_path, tests, wrong)


def test_a_guard_holds_back_one_failure_among_few_requests(tmp_path: Path) -> None:
    """The same failure that wakes somebody without guards; and a real outage still does with them."""
    guarded = replace(objective(NAME), guards=Guards(chance_below=0.01))
    assert tried(tmp_path, guarded, with_history(S7, 100), STEP_S) == ""
    outage = Scenario("an outage of few requests", (Stretch(100, 10), Stretch(10, 0, 10)), 100)
    assert tried(tmp_path, guarded, outage, STEP_S) == ""


@pytest.mark.parametrize("guards", [Guards(min_events=5_000, chance_below=0.0), Guards(0, 700, 0.0)], ids=str)
def test_rules_ask_for_as_many_events_as_policy_does(guards: Guards, tmp_path: Path) -> None:
    guarded = replace(objective(NAME), guards=guards)
    slow_start = Scenario("few events, all bad", (Stretch(20, 0, 100), Stretch(20, 100, 0)))
    assert tried(tmp_path, guarded, slow_start, STEP_S) == ""


def test_short_windows_of_a_short_period_are_exact_too(tmp_path: Path) -> None:
    hour_s = 3600.0
    short = replace(objective(NAME), period_s=hour_s, alerts=usual_alerts(hour_s, 0.999))
    scenario = Scenario("30 s without an answer", (Stretch(60, 100), Stretch(3, 0, 100), Stretch(60, 100)), 60)
    assert tried(tmp_path, short, scenario, 10) == ""


def test_counters_that_begin_anew_lose_no_window(tmp_path: Path) -> None:
    """A gateway restarts: its counters begin at 0, and what it counted before is still in the windows."""
    labels = f'job="penstock", instance="a", slo="{NAME}", model="{MODEL}", version="1"'
    kept = f'job="penstock", model="{MODEL}", slo="{NAME}", window="5m"'
    # Three minutes before, the one in which they began anew, and one after.
    expected = {"bad": 3 * 20 + 5 + 20, "events": 3 * 1000 + 105 + 1000}
    test: Data = {
        "interval": "1m",
        "input_series": [
            {"series": f'penstock_slo_events_total{{{labels}, outcome="good"}}', "values": "0+980x30 100+980x10"},
            {"series": f'penstock_slo_events_total{{{labels}, outcome="bad"}}', "values": "0+20x30 5+20x10"},
        ],
        "promql_expr_test": [
            at(
                32,
                f'slo_model:penstock_slo_{what}:sum{{window="5m"}}',
                f"slo_model:penstock_slo_{what}:sum{{{kept}}}",
                n,
            )
            for what, n in expected.items()
        ],
    }
    assert judged(tmp_path, written(unit_tests([test], STEP_S)), rules([objective(NAME)], Places())) == ""


def test_an_alert_says_in_words_what_matters(tmp_path: Path) -> None:
    own = objective(NAME)
    # Many events long before, so that there is a budget.
    traffic = Scenario("a page, and much left", (Stretch(10, 1_000_000), Stretch(370, 1000), Stretch(44, 980, 20)))
    key = AlertKey(NAME, MODEL, "page", "page fast")
    # Of the rule, not a label more or less than of the mesh's own notice: an Alertmanager takes both for one.
    labels = labels_of("demo", key, Tier.FAST, "sre")
    del labels["alertname"]  # which promtool has beside the others
    expected: Data = {
        "exp_labels": labels,
        "exp_annotations": {
            "summary": "digits: digits-availability: page fast fires, the error budget burns 14.7x as fast as it may",
            "description": "Over 1h it burns 14.7x, over 5m 20x; both are above the limit of 14.4x. Of the budget of "
            "30d, 91.55% is left; at this rate it ends in 10h 50m 2s. Most bad events come from version 1. "
            "Most failures are of the pod digits/1/0.",
            "burn": "14.7x in 1h, 20x in 5m; limit 14.4x",
            "windows": "1h and 5m",
            "objective": "99.9% good in 30d",
            "budget_left": "91.55% of the budget left",
            "ends_in": "10h 50m 2s",
            "worst": "version 1; pod digits/1/0",
            "runbook_url": "docs/runbooks/slo-page-fast.md",
            "hub_url": "http://127.0.0.1:8090/slos/digits-availability?model=digits",
            "traces_url": "http://127.0.0.1:8090/traces?model=digits&status=error",
        },
    }
    test = rule_test([Case(own, MODEL, traffic)], STEP_S)
    series = test["input_series"]
    assert isinstance(series, list)
    of_pod = 'job="penstock-sidecars", penstock_sidecar="digits/1/%d", model="digits", version="1", code_class="5xx"'
    series += [
        {"series": f"penstock_pod_attempts_total{{{of_pod % index}}}", "values": f"0+{each}x424"}
        for index, each in enumerate((19, 1))
    ]
    del test["promql_expr_test"]
    test["alert_rule_test"] = [{"eval_time": "424m", "alertname": "PenstockBudgetBurns", "exp_alerts": [expected]}]
    assert judged(tmp_path, written(unit_tests([test], STEP_S)), rules([own], Places())) == ""


def test_a_budget_is_foretold_to_end_and_then_is_spent(tmp_path: Path) -> None:
    traffic = Scenario("4 % bad", (Stretch(60, 10_000), Stretch(30, 960, 40)))
    foretold = replace(objective(NAME), likely_within_s=86_400.0, tells_exhausted=True)
    found = spans(foretold, traffic, STEP_S)
    assert found["breach likely"]
    assert found["budget exhausted"]
    assert tried(tmp_path, foretold, traffic, STEP_S) == ""


def test_the_demo_passes_its_own_tests() -> None:
    folder = Path(__file__).parents[3] / "deploy" / "prometheus"
    told = run(
        ["promtool", "test", "rules", str(folder / "penstock-rules.test.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert told.returncode == 0, told.stdout + told.stderr
