"""Writes unit tests of the rules for `promtool test rules`: made-up traffic, and which alerts fire at which step.

What is expected is what the embedded engine's own judgement says of the same traffic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from deploy.prometheus.documents import Data, written
from deploy.prometheus.rule_file import RULES_FILE
from deploy.prometheus.scenarios import Scenario, Stretch, edges, firing_at, spans
from deploy.prometheus.slo_rules import BURNS, EXHAUSTED, LIKELY
from deploy.prometheus.windows import step_s
from policies.snapshot.slos import Objective
from policies.units import duration_text
from telemetry.conventions import GATEWAY_JOB, SLO_EVENTS
from telemetry.slo.alerts import EXHAUSTED_NAME, LIKELY_NAME
from telemetry.slo.burn_rate import bad_share

TESTS_FILE: Final = "penstock-rules.test.yaml"
# So much traffic that no guard holds an alert back.
_EVENTS_EACH_STEP: Final = 10_000
_OUTAGE: Final = Stretch(10, 0, _EVENTS_EACH_STEP)
_LABELS: Final = {LIKELY_NAME: f'{{alertname="{LIKELY}"}}', EXHAUSTED_NAME: f'{{alertname="{EXHAUSTED}"}}'}
_BEFORE: Final = Stretch(30, _EVENTS_EACH_STEP)
_AFTER: Final = Stretch(60, _EVENTS_EACH_STEP)
_SILENCE: Final = Stretch(30, 0)
_LIMIT_STEPS: Final = 30


class Case(Struct, frozen=True):
    """An objective that is tried, with a model whose route names it, and the traffic of that model."""

    objective: Objective
    model: str
    scenario: Scenario


def rule_tests(objectives: list[Objective], model_of: dict[str, str]) -> str:
    """Return tests of every objective: an outage and what follows it, a burn of just the limit, and silence.

    Args:
        model_of: a model whose route names the objective, by its name.
    """
    step = step_s(objectives)
    # All objectives in one test: promtool evaluates every rule of the file in each, whatever its traffic is.
    tried = zip(*(usual_scenarios(one) for one in objectives), strict=True)
    tests = [
        rule_test(
            [Case(one, model_of[one.name], scenario) for one, scenario in zip(objectives, same, strict=True)], step
        )
        for same in tried
    ]
    about = "Written by `penstock slo export promtool`; run by `promtool test rules FILE`."
    return written(unit_tests(tests, step), about=about)


def unit_tests(tests: list[Data], step: int, rules_file: str = RULES_FILE) -> Data:
    """Return tests as promtool's plain data."""
    return {"rule_files": [rules_file], "evaluation_interval": duration_text(float(step)), "tests": tests}


def usual_scenarios(objective: Objective) -> list[Scenario]:
    """Return what any objective is tried with."""
    return [
        Scenario("an outage, and an end of it", (_BEFORE, _OUTAGE, _AFTER), _BEFORE.steps),
        Scenario("silence after an outage", (_OUTAGE, _SILENCE)),
        Scenario("a burn of exactly the highest limit", (_at_the_limit(objective),)),
    ]


def _at_the_limit(objective: Objective) -> Stretch:
    """Return traffic that burns just at the highest factor, in whole events; at 1 without alerts."""
    factor = max((alert.factor for alert in objective.alerts), default=1.0)
    share = bad_share(objective.target, factor)
    times = -(-_EVENTS_EACH_STEP // share.denominator)
    bad, total = share.numerator * times, share.denominator * times
    return Stretch(_LIMIT_STEPS, total - bad, bad)


def rule_test(cases: list[Case], step: int, more: Iterable[Data] = ()) -> Data:
    """Return a test: the alerts that fire around every change.

    Args:
        cases: of different objectives and the same scenario.
        more: expressions with what they give, as promtool takes them.
    """
    return {
        "name": cases[0].scenario.name,
        "interval": duration_text(float(step)),
        "input_series": [series for case in cases for series in (_series(case, "good"), _series(case, "bad"))],
        "promql_expr_test": [*(asked for case in cases for asked in _asked(case, step)), *more],
    }


def _asked(case: Case, step: int) -> list[Data]:
    scenario = case.scenario
    found = spans(case.objective, scenario, step)
    return [
        _expected(case.objective, firing_at(found, at), (at + scenario.before) * step)
        for at in edges(found, scenario.steps - scenario.before)
    ]


def _series(case: Case, outcome: Literal["good", "bad"]) -> Data:
    labels = f'job="{GATEWAY_JOB}", instance="a", slo="{case.objective.name}", model="{case.model}", version="1"'
    values, total = ["0"], 0
    for one in case.scenario.stretches:
        each = one.bad if outcome == "bad" else one.good
        values.append(f"{total + each}+{each}x{one.steps - 1}")
        total += one.steps * each
    return {"series": f'{SLO_EVENTS.name}{{{labels}, outcome="{outcome}"}}', "values": " ".join(values)}


def _expected(objective: Objective, firing: list[str], at_s: int) -> Data:
    return {
        "expr": f'sum by (alertname, alert) (ALERTS{{alertstate="firing", slo="{objective.name}"}})',
        "eval_time": duration_text(float(at_s)),
        "exp_samples": [
            {"labels": _LABELS.get(name, f'{{alertname="{BURNS}", alert="{name}"}}'), "value": 1} for name in firing
        ],
    }
