"""The dashboard for whoever asks once a week: are the promises kept, for how many, at what cost."""

from __future__ import annotations

from typing import Final

from deploy.grafana.dashboard import Dashboard, of, rate, recorded
from deploy.grafana.panels import Ask, Panel, Row, Step
from deploy.prometheus.series import GOOD, REMAINING, TARGET
from telemetry.conventions import CHARGED_DEVICE_SECONDS, PODS, REQUESTS

# Spent, nearly spent, and fine.
_LEFT: Final = (Step("red"), Step("orange", 0.0), Step("green", 0.25))
_IS_READY: Final = 'state="ready"'
_FAILED: Final = rate(of(REQUESTS, 'code_class="5xx"'))
_ALL: Final = rate(of(REQUESTS))
_READY: Final = f"{of(PODS, _IS_READY)} > 0"
_BY: Final = "slo, model"

_PROMISES: Final = Row(
    "Promises",
    (
        Panel(
            "Objectives",
            "What was promised, what was kept over the objective's own period, and what is left of its error budget.",
            "table",
            "percentunit",
            (
                Ask(f"max by ({_BY}) ({recorded(TARGET)})", "target", is_instant=True),
                Ask(f"max by ({_BY}) ({recorded(GOOD)})", "good", is_instant=True),
                Ask(f"max by ({_BY}) ({recorded(REMAINING)})", "budget left", is_instant=True),
            ),
            width=16,
            height=9,
        ),
        Panel(
            "Least budget left",
            "The five objectives that are nearest to breaking their promise, or beyond it.",
            "bargauge",
            "percentunit",
            (Ask(f"bottomk(5, max by ({_BY}) ({recorded(REMAINING)}))", "{{model}} {{slo}}"),),
            width=8,
            height=9,
            steps=_LEFT,
        ),
        Panel(
            "Error budgets",
            "What is left of each error budget; below zero more was spent than the objective allows.",
            "timeseries",
            "percentunit",
            (Ask(f"max by ({_BY}) ({recorded(REMAINING)})", "{{model}} {{slo}}"),),
            width=16,
            max_value=1.0,
            steps=_LEFT,
        ),
        Panel(
            "Answered without failure",
            "Share of all requests that were not answered with a status of 500 or above.",
            "stat",
            "percentunit",
            (Ask(f"1 - (sum({_FAILED}) or vector(0)) / (sum({_ALL}) > 0)", "answered"),),
            width=8,
        ),
    ),
)

_USE: Final = Row(
    "Use and cost",
    (
        Panel(
            "Requests a day",
            "At the pace of each moment, by model.",
            "timeseries",
            "short",
            (Ask(f"sum by (model) ({_ALL}) * 86400", "{{model}}"),),
            is_stacked=True,
            min_value=0.0,
        ),
        Panel(
            "Devices in use",
            "How many devices requests kept busy, by model: 1 is one device all the time.",
            "timeseries",
            "short",
            (Ask(f"sum by (model) ({rate(of(CHARGED_DEVICE_SECONDS))})", "{{model}}"),),
            is_stacked=True,
            min_value=0.0,
        ),
        Panel(
            "Device time by tenant",
            "The ten tenants that used devices most, in devices.",
            "timeseries",
            "short",
            (Ask(f"topk(10, sum by (tenant) ({rate(of(CHARGED_DEVICE_SECONDS))}))", "{{tenant}}"),),
            min_value=0.0,
        ),
        Panel(
            "Models and versions in service",
            "Models, and versions of them, with a pod that is ready.",
            "stat",
            "short",
            (
                Ask(f"count(count by (model) ({_READY})) or vector(0)", "models"),
                Ask(f"count(count by (model, version) ({_READY})) or vector(0)", "versions"),
            ),
        ),
    ),
)

EXECUTIVE: Final = Dashboard(
    "penstock-executive",
    "Penstock: executive",
    "Are the promises kept, for how many requests, at what cost?",
    (_PROMISES, _USE),
    refresh="5m",
    since="now-7d",
)
